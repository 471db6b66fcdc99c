"""Programs in processes of their own, forked from one that has imported PyTorch already.

A process as a user starts it imports for two seconds before it does anything. What these do
from their first line on is the same, and SIGKILL ends them as it ends any other.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest import mock

IMPORTED = (
    *("pytest", "dseinvert.cli.main", "dseinvert.run.video.run", "dseinvert.run.images.run"),
    "torch._dynamo",  # seconds, at the first step of any of PyTorch's optimisers
)
"""Whatever else a program needs, it imports itself."""
KILLS = int(os.environ.get("DSEINVERT_KILLS", "6"))
"""How often what is killed at random moments is killed; 40 is the long trial."""


class Forked:
    """`python -m module words...`, with what of `subprocess.Popen` the tests need."""

    def __init__(
        self, module: str, words: Sequence[object], cwd: Path, environment: Mapping[str, str]
    ) -> None:
        # Here before it is: it may be killed before its first line.
        self._told = [NamedTemporaryFile("w+", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*IMPORTED])
        with mock.patch.dict(os.environ, environment):
            forkserver.ensure_running()
        told = [file.name for file in self._told]
        given = (module, [*map(str, words)], str(cwd), dict(environment), told)
        self._process = context.Process(target=_begin, args=given, daemon=True)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """How it ended, -9 where SIGKILL ended it; None = it runs."""
        return self._process.exitcode

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def said(self) -> str:
        """Its stderr so far."""
        return Path(self._told[1].name).read_text("utf-8")

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.pid is not None and self.returncode is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; subprocess.TimeoutExpired where it still runs after `timeout` s."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All of its stdout and stderr, once it has ended."""
        self.wait(timeout)
        out, error = (file.read() for file in self._told)
        return out, error


def run(
    module: str, words: Sequence[object], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """`python -m module words...`, ended."""
    process = Forked(module, words, cwd, environment)
    out, error = process.communicate()
    return subprocess.CompletedProcess([module, *map(str, words)], process.wait(), out, error)


def _begin(
    module: str, words: list[str], cwd: str, environment: dict[str, str], told: list[str]
) -> None:
    """Become that program: its streams, folder, environment, arguments."""
    for number, name in enumerate(told, 1):
        os.dup2(os.open(name, os.O_WRONLY), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
