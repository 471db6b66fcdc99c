"""The pages' parts: one frame around each, self-contained, with places that are filled by name."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

_HERE = Path(__file__).parent
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def template(name: str) -> str:
    """The page `name`, in the frame, with its places still open."""
    own = {"style": part("frame.css"), "page": part(f"{name}.html").rstrip()}
    return _PLACE.sub(lambda place: own.get(place[1], place[0]), part("frame.html"))


def part(file: str) -> str:
    """The text of a file here."""
    return (_HERE / file).read_text("utf-8")


def filled(text: str, values: Mapping[str, str]) -> str:
    """Each {{place}} of `text` with its value, as it stands; places in a value stay as they are.

    Raises KeyError for a place without a value.
    """
    return _PLACE.sub(lambda place: values[place[1]], text)


def data_uri(kind: str, data: bytes) -> str:
    """The bytes of a picture file of a `kind`, "png" or "jpeg", as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def listed(facts: Mapping[str, str]) -> str:
    """The rows of a <dl>."""
    return "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()
    )
