"""The pages: jinja2 templates in one frame, self-contained, in which no other script can run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dseinvert.names import seen

_HERE = Path(__file__).parent
_PAGES = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: seen(value) if type(value) is str else value,
)
_IMAGES = "img-src data: file: 'self'"  # file: for browsers whose 'self' is not the folder


def page(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The page `name`, piece by piece, so that a long one costs no memory.

    Values are escaped wherever they stand, and what hides in them is shown.

    Raises:
        jinja2.UndefinedError: one is missing.
    """
    script = _part(f"{name}.js")
    own = {
        "style": _part("frame.css") + _part(f"{name}.css"),
        "script": script,
        "policy": _policy(script),
    }
    return _PAGES.get_template(f"{name}.html").generate({**values, **own})


def page_bytes(name: str, values: Mapping[str, Any]) -> bytes:
    """All of a page."""
    return encoded("".join(page(name, values)))


def encoded(text: str) -> bytes:
    """UTF-8, with what it cannot say as escapes."""
    return text.encode(errors="backslashreplace")


def data_uri(kind: str, data: bytes) -> str:
    """The bytes of a picture file of a `kind`, "png" or "jpeg", as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _part(file: str) -> Markup:
    """The text of a file here, as it stands; empty where there is none."""
    path = _HERE / file
    return Markup(path.read_text("utf-8") if path.exists() else "")


def _policy(script: str) -> Markup:
    """What a browser may do with a page: show pictures and styles, and run this one script."""
    rules = [
        *("default-src 'none'", "base-uri 'none'", "form-action 'none'"),
        *(_IMAGES, "style-src 'unsafe-inline'"),
    ]
    if script:
        digest = hashlib.sha256(script.encode()).digest()
        rules.append(f"script-src 'sha256-{base64.b64encode(digest).decode()}'")
    return Markup("; ".join(rules))
