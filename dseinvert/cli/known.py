"""What the card of a model says about a command line, before its networks are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dseinvert.cards import CARD, direction_names, find, read_card
from dseinvert.editing.grammar import CLASS, check_name, parts_of
from dseinvert.errors import UsageError
from dseinvert.names import suggested


def check_model(name: str) -> Path | None:
    """The folder of a model; None = it is a checkpoint, of which nothing is known yet.

    Raises:
        UsageError: there is no such model. MissingError: its card is damaged.
    """
    path = find(name)
    if not (path / CARD).is_file():
        return None
    read_card(path)
    return path


def check_edits(model: str, texts: Sequence[str]) -> None:
    """UsageError where an --edit names what the model does not have."""
    names = [(text, part.name) for text in texts for part in parts_of(text)]
    _check(model, names, check_name)


def check_strips(model: str, texts: Sequence[str]) -> None:
    """The same of --edit NAME."""
    _check(model, [(text, text.strip().partition("@")[0]) for text in texts], check_name)


def check_directions(model: str, names: Iterable[str]) -> None:
    """UsageError where the model has no direction of a name."""
    _check(model, [("", name) for name in names], _check_plain(model))


def _check(
    model: str, names: Sequence[tuple[str, str]], refuse: Callable[[str, str, list[str]], None]
) -> None:
    folder = check_model(model)
    if folder is None:
        return
    known = direction_names(folder) if names else []
    for text, name in names:
        if name != CLASS:
            refuse(text, name, known)


def _check_plain(model: str) -> Callable[[str, str, list[str]], None]:
    def refuse(_: str, name: str, known: list[str]) -> None:
        if name not in known:
            names = f"it has: {', '.join(known) or 'none'}"
            raise UsageError(f"{model} has no direction {name!r}", suggested(name, known, names))

    return refuse
