"""A worker of a cluster: a model that stays loaded, and the items that it is handed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from dseinvert.config import ImagesOptions
from dseinvert.errors import DseInvertError, MissingError, OutputError
from dseinvert.media.memory import give_all_back
from dseinvert.models import open_model, pick_device
from dseinvert.progress import SILENT
from dseinvert.run.flow.batchsize import CORES
from dseinvert.run.images.job import open_job
from dseinvert.run.images.plan import Plan
from dseinvert.run.images.run import Books, made, opened_books, target_of
from dseinvert.run.inputs import Item
from dseinvert.run.spread.notes import noted
from dseinvert.run.spread.others import differing
from dseinvert.run.spread.shard import Part, Shard
from dseinvert.stop import Stop
from dseinvert.version import __version__

_PATIENCE = 30
"""Seconds for which the journal of a worker that has just died may still be locked."""
Told = tuple[str, str, int]
"""What an error says, its advice, its exit code: exceptions do not travel well."""


@dataclass(frozen=True)
class Handed:
    """What every worker of a run is told."""

    options: ImagesOptions
    settings: Mapping[str, object]
    """Those of whoever hands out the items."""
    version: str
    count: int
    """Inputs of the whole run."""
    plan: Plan
    """Names that are taken."""
    cores: int = 0
    """That each worker has; 0 = all of its machine."""


@dataclass(frozen=True)
class Made:
    """What became of an item."""

    name: str
    shown: str
    status: str
    reason: str


class Hands:
    """See the module; each of its processes has one."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def open(self, number: int, handed: Handed) -> Told | None:
        """Load the model. number: from 1, of this worker; it names its journal. None = it is."""
        self._part, self._handed = Part(Shard(hand=number)), handed
        try:
            self._open()
        except DseInvertError as error:
            return f"{socket.gethostname()}: {error.what}", error.advice, int(error.exit_code)
        return None

    def do(self, items: Sequence[Item], *, alone: bool) -> list[Made] | Told:
        """Do these; what becomes of each is on disk then, and in the journal of this worker."""
        try:
            return [*self._made(items, alone=alone)]
        except DseInvertError as error:
            return f"{socket.gethostname()}: {error.what}", error.advice, int(error.exit_code)
        finally:
            give_all_back()  # the threads of the next batch take pieces of other sizes

    def close(self) -> None:
        """No more is handed to it."""
        self._stack.close()

    def _open(self) -> None:
        handed = self._handed
        if handed.version != __version__:
            raise MissingError(
                f"dseinvert {__version__} is installed there, and {handed.version} here",
                "install one version everywhere",
            )
        if handed.cores:
            os.environ[CORES] = str(handed.cores)
        options = handed.options
        model = open_model(options.model, pick_device(options.device))
        self._job = open_job(options, model, handed.count)
        if names := differing(handed.settings, self._job.settings):
            raise MissingError(
                f"another {names} there than here", "give every worker the same model"
            )
        self._books = self._locked(options)
        self._books.notes.about(verb="images", settings=self._job.settings, total=0, earlier=0)
        books = self._books
        self._target = target_of(self._job, handed.plan, books.mark, books.packer)

    def _locked(self, options: ImagesOptions) -> Books:
        for _ in range(_PATIENCE):
            try:
                return self._stack.enter_context(
                    opened_books(options.out, self._part, options.pack)
                )
            except OutputError as error:
                if error.advice != "wait for it":
                    raise
            time.sleep(1)
        return self._stack.enter_context(opened_books(options.out, self._part, options.pack))

    def _made(self, items: Sequence[Item], *, alone: bool) -> Iterator[Made]:
        begun = noted(items, self._books.notes, alone=alone)
        for entry in made(self._job, self._target, begun, Stop(), SILENT):
            self._books.record(entry)
            yield Made(entry.name, entry.shown, entry.status, entry.reason)
        self._books.finish()
