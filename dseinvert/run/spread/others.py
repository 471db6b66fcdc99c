"""Whether what other processes write into an output folder is of the same run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dseinvert.errors import OutputError
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.run.spread.claim import SILENT
from dseinvert.run.spread.notes import Run, at_work, journal_of, read_notes
from dseinvert.run.spread.shard import Shard
from dseinvert.run.spread.shelf import runs
from dseinvert.version import __version__

_NAMED = 3


def check_others(
    folder: Path, shard: Shard, settings: Mapping[str, Any], *, anew: bool | None
) -> None:
    """OutputError where two runs with different options would write into one folder.

    Shards of one count are one run, whether they are at work or have ended; of other runs, those
    that are at work count. anew: what has ended is going to be done again, by --overwrite. None =
    the verb has no such option.
    """
    if far(folder):
        _check_store(folder, shard, settings, anew=anew)
        return
    for path in sorted(folder.glob(".journal*.notes")):
        journal = journal_of(path)
        if journal.name == shard.journal:
            continue
        active = at_work(journal)
        if not active and (anew or not _siblings(journal.name, shard.journal)):
            continue
        for run in read_notes(path)[-1:]:
            name = journal.stem.removeprefix("journal-")
            _check(folder, name, run, settings, active=active, anew=anew)


def _check_store(
    folder: Path, shard: Shard, settings: Mapping[str, Any], *, anew: bool | None
) -> None:
    """As `check_others`; what a process said last tells whether it is at work."""
    mine = shard.journal.removesuffix(".jsonl")
    for one in runs(folder):
        if one.name == mine:  # which is locked: it has ended or died
            continue
        active = not one.ended and time.time() - one.last < SILENT
        if active or (_siblings(f"{one.name}.jsonl", shard.journal) and not anew):
            name = one.name.removeprefix("journal-")
            _check(folder, name, Run(one.facts), settings, active=active, anew=anew)


def _siblings(one: str, other: str) -> bool:
    """Whether two journals are of shards of one count."""
    counts = [re.fullmatch(r"journal-\d+-of-(\d+)\.jsonl", name) for name in (one, other)]
    return all(counts) and len({found[1] for found in counts if found}) == 1


def _check(
    folder: Path,
    name: str,
    run: Run,
    settings: Mapping[str, Any],
    *,
    active: bool,
    anew: bool | None,
) -> None:
    theirs = run.about.get("settings")
    other = run.about.get("version")
    if active and other != __version__:
        raise OutputError(
            f"{shown(folder)}: {name} is at work here with dseinvert {other}, not {__version__}",
            "install one version everywhere",
        )
    if isinstance(theirs, dict) and (names := differing(theirs, settings)):
        what = "is at work here" if active else "was done here"
        otherwise = "" if anew is None else ", or --overwrite to do all anew"
        advice = ", or wait for it" if active else otherwise
        raise OutputError(
            f"{shown(folder)}: {name} {what} with another {names}", f"choose another --out{advice}"
        )


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The names of settings that are not equal, a few of them; "" = all are."""
    one, other = (json.loads(json.dumps(settings)) for settings in (one, other))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
