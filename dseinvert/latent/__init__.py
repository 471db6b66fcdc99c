"""The currency of dseinvert: a batch of latents, and its file, of pictures or of a whole clip."""

from dseinvert.latent.header import FORMAT, Header
from dseinvert.latent.latent import (
    Latent,
    concat,
    dumps,
    dumps_member,
    load_latent,
    same_every_time,
)
from dseinvert.latent.words import TUNING, LatentSpec, Skip, Space

__all__ = [
    "FORMAT",
    "TUNING",
    "Header",
    "Latent",
    "LatentSpec",
    "Skip",
    "Space",
    "concat",
    "dumps",
    "dumps_member",
    "load_latent",
    "same_every_time",
]
