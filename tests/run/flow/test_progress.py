from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from dseinvert.progress import SILENT
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


def test_a_note_stands_beside_its_bar_until_the_next_one(bar: Progress) -> None:
    watcher = Terminal(bar.console, bar=bar, task=bar.add_task("", total=None, visible=False))
    with watcher.within("training", 10) as told:
        told(1, "loss 0.5")
        told(2)
        (own,) = [task for task in bar.tasks if task.description == "training"]
        assert (own.completed, own.fields["note"]) == (2, "loss 0.5")
        told(3, "loss 0.4")
        assert own.fields["note"] == "loss 0.4"


def test_without_a_terminal_steps_are_told_to_nobody() -> None:
    console = Console(file=io.StringIO())
    with Terminal(console).within("refining", 100) as told:
        assert told(1, "loss 0.5") is None
    Terminal(console).begin("inverting", 3)
    Terminal(console).advance()
    assert printed(console) == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_keeps_what_went_wrong_and_drops_what_is_worth_knowing(quiet: bool) -> None:
    console = Console(file=io.StringIO())
    watcher = Terminal(console, quiet)
    watcher.note("see here")
    watcher.problem("a.png: is empty")
    assert printed(console) == ("" if quiet else "see here\n") + "dseinvert: a.png: is empty\n"


def test_a_line_is_printed_as_it_is_and_in_one_piece() -> None:
    console = Console(file=io.StringIO(), width=20)
    line = "[bold]a[/bold] " + "long " * 20
    Terminal(console).note(line)
    assert printed(console) == f"{line}\n"


def test_who_watches_in_silence_hears_everything_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    SILENT.begin("inverting", 1)
    SILENT.advance()
    with SILENT.within("refining", None) as told:
        told(1, "loss 0.5")
    SILENT.note("see here")
    SILENT.problem("a.png: is empty")
    heard = capsys.readouterr()
    assert heard.out == heard.err == ""


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
