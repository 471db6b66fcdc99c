"""`dseinvert finetune` from a folder of photos to a model: read and crop, then adapt."""

from __future__ import annotations

from pathlib import Path

from dseinvert.errors import NoInputError
from dseinvert.faces.crops import Wanted
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import SILENT, Watcher
from dseinvert.run.inputs import Item, read_faces
from dseinvert.run.sources import pictures_of
from dseinvert.training.adapt import Adapted, adapt, check, picture_side
from dseinvert.training.options import FinetuneOptions
from dseinvert.training.team import ALONE, Team, own_device


def run_finetune(
    folder: Path,
    model: str,
    options: FinetuneOptions,
    out: Path,
    watcher: Watcher,
    *,
    device: str = "auto",
    team: Team = ALONE,
) -> Adapted:
    """Adapt a model's encoder to the pictures in a folder; see `training.adapt.adapt`.

    Of several processes the one that leads reads the pictures for all.

    Raises:
        NoInputError: no pictures, or too few faces in them. And what `adapt` raises.
    """
    team.given(lambda: _look(folder))
    opened = team.agreed(lambda: _opened(model, device, out))
    files = team.given(lambda: read_folder(folder, opened, watcher, options))
    return adapt(opened, files, options, out, watcher, team)


def _look(folder: Path) -> None:
    """NoInputError where there are no pictures, before a model is loaded."""
    with pictures_of([str(folder)], SILENT) as found:
        if not found:
            raise NoInputError(f"{folder}: no pictures here", "name a folder of photos with --on")


def _opened(model: str, device: str, out: Path) -> Model:
    opened = open_model(model, pick_device(own_device(device)))
    check(opened, out)
    return opened


def read_folder(
    folder: Path, model: Model, watcher: Watcher, options: FinetuneOptions
) -> list[list[Pixels]]:
    """The faces of each picture in a set, as `images` crops them; what cannot be read is told."""
    side, detector = picture_side(model.generator.resolution), model.detector(align=options.align)
    with pictures_of([str(folder)], watcher) as found:
        items = [Item(one.source, one.source.name, one.content) for one in found]
        watcher.begin("reading", len(items))
        read = read_faces(items, side, detector, watcher, wanted=Wanted(options.rotate))
        return [[crop.pixels for crop in one.crops] for one in read]
