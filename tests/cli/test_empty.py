"""An empty word is a slip, whatever verb and option it is given to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dseinvert.cli.main import app, run


def _verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inside = getattr(command, "commands", None)
    if inside is None:
        yield path, command
        return
    for name, one in inside.items():
        yield from _verbs(one, (*path, name))


VERBS = dict(_verbs(typer.main.get_command(app)))


def _slips() -> Iterator[tuple[list[str], str]]:
    """Words with an empty one, and what is said to be empty."""
    for path, verb in VERBS.items():
        for one in verb.params:
            if getattr(one, "is_flag", False) or one.default == "":
                continue
            if one.param_type_name == "argument":
                before = [p for p in verb.params if p.param_type_name == "argument"]
                place = before.index(one)
                yield [*path, *["a"] * place, ""], (one.name or "").upper()
            elif one.name != "help":
                name = one.opts[0]
                yield [*path, name, *[""] * one.nargs], name
                if one.nargs == 1:
                    yield [*path, f"{name}="], name


SLIPS = [*_slips()]


def test_there_are_slips_of_every_verb_with_something_to_name() -> None:
    said = {name for _, name in SLIPS}
    assert {"--out", "--model", "--edit", "PATHS", "FILE", "--on", "--gan", "--video"} <= said
    assert len(SLIPS) > 100


def test_an_empty_word_is_told_and_nothing_is_done_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, name in SLIPS:
        assert run(words) == 2, words
        told = capsys.readouterr()
        assert told.err == f"dseinvert: {name} is empty (is a variable not set?)\n", words
        assert not told.out
    assert not [*tmp_path.iterdir()]


def test_a_value_that_may_be_empty_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["directions", "import", "gone.npy", "--name", "", "--copy="]) == 2
    assert "gone.npy: no such file" in capsys.readouterr().err


def test_what_stands_beside_an_empty_word_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["images", "gone.jpg", "--paste", "--edit", "age=1", ""]) == 2
    assert "PATHS is empty" in capsys.readouterr().err
    assert run(["images", "gone.jpg", "--", ""]) == 2
    assert "PATHS is empty" in capsys.readouterr().err
