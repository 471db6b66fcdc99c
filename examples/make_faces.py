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
from dseinvert.media.atomic import write_bytes
from dseinvert.media.images import encode_jpeg
from dseinvert.models import open_model

SEEDS = (2, 4, 11, 13, 18, 28)
GROUP = (5, 20, 24)
FACE = 256  # pixels: the side of a face's picture
MARGIN = 48  # pixels of wall around a portrait


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
    model = open_model()
    assert model.encoder is not None
    latent = model.generator.sample(seeds, psi=0.75)
    images = Inverter(model.generator, model.encoder).render(latent)
    pixels = ((images.permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().astype(np.uint8)
    return [cv2.resize(p, (FACE, FACE), interpolation=cv2.INTER_LANCZOS4) for p in pixels]


def on_a_wall(picture: np.ndarray) -> np.ndarray:
    """The picture with its wall drawn out to the left, to the right and above."""
    side = FACE + 2 * MARGIN
    photo = cv2.copyMakeBorder(picture, 0, 0, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
    corners = np.stack([photo[: FACE // 4, :8].mean((0, 1)), photo[: FACE // 4, -8:].mean((0, 1))])
    wall = cv2.resize(corners[None].astype(np.float32), (side, FACE + MARGIN))
    shown = np.zeros(wall.shape[:2], np.float32)
    shown[MARGIN + 12 :, MARGIN + 12 : -MARGIN - 12] = 1
    shown = cv2.GaussianBlur(shown, (0, 0), 5)
    beside = np.linspace(-0.5, 3, FACE + MARGIN).clip(0, 1)[:, None]  # shoulders reach the frame
    weight = np.maximum(shown, beside * (np.arange(FACE + MARGIN) > MARGIN + FACE // 2)[:, None])
    weight = cv2.GaussianBlur(weight.astype(np.float32), (0, 0), 4)[..., None]
    photo = cv2.copyMakeBorder(photo, MARGIN, 0, 0, 0, cv2.BORDER_REPLICATE)
    return (weight * photo + (1 - weight) * wall).round().astype(np.uint8)


def tilted(photo: np.ndarray, degrees: float) -> np.ndarray:
    """The photo turned about its middle."""
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(
        photo, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "faces")
