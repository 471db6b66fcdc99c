"""The text at the head of a latent file: what all rows have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from dseinvert import names
from dseinvert.latent.words import Skip, Space

FORMAT = "dseinvert-latent-1"
_DIGITS = 4
"""Of the number of a layer."""


@dataclass(frozen=True)
class Header:
    """What `Latent` says of a whole batch; see there."""

    space: Space
    origin: Mapping[str, str] = field(default_factory=dict)
    layer: int | None = None
    skip: Skip = "keep"

    @classmethod
    def parse(cls, text: Mapping[str, str]) -> Header:
        """What `text` made; ValueError or KeyError where it did not make this."""
        skip = text.get("skip", "keep")
        if skip not in get_args(Skip):
            raise ValueError(f"unknown skip {names.brief(skip)}")
        layer = _layer(text["layer"]) if "layer" in text else None
        origin = names.table(names.json_value(text.get("origin", "{}")), names.text, names.text)
        return cls(text["space"], origin, layer, skip)  # type: ignore[arg-type]

    def text(self) -> dict[str, str]:
        """Ready for the metadata of a safetensors file."""
        text = {"format": FORMAT, "space": self.space, "origin": json.dumps(dict(self.origin))}
        return text if self.layer is None else {**text, "layer": str(self.layer), "skip": self.skip}


def _layer(word: str) -> int:
    """The number of a layer, from 1 on; ValueError for another word."""
    if not (word.isascii() and word.isdecimal() and len(word) <= _DIGITS and int(word)):
        raise ValueError(f"layer {names.brief(word)}")
    return int(word)


def is_latent(text: Mapping[str, str]) -> bool:
    """Whether a file with this header holds latents."""
    return text.get("format") == FORMAT and text.get("space") in get_args(Space)
