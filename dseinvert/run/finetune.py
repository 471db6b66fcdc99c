"""`dseinvert finetune` from a folder of photos to a model: read and crop, then adapt."""

from __future__ import annotations

from pathlib import Path

from dseinvert.errors import NoInputError
from dseinvert.faces.crops import Wanted
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.inputs import Item, look, read_faces
from dseinvert.training.adapt import Adapted, adapt, check, picture_side
from dseinvert.training.options import FinetuneOptions


def run_finetune(
    folder: Path,
    model: str,
    options: FinetuneOptions,
    out: Path,
    watcher: Watcher,
    *,
    device: str = "auto",
) -> Adapted:
    """Adapt a model's encoder to the pictures in a folder; see `training.adapt.adapt`.

    Raises:
        NoInputError: no pictures, or too few faces in them. And what `adapt` raises.
    """
    opened = open_model(model, pick_device(device))
    check(opened, out)
    files = read_folder(folder, opened, watcher, options)
    return adapt(opened, files, options, out, watcher)


def read_folder(
    folder: Path, model: Model, watcher: Watcher, options: FinetuneOptions
) -> list[list[Pixels]]:
    """The faces of each picture in a folder, as `images` crops them; what cannot be read is told.

    Raises:
        NoInputError: no pictures.
    """
    found = look([str(folder)], watcher)
    if not found.files:
        raise NoInputError(f"{folder}: no pictures here", "name a folder of photos with --on")
    side, detector = picture_side(model.generator.resolution), model.detector(align=options.align)
    items = [Item(file, file.name) for file in found.files]
    watcher.begin("reading", len(items))
    read = read_faces(items, side, detector, watcher, wanted=Wanted(options.rotate))
    return [[crop.pixels for crop in one.crops] for one in read]
