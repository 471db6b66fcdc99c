"""What a program hands in, looked at where it comes in: another kind is one line with advice."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dseinvert.editing.grammar import check_person
from dseinvert.errors import InputError, UsageError
from dseinvert.written import SECONDS, When

_TOLERANCE = 1e-3
"""Of rounding, beyond -1 and 1."""
_SEEDS = 2**32


def expect(given: object, kind: type | tuple[type, ...], wanted: str, advice: str = "") -> None:
    """InputError where a value is of another kind than `kind`."""
    if not isinstance(given, kind):
        raise InputError(f"{wanted} is needed, not {_kind(given)}", advice)


def expect_text(name: str, given: object) -> None:
    """UsageError where an option is no text."""
    if not isinstance(given, str):
        raise UsageError(f"{name} {given!r}", "it is text, as on the command line")


def expect_images(images: Tensor, side: int) -> None:
    """InputError where they are not floats [B, 3, side, side] in [-1, 1], B at least 1."""
    wanted = f"images are floats [B, 3, {side}, {side}] in [-1, 1]"
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side) or len(images) == 0:
        raise InputError(f"{wanted}, not {list(images.shape)}")
    if not images.is_floating_point():
        raise InputError(f"{wanted}, not {images.dtype}", "images / 127.5 - 1")
    if not torch.isfinite(images).all():
        raise InputError(f"{wanted}, and these hold NaN or infinite numbers")
    low, high = (float(end) for end in torch.aminmax(images.detach()))
    if max(-low, high) > 1 + _TOLERANCE:
        raise InputError(f"{wanted}, and these reach from {low:g} to {high:g}", "clamp(-1, 1)")


def people_given(person: object) -> tuple[str, ...]:
    """One who is named, or several, as `--person` takes them; UsageError for what is nobody."""
    one = isinstance(person, str | int | Path) or not isinstance(person, Iterable)
    named = tuple(str(each) for each in ([person] if one else cast(Iterable[Any], person)))
    for who in named:
        check_person(who)
    return named


def seeds_of(seeds: object) -> list[int]:
    """How many from 0 on, or which -> each of them.

    Raises:
        UsageError: no seeds, or numbers that are none.
    """
    wanted = "how many, or a list of numbers from 0 to 4294967295"
    try:
        single = getattr(seeds, "ndim", 1) == 0 or not isinstance(seeds, Iterable)
        listed: Any = range(operator.index(cast(Any, seeds))) if single else seeds
        numbers = [operator.index(seed) for seed in listed]
    except TypeError as error:
        raise UsageError(f"seeds {seeds!r}", wanted) from error
    if not numbers or not all(0 <= number < _SEEDS for number in numbers):
        raise UsageError(f"seeds {seeds!r}", wanted)
    return numbers


def expect_number(name: str, given: object) -> None:
    """UsageError where an option is no finite number."""
    if not isinstance(given, int | float) or not math.isfinite(given):
        raise UsageError(f"{name} {given!r}", "a number")


def when_of(name: str, given: object) -> When | None:
    """Exact seconds from 0 on, or a timecode, as on the command line; None stays None.

    Raises:
        UsageError: neither.
    """
    if given is None or isinstance(given, str):
        return None if given is None else cast(When, SECONDS.read(name, given))
    if not isinstance(given, int | float | Fraction) or not 0 <= given < math.inf:
        raise UsageError(f"{name} {given!r}", SECONDS.wanted)
    return Fraction(given)


def _kind(given: object) -> str:
    return "None" if given is None else f"one of type {type(given).__name__}"
