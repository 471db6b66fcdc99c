"""`dseinvert evaluate`: numbers that say how good a result is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dseinvert.cli.checks import check_evaluate, check_videos
from dseinvert.cli.process import spare_cores
from dseinvert.cli.verb import NO_PROGRESS, PLAIN, Done, table, verb
from dseinvert.config import EvaluateOptions
from dseinvert.errors import UsageError
from dseinvert.progress import Watcher

VIDEO = "Two videos to compare, in place of images."


@verb(EvaluateOptions, json=PLAIN, quiet=NO_PROGRESS)
def evaluate(
    options: EvaluateOptions,
    watcher: Watcher,
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Images: files, folders, globs; zip, tar, LMDB, parquet."),
    ] = None,
    video: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="SOURCE EDITED", help=VIDEO)
    ] = None,
) -> Done:
    """Measure inversions of images, method beside method; or how steady an edited video is.

    dseinvert evaluate faces --out numbers

    dseinvert evaluate --video clip.mp4 older.mp4
    """
    if bool(paths) == (video is not None):
        raise UsageError("name images, or two videos with --video")
    if video is not None:
        return _videos(*video, options, watcher)
    return _images(paths or [], options, watcher)


def _images(paths: list[str], options: EvaluateOptions, watcher: Watcher) -> Done:
    check_evaluate(paths, options)
    from dseinvert.run.evaluate import run_evaluate

    done = run_evaluate(paths, options, watcher)
    if options.out is not None:
        watcher.note(f"see {options.out / 'report.md'}")
    return Done(done.asdict, done.markdown.split("\n"))


def _videos(source: Path, edited: Path, options: EvaluateOptions, watcher: Watcher) -> Done:
    check_videos(source, edited, options.identity)
    from dseinvert.run.video.evaluate import evaluate_videos

    spare_cores()
    numbers = evaluate_videos(source, edited, watcher, options.identity)
    return Done(lambda: numbers, table(numbers, _plain))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "; ".join(value) or "none" if isinstance(value, list) else str(value)
