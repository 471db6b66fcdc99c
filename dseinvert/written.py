"""How the field of an options class is written on a command line, where its type does not tell.

Both classes stand in the `Annotated` type of a field; `dseinvert.cli.options` reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal

from dseinvert.errors import UsageError
from dseinvert.names import suggested
from dseinvert.timecode import WITHIN, Timecode, read_timecode

BLEND_WORDS = ("moved", "difference")
When = Fraction | Timecode
"""Seconds from the beginning of a clip, or a frame of it."""
REGIONS = ("mouth", "eyes", "hair", "skin")
"""Of a face, that `--region` takes."""
BACKENDS = ("auto", "torch", "onnx", "openvino", "tensorrt")
"""What `--backend` takes."""
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Option:
    """Name and limits of an option."""

    name: str = ""
    """With its dashes; "" = as its field."""
    also: str = ""
    """A second name, with its dashes; "" = there is none."""
    alone: bool = False
    """Of a switch: whether there is no --no-NAME beside it."""
    least: float | None = None
    """None = no limit."""
    most: float | None = None
    """None = no limit."""


@dataclass(frozen=True)
class Text:
    """An option whose text is parsed here, and not by its type."""

    parse: Callable[[str], Any] = str
    """Raises ValueError or ZeroDivisionError for text that it cannot take."""
    wanted: str = ""
    """What the user is told to write instead."""
    wrong: str = "{option} {text!r}"
    """What is said of such text."""
    none: str = ""
    """The word for None; "" = there is none."""
    words: tuple[str, ...] = ()
    """Those it may be, of which one is suggested for a text that is like it."""
    also: Mapping[str, str] = field(default_factory=dict)
    """The word that is meant by one that is often typed."""

    def read(self, option: str, text: str) -> Any:
        """The value of `text`; UsageError, which names `option`, where it has none."""
        if self.none and text == self.none:
            return None
        try:
            return self.parse(text)
        except (ValueError, ZeroDivisionError) as error:
            advice = suggested(self.also.get(text, text), self.words, self.wanted)
            raise UsageError(self.wrong.format(option=option, text=text), advice) from error

    def write(self, value: Any) -> str | None:
        """A default as text; None = nothing is written for it."""
        return (self.none or None) if value is None else str(value)


def _bits(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    bits = round(float(found[1]) * {"": 1, "k": 1e3, "M": 1e6}[found[2]]) if found else 0
    if bits < 1:
        raise ValueError(text)
    return bits


def _number(text: str, least: int, most: int | None = None) -> int:
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        raise ValueError(text)
    return int(text)


def _faces(text: str) -> Literal["largest", "all"] | int:
    return text if text in ("largest", "all") else _number(text, 1)  # type: ignore[return-value]


def _rotate(text: str) -> Literal["auto", 0, 90, 180, 270]:
    if text not in ("auto", "0", "90", "180", "270"):
        raise ValueError(text)
    return "auto" if text == "auto" else int(text)  # type: ignore[return-value]


def _smooth(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not 0 <= float(text) <= 1:
        raise ValueError(text)
    return float(text)


def _seconds(text: str) -> When:
    """`12.5`, `1:02.5`, `1:00:02.5` or a timecode, `01:00:02:12`."""
    code = read_timecode(text) if WITHIN.fullmatch(text) else None
    if code is not None:
        return code
    match = _CLOCK.fullmatch(text)
    if not match:
        raise ValueError(text)
    hours, minutes, rest = match.groups("0")
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(rest)


def _vector(text: str) -> tuple[float, float]:
    """`0.3,-1`."""
    x, y = map(float, text.split(","))
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(text)
    return x, y


def _frame_rate(text: str) -> Fraction:
    """`25`, `29.97` or `30000/1001`."""
    if not 0 < Fraction(text) <= 1000:
        raise ValueError(text)
    return Fraction(text)


def _paste(text: str) -> Literal["difference", "replace"]:
    if text not in ("difference", "replace"):
        raise ValueError(text)
    return text  # type: ignore[return-value]


def _blend(text: str) -> str:
    if text not in BLEND_WORDS:
        raise ValueError(text)
    return text


def _workers(text: str) -> str:
    found = re.fullmatch(r"auto|(\d{1,4})(?:\.\.(\d{1,4}))?", text)
    if not found or not 1 <= int(found[1] or 1) <= int(found[2] or found[1] or 1):
        raise ValueError(text)
    return text


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise ValueError(text)
    return text


def _backend(text: str) -> str:
    if text not in BACKENDS:
        raise ValueError(text)
    return text


def regions_of(text: str) -> list[str]:
    """`mouth,eyes` -> both; UsageError for one that is not known."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in REGIONS:
            advice = suggested(name, REGIONS, f"{', '.join(REGIONS)}, several with commas")
            raise UsageError(f"--region {text}", advice)
    return names


BATCH = Text(lambda text: _number(text, 1, 4096), "auto, or a number from 1 to 4096", none="auto")
GAN_TOO = Option(also="--gan")
LABEL = Text(lambda text: _number(text, 0), "auto, or the number of a class", none="auto")
FACES = Text(_faces, "largest, all, or a number from 1 on", words=("largest", "all"))
VECTOR = Text(_vector, "two numbers, as 0.3,-1")
ROTATE = Text(_rotate, "auto, 0, 90, 180 or 270")
DEVICE = Text(
    _device,
    "auto, cpu, cuda or cuda:N",
    words=("auto", "cpu", "cuda"),
    also=dict.fromkeys(("gpu", "GPU", "nvidia", "0"), "cuda"),
)
WORKERS = Text(_workers, "auto, a number from 1 on, or MIN..MAX of --engine ray", words=("auto",))
BACKEND = Text(_backend, f"one of {', '.join(BACKENDS)}", words=BACKENDS)
SMOOTH = Text(_smooth, "auto, or a number from 0 to 1")
SECONDS = Text(_seconds, "seconds such as 12.5, H:MM:SS or HH:MM:SS:FF")
STILLS = Text(
    lambda text: tuple(_seconds(one.strip()) for one in text.split(",")),
    "seconds such as 12.5, H:MM:SS or HH:MM:SS:FF, several with commas",
)
RATE = Text(_frame_rate, "frames a second such as 25 or 30000/1001")
BITRATE = Text(_bits, "bits a second such as 800k or 4M")
ANY_RATE = Text(Fraction, "such as 25 or 30000/1001", wrong="{option} {text!r}: not a rate")
BLEND = Text(_blend, "moved or difference", words=BLEND_WORDS)
PASTE = Text(_paste, "difference or replace", words=("difference", "replace"))
WIDTHS = Text(
    lambda text: tuple(int(part) for part in text.split(",")),
    "give whole numbers with commas between",
    wrong="{option} {text}",
)
UNCHECKED = Text()
"""As it is written: whoever uses it says what is wrong with it."""

Device = Annotated[str, DEVICE]
Backend = Annotated[str, BACKEND]
Switch = Annotated[bool, Option(alone=True)]
Edits = Annotated[tuple[str, ...], Option("--edit")]
Rotate = Annotated[Literal["auto", 0, 90, 180, 270], ROTATE]
"""Degrees clockwise that set a photo upright; auto = as its faces tell."""
