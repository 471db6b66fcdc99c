"""Empty words, as of a variable of a script that is not set: they would mean the current folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dseinvert.errors import UsageError


def check_not_empty(arguments: Sequence[str], program: Callable[[], Any]) -> None:
    """UsageError for an empty word, but where that is what an option or argument is without it.

    `program` gives the command with its verbs, as typer makes it.
    """
    if not any(not word or word.endswith("=") for word in arguments):
        return
    verb, rest = _verb(arguments, program())
    for name, default in _empty(rest, verb):
        if default != "":
            raise UsageError(f"{name} is empty", "is a variable not set?")


def _verb(arguments: Sequence[str], command: Any) -> tuple[Any, Sequence[str]]:
    """The verb that is called, and the words behind its name."""
    for place, word in enumerate(arguments):
        if not word.startswith("-"):
            inside = getattr(command, "commands", {}).get(word)
            return (command, ()) if inside is None else _descended(inside, arguments[place + 1 :])
    return command, ()


def _descended(command: Any, rest: Sequence[str]) -> tuple[Any, Sequence[str]]:
    return _verb(rest, command) if hasattr(command, "commands") else (command, rest)


def _empty(words: Sequence[str], verb: Any) -> Iterator[tuple[str, Any]]:
    """The names and defaults of what is given an empty word."""
    options = {name: one for one in verb.params for name in (*one.opts, *one.secondary_opts)}
    places = [one for one in verb.params if one.param_type_name == "argument"]
    left = iter(words)
    for word in left:
        name, joined, value = word.partition("=")
        option = options.get(name)
        if option is None or option.param_type_name == "argument":
            if not word and places:
                yield places[0].name.upper(), places[0].default
            places = places[1:] if len(places) > 1 else places
        elif joined:
            if not value:
                yield name, option.default
        elif not getattr(option, "is_flag", False):
            given = [next(left, None) for _ in range(option.nargs)]
            if "" in given:
                yield name, option.default
