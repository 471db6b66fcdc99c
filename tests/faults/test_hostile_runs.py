"""What lies in a stranger's output folder or file of edits is no bug, whatever it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.cli.told_by_file import read_config
from dseinvert.editing.script import read_script
from dseinvert.errors import InputError, UsageError
from dseinvert.media import stores
from dseinvert.media.colour import Colours
from dseinvert.media.encoding import Encoding
from dseinvert.media.scan import natural
from dseinvert.media.segments import _ALPHA, _PACKET, Segments, _head, segment_times
from dseinvert.media.toml_file import read_toml
from dseinvert.run.spread import shelf
from dseinvert.run.spread.ledger import Line, dumps
from dseinvert.run.spread.status import status
from dseinvert.run.video.cast import Sighting, Somebody, load_people, save_people
from dseinvert.run.video.people import _is_known

Run = Callable[..., int]
ENDLESS = [2**64, 10**400, 1e308, float("inf"), float("nan"), "9", None, [1], True, -1]


@pytest.mark.parametrize("verb", ["status", "report"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_a_journal_that_is_no_file_is_told_in_a_line(
    verb: str, kind: str, tmp_path: Path, dse: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "journal.jsonl"
    if kind == "pipe":
        os.mkfifo(journal)
    elif kind == "folder":
        journal.mkdir()
    else:
        journal.symlink_to("/dev/zero")
    assert dse(verb, str(tmp_path)) == 6
    (line,) = capfd.readouterr().err.splitlines()
    assert "journal.jsonl" in line and "a bug" not in line


@pytest.mark.parametrize("name", ["total", "earlier", "at"])
@pytest.mark.parametrize("value", ENDLESS, ids=str)
def test_notes_of_numbers_that_are_none_are_counted_as_nothing(
    name: str, value: Any, tmp_path: Path
) -> None:
    (tmp_path / "journal.jsonl").write_bytes(dumps(Line("a", "a", "k", "done")))
    notes = [{"run": {"total": 5, "earlier": 1, "at": 1.0, name: value}}, {"done": "a", "as": "x"}]
    (tmp_path / ".journal.notes").write_text("\n".join(map(json.dumps, notes)))
    (told,) = status(tmp_path)
    assert told.rows[0].left is not None and 0 <= told.rows[0].left <= 5
    assert told.lines() and json.dumps(told.asdict(), allow_nan=False)


@pytest.mark.parametrize("value", ENDLESS, ids=str)
def test_what_a_store_tells_of_a_run_is_numbers(value: Any) -> None:
    good = {"run": {}, "counts": {"done": 1}, "ended": True, "last": 1.0}
    url = "memory://hostile/a.run"
    for other in ({"counts": {"done": value}}, {"last": value}, {"counts": value}):
        stores.put(url, json.dumps(good | other).encode())
        told = shelf._told(url)
        assert told is None or (told.last < 1e309 and all(n < 2**63 for n in told.counts.values()))
    stores.put(url, json.dumps(good).encode())
    assert shelf._told(url) is not None


def test_names_of_numbers_without_end_are_sorted() -> None:
    assert natural(Path("9" * 5000)) > natural(Path("2"))
    assert natural(Path("a10")) > natural(Path("a9"))


SCRIPTS = {
    "a number without end": b'[[edit]]\nedit = "age=1"\nkeys = ' + b"9" * 5000,
    "lists in each other": b"a = " + b"[" * 100_000,
    "dots": b"a" + b".a" * 400_000 + b" = 1",
    "length": b"#" * (1 << 21),
    "a long edit": b'[[edit]]\nedit = "age=' + b"9" * 5000 + b'"',
    "a long key": b'[[edit]]\nedit = "age"\nkeys = [["0:01.' + b"9" * 5000 + b'", 1]]',
    "a hidden name": '[[edit]]\nedit = "age=1"\n"\u202e" = 1'.encode(),
    "no utf-8": b'\xff = "1"',
}


@pytest.mark.parametrize("data", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("read", ["script", "config"])
def test_a_file_of_options_that_makes_no_sense_is_a_short_line(
    read: str, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "e.toml"
    path.write_bytes(data)
    context: Any = SimpleNamespace(command=SimpleNamespace(params=[]), resilient_parsing=False)
    with pytest.raises(UsageError) as error:
        read_script(path) if read == "script" else read_config(context, path)
    assert str(error.value).isprintable() and len(str(error.value)) < 600


def test_a_file_of_options_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_script(tmp_path / "e.toml")
    with pytest.raises(OSError, match="not a regular file"):
        read_toml(tmp_path / "e.toml")


def test_people_of_a_stranger_are_nobody_we_know(tmp_path: Path) -> None:
    path = tmp_path / "a.people.json"
    seen = (Sighting(0.0, np.zeros((5, 2))),)
    save_people(path, [Somebody(1, seen, np.ones(3, np.float32))], "s", "n")
    (one,) = load_people(path, "s", "n") or ()
    of_four: Any = SimpleNamespace(embedding=torch.ones(1, 4))
    of_three: Any = SimpleNamespace(embedding=torch.ones(1, 3))
    assert not _is_known(one, [of_four])
    assert _is_known(one, [of_four, of_three])
    path.unlink()
    os.mkfifo(path)
    assert load_people(path, "s", "n") is None


def test_a_segment_that_is_no_file_or_too_short_for_its_alpha_is_damaged(tmp_path: Path) -> None:
    settings = Encoding(
        *("h264", 64, 64, "yuv420p", Fraction(1, 25), Fraction(25), Fraction(1)),
        *(Colours(1, 1), 23.0, None),
    )
    pipe, short = tmp_path / "000000.segment", tmp_path / "000001.segment"
    os.mkfifo(pipe)
    short.write_bytes(_head(settings) + _PACKET.pack(0, _ALPHA, 2) + b"ab")
    for path in (pipe, short):
        with pytest.raises(InputError, match="delete it"):
            segment_times(path, settings)
    with Segments(tmp_path, settings, 1) as segments:
        assert segments.done == 0
