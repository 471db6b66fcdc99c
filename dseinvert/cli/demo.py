"""`dseinvert demo`: the bundled model on example faces, to see at once what comes out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from dseinvert.cards import BUNDLED
from dseinvert.cli import outputs
from dseinvert.cli.process import spare_cores
from dseinvert.cli.verb import FAILS, Done, verb
from dseinvert.config import ImagesOptions, SampleOptions, VideoOptions
from dseinvert.errors import ExitCode, OtherOptionsError
from dseinvert.progress import Watcher

FACES = BUNDLED.parents[1] / "examples" / "faces"
"""In a checkout; what is installed has no photos."""
CLIP = FACES.parent / "clip.mp4"
Options = TypeVar("Options", ImagesOptions, VideoOptions)
Outcome = TypeVar("Outcome")


@verb(quiet=FAILS)
def demo(
    watcher: Watcher,
    out: Annotated[Path, typer.Option(help="Folder for all that is made.")] = Path("demo-out"),
    edits: Annotated[
        list[str] | None, typer.Option("--edit", help="As of images.", show_default="age=+2")
    ] = None,
) -> Done:
    """Invert and edit the example photos and the example clip of a checkout.

    The edits are put back into the whole photos. Where there is no checkout, samples are drawn.

    Nothing is downloaded, opened or sent; the last line names the page that was made.

    dseinvert demo

    dseinvert demo --edit smile=+2 --edit age=-2 --out my-demo
    """
    outputs.check_folder(out)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from dseinvert.run.images.run import run_images
    from dseinvert.run.play.sample import SHEET, run_sample

    spare_cores()
    faces, drawn = FACES, not FACES.is_dir()
    if drawn:
        faces = out / "faces"
        run_sample(SampleOptions(faces, seeds="0-5"), watcher)
        (faces / SHEET).unlink(missing_ok=True)
    asked = tuple(edits or ["age=+2"])
    options = ImagesOptions(out, edits=asked, align=not drawn, paste=not drawn)
    outcome = anew_if_kept(lambda given: run_images([str(faces)], given, watcher), options)
    watcher.note(outcome.summary())
    lines, code = ([], ExitCode.OK) if drawn else moving(out / "clip", asked, watcher)
    lines.append(f"Open {(out / 'index.html').absolute()}")
    return Done(outcome.asdict, lines, command_notes(), code=outcome.exit_code or code)


def moving(out: Path, edits: tuple[str, ...], watcher: Watcher) -> tuple[list[str], ExitCode]:
    """The example clip with the edits; a line that says where each is, and the exit code."""
    from dseinvert.run.video.run import run_video

    options = VideoOptions(out, edits=edits)
    outcome = anew_if_kept(lambda given: run_video([str(CLIP)], given, watcher), options)
    watcher.note(outcome.summary())
    lines = [f"Play {video.absolute()}" for video in sorted(out.glob("*.mp4"))]
    return lines, outcome.exit_code


def anew_if_kept(run: Callable[[Options], Outcome], options: Options) -> Outcome:
    """What a run comes to; what a demo of another model left is made anew."""
    try:
        return run(options)
    except OtherOptionsError:
        return run(replace(options, overwrite=True))


def command_notes() -> list[str]:
    """How to call the command from here on; nothing where a shell finds it."""
    if shutil.which("dseinvert"):
        return []
    script = shutil.which("dseinvert", path=str(Path(sys.executable).parent))
    typed = script or f"{sys.executable} -m dseinvert"
    return [
        f"The command is {typed}; a shell does not find it as dseinvert yet.",
        "To have it everywhere: pipx install (or uv tool install) of the checkout or the wheel;"
        " README, Install.",
    ]
