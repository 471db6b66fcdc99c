"""What a user names with --model: a generator, its encoder, its directions, in one folder."""

from dseinvert.cards import FORMAT, home
from dseinvert.models.cache import add
from dseinvert.models.device import pick_device
from dseinvert.models.find import find_model, list_models, load_generator, open_model
from dseinvert.models.folder import (
    ModelRow,
    describe,
    generator_sha256,
    save_model,
    verify,
)
from dseinvert.models.model import Model
from dseinvert.models.store import Added, remove

__all__ = [
    "FORMAT",
    "Added",
    "Model",
    "ModelRow",
    "add",
    "describe",
    "find_model",
    "generator_sha256",
    "home",
    "list_models",
    "load_generator",
    "open_model",
    "pick_device",
    "remove",
    "save_model",
    "verify",
]
