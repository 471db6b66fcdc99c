"""The currency of dseinvert: a batch of latents, and its file, of pictures or of a whole clip."""

from dseinvert.latent.file import dumps, load_latent, same_every_time, save_latent
from dseinvert.latent.header import FORMAT, Header
from dseinvert.latent.latent import TUNING, Latent, LatentSpec, Skip, Space, concat

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
    "load_latent",
    "same_every_time",
    "save_latent",
]
