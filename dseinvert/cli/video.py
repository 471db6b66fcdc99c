"""`dseinvert video`: a clip in, the same clip with its faces edited out."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dseinvert.cli.images import batch_size
from dseinvert.cli.process import spare_cores
from dseinvert.cli.stdout import print_outcome, reserved_stdout
from dseinvert.config import VideoOptions, field_docs
from dseinvert.errors import UsageError

HELP = {name: " ".join(doc.split()) for name, doc in field_docs(VideoOptions).items()}


def _option(*names: str, field: str, **more: Any) -> Any:
    """An option with the docstring of a field, whose "None = MEANING" is shown as the default."""
    said, _, default = HELP[field].partition(" None = ")
    show: bool | str = default.rstrip(".") or bool(more.pop("show_default", True))
    return typer.Option(*names, help=said, show_default=show, **more)


_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


def video(
    paths: Annotated[list[str], typer.Argument(help="Videos, folders of frames, and globs.")],
    out: Annotated[Path | None, _option(field="out")] = None,
    edit: Annotated[list[str] | None, _option(field="edits")] = None,
    faces: Annotated[str, _option(field="faces")] = "largest",
    refine: Annotated[str, _option(field="refine")] = "none",
    smooth: Annotated[str, _option(field="smooth")] = "auto",
    start: Annotated[str | None, _option(field="start")] = None,
    end: Annotated[str | None, _option(field="end")] = None,
    fps: Annotated[str | None, _option(field="fps")] = None,
    codec: Annotated[str | None, _option(field="codec")] = None,
    crf: Annotated[float | None, _option(field="crf", min=0, max=63)] = None,
    preview: Annotated[bool, _option("--preview", field="preview")] = False,
    side_by_side: Annotated[bool, _option("--side-by-side", field="side_by_side")] = False,
    frames: Annotated[bool, _option("--frames", field="frames")] = False,
    paste: Annotated[str | None, _option(field="paste")] = None,
    model: Annotated[str, _option(field="model")] = "default",
    device: Annotated[str, _option(field="device")] = "auto",
    backend: Annotated[str, _option(field="backend")] = "auto",
    batch: Annotated[str, _option(field="batch")] = "auto",
    segment: Annotated[int, _option(field="segment", min=1)] = 250,
    overwrite: Annotated[bool, _option("--overwrite", field="overwrite")] = False,
    dry_run: Annotated[bool, _option("--dry-run", field="dry_run")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
) -> int:
    """Edit the faces of videos; without --edit, reconstruct them.

    dseinvert video clip.mp4 --edit age=+2 --out older.mp4
    """
    options = VideoOptions(
        out=out,
        edits=tuple(edit or ()),
        faces=which_faces(faces),
        refine=refine,
        smooth=strength(smooth),
        start=seconds("--start", start),
        end=seconds("--end", end),
        fps=frame_rate(fps),
        codec=codec,
        crf=crf,
        preview=preview,
        side_by_side=side_by_side,
        frames=frames,
        paste=paste_mode(paste),
        model=model,
        device=device,
        backend=backend,
        batch=batch_size(batch),
        segment=segment,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    return _run(paths, options, json, quiet)


def _run(paths: list[str], options: VideoOptions, json: bool, quiet: bool) -> int:
    # Read when torch is loaded: its idle threads must not spin on cores that decoding needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.video.run import run_video

        spare_cores()
        with watching(quiet) as watcher:
            outcome = run_video(paths, options, watcher)
            if not options.dry_run:
                watcher.note(outcome.summary())
    return print_outcome(outcome, json=json, dry_run=options.dry_run)


def which_faces(text: str) -> Literal["largest", "all"] | int:
    """`largest`, `all`, or a number of at least one."""
    if text in ("largest", "all"):
        return text  # type: ignore[return-value]
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--faces {text!r}", "largest, all, or a number from 1 on")
    return int(text)


def strength(text: str) -> float | Literal["auto"]:
    """`auto`, or a number from 0 to 1."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise UsageError(f"--smooth {text!r}", "auto, or a number from 0 to 1")
    return value


def seconds(option: str, text: str | None) -> Fraction | None:
    """`12.5`, `1:02.5` or `1:00:02.5` as seconds."""
    if text is None:
        return None
    match = _CLOCK.fullmatch(text)
    if not match:
        raise UsageError(f"{option} {text!r}", "seconds such as 12.5, or H:MM:SS")
    hours, minutes, rest = match.groups("0")
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(rest)


def frame_rate(text: str | None) -> Fraction | None:
    """`25`, `29.97` or `30000/1001` frames a second."""
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UsageError(f"--fps {text!r}", "frames a second such as 25 or 30000/1001")
    return rate


def paste_mode(text: str | None) -> Literal["difference", "replace"] | None:
    """`difference` or `replace`."""
    if text not in (None, "difference", "replace"):
        raise UsageError(f"--paste {text!r}", "difference or replace")
    return text  # type: ignore[return-value]
