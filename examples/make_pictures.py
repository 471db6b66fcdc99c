"""Makes the pictures of the README from the example faces and the example clip.

    python examples/make_pictures.py [FOLDER]

What is edited is drawn by make_faces.py and make_clip.py: nobody in these pictures exists.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import make_strip
from PIL import Image

EXAMPLES = Path(__file__).parent
FACES = ("age=+2", "age=-2", "smile=+1", "hair=+2", "pose=-1")
PHOTO = ("age=+2", "smile=+1")
CLIP = "age=+2"


def main(folder: Path) -> None:
    """Write faces.jpg, photo.jpg and clip.webp."""
    with TemporaryDirectory() as name:
        work = Path(name)
        faces, photo, clip = work / "faces", work / "photo", work / "clip"
        portraits = sorted((EXAMPLES / "faces").glob("portrait-*.jpg"))
        run("images", *portraits, "--out", faces, *edits(FACES))
        make_strip.main(faces, folder / "faces.jpg", scale=1)
        run("images", EXAMPLES / "faces" / "group.jpg", "--out", photo, "--paste", *edits(PHOTO))
        whole = [next(photo.glob(f"group.{edit.replace('=', '')}.photo.*")) for edit in PHOTO]
        one_above_another([EXAMPLES / "faces" / "group.jpg", *whole], folder / "photo.jpg")
        run("video", EXAMPLES / "clip.mp4", "--out", clip, *edits((CLIP,)))
        side_by_side(EXAMPLES / "clip.mp4", next(clip.glob("*.mp4")), folder / "clip.webp")


def run(*words: str | Path) -> None:
    """A command of dseinvert."""
    subprocess.run([sys.executable, "-m", "dseinvert", *map(str, words), "--quiet"], check=True)


def edits(names: tuple[str, ...]) -> list[str]:
    """Their options."""
    return [word for name in names for word in ("--edit", name)]


def one_above_another(files: list[Path], out: Path) -> None:
    """Pictures of one size in a column."""
    pictures = [Image.open(file).convert("RGB") for file in files]
    width, height = pictures[0].size
    column = Image.new("RGB", (width, height * len(pictures)))
    for row, picture in enumerate(pictures):
        column.paste(picture, (0, row * height))
    column.save(out, quality=88)


def side_by_side(source: Path, edited: Path, out: Path) -> None:
    """An animation: the clip, and the clip with its edit to the right."""
    frames = []
    for left, right in zip(pictures_of(source), pictures_of(edited), strict=True):
        frame = Image.new("RGB", (2 * left.width, left.height))
        frame.paste(left, (0, 0))
        frame.paste(right, (left.width, 0))
        frames.append(frame)
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=42, loop=0, quality=70)


def pictures_of(clip: Path) -> list[Image.Image]:
    """Its frames."""
    with av.open(str(clip)) as file:
        return [frame.to_image() for frame in file.decode(video=0)]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES.parent / "docs")
