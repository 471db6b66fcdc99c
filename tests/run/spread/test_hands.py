"""What a worker of a cluster does with what it is handed, without a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dseinvert.config import ImagesOptions, SpreadOptions
from dseinvert.errors import OutputError
from dseinvert.progress import SILENT
from dseinvert.run.images.journal import read
from dseinvert.run.inputs import Item
from dseinvert.run.spread.cluster import _joined
from dseinvert.run.spread.desk import Desk, open_desk
from dseinvert.run.spread.errands import Runner
from dseinvert.run.spread.hands import Hands
from dseinvert.run.spread.notes import (
    Deaths,
    Notes,
    Run,
    deaths_in,
    notes_path,
    open_notes,
    ordered,
    read_notes,
)
from dseinvert.run.spread.report import report
from dseinvert.run.spread.shard import Part
from tests.run.spread.test_shards import OPTIONS, outputs

Dse = Callable[..., int]
Open = Callable[[], Desk]


@pytest.fixture
def options(tiny_model: Path, tmp_path: Path) -> ImagesOptions:
    return ImagesOptions(
        tmp_path / "out", edits=("age=2",), model=str(tiny_model), align=False, batch=2
    )


def test_two_workers_make_what_one_process_makes(
    dse: Dse, options: ImagesOptions, pictures: Path, tmp_path: Path
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "whole", *OPTIONS) == 0
    with open_desk([str(pictures)], options, SpreadOptions(), SILENT) as desk:
        assert desk.size == 4
        workers = [Hands(), Hands()]
        for number, one in enumerate(workers, 1):
            assert one.open(number, desk.handed) is None
        made = [*workers[0].do(desk.items[:4], alone=False)]
        made += workers[1].do(desk.items[3:], alone=False)  # the fourth one twice
        for one in workers:
            one.close()
        assert [one.status for one in made] == ["done"] * 8
    report(options.out)
    assert outputs(options.out) == outputs(tmp_path / "whole")
    assert len(read(options.out / "journal-worker-2.jsonl")) == 4
    with open_desk([str(pictures)], options, SpreadOptions(), SILENT) as desk:
        assert desk.items == () and desk.exit_code(()) == 0


def test_a_worker_of_another_version_or_model_says_so(
    options: ImagesOptions, pictures: Path, other_model: Path
) -> None:
    with open_desk([str(pictures)], options, SpreadOptions(), SILENT) as desk:
        told = Hands().open(1, replace(desk.handed, version="0.0.1"))
        assert told is not None and "and 0.0.1 here" in told[0] and told[2] == 4
        handed = replace(desk.handed, options=replace(options, model=str(other_model)))
        told = Hands().open(1, handed)
        assert told is not None and "another generator" in told[0] and told[2] == 4


def test_nothing_that_other_options_made_is_handed_out(
    dse: Dse, options: ImagesOptions, pictures: Path
) -> None:
    assert dse("images", pictures, "--out", options.out, *OPTIONS) == 0
    before = outputs(options.out)
    with (
        pytest.raises(OutputError, match="--refine none, now latent:2"),
        open_desk([str(pictures)], replace(options, refine="latent:2"), SpreadOptions(), SILENT),
    ):
        pass
    assert outputs(options.out) == before


def test_who_does_shares_of_another_version_says_so(options: ImagesOptions) -> None:
    told = Runner().do("edit", ["latents"], options, Part(), "0.0.1")
    assert told.code == 4 and told.error is not None
    assert "and 0.0.1 here" in told.error[0] and "one version" in told.error[1]


def test_what_was_in_flight_at_a_death_is_known_from_the_notes(tmp_path: Path) -> None:
    path = notes_path(tmp_path / "journal-1-of-2.jsonl")
    path.write_bytes(
        b'{"run":{"total":5,"earlier":1}}\n{"begun":"a"}\n{"begun":"b"}\n{"done":"a","as":"done"}\n'
        b"Fatal Python error: Segmentation fault\n\nThread 0x1 (most recent call first):\n"
        b'{"run":{"total":5}}\n{"begun":"b","alone":true}\n{"beg'
    )
    first, second = read_notes(path)
    assert (first.counts["done"], first.begun, first.fault) == (
        *(1, {"b": False}),
        "Segmentation fault",
    )
    assert isinstance(second, Run) and not second.ended
    deaths = deaths_in(tmp_path, "journal.jsonl")
    assert deaths == {"b": Deaths(1, 1, 1, "Segmentation fault")}


@pytest.mark.parametrize(
    ("done", "dead"),
    [
        ('{"done":"b","as":"done","at":60}', {}),
        ('{"done":"b","as":"skipped","at":50}', {}),
        ('{"done":"b","as":"done","at":20}', {"b": Deaths(killed=1)}),
        ('{"done":"b","as":"failed","at":60}', {"b": Deaths(killed=1)}),
        ('{"done":"b","as":"done"}', {"b": Deaths(killed=1)}),
        ('{"done":"a","as":"done","at":60}', {"b": Deaths(killed=1)}),
    ],
    ids=["done", "no face", "before", "put aside", "earlier version", "another"],
)
@pytest.mark.parametrize("where", ["journal-1-of-2.jsonl", "journal-2-of-2.jsonl"])
def test_deaths_before_an_item_was_done_are_forgotten(
    tmp_path: Path, done: str, dead: dict[str, Deaths], where: str
) -> None:
    first, second = '{"run":{"at":10}}\n{"begun":"b"}\n', f'{{"run":{{"at":50}}}}\n{done}\n'
    for number in (1, 2):
        path = notes_path(tmp_path / f"journal-{number}-of-2.jsonl")
        path.write_text(first * (number == 1))
        os.utime(path, (50, 50))
    with notes_path(tmp_path / where).open("a") as file:
        file.write(second + '{"end":true}\n')
    if where != "journal-1-of-2.jsonl":
        assert (tmp_path / ".journal-1-of-2.notes").stat().st_mtime == 50
    assert deaths_in(tmp_path, "journal.jsonl") == dead


def test_an_item_that_is_done_between_two_deaths_is_not_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal-1-of-2.jsonl"
    monkeypatch.setattr(Notes, "end", lambda notes: None)  # as if it had been killed
    for _ in range(3):
        for dies in (True, False):
            with open_notes(journal, keep=True) as notes:
                notes.about(total=1)
                notes.begin("a", alone=True)
                time.sleep(0.002)
                if not dies:
                    notes.done("a", "done")
    assert deaths_in(tmp_path, journal.name) == {}
    with open_notes(journal, keep=True) as notes:
        notes.about(total=1)
        notes.begin("a", alone=True)
    assert deaths_in(tmp_path, journal.name) == {"a": Deaths(killed=1, killed_alone=1)}


@pytest.mark.parametrize(
    ("deaths", "where"),
    [
        (Deaths(), "together"),
        (Deaths(killed=1), "together"),
        (Deaths(killed=2), "alone"),
        (Deaths(killed=4, killed_alone=2), "alone"),
        (Deaths(killed=5, killed_alone=3), "aside"),
        (Deaths(faults=1), "alone"),
        (Deaths(faults=2), "aside"),
    ],
)
def test_a_fault_counts_for_more_than_a_kill(deaths: Deaths, where: str) -> None:
    item = Item(Path("a.png"), "a")
    order = ordered([item], {"a": deaths})
    assert [name for name in ("together", "alone", "aside") if getattr(order, name)] == [where]
    assert ordered([item], {"a": deaths}, again=True).alone == (item,)


def test_what_ray_prints_by_itself_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    def say(*_: object, **__: object) -> None:
        for stream in (1, 2):
            os.write(stream, b"(raylet) A worker died\n")

    with _joined(SimpleNamespace(init=say, shutdown=say), None):
        say()
    assert tuple(capfd.readouterr()) == ("", "")
    say()
    assert capfd.readouterr().out.count("died") == 1
