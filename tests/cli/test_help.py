"""Every help page shows two command lines that can be typed, and says what its words mean."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from dseinvert.cli.main import app, options_of_verbs, run
from dseinvert.cli.words import WORDS, words

ROOT_COMMAND: Any = typer.main.get_command(app)
VERBS = [verb for verb in options_of_verbs() if verb not in ("", "models", "directions")]


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run([*verb.split(), "--help"]) == 0
    return capsys.readouterr().out


def command_of(verb: str) -> Any:
    command = ROOT_COMMAND
    for word in verb.split():
        command = command.commands[word]
    return command


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_page_has_two_examples_that_can_be_typed(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = re.findall(r"^ *(dseinvert .*?) *$", help_of(verb, capsys), re.M)
    assert len(examples) >= 2
    for line in examples:
        _, *typed = shlex.split(line)
        count = len(verb.split())
        assert typed[:count] == verb.split()
        command_of(verb).make_context(verb, typed[count:])  # raises where it cannot be read


@pytest.mark.parametrize("verb", [verb for verb in VERBS if " " not in verb])
def test_the_words_of_a_help_page_are_explained_in_a_line_each(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of(verb, capsys).partition("Words:\n")[2].splitlines()
    assert told and all(len(line) <= 100 for line in told)
    assert all(line.split()[0] in WORDS for line in told if line)


def test_a_word_that_nobody_explained_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError):
        words("w++")


@pytest.mark.parametrize("verb", VERBS)
def test_no_line_of_a_help_page_is_wider_than_a_terminal(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in help_of(verb, capsys).splitlines() if len(line) > 80] == []
