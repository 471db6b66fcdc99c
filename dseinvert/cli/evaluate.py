"""`dseinvert evaluate`: numbers that say how good a result is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from dseinvert.cli.checks import check_evaluate, check_share, check_spread, check_videos
from dseinvert.cli.process import spare_cores
from dseinvert.cli.spread import after, here, spread_out
from dseinvert.cli.verb import NO_PROGRESS, PLAIN, Done, table, verb
from dseinvert.config import EvaluateOptions, SpreadOptions
from dseinvert.errors import UsageError
from dseinvert.progress import Watcher

VIDEO = "Two videos to compare, in place of images."


@verb(EvaluateOptions, json=PLAIN, quiet=NO_PROGRESS)
def evaluate(
    options: EvaluateOptions,
    spread: SpreadOptions,
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
        if spread != SpreadOptions():
            raise UsageError("--video is measured by one process", "leave out --shard and the like")
        return _videos(*video, options, watcher)
    return _images(paths or [], options, spread, watcher)


def _images(
    paths: list[str], options: EvaluateOptions, spread: SpreadOptions, watcher: Watcher
) -> Done:
    check_evaluate(paths, options)
    check_spread(spread)
    check_share(options, spread)
    shared = None
    if spread.workers is not None:
        shared = spread_out("evaluate", paths, options, spread, watcher)
    if shared is not None:
        return replace(shared, lines=_table(options.out))
    from dseinvert.run.evaluate import Evaluation, run_evaluate
    from dseinvert.run.spread.choice import part_of

    done = run_evaluate(paths, here(options, spread), watcher, part_of(spread))
    if not isinstance(done, Evaluation):
        watcher.note(done.summary() + after(spread, options.out))
        return Done(done.asdict)
    if options.out is not None:
        watcher.note(f"see {options.out / 'report.md'}")
    return Done(done.asdict, done.markdown.split("\n"))


def _table(out: Path | None) -> list[str]:
    """What the shares were joined to; nothing where they were not."""
    file = None if out is None else out / "report.md"
    return file.read_text("utf-8").split("\n") if file is not None and file.is_file() else []


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
