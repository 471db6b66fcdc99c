"""`dseinvert evaluate`: numbers that say how good a result is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.cli.process import spare_cores
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.config import EvaluateOptions
from dseinvert.errors import UsageError

MANY = ("against", "refine", "edit", "scorer")
VIDEO = "Two videos to compare, in place of images."


@offer(EvaluateOptions, dict.fromkeys(MANY, list[str]))
def evaluate(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Image files, folders and globs.")
    ] = None,
    video: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="SOURCE EDITED", help=VIDEO)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
    **given: Any,
) -> None:
    """Measure inversions of images, method beside method; or how steady an edited video is.

    dseinvert evaluate faces --out numbers

    dseinvert evaluate --video clip.mp4 older.mp4
    """
    if bool(paths) == (video is not None):
        raise UsageError("name images, or two videos with --video")
    options = EvaluateOptions(**{**given, **{name: tuple(given[name]) for name in MANY}})
    if video is not None:
        _videos(*video, options, json, quiet)
    else:
        _images(paths or [], options, json, quiet)


def _images(paths: list[str], options: EvaluateOptions, json: bool, quiet: bool) -> None:
    with reserved_stdout():
        from dseinvert.run.evaluate import run_evaluate
        from dseinvert.run.flow.progress import watching

        with watching(quiet) as watcher:
            done = run_evaluate(paths, options, watcher)
            if options.out is not None:
                watcher.note(f"see {options.out / 'report.md'}")
    if json:
        print_json(done.asdict())
    else:
        print(done.markdown)


def _videos(source: Path, edited: Path, options: EvaluateOptions, json: bool, quiet: bool) -> None:
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.video.evaluate import evaluate_videos

        spare_cores()
        with watching(quiet) as watcher:
            numbers = evaluate_videos(source, edited, watcher, options.identity)
    if json:
        print_json(numbers)
        return
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"{name:<{width}}  {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "; ".join(value) or "none" if isinstance(value, list) else str(value)
