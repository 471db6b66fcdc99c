"""How an error is told: one line with what, where and what next, and the exit code."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dseinvert.errors import DeviceError, DseInvertError, ExitCode
from dseinvert.names import nearest, printable, suggested

Options = Mapping[str, Sequence[str]]
"""The options of each verb, by its name: "images", "models show"."""
_VALUE = re.compile(r"Invalid value for '([^']+)': (?:Value error, )?(.*)")
_WORDS = re.compile(r"'(.*)' is not one of (.*)")
_LIMITS = {
    "less than or equal to": "at most",
    "greater than or equal to": "at least",
    "a valid integer": "a whole number",
    "a valid number": "a number",
}
"""What typer says a value should be, and how it is told here."""
_NO_OPTION = re.compile(r"No such option: ([^\s(]+)")
_NEEDS = re.compile(r"Option '([^']+)' requires an argument")
_NO_COMMAND = re.compile(r"No such command '(.*?)'")
_EXAMPLES = {"--out": "such as --out latents; ", "--on": "a folder of photos; "}
_MISSING = re.compile(r"Missing (?:option|argument) '([^']+)'")


def told(error: Exception, arguments: Sequence[str], options: Callable[[], Options]) -> str:
    """What is said of an error, in one line.

    Args:
        error: any that ended a command.
        arguments: the command's words.
        options: gives those of each verb.
    """
    if is_bug(error):
        line = f"unexpected {type(error).__name__}: {error} (this is a bug; -v shows the traceback)"
    elif isinstance(error, DseInvertError):
        line = str(error)
    elif isinstance(error, OSError):
        line = f"{printable(str(error.filename))}: file name too long (choose a shorter name)"
    elif isinstance(error, MemoryError):
        line = "out of memory (free some, or give fewer or smaller images)"
    else:
        line = _usage(error, arguments, options())
    return " ".join(line.split())


def code_of(error: Exception) -> int:
    """The exit code that an error ends with."""
    if is_bug(error):
        return ExitCode.SOME_FAILED
    if isinstance(error, DseInvertError):
        return error.exit_code
    return ExitCode.RESOURCES if isinstance(error, MemoryError) else ExitCode.USAGE


def another_tells(error: Exception) -> bool:
    """Whether this process is one of several that torchrun started and meets what all meet.

    The first on each machine tells it; a GPU and a mistake of ours are a process's own.
    """
    follows = os.environ.get("LOCAL_RANK", "0") not in ("", "0")
    return follows and not is_bug(error) and not isinstance(error, DeviceError)


def is_bug(error: Exception) -> bool:
    """Whether no user can cause it. Typer's own, whose class has no public name, users can."""
    ours = isinstance(error, (DseInvertError, MemoryError)) or _is_long_name(error)
    return not ours and not hasattr(error, "format_message")


def _is_long_name(error: Exception) -> bool:
    """Whether a name was given that no file system takes: any look at the path raises it."""
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def verb_of(arguments: Sequence[str], options: Options) -> str:
    """The verb that a command begins with: "images", "models show"; "" = none that is known."""
    words = [word for word in arguments if not word.startswith("-")]
    names = (" ".join(words[:count]) for count in (2, 1))
    return next((name for name in names if name in options), "")


def _usage(error: Any, arguments: Sequence[str], options: Options) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    verb = verb_of(arguments, options)
    see = f"see {' '.join(filter(None, ('dseinvert', verb)))} --help"
    if found := _VALUE.fullmatch(message):
        what, wanted = _value(found[1], found[2], arguments)
        return f"{what} ({wanted}; {see})"
    if found := _NO_OPTION.match(message):
        what = f"{verb} has no {found[1]}" if verb else f"there is no {found[1]}"
        if file := _file(found[1], arguments):
            return f"{what} ({file} is a file: write ./{file}, and ./* in place of *; {see})"
        meant = _doubled(found[1], arguments, options.get(verb, ()))
        return f"{what} ({meant or _option(found[1], verb, options)}{see})"
    if found := _NEEDS.fullmatch(message):
        return f"{found[1]} needs a value, and none is given ({see})"
    if found := _MISSING.match(message):
        return f"{_shouted(found[1])} is missing ({_EXAMPLES.get(found[1], '')}{see})"
    if found := _NO_COMMAND.match(message):
        return f"{_no_verb(found[1], verb, options)} {see})"
    return f"{message} ({see})"


def _value(option: str, said: str, arguments: Sequence[str]) -> tuple[str, str]:
    """`--crf 99` and what it should be."""
    name = option.split(" / ")[0]
    if words := _WORDS.fullmatch(said):
        known = re.findall(r"'([^']*)'", words[2])
        return f"{name} {words[1]!r}", suggested(words[1], known, f"one of {', '.join(known)}")
    given = _given(name, arguments)
    wanted = said.removeprefix("Input should be ").partition(", ")[0]
    for theirs, ours in _LIMITS.items():
        wanted = wanted.replace(theirs, ours)
    what = " ".join(filter(None, (name, given)))
    return (what, f"write {given.replace(',', '.')}") if _has_comma(given) else (what, wanted)


def _shouted(name: str) -> str:
    """An argument as help shows it; options stay as they are."""
    return name if name.startswith("-") else name.upper()


def _no_verb(name: str, parent: str, options: Options) -> str:
    """What there is in place of a verb that there is not."""
    within = [path for path in options if path and path.rpartition(" ")[0] == parent]
    verbs = [path.split()[-1] for path in within]
    if Path(name).exists():
        return f"{name!r} is no verb (dseinvert images {name} --out latents inverts photos;"
    like = nearest(name, verbs)
    advice = f"did you mean {like}?" if like else f"there are: {', '.join(verbs)};"
    return f"no verb {name!r} ({advice}"


def _has_comma(text: str) -> bool:
    return re.fullmatch(r"'[+-]?\d+,\d+'", text) is not None


def _given(option: str, arguments: Sequence[str]) -> str:
    """The value that an option was given, quoted; "" = it is not found."""
    for place, word in enumerate(arguments):
        if word.startswith(f"{option}="):
            return repr(word.partition("=")[2])
        if word == option and place + 1 < len(arguments):
            return repr(arguments[place + 1])
    return ""


def _file(option: str, arguments: Sequence[str]) -> str:
    """The file that was taken for an option, as a star finds one called -a.jpg; "" = none was."""
    alike = (word for word in arguments if word.startswith(option))
    return next((word for word in alike if Path(word).is_file()), "")


def _doubled(name: str, arguments: Sequence[str], known: Sequence[str]) -> str:
    """`-out`, of which the parser takes the first letter: what it lacks is a dash."""
    written = (f"-{one.partition('=')[0]}" for one in arguments if one.startswith(name))
    like = next((one for one in written if one in known), "")
    return f"did you mean {like}? " if like else ""


def _option(name: str, verb: str, options: Options) -> str:
    """What may have been meant by an option that a verb does not have."""
    if like := nearest(name, options.get(verb, ()), 0.7):
        return f"did you mean {like}? "
    having = [other for other, known in options.items() if name in known]
    return f"it is an option of {', '.join(having[:4])}; " if having else ""
