"""A picture of an output folder of `dseinvert images`: a row for each kind, a column for each face.

python examples/make_strip.py latents strip.jpg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

GAP = 2


def main(folder: Path, out: Path, scale: int = 2) -> None:
    """Read the journal of `folder`, and write all its pictures of faces side by side to `out`."""
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    faces = [face for entry in entries for face in entry["faces"]]
    columns = [[padded(folder / name) for name in face["pictures"].values()] for face in faces]
    picture = Image.fromarray(np.concatenate([np.concatenate(c) for c in columns], axis=1))
    size = (picture.width * scale, picture.height * scale)
    picture.resize(size, Image.Resampling.LANCZOS).save(out, quality=90)


def padded(file: Path) -> np.ndarray:
    """The picture with a white line to its right and below."""
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.pad(pixels, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
