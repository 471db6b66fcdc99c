"""What is told and kept of a training run: tables, pictures, checkpoints, the model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dseinvert.cards import CARD, DIRECTIONS
from dseinvert.editing.directions import Direction, load_directions
from dseinvert.errors import DseInvertError
from dseinvert.models import save_model
from dseinvert.progress import Watcher
from dseinvert.training.checkpoints import State, save_checkpoint
from dseinvert.training.evaluation import evaluate, pictures
from dseinvert.training.prepare import Run, identity
from dseinvert.training.record import Record

TITLES = {
    "dse": "DSE",
    "dse-feature": "DSE feature",
    "feature-style": "Feature-Style",
    "psp": "pSp",
    "e4e": "e4e",
    "restyle": "ReStyle",
}


@dataclass(frozen=True)
class Desk:
    """What is told and kept of a run, by the process that leads."""

    run: Run
    watcher: Watcher
    record: Record | None
    """None = another process leads."""

    def logged(self, state: State, terms: Mapping[str, Tensor]) -> str:
        """A row of losses; a few words about it."""
        if self.record is None:
            return ""
        figures = finite(terms, state.step)
        self.record.add("training", state.step, figures)
        return f"loss {figures['loss']:.4g}"

    def evaluated(self, state: State) -> dict[str, float]:
        """The figures of held-out samples; none where another process leads."""
        if self.record is None:
            return {}
        run = self.run
        figures = evaluate(run.source, state.result, run.options.eval_samples, run.batch)
        self.record.add("evaluation", state.step, figures)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.watcher.note(f"step {state.step}: held-out median {shown}")
        return figures

    def draw(self, state: State) -> None:
        """A picture grid."""
        if self.record is not None:
            rows = pictures(self.run.source, state.result, self.run.real)
            self.record.picture(state.step, rows)

    def keep(self, state: State, terms: Mapping[str, Tensor]) -> None:
        """A checkpoint and a model."""
        if self.record is not None:
            finite(terms, state.step)
            save(self.run, state)

    def renew(self, state: State) -> None:
        """Give a run that has ended the directions that its GAN was given since."""
        out = self.run.out
        if self.record is None or not (out / CARD).is_file():
            return
        if _held(out).keys() != directions_of(self.run).keys():
            save(self.run, state)

    def close(self) -> None:
        """Nothing more comes."""
        if self.record is not None:
            self.record.close()


def open_desk(run: Run, state: State, watcher: Watcher) -> Desk:
    """The desk of a run that goes on from `state`."""
    record = Record(run.out, state.step, run.options.wandb) if run.team.leads else None
    return Desk(run, watcher, record)


def finite(terms: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """The terms as numbers; a run that has diverged ends here and keeps its last checkpoint."""
    figures = {name: float(term) for name, term in terms.items()}
    if not math.isfinite(figures["loss"]):
        raise DseInvertError(f"step {step}: the loss is {figures['loss']}", "lower --lr")
    return figures


def save(run: Run, state: State) -> None:
    """Write the checkpoint, and the averaged encoder with its generator as a model folder."""
    save_checkpoint(run.out, state, identity(run.gan, run.options))
    save_model(
        run.out,
        run.gan.generator,
        state.result,
        directions_of(run),
        name=model_name(run.out),
        description=f"{TITLES[run.options.method]} encoder for {run.gan.name}, "
        f"strategy {run.options.strategy}, step {state.step}",
        licence=run.gan.card.get("licence", ""),
        alignment=run.gan.alignment,
        # Byte for byte: directions and latents know the generator by its hash.
        keep_generator=run.gan.folder / "generator.safetensors",
        more={key: run.gan.card[key] for key in ("source", "notes") if key in run.gan.card},
    )


def directions_of(run: Run) -> dict[str, Direction]:
    """Those that the GAN has by now, and what was learned on the run itself besides."""
    found = _held(run.out) | run.gan.directions | _held(run.gan.folder)
    return {name: one for name, one in found.items() if one.generator in ("", run.gan.sha256)}


def _held(folder: Path) -> dict[str, Direction]:
    file = folder / DIRECTIONS
    return load_directions(file) if file.is_file() else {}


def model_name(out: Path) -> str:
    """The name of the model in a folder, made from the folder's."""
    plain = re.sub(r"[^\w.-]+|^\W+", "-", out.resolve().name, flags=re.ASCII).strip("-._")
    return plain or "trained"
