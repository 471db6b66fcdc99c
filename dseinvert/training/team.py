"""Several processes that train as one, as torchrun starts them: each has a part of every batch.

Every process holds the same weights; what they find is added up after each backward pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dseinvert.errors import DeviceError, DseInvertError, ExitCode, UsageError

T = TypeVar("T")
_PATIENCE = timedelta(days=3)  # a process that is halted by SIGSTOP is waited for


class LeftError(DseInvertError):
    """Another process has ended, or has said why all end: this one has nothing to add."""

    def __init__(self, what: str, advice: str = "", code: ExitCode = ExitCode.SOME_FAILED) -> None:
        super().__init__(what, advice)
        self.exit_code = code


@dataclass(frozen=True)
class Team:
    """One process among `size`, told so by RANK and WORLD_SIZE as torchrun sets them."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def average(self, module: nn.Module) -> None:
        """Give every process the mean of the gradients of all."""
        if self.size > 1:
            grads = _gradients(module)
            self._add_up(grads)
            for grad in grads:
                grad /= self.size

    def add_up(self, module: nn.Module, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give every process the sum of the gradients of all, and return that of the terms."""
        if self.size == 1:
            return dict(terms)
        told = torch.stack([term.detach().float() for term in terms.values()])
        self._add_up([*_gradients(module), told])
        return dict(zip(terms, told.unbind(), strict=True))

    def total(self, x: Tensor) -> Tensor:
        """The sum of x over all processes; gradients go back to all of them."""
        return x if self.size == 1 else _Total.apply(x)

    def most(self, value: int) -> int:
        """The largest of the values that the processes have."""
        if self.size == 1:
            return value
        told = torch.tensor(value)
        with _together():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return int(told)

    def given(self, make: Callable[[], T]) -> T:
        """What the one that leads makes, for all. A named error of its ends all."""
        if self.size == 1:
            return make()
        made = self.agreed(lambda: make() if self.leads else None)
        box: list[Any] = [made]
        with _together():
            dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def agreed(self, work: Callable[[], T]) -> T:
        """What `work` returns here, once it has gone well everywhere.

        Raises:
            DseInvertError: of the first process that met one, in the process that leads.
            LeftError: in the others.
        """
        if self.size == 1:
            return work()
        error: DseInvertError | None = None
        try:
            made = work()
        except DseInvertError as met:
            error = met
        errors: list[Any] = [None] * self.size
        with _together():
            dist.all_gather_object(errors, error)
        first = next((one for one in errors if one is not None), None)
        if first is None:
            return made
        if self.leads:
            raise first
        raise LeftError(first.what, first.advice, first.exit_code)

    def _add_up(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _together():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


ALONE = Team()


class _Total(torch.autograd.Function):
    """A sum over processes, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _Total._sum(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Total._sum(grad)

    @staticmethod
    def _sum(x: Tensor) -> Tensor:
        summed = x.detach().clone(memory_format=torch.contiguous_format)
        with _together():
            dist.all_reduce(summed)
        return summed


def join(device: str = "cpu") -> Team:
    """This process's place; alone where nobody set one.

    Args:
        device: what `--device` names: nccl adds up what lies on GPUs, gloo the rest.

    Raises:
        UsageError: places that make no sense. LeftError: nobody to meet.
    """
    team, on_gpu = place(), device.startswith("cuda") or device == "auto"
    if team.size > 1 and not dist.is_initialized():
        on_gpu = on_gpu and torch.cuda.is_available() and dist.is_nccl_available()
        with _together():
            dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    return team


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The same, and an orderly goodbye where all went well."""
    team = join(device)
    yield team
    if team.size > 1:
        dist.destroy_process_group()


def place() -> Team:
    """What the environment says of this process.

    Raises:
        UsageError: it makes no sense.
    """
    rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if size > 1 and not (rank < size and os.environ.get("MASTER_ADDR")):
        raise UsageError(
            f"WORLD_SIZE={size} RANK={rank}: not as torchrun sets them",
            "start it by torchrun, or unset WORLD_SIZE",
        )
    return Team(rank, size) if size > 1 else ALONE


def own_device(device: str) -> str:
    """The device of this process: of several on a machine, each has the GPU of its LOCAL_RANK.

    Raises:
        UsageError: one GPU for all. DeviceError: fewer GPUs than processes.
    """
    if place().size == 1 or device == "cpu" or not (device == "cuda" or torch.cuda.is_available()):
        return device
    local, here = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if device.startswith("cuda:"):
        raise UsageError(f"--device {device} is one GPU for several processes", "--device cuda")
    if local >= here:
        count = _number("LOCAL_WORLD_SIZE", local + 1)
        raise DeviceError(f"{count} processes and {here} GPUs here", "a process for each GPU")
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _number(name: str, otherwise: int) -> int:
    said = os.environ.get(name, "")
    if not said:
        return otherwise
    if not (said.isascii() and said.isdecimal() and len(said) < 10):
        raise UsageError(f"{name}={said}: not a number", "start it by torchrun, or unset it")
    return int(said)


def _gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


@contextmanager
def _together() -> Iterator[None]:
    """What torch raises where another process is no longer there, as an error with a name."""
    try:
        yield
    except RuntimeError as error:  # dist.DistError is one
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise LeftError(
            "another process of this run has ended, or cannot be reached",
            "start all of them again: the run goes on from its last checkpoint",
        ) from error
