"""`dseinvert sample`: what a generator draws by itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.config import SampleOptions


@offer(SampleOptions, {})
def sample(
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
    **given: Any,
) -> None:
    """Draw samples of a generator, with their latents and one sheet of all.

    dseinvert sample --seeds 0-15 --psi 0.7 --out samples
    """
    options = SampleOptions(**given)
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.play.sample import SHEET, run_sample

        with watching(quiet) as watcher:
            done = run_sample(options, watcher)
            watcher.note(f"{len(done.seeds)} samples; see {options.out / SHEET}")
    if json:
        print_json(done.asdict())
