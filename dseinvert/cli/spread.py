"""How a verb is done by several processes: workers of this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dseinvert.cli.verb import Done
from dseinvert.config import SpreadOptions
from dseinvert.errors import ExitCode, NoInputError
from dseinvert.media.address import is_plain
from dseinvert.media.formats import SUFFIXES
from dseinvert.progress import Watcher

_MANY = 1 << 16
"""Inputs, where only the run itself can count them."""


def spread_out(
    run: str, paths: Sequence[str], options: Any, spread: SpreadOptions, watcher: Watcher
) -> Done | None:
    """What several processes did; None = this one is to do it by itself.

    `run` is a word of `run.spread.verbs`; `options` have an `out` and a `device`.

    Raises:
        DseInvertError: what stopped all of them.
    """
    if getattr(options, "dry_run", False):
        return None
    if spread.engine == "ray":
        from dseinvert.run.spread.apart import run_apart

        return _told(run_apart(run, paths, options, spread, watcher), options.out, watcher)
    from dseinvert.run.spread.choice import crew_of

    crew = crew_of(spread, options.device, lambda: _inputs(run, paths))
    if crew is None:
        return None
    from dseinvert.run.spread.crew import run_crew

    return _told(run_crew(run, paths, options, crew, watcher), options.out, watcher)


def _inputs(run: str, paths: Sequence[str]) -> int:
    """How many files a run is of."""
    from dseinvert.media.scan import scan
    from dseinvert.run.video.plan import find_sources

    if not all(map(is_plain, paths)):
        return _MANY
    if run == "video":
        return len(find_sources(paths)[0])
    suffixes = {".safetensors"} if run == "edit" else SUFFIXES
    return len(scan(paths, wanted=lambda path: path.suffix.lower() in suffixes).files)


def here(options: Any, spread: SpreadOptions) -> Any:
    """The options of this process, with its GPU among those of the machine."""
    if spread.shard is None or options.device != "cuda":
        return options
    from dseinvert.run.spread.choice import device_here

    return replace(options, device=device_here(options.device, spread, os.environ))


def after(spread: SpreadOptions, out: Path | None) -> str:
    """What is said when a shard is done."""
    return "" if spread.shard is None else f"; dseinvert report {out or '.'} makes page and tables"


def _told(code: ExitCode, out: Path | None, watcher: Watcher) -> Done:
    """Page and tables, and the code of the whole."""
    from dseinvert.run.spread.report import report

    try:
        made = [] if out is None else report(out)
    except NoInputError:  # nothing was begun
        made = []
    for one in made:
        watcher.note(one.summary())
    return Done(
        lambda: {"exit_code": int(code), "folders": [one.asdict() for one in made]}, code=code
    )
