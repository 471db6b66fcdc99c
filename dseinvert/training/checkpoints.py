"""A training run on disk: all it needs to go on as if it had never stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import torch
from torch import Tensor, nn

from dseinvert.encoders import Encoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.media.atomic import write_bytes
from dseinvert.names import count, read_regular
from dseinvert.pickled import pickles
from dseinvert.training.team import Team
from dseinvert.version import __version__

FILE = "checkpoint.pt"
FREE = {
    "iterations", "log_every", "eval_every", "eval_samples", "grid_every", "checkpoint_every",
    "accumulate", "wandb",
}  # fmt: skip
"""Options that may change when a run goes on; another value of any other is refused."""


DAMAGE = (*pickles.DAMAGE, OSError, LookupError, AttributeError)
"""What is raised of a file that was cut short, changed, or was never a checkpoint."""


class Stateful(Protocol):
    """A network or an optimiser: what can be put into a checkpoint, and brought back to it."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Take what `state_dict` gave."""


def states(parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """What to keep of each part."""
    return {name: part.state_dict() for name, part in parts.items()}


def restore(parts: Mapping[str, Stateful], content: Mapping[str, Any]) -> None:
    """Bring each part to what is kept of it."""
    for name, part in parts.items():
        part.load_state_dict(content[name])


def dumps(content: Mapping[str, Any]) -> bytes:
    """A checkpoint of tensors and plain values as a file holds it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def load(file: Path | BinaryIO) -> dict[str, Any]:
    """What such a file holds, its tensors on the CPU; nothing in it is executed.

    It takes memory in proportion to its size; PyTorch's own reader does not see to that.
    Raises what is in DAMAGE where it is none.
    """
    data = read_regular(file) if isinstance(file, Path) else file.read()
    return cast(dict[str, Any], pickles.loads(data))


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
    def parts(self) -> dict[str, Stateful]:
        """What is kept of it, by the names in a checkpoint."""
        return {"encoder": self.encoder, "smooth": self.smooth, "optimiser": self.optimiser}

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
    write_bytes(folder / FILE, dumps({"run": run, **_content(state)}))


def _content(state: State) -> dict[str, Any]:
    return {"step": state.step, **states(state.parts), "best": state.best}


def share(state: State, run: dict[str, Any], team: Team) -> None:
    """Give every process the state of the one that leads, of which only that one has read.

    Raises:
        UsageError: they were not told to do the same.
    """
    if team.size == 1:
        return
    wanted = team.given(lambda: {**run, "version": __version__})
    team.agreed(lambda: _check_told(wanted, {**run, "version": __version__}, team))
    content = load(io.BytesIO(team.given(lambda: dumps(_content(state)))))
    if not team.leads:
        _take(state, content)


def _check_told(wanted: Mapping[str, Any], own: Mapping[str, Any], team: Team) -> None:
    for name, value in wanted.items():
        if name not in FREE and own.get(name) != value:
            raise UsageError(
                f"process {team.rank} has {name} {own.get(name)}, and process 0 {value}",
                "start all with the same options, files and version",
            )


def _take(state: State, content: Mapping[str, Any]) -> None:
    restore(state.parts, content)
    state.step = count(content["step"])
    state.best = {str(name): float(value) for name, value in content.get("best", {}).items()}


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
        content = load(file)
        _check_same(file, {**(before or {}), **content["run"]}, run)
        _check_fits(state.optimiser, content["optimiser"])
        _take(state, content)
    except DAMAGE as error:
        raise MissingError(
            f"{file}: damaged checkpoint", "delete it to start again, or choose another --out"
        ) from error


def _check_fits(optimiser: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    """ValueError where what is kept of an optimiser could not be of this one: it takes anything."""
    groups = optimiser.state_dict()["param_groups"]
    for own, other in zip(groups, kept["param_groups"], strict=True):
        if _kinds(own) != _kinds(other):
            raise ValueError("the options of another optimiser")
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for number, moments in kept["state"].items():
        for name, value in moments.items():
            if not isinstance(value, Tensor) or value.numel() not in (1, weights[number].numel()):
                raise ValueError(f"{name} of another weight")


def _kinds(group: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of each of a group's options."""
    return {name: [*map(type, v)] if isinstance(v, tuple | list) else type(v)
            for name, v in group.items()}  # fmt: skip


def _check_same(file: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for name, value in new.items():
        if name not in FREE and old.get(name) != value:
            raise UsageError(
                f"{file} is of a run with {name} {old.get(name)}, not {value}",
                "choose another --out, or the options it began with",
            )
