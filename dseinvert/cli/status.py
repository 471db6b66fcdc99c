"""`dseinvert status`: how far the processes are that write into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.checks import check_run_folder
from dseinvert.cli.verb import PLAIN, Done, verb


@verb(json=PLAIN)
def status(
    out: Annotated[Path, typer.Argument(help="Folder that runs write into.")],
) -> Done:
    """Say what is done, failed and left of each shard, how fast it goes, and how long it takes.

    dseinvert status latents

    dseinvert status latents --json
    """
    check_run_folder(out)
    from dseinvert.run.spread.status import status as look

    found = look(out)
    lines = [line for one in found for line in one.lines()]
    return Done(lambda: [one.asdict() for one in found], lines)
