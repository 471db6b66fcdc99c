"""The names of the spaces that latents are optimised in; `spaces` says what they are."""

from __future__ import annotations

from typing import Literal, get_args

SpaceName = Literal["z", "z+", "w", "w+", "f/w", "f/w+", "f/z", "f/z+"]
SPACES: tuple[SpaceName, ...] = get_args(SpaceName)
