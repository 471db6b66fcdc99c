"""The models of this machine: what each has and what it lacks, more of them, and its directions."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from dseinvert import models
from dseinvert.api import Gan, load
from dseinvert.cards import DIRECTIONS, ENCODER
from dseinvert.config import DirectionsOptions, PreviewOptions
from dseinvert.errors import DseInvertError, UsageError
from dseinvert.media.photo import open_photo
from dseinvert.models import registry
from dseinvert.models.model import Model
from dseinvert.progress import SILENT
from dseinvert.run.directions.change import preview
from dseinvert.run.directions.learn import learn
from dseinvert.ui.given import Asked, real, shown_small, text

gan_of = lru_cache(maxsize=2)(load)
"""A model, loaded once for all sessions."""


def listed() -> dict[str, Any]:
    """The models that are here, and those to be had."""
    here = [_row(row) for row in models.list_models()]
    return {"here": here, "published": [asdict(row) for row in registry.rows()]}


def told(gan: Gan, model: str) -> dict[str, Any]:
    """What the page shows of the model in use; `model` is how it is named."""
    return {"name": model, "repr": repr(gan), "directions": gan.directions}


def add(asked: Asked) -> dict[str, Any]:
    """Convert a file or folder of this machine; or, named `pull`, download a published model."""
    if name := text(asked, "pull"):
        added = registry.pull(name, lambda here, whole: None)
    else:
        if not text(asked, "path"):
            raise UsageError("no file is named", "a checkpoint of this machine")
        path = Path(text(asked, "path")).expanduser()
        added = models.add(path, text(asked, "name"), _whose(text(asked, "gan")))
    return {"said": "; ".join([f"{added.name} is here", *added.notes])}


def learned(asked: Asked) -> dict[str, Any]:
    """Find directions of a model without labels, for the model or a copy of it."""
    options = DirectionsOptions(
        method=text(asked, "method", "sefa"),  # type: ignore[arg-type]
        model=text(asked, "model", "default"),
        copy=text(asked, "copy") or None,
        count=int(real(asked, "count", 5)),
    )
    if options.method not in ("sefa", "ganspace"):
        raise UsageError(f"method {options.method!r}", "here: sefa or ganspace")
    given = learn(options, SILENT)
    gan_of.cache_clear()
    return {"said": f"{given.model} has {', '.join(one.name for one in given.directions)}"}


def previewed(asked: Asked, folder: Path) -> dict[str, Any]:
    """A strip of pictures of one direction, of two samples."""
    options = PreviewOptions(folder, model=text(asked, "model", "default"), seeds="0-1")
    (file,), _ = preview([text(asked, "direction")], options, SILENT)
    return {"picture": shown_small(open_photo(file).pixels)}


def _whose(name: str) -> Model | None:
    return models.open_model(name) if name else None


def _row(row: models.ModelRow) -> dict[str, Any]:
    lacks = []
    try:
        states = models.verify(row.folder)
        lacks = [f"{file} is {state}" for file, state in states.items() if state != "ok"]
        if not (row.folder / ENCODER).exists():
            lacks.append("no encoder: it draws and edits latents, but inverts no photo")
        if not (row.folder / DIRECTIONS).exists():
            lacks.append("no directions: learn some below")
    except DseInvertError as error:
        lacks.append(str(error))
    return {"name": row.name, "said": row.description, "lacks": lacks}
