"""A training run on disk: all it needs to go on as if it had never stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from torch import nn

from dseinvert.encoders import Encoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.media.atomic import write_bytes

FILE = "checkpoint.pt"
FREE = {
    "iterations", "log_every", "eval_every", "eval_samples", "grid_every", "checkpoint_every"
}  # fmt: skip
"""Options that may change when a run goes on; another value of any other is refused."""


DAMAGE = (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, ValueError, TypeError)
"""What torch raises for a file that was cut short, changed, or was never a checkpoint."""


@dataclass
class State:
    """What training changes. Random numbers are not in it: they follow from seed and step."""

    encoder: nn.Module
    smooth: nn.Module
    """Moving average of the encoder's weights."""
    optimiser: torch.optim.Optimizer
    step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    """Of a run that ends when nothing gets better: what it has reached."""

    @property
    def learner(self) -> Encoder:
        """The encoder as the one that is being trained."""
        return cast(Encoder, self.encoder.train())

    @property
    def result(self) -> Encoder:
        """The average as an encoder that is ready for use."""
        return cast(Encoder, self.smooth.eval())


def save_checkpoint(folder: Path, state: State, run: dict[str, Any]) -> None:
    """Write the state and what defines the run; the old checkpoint stays until the new is whole.

    Args:
        run: plain values; `resume` refuses to go on with others.
    """
    content = {
        "run": run,
        "step": state.step,
        "encoder": state.encoder.state_dict(),
        "smooth": state.smooth.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "best": state.best,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(folder / FILE, buffer.getvalue())


def resume(
    folder: Path, state: State, run: dict[str, Any], before: Mapping[str, Any] | None = None
) -> None:
    """Bring `state` to where the run in `folder` stopped; does nothing where there is none.

    Args:
        before: what held for options before there were such; None = nothing.

    Raises:
        UsageError: the folder holds another run.
        MissingError: a damaged checkpoint.
    """
    file = folder / FILE
    if not file.exists():
        return
    try:
        # Nothing in the file is executed.
        content = torch.load(file, map_location="cpu", weights_only=True)
        _check_same(file, {**(before or {}), **content["run"]}, run)
        state.encoder.load_state_dict(content["encoder"])
        state.smooth.load_state_dict(content["smooth"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.step = content["step"]
        state.best = content.get("best", {})
    except DAMAGE as error:
        raise MissingError(
            f"{file}: damaged checkpoint", "delete it to start again, or choose another --out"
        ) from error


def _check_same(file: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for name, value in new.items():
        if name not in FREE and old.get(name) != value:
            raise UsageError(
                f"{file} is of a run with {name} {old.get(name)}, not {value}",
                "choose another --out, or the options it began with",
            )
