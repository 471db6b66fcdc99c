"""The model that a name, a folder or a checkpoint file means."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from dseinvert.cards import BUNDLED, CARD, DEFAULT, find
from dseinvert.generators import Generator
from dseinvert.models import cache, store
from dseinvert.models.folder import ModelRow, open_folder, row
from dseinvert.models.model import Model

_log = logging.getLogger(__name__)


def open_model(name_or_path: str = DEFAULT, device: str | torch.device = "cpu") -> Model:
    """Load a model by its name, folder or checkpoint file, ready for inference.

    Raises:
        UsageError: neither a known name, a folder nor a file.
        InputError: a checkpoint file that cannot be read, or holds no generator.
        MissingError: a folder whose files are absent, damaged or do not fit together.
    """
    model = open_folder(find_model(name_or_path), device)
    about = model.name, model.generator.family, model.generator.resolution, model.sha256[:16]
    _log.info("model: %s (%s, %d px, sha256 %s)", *about)
    _log.info("device: %s, backend: torch", device)
    return model


def load_generator(path: Path, device: str | torch.device = "cpu") -> Generator:
    """The generator of a model folder, a generator.safetensors inside one, or a checkpoint."""
    return open_model(str(path), device).generator


def find_model(name_or_path: str) -> Path:
    """The folder of a model. A checkpoint file is converted, once, and kept in the cache.

    Raises:
        UsageError: neither a known name, a folder nor a file.
        InputError: a checkpoint file that cannot be read, or holds no generator.
    """
    path = find(name_or_path)
    return path if (path / CARD).is_file() else cache.add(path).folder


def list_models() -> list[ModelRow]:
    """The models that can be named, the default one first."""
    bundled = [row(folder) for folder in (BUNDLED,) if (folder / CARD).is_file()]
    return [*bundled, *store.rows()]
