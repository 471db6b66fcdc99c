"""Draws the example clip: a face of the bundled generator that turns, tilts and smiles.

    python examples/make_clip.py [CLIP]

Nobody in it exists.
"""

from __future__ import annotations

import sys
from math import cos, pi, sin
from pathlib import Path

import av
import numpy as np
import torch
from make_faces import MARGIN, enlarged, on_a_wall, tilted

from dseinvert.latent import Latent
from dseinvert.models import open_model

SEED, FRAMES, RATE = 0, 48, 24
TURN, TILT, SMILE = 0.9, 3.0, 0.7
"""At the most: deviations of pose, degrees, deviations of smile."""
WIDE = 40
"""Pixels by which the face goes to the right."""
CUT = 12
"""Pixels of each side that tilting leaves empty."""


def main(clip: Path) -> None:
    """Write the clip."""
    model = open_model()
    middle = model.generator.sample([SEED], psi=0.7).code
    pose, smile = (model.directions[name].vector for name in ("pose", "smile"))
    codes = [middle + TURN * sin(2 * pi * t) * pose + SMILE * smiling(t) * smile for t in times()]
    drawn = enlarged(Latent(torch.cat(codes), "w+"))
    pictures = [moved(picture, t) for picture, t in zip(drawn, times(), strict=True)]
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", RATE, options={"crf": "18", "preset": "veryslow"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode())


def times() -> np.ndarray:
    """Of the frames, from 0 to 1."""
    return np.arange(FRAMES) / FRAMES


def smiling(time: float) -> float:
    """How much of a smile there is: none at both ends of the clip."""
    return (1 - cos(2 * pi * time)) / 2


def moved(picture: np.ndarray, time: float) -> np.ndarray:
    """A frame: the face before its wall, tilted and to one side."""
    photo = tilted(on_a_wall(picture), TILT * sin(2 * pi * time + 1))
    left = round(WIDE / 2 * sin(2 * pi * time))
    photo = np.roll(photo, left, axis=1)
    return np.ascontiguousarray(photo[CUT:-CUT, MARGIN // 2 : -MARGIN // 2])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "clip.mp4")
