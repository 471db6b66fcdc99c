"""Draws the example faces: samples of the bundled generator, as photos would show them.

    python examples/make_faces.py [FOLDER]

Nobody in these pictures exists. They are enlarged, put before a wall, tilted, and one is a group.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import Latent
from dseinvert.media.atomic import write_bytes
from dseinvert.media.images import encode_jpeg
from dseinvert.models import open_model

SEEDS = (0, 22, 16, 62, 28, 6)
GROUP = (37, 64, 14)
FACE = 256  # pixels: the side of a face's picture
MARGIN = 48  # pixels of wall around a portrait
FEATHER = 10  # pixels in which it begins


def main(folder: Path) -> None:
    """Write portrait-1.jpg ... and group.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(draw(SEEDS), start=1):
        photo = tilted(on_a_wall(picture), degrees=(number - 3) * 6)
        write_bytes(folder / f"portrait-{number}.jpg", encode_jpeg(photo))
    group = np.hstack([on_a_wall(picture) for picture in draw(GROUP)])
    write_bytes(folder / "group.jpg", encode_jpeg(group))


def draw(seeds: tuple[int, ...]) -> list[np.ndarray]:
    """Samples of the bundled generator, enlarged to FACE pixels."""
    return enlarged(open_model().generator.sample(seeds, psi=0.65))


def enlarged(latent: Latent) -> list[np.ndarray]:
    """What the bundled generator makes of latents, at FACE pixels."""
    model = open_model()
    images = Inverter(model.generator, model.require_encoder()).render(latent)
    pixels = ((images.permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().astype(np.uint8)
    return [cv2.resize(p, (FACE, FACE), interpolation=cv2.INTER_LANCZOS4) for p in pixels]


def on_a_wall(picture: np.ndarray) -> np.ndarray:
    """The picture with what is at its edges drawn out, blurred; above is wall."""
    sides = MARGIN, 0, MARGIN, MARGIN
    photo = cv2.copyMakeBorder(picture, *sides, cv2.BORDER_REPLICATE)
    above = [photo[MARGIN : 2 * MARGIN, side].mean(0) for side in (0, -1)]
    width = photo.shape[1]
    photo[:MARGIN] = np.linspace(*above, width)
    wall = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), MARGIN / 4)
    inside = np.zeros(photo.shape[:2], np.float32)
    inside[MARGIN + FEATHER // 2 :, MARGIN + FEATHER : -MARGIN - FEATHER] = 1
    inside = cv2.GaussianBlur(inside, (0, 0), FEATHER / 2)[..., None]
    return (inside * photo + (1 - inside) * wall).round().astype(np.uint8)


def tilted(photo: np.ndarray, degrees: float) -> np.ndarray:
    """The photo turned about its middle."""
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(
        photo, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "faces")
