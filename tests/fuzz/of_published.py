"""Readers of what others publish, encoders, generators and arrays; and of what a page says."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.latents import read_foreign as read_latents
from dseinvert.importers.read import read
from dseinvert.models import open_model
from dseinvert.names import json_value
from dseinvert.pickled.pickles import load
from dseinvert.ui.given import dropped, edits_text, placed, real, rows, table, text
from dseinvert.ui.lines import script_of
from tests.fuzz import mutators
from tests.fuzz.reader import Reader
from tests.importers.test_inverters import idinvert, style_feature
from tests.references import contents


def of_published(place: Path, model: Path) -> dict[str, Reader]:
    """By name; `place` is a folder that is not there yet."""
    place.mkdir()
    generator = open_model(str(model)).generator
    owner = {**idinvert(), "generator": contents.genforce("stylegan1-idinvert")}
    files = {
        "GAN zoo": [contents.gan_zoo(wrapped) for wrapped in (False, True)],
        "IDInvert": [owner],
        "StyleFeatureEditor": [style_feature(whole) for whole in (False, True)],
    }
    seeds = {name: [_plain(one) for one in some] for name, some in files.items()}
    return {
        **{name: Reader("a.pth", mutators.PICKLE, some, _read) for name, some in seeds.items()},
        "objects": Reader("a.npy", mutators.PICKLE, _objects(), _latents(generator)),
        "words of the page": Reader("w.json", mutators.JSON, _asked(), _answered),
    }


def _plain(content: Any) -> bytes:
    """Without what only a test could pickle; in the older format, which has no checksums."""
    buffer = io.BytesIO()
    kept = {name: one for name, one in content.items() if name != "config"}
    torch.save(kept, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _read(path: Path) -> None:
    read(path)


def _objects() -> list[bytes]:
    code = np.zeros((6, 16), np.float32)
    several: Any = np.empty(2, object)
    several[:] = [code, code + 1]
    found = []
    for one in ({"a.jpg": code}, {"a.jpg": [code, code + 1]}, several):
        buffer = io.BytesIO()
        np.save(buffer, one if isinstance(one, np.ndarray) else np.array(one, object))
        found.append(buffer.getvalue())
    return found


def _latents(generator: Generator) -> Callable[[Path], Any]:
    def read_it(path: Path) -> None:
        load(path)
        with suppress(InputError):  # whole, and no latents
            read_latents(path, generator)

    return read_it


def _asked() -> list[bytes]:
    keys = [{"who": "2", "name": "age", "keys": [[1.5, 2], [0, 0]]}, {"edits": {"smile": 1}}]
    whole = {"name": "a b.jpg", "edits": {"age": 2, "hair": "auto"}, "rows": keys, "time": 0.5}
    return [json.dumps(whole).encode()]


def _answered(path: Path) -> None:
    """What all actions do with what a page sends, before they look at its meaning."""
    if not path.is_file():
        raise InputError("nothing was sent")
    try:
        asked = json_value(path.read_bytes())
    except ValueError as error:
        raise InputError("no JSON") from error
    if not isinstance(asked, dict):
        raise InputError("no object")
    name = text(asked, "name")
    assert "/" not in placed(name) and dropped(name)[:1] not in ("-", "@")
    edits_text(table(asked, "edits"))
    script_of(rows(asked, "rows"))
    real(asked, "time")
