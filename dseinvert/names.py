"""What may come out of a file that a stranger wrote: names, and the plain values beside them.

Those that check a value give it back, or raise ValueError with one line that says what is wrong.
"""

from __future__ import annotations

import difflib
import errno
import json
import math
import os
import re
import reprlib
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

LONGEST = 200
"""Characters of a name."""
LONGEST_JSON = 8 << 20
"""Bytes of one value: Python makes some thirty times as much of a list of lists."""
_DEEPEST = 64
_LARGEST = 2**63
_MOST_SIDES = 16
_LONGEST_FILE = 255  # bytes, on every common file system
_WORD = re.compile(r"\w(?:[\w.+@,= -]*[\w.+@,=-])?")
UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f"
)
"""In a class of a regular expression: what controls, turns the writing round, or shows nothing.

Not the joiners U+200C and U+200D, without which some scripts and emoji are misspelt.
"""
_UNSEEN = re.compile(f"[{UNSEEN}]")
_NOT_IN_FILE = re.compile(rf'[{UNSEEN}<>:"/\\|?*]')
Key = TypeVar("Key")
Value = TypeVar("Value")


def open_regular(path: Path) -> BinaryIO:
    """A file to be read, also by a link: a pipe or a device might never end, nor even open.

    Raises:
        OSError: it is not a regular file, or cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    said = os.strerror(number) if stat.S_ISDIR(mode) else "not a regular file"
    raise OSError(number, said, str(path))


def read_regular(path: Path) -> bytes:
    """All bytes of such a file; raises as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def json_value(data: bytes | str) -> Any:
    """What JSON says; ValueError where it is long or deep beyond all that we write."""
    if len(data) > LONGEST_JSON:
        raise ValueError(f"JSON of more than {LONGEST_JSON >> 20} MiB")
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    if _opened(data) > _DEEPEST and _depth(value) > _DEEPEST:
        raise ValueError("JSON that is nested too deeply")
    return value


def _opened(data: bytes | str) -> int:
    """Brackets that open: the depth is at most their number."""
    if isinstance(data, str):
        return data.count("[") + data.count("{")
    return data.count(b"[") + data.count(b"{")


def _depth(value: Any) -> int:
    """Of lists and tables in each other, as far as matters."""
    here, depth = [value], 0
    while here and depth <= _DEEPEST:
        inner = [one for one in here if isinstance(one, dict | list)]
        here = [v for one in inner for v in (one.values() if isinstance(one, dict) else one)]
        depth += bool(inner)
    return depth


def word(value: Any) -> str:
    """A name of a model, a direction, an edit or a metric.

    It begins with a letter or a digit, and letters, digits, spaces and `. _ - + @ , =` may follow:
    nothing that means something in a path, a page or a terminal.
    """
    if not isinstance(value, str) or len(value) > LONGEST or not _WORD.fullmatch(value):
        raise ValueError(f"not a name: {brief(value)}")
    return value


def file_name(value: Any) -> str:
    """A name of a file in a folder that is known: no separators, no dot first, no control codes."""
    if not isinstance(value, str) or not value or value[0] == "." or _NOT_IN_FILE.search(value):
        raise ValueError(f"not a plain file name: {brief(value)}")
    if len(os.fsencode(value)) > _LONGEST_FILE:
        raise ValueError(f"a file name of more than {_LONGEST_FILE} bytes: {brief(value)}")
    return value


def text(value: Any) -> str:
    """Any text without NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"not a text: {brief(value)}")
    return value


def number(value: Any) -> float:
    """A finite number; an int stays one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a finite number: {brief(value)}")
    if not abs(value) < (_LARGEST if isinstance(value, int) else math.inf):
        raise ValueError(f"not a finite number: {brief(value)}")
    return value


def count(value: Any) -> int:
    """A whole number from 0 on, of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
        raise ValueError(f"not a count: {brief(value)}")
    return value


def shape(value: Any) -> tuple[int, ...]:
    """The shape of a tensor."""
    if not isinstance(value, list) or len(value) > _MOST_SIDES:
        raise ValueError(f"not a shape: {brief(value)}")
    return tuple(count(side) for side in value)


def each(value: Any, of: Callable[[Any], Value]) -> list[Value]:
    """A list of such values."""
    if not isinstance(value, list):
        raise ValueError(f"not a list: {brief(value)}")
    return [of(one) for one in value]


def table(value: Any, key: Callable[[Any], Key], of: Callable[[Any], Value]) -> dict[Key, Value]:
    """A mapping of such keys to such values."""
    if not isinstance(value, dict):
        raise ValueError(f"not a table: {brief(value)}")
    return {key(name): of(one) for name, one in value.items()}


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known name that `name` is most likely meant for, whatever its case; "" = none is like it.

    `cutoff` is the least likeness, from 0 to 1.
    """
    by_folded = {one.casefold(): one for one in known}
    begun = [one for one in by_folded if len(name) > 2 and one.startswith(name.casefold())]
    if len(begun) == 1:
        return by_folded[begun[0]]
    found = difflib.get_close_matches(name.casefold(), by_folded, 1, cutoff)
    return by_folded[found[0]] if found else ""


def suggested(name: str, known: Iterable[str], advice: str) -> str:
    """The advice about an unknown name, after the known one that is like it."""
    like = nearest(name, known)
    return f"did you mean {like}? {advice}" if like else advice


def counted(number: int, noun: str) -> str:
    """`1 face`, `2 faces`, `2 latent files`; the noun is one that only takes an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """`text` as one line that no terminal obeys: what cannot be printed is written as \\x1b is."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def seen(text: str) -> str:
    """`text` with what hides in it, or turns it round, written as \\u202e is; its lines stay."""
    return _UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    one = found[0]
    return one if one in "\n\t" else one.encode("unicode_escape").decode()


def brief(value: Any) -> str:
    """Any value on one short line, for a message."""
    try:
        return reprlib.repr(value)[:80]
    except ValueError:  # the digits of a number without end
        return f"a {type(value).__name__}"
