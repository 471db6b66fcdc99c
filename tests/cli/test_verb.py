"""A verb is made from its options class, and says what it did in one way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from dseinvert.cli.verb import Done, verb
from dseinvert.errors import UsageError
from dseinvert.progress import Watcher
from dseinvert.written import ANY_RATE, BATCH, FACES, RATE, Edits, Option, Switch


@dataclass(frozen=True)
class ToyOptions:
    """A verb of every kind of option."""

    out: Path
    """Where to."""
    edits: Edits = ()
    """May be repeated."""
    batch: Annotated[int | None, BATCH] = None
    """At once; None = auto."""
    rate: Annotated[Fraction | None, RATE] = None
    """Frames a second. None = as they come."""
    speed: Annotated[Fraction, ANY_RATE] = Fraction(30)
    """Frames a second."""
    crf: Annotated[float | None, Option(least=0, most=63)] = None
    """Quality."""
    paste: Switch = False
    """A switch of its own."""
    align: bool = True
    """A switch with a counterpart."""
    widths: tuple[str, ...] = ()
    """May be repeated too."""
    hidden: int = 0
    """No option."""


def toy(**how: Any) -> tuple[typer.Typer, list[ToyOptions]]:
    app, seen = typer.Typer(rich_markup_mode=None, add_completion=False), []

    @app.command()
    @verb(ToyOptions, without={"hidden"}, **how)
    def draw(name: Annotated[str, typer.Argument()], options: ToyOptions) -> Done:
        """Draw it."""
        print("chatter")
        os.write(1, b"chatter from C\n")
        seen.append(options)
        return Done(lambda: {"name": name}, [f"drew {name}"], ["in a hurry"], code=len(name) - 3)

    return app, seen


def call(app: typer.Typer, *words: str) -> int:
    return int(app(list(words), standalone_mode=False) or 0)


def test_every_field_becomes_an_option_and_comes_back_as_its_own_type() -> None:
    app, seen = toy()
    words = ["cat", "--out", "o", "--edit", "a=1", "--edit", "b=2", "--batch", "7", "--rate"]
    words += ["30000/1001", "--speed", "25", "--crf", "9", "--paste", "--no-align"]
    assert call(app, *words, "--widths", "x") == 0
    rate, speed = Fraction(30000, 1001), Fraction(25)
    assert seen == [ToyOptions(Path("o"), ("a=1", "b=2"), 7, rate, speed, 9.0, True, False, ("x",))]


def test_what_is_not_typed_is_the_default_of_the_field() -> None:
    app, seen = toy()
    call(app, "cat", "--out", "o", "--batch", "auto")
    assert seen == [ToyOptions(Path("o"))]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "0"], "--batch '0' (auto, or a number from 1 to 4096)"),
        (["--rate", "1/0"], "--rate '1/0' (frames a second such as 25 or 30000/1001)"),
        (["--rate", "2000"], "--rate '2000' (frames a second such as 25 or 30000/1001)"),
        (["--speed", "x"], "--speed 'x': not a rate (such as 25 or 30000/1001)"),
    ],
)
def test_text_that_has_no_value_is_named_with_its_option(words: list[str], said: str) -> None:
    app, seen = toy()
    with pytest.raises(UsageError) as error:
        call(app, "cat", "--out", "o", *words)
    assert str(error.value) == said and not seen


def test_the_default_of_a_field_is_read_back_as_itself() -> None:
    for text, default in ((BATCH, None), (FACES, "largest"), (ANY_RATE, Fraction(30))):
        assert text.read("--x", str(text.write(default))) == default


def test_help_says_what_none_means_as_the_default_or_as_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for none_is_default in (True, False):
        call(toy(none_is_default=none_is_default)[0], "--help")
        told.append(" ".join(capsys.readouterr().out.split()))
    assert "Frames a second. [default: (as they come)]" in told[0]
    assert "Frames a second. None = as they come." in told[1]
    for words in told:
        assert "0<=x<=63" in words and "--no-paste" not in words and "--hidden" not in words
        assert "--align / --no-align" in words


def test_stdout_holds_the_result_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    app, _ = toy()
    call(app, "cat", "--out", "o", "--json")
    assert capfd.readouterr().out.split() == ["{", '"name":', '"cat"', "}"]
    call(app, "cat", "--out", "o")
    told = capfd.readouterr()
    assert told.out == "drew cat\n" and told.err.endswith("in a hurry\n")


def test_the_exit_code_is_that_of_what_was_done() -> None:
    app, _ = toy()
    assert call(app, "horse", "--out", "o") == 2


@pytest.mark.parametrize("quiet", [True, False])
def test_a_verb_that_names_a_watcher_gets_one_that_can_be_quiet(
    quiet: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    @verb(quiet="No progress.")
    def work(watcher: Watcher) -> Done:
        watcher.note("at it")
        return Done()

    call(app, *["-q"] * quiet)
    assert capfd.readouterr().err == ("" if quiet else "at it\n")
