"""`dseinvert sample`: what a generator draws by itself."""

from __future__ import annotations

from dseinvert.cli.checks import check_sample
from dseinvert.cli.verb import NO_PROGRESS, Done, verb
from dseinvert.config import SampleOptions
from dseinvert.names import counted
from dseinvert.progress import Watcher


@verb(SampleOptions, quiet=NO_PROGRESS)
def sample(options: SampleOptions, watcher: Watcher) -> Done:
    """Draw samples of a generator, with their latents and one sheet of all.

    A sample is named after its seed, by which it can be drawn again.

    dseinvert sample --seeds 0-15 --psi 0.7 --out samples

    dseinvert sample --seeds 3,42 --psi 1 --out two
    """
    check_sample(options)
    from dseinvert.run.play.sample import SHEET, run_sample

    done = run_sample(options, watcher)
    watcher.note(f"{counted(len(done.seeds.numbers), 'sample')}; see {options.out / SHEET}")
    return Done(done.asdict)
