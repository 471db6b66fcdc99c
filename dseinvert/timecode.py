"""Timecodes, `HH:MM:SS:FF` or of drop frames `HH:MM:SS;FF` (SMPTE ST 12-1): places by frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from dseinvert.errors import UsageError

_FORM = re.compile(r"(\d{1,2}):(\d\d):(\d\d)([:;.])(\d{2,3})")
WITHIN = re.compile(r"(?<![\d:;.])\d{1,2}:\d\d:\d\d[:;]\d{2,3}(?![\d:;.])")
"""One that stands in a longer text; with a point it would be a time."""


_SPAN = re.compile(rf"@(?:[^@,]*-)?{WITHIN.pattern}[^@,]*")
_FAR = 1_000_000  # seconds


@dataclass(frozen=True)
class Timecode:
    """The number of a frame as editors write it; at which time that is, only a rate tells."""

    hours: int
    minutes: int
    seconds: int
    mark: str
    """Before the frames: `:`, or `;` or `.` where some numbers are dropped."""
    frames: int

    def __str__(self) -> str:
        clock = f"{self.hours:02}:{self.minutes:02}:{self.seconds:02}"
        return f"{clock}{self.mark}{self.frames:02}"

    def count(self, rate: Fraction) -> int:
        """Frames since 00:00:00:00 at so many a second."""
        nominal, passed = round(rate), 60 * self.hours + self.minutes
        full = (60 * passed + self.seconds) * nominal + self.frames
        return full - _dropped(self.mark, rate) * (passed - passed // 10)

    def later(self, count: int, rate: Fraction) -> Timecode:
        """So many frames later."""
        nominal, dropped = round(rate), _dropped(self.mark, rate)
        count += self.count(rate)
        tens, rest = divmod(count, 600 * nominal - 9 * dropped)
        beyond = max(0, rest - dropped) // (60 * nominal - dropped)
        full, frames = divmod(count + dropped * (9 * tens + beyond), nominal)
        hours, full = divmod(full, 3600)
        return Timecode(hours % 24, full // 60, full % 60, self.mark, frames)


def read_timecode(text: str) -> Timecode | None:
    """None = it is none."""
    found = _FORM.fullmatch(text)
    if not found:
        return None
    return Timecode(int(found[1]), int(found[2]), int(found[3]), found[4], int(found[5]))


@dataclass(frozen=True)
class Clock:
    """What tells when in a clip a timecode is."""

    rate: Fraction
    """Frames a second."""
    first: str = ""
    """The timecode of the first frame; "" = the clip has none."""
    slack: Fraction = Fraction(0)
    """Seconds by which the time of a frame may be rounded."""

    def seconds(self, code: Timecode) -> Fraction:
        """From the beginning of the clip; a little early rather than late.

        It is counted from the timecode of the clip, or where it lies before that, from 0.

        Raises:
            UsageError: a frame that no second of the clip has.
        """
        nominal = round(self.rate)
        if code.frames >= nominal or code.seconds > 59 or code.minutes > 59:
            advice = f"frames go from 00 to {nominal - 1:02}, seconds and minutes to 59"
            raise UsageError(f"{code}: no timecode at {float(self.rate):g} frames a second", advice)
        if code.mark != ":" and nominal % 30:
            advice = f"write {str(code).replace(code.mark, ':')}"
            raise UsageError(f"{code}: {nominal} frames a second drop no numbers", advice)
        first, count = read_timecode(self.first), code.count(self.rate)
        begun = first.count(self.rate) if first else 0
        count -= begun if count >= begun else 0
        return max(Fraction(0), count / self.rate - self.slack)

    def told(self, text: str) -> str:
        """A timecode in seconds, as an --edit takes them."""
        code = read_timecode(text)
        assert code is not None
        return f"{float(self.seconds(code) + self.slack):.3f}".rstrip("0").rstrip(".") + "s"


def in_seconds(edit: str, clock: Clock | None) -> str:
    """An --edit with seconds in place of timecodes.

    clock: None = no clip is known yet, and spans of timecodes become any that follow each other.
    """
    if clock is not None:
        return WITHIN.sub(lambda found: clock.told(found[0]), edit)
    later = count(_FAR)
    return _SPAN.sub(lambda found: f"@{(k := next(later))}s-{k}.5s", edit)


def _dropped(mark: str, rate: Fraction) -> int:
    """How many numbers the first second of nine minutes in ten lacks."""
    return 2 * round(rate) // 30 if mark != ":" else 0
