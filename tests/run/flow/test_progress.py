from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from dseinvert.run.flow.progress import Terminal


@pytest.fixture
def bar() -> Progress:
    return Progress(console=Console(file=io.StringIO(), force_terminal=True))


def test_a_batch_has_a_bar_that_moves_with_its_steps_and_goes(bar: Progress) -> None:
    watcher = Terminal(bar.console, bar=bar, task=bar.add_task("inverting", total=2))
    with watcher.within("refining", 100) as told:
        told(37)
        (own,) = [task for task in bar.tasks if task.description == "refining"]
        assert (own.completed, own.total) == (37, 100)
    assert [task.description for task in bar.tasks] == ["inverting"]


def test_a_batch_that_fails_leaves_no_bar(bar: Progress) -> None:
    watcher = Terminal(bar.console, bar=bar, task=bar.add_task("inverting", total=2))
    with pytest.raises(MemoryError), watcher.within("refining", None):
        raise MemoryError
    assert len(bar.tasks) == 1


def test_without_a_terminal_steps_are_told_to_nobody() -> None:
    with Terminal(Console(file=io.StringIO())).within("refining", 100) as told:
        told(1)
