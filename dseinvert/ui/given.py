"""What a page sends, looked at where it comes in, and what goes back besides JSON."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dseinvert.errors import UsageError
from dseinvert.media.images import encode_jpeg, encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.names import LONGEST, UNSEEN, brief, number, printable
from dseinvert.run.flow.names import safe_stem

Asked = Mapping[str, Any]
"""The JSON object that a page sends."""
_LARGEST = 1280


@dataclass(frozen=True)
class Download:
    """A file for whoever looks at the page, which is never on the server's disk."""

    name: str
    data: bytes


def dropped(name: str) -> str:
    """The name of a file that was dropped: no folder, no option, nothing that hides."""
    last = re.sub(f"[{UNSEEN}\ud800-\udfff]", "_", re.split(r"[/\\]", name)[-1])[:LONGEST]
    return f"./{last}" if last[:1] in ("-", "@") else last or "dropped"


def placed(name: str) -> str:
    """The same, as any file system takes it."""
    path = Path(dropped(name))
    suffix = path.suffix if path.suffix[1:].isalnum() and len(path.suffix) < 9 else ""
    return safe_stem(path).lstrip("-@") + suffix


def text(asked: Asked, name: str, default: str = "") -> str:
    """A word that was sent; UsageError where it is none."""
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"{printable(name)[:80]} {brief(value)}", "it is text")
    return value.strip()


def real(asked: Asked, name: str, default: float = 0.0) -> float:
    """A finite number that was sent; UsageError where it is none."""
    try:
        return float(number(asked.get(name, default)))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{printable(name)[:80]} {brief(asked.get(name))}", "a number") from error


def table(asked: Asked, name: str) -> Asked:
    """An object that was sent, {} where none was; UsageError for anything else."""
    value = asked.get(name) or {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{printable(name)[:80]} {brief(value)}", "an object")
    return value


def rows(asked: Asked, name: str) -> list[Any]:
    """A list that was sent, [] where none was; UsageError for anything else."""
    value = asked.get(name) or []
    if not isinstance(value, list):
        raise UsageError(f"{printable(name)[:80]} {brief(value)}", "a list")
    return value


def edits_text(strengths: Mapping[str, Any]) -> str:
    """{"age": 2, "smile": "auto", "hair": 0} -> "age=+2,smile=auto"."""
    words = {name: _strength(name, value) for name, value in strengths.items()}
    return ",".join(f"{name}={word}" for name, word in words.items() if word)


def _strength(name: str, value: Any) -> str:
    if value in ("auto", "auto+", "auto-"):
        return str(value)
    strength = real({name: value}, name)
    return f"{strength:+.4g}" if strength else ""


def small(pixels: Pixels) -> Pixels:
    """A picture [H, W, 3] as large as the page shows it: at most 1280 px wide or high."""
    share = _LARGEST / max(pixels.shape[:2])
    if share >= 1:
        return pixels
    size = [max(1, round(side * share)) for side in pixels.shape[1::-1]]
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def shown_small(pixels: Pixels) -> str:
    """A picture [H, W, 3] as a data URL: a crop as it is, a photo at most 1280 px wide or high."""
    if max(pixels.shape[:2]) <= 512:
        return _url("png", encode_png(pixels))
    return _url("jpeg", encode_jpeg(small(pixels)))


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
