"""`dseinvert report`: page and tables of a folder that several processes wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.checks import check_run_folder
from dseinvert.cli.verb import Done, verb


@verb()
def report(
    out: Annotated[Path, typer.Argument(help="Folder that runs wrote into.")],
) -> Done:
    """Make the page, the tables and the list of what failed from all journals of a folder.

    dseinvert report latents

    dseinvert report latents --json
    """
    check_run_folder(out)
    from dseinvert.run.spread.report import report as make

    made = make(out)
    code = max(one.exit_code for one in made)
    return Done(
        lambda: {"exit_code": int(code), "folders": [one.asdict() for one in made]},
        notes=[one.summary() for one in made],
        code=code,
    )
