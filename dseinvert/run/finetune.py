"""`dseinvert finetune` from a folder of photos to a model: read and crop, then adapt."""

from __future__ import annotations

from pathlib import Path

from dseinvert.errors import NoInputError
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import scan
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.flow.progress import watching
from dseinvert.run.flow.stream import ahead, threads
from dseinvert.run.inputs import Item, preparer
from dseinvert.training.adapt import Adapted, adapt, check, picture_side
from dseinvert.training.options import FinetuneOptions

_READERS = 2


def run_finetune(
    folder: Path,
    model: str,
    options: FinetuneOptions,
    out: Path,
    *,
    device: str = "auto",
    quiet: bool = False,
) -> Adapted:
    """Adapt a model's encoder to the pictures in a folder; see `training.adapt.adapt`.

    Raises:
        NoInputError: no pictures, or too few faces in them. And what `adapt` raises.
    """
    opened = open_model(model, pick_device(device))
    check(opened, out)
    with watching(quiet) as watcher:
        files = read_faces(folder, opened, watcher, align=options.align)
    return adapt(opened, files, options, out, quiet=quiet)


def read_faces(folder: Path, model: Model, watcher: Watcher, *, align: bool) -> list[list[Pixels]]:
    """The faces of each picture in a folder, as `images` crops them; what cannot be read is told.

    Raises:
        NoInputError: no pictures.
    """
    found = scan([str(folder)])
    for problem in found.problems:
        watcher.problem(f"{problem.path}: {problem.reason}")
    if not found.files:
        raise NoInputError(f"{folder}: no pictures here", "name a folder of photos with --on")
    prepare = preparer(picture_side(model.generator.resolution), model.detector(align=align))
    items = [Item(file, file.name) for file in found.files]
    watcher.begin("reading", len(items))
    faces = []
    with threads(_READERS) as reading:
        for one in ahead(reading, prepare, items, 4 * _READERS):
            watcher.advance()
            if one.reason:
                watcher.problem(f"{one.item.source}: {one.reason}")
            faces.append([crop.pixels for crop in one.crops])
    return faces
