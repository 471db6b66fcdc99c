"""When an edit of a clip acts, and how strongly: spans, shots, and strengths that change."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from dseinvert.errors import UsageError
from dseinvert.names import suggested

Ease = Literal["linear", "in", "out", "in-out"]
Key = tuple[float, float]
"""Time and strength."""
FADE = 0.2
"""Seconds in which an edit that is held for a span comes and goes."""
EASES: dict[Ease, Callable[[float], float]] = {
    "linear": lambda share: share,
    "in": lambda share: share * share,
    "out": lambda share: share * (2 - share),
    "in-out": lambda share: share * share * (3 - 2 * share),
}
"""How far a strength has come when a share of the time between two keys is over."""
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)(s?)")
_SHOT = re.compile(r"shot(\d{1,4})")
_END = "end"
_WANTED = "a time is @1.5-4s, @0:01.5-0:04 or @4s-end, a shot @shot2"


@dataclass(frozen=True)
class Span:
    """A part of a clip."""

    start: Fraction
    """Seconds from its beginning."""
    stop: Fraction | None
    """None = where it ends."""

    def __str__(self) -> str:
        stop = _END if self.stop is None else f"{float(self.stop):g}s"
        return f"{float(self.start):g}{'s' * (self.stop is None)}-{stop}"


@dataclass(frozen=True)
class OneShot:
    """What lies between two cuts."""

    number: int
    """From 1."""

    def __str__(self) -> str:
        return f"shot{self.number}"


When = Span | OneShot


@dataclass(frozen=True)
class Moment:
    """Where in a clip a frame is."""

    time: float = 0.0
    """Seconds from the beginning of the clip."""
    shot: int = 1
    """The number of its shot, from 1."""
    through: float = 0.0
    """How much of its shot is over, from 0 to 1."""


@dataclass(frozen=True)
class Timing:
    """A strength that changes in time."""

    keys: tuple[Key, ...]
    """In order of their times, at least one; before the first and behind the last it stays."""
    ease: Ease = "linear"
    """How it goes from each key to the next."""
    shot: int | None = None
    """The times are shares of this shot, outside of which nothing acts. None = seconds."""

    def at(self, moment: Moment) -> float:
        """The strength."""
        if self.shot is not None and moment.shot != self.shot:
            return 0.0
        time = moment.time if self.shot is None else moment.through
        k = bisect_right([key[0] for key in self.keys], time)
        if k in (0, len(self.keys)):
            return self.keys[max(0, k - 1)][1]
        (before, first), (after, last) = self.keys[k - 1 : k + 1]
        return first + (last - first) * EASES[self.ease]((time - before) / (after - before))

    def share(self, moment: Moment) -> float:
        """How much of what is drawn to show, from 0 to 1: 0 where the strength rests at 0.

        It goes to 0 in FADE seconds, but for cuts, so that nothing pops there.
        """
        if self.shot is not None:
            return float(moment.shot == self.shot)
        inside = (min(moment.time - a, b - moment.time) for a, b in self._acting())
        return min(1.0, max(0.0, max(inside, default=0.0)) / FADE)

    def acts_in(self, start: float, stop: float) -> bool:
        """Whether it acts between two times, in seconds; one of a shot may."""
        if self.shot is not None:
            return True
        return any(a < stop and start < b for a, b in self._acting())

    def _acting(self) -> list[tuple[float, float]]:
        """From when until when the strength is not resting at 0, in seconds."""
        ends = [(float("-inf"), self.keys[0][1]), *self.keys, (float("inf"), self.keys[-1][1])]
        found: list[tuple[float, float]] = []
        for (start, first), (stop, last) in pairwise(ends):
            if first == last == 0:
                continue
            begun = found.pop()[0] if found and found[-1][1] == start else start
            found.append((begun, stop))
        return found


def parse_when(text: str, written: str) -> When:
    """What stands behind an @ and is no row: `1.5-4s`, `0:01.5-0:04`, `4s-end`, `shot2`.

    Args:
        text: the whole --edit, for the message.

    Raises:
        UsageError: none of these, or a span that ends before it begins.
    """
    shot = _SHOT.fullmatch(written)
    if shot is not None and int(shot[1]):
        return OneShot(int(shot[1]))
    first, dash, last = (part.strip() for part in written.partition("-"))
    marked = ":" in written or "s" in f"{first[-1:]}{last[-1:]}"
    start, stop = seconds(first), None if last == _END else seconds(last)
    if not dash or start is None or (stop is None and last != _END) or not marked:
        raise UsageError(f"--edit {text!r}: @{written}", _advice(written, start is not None))
    if stop is not None and stop <= start:
        raise UsageError(f"--edit {text!r}: @{written} ends before it begins")
    return Span(start, stop)


def seconds(text: str) -> Fraction | None:
    """`12.5`, `12.5s`, `1:02.5` or `1:00:02.5`; None = it is no time."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, rest, _ = match.groups("0")
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(rest)


def held(strength: float, when: When) -> Timing:
    """A strength for a while, which comes and goes in FADE seconds; at cuts, at once."""
    if isinstance(when, OneShot):
        return Timing(((0.0, strength), (1.0, strength)), shot=when.number)
    start, stop = float(when.start), None if when.stop is None else float(when.stop)
    fade = FADE if stop is None else min(FADE, (stop - start) / 4)
    begin: list[Key] = [(start, 0.0), (start + fade, strength)] if start else [(0.0, strength)]
    end: list[Key] = [] if stop is None else [(stop - fade, strength), (stop, 0.0)]
    return Timing((*begin, *end))


def ramp(text: str, first: float, last: float, when: When | None) -> Timing:
    """From one strength to another, which then stays; UsageError where it is not said when."""
    if isinstance(when, OneShot):
        return Timing(((0.0, first), (1.0, last)), shot=when.number)
    if when is None or when.stop is None:
        raise UsageError(f"--edit {text!r}: from {first:g} to {last:g} in which time?", _WANTED)
    return Timing(((float(when.start), first), (float(when.stop), last)))


def joined(text: str, timings: Iterable[Timing]) -> Timing:
    """One timing of several that follow each other: between them it goes as between keys.

    Raises:
        UsageError: they act at the same time, or some are of shots.
    """
    parts = sorted(timings, key=lambda timing: timing.keys)
    alike = all(one.shot is None and one.ease == parts[0].ease for one in parts)
    if not alike or any(a.keys[-1][0] > b.keys[0][0] for a, b in pairwise(parts)):
        raise UsageError(f"--edit {text!r}: the same direction twice at one time", "part the times")
    keys = [key for one in parts for key in one.keys]
    return Timing(tuple(dict.fromkeys(keys)), parts[0].ease)


def moments(times: Sequence[float], starts: Sequence[int]) -> list[Moment]:
    """Of each frame of a clip.

    Args:
        times: [F] seconds from its beginning.
        starts: places of the frames that begin a shot.
    """
    begins = sorted({0, *starts})
    ends = [*begins[1:], len(times)]
    found = []
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True), 1):
        length = max(times[end - 1] - times[begin], 1e-9) if end > begin else 1.0
        found += [Moment(t, number, (t - times[begin]) / length) for t in times[begin:end]]
    return found


def _advice(written: str, is_time: bool) -> str:
    if is_time and "s" in written:
        return f"from when until when: @{written.partition('-')[0]}-{_END}; {_WANTED}"
    if is_time:
        return f"seconds have an s: @{written}s; {_WANTED}"
    number = "".join(one for one in written if one.isdigit()).lstrip("0") or "1"
    return suggested(written, [f"shot{number}"], f"rows are @3 or @0-7, {_WANTED}")
