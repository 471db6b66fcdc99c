"""The exports of one session: each a process of its own, that can be stopped and gone on with."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dseinvert.config import ImagesOptions, VideoOptions
from dseinvert.errors import ExitCode, UsageError
from dseinvert.media.atomic import make_folder, write_bytes
from dseinvert.ui.job import spec_of

_PATIENCE = 10
"""Seconds that a process has to finish the batch in hand when the server ends."""


@dataclass
class Job:
    """One export; `folder` holds its spec and journal, and goes with the session."""

    key: str
    folder: Path
    verb: str
    out: Path
    process: subprocess.Popen[bytes] | None = None
    """None = it was not started."""

    @property
    def is_running(self) -> bool:
        """Whether it has still something to do."""
        there = self.process is not None and self.process.poll() is None
        return there and "exit_code" not in self._news()

    def start(self) -> dict[str, Any]:
        """Begin, or go on where it was stopped; how far it is."""
        if not self.is_running:
            if self.process is not None:
                self.process.wait(_PATIENCE)
            (self.folder / "journal.jsonl").unlink(missing_ok=True)
            words = [str(self.folder / name) for name in ("spec.json", "journal.jsonl")]
            with (self.folder / "errors.txt").open("wb") as errors:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "dseinvert.ui.job", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C at the server asks it once, not twice
                )
        return self.told()

    def stop(self) -> dict[str, Any]:
        """Ask it to finish the batch in hand, after which it can be gone on with; how far it is."""
        if self.process is not None and self.is_running:
            self.process.send_signal(signal.SIGINT)
        return self.told()

    def told(self) -> dict[str, Any]:
        """How far it is, by its journal, and what there is to see."""
        running, news = self.is_running, self._news()
        if not running and "exit_code" not in news:
            news |= {"exit_code": int(ExitCode.SOME_FAILED), "said": "it ended before it was done"}
        files = [] if running else sorted(f.name for f in self.out.glob("*") if f.is_file())
        told = {"id": self.key, "verb": self.verb, "out": str(self.out), "running": running}
        return {**news, **told, "files": files}

    def _news(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, IndexError):
            lines = (self.folder / "journal.jsonl").read_text().splitlines()
            return dict(json.loads(lines[-1]))
        return {"what": "starting"}


class Jobs:
    """Those of one session, by their unguessable names."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._jobs = folder, dict[str, Job]()

    def begin(
        self, verb: str, paths: list[str], options: ImagesOptions | VideoOptions
    ) -> dict[str, Any]:
        """Start what a verb would do."""
        assert options.out is not None
        key = secrets.token_urlsafe(16)
        job = Job(key, self._folder / key, verb, options.out)
        make_folder(job.folder)
        write_bytes(job.folder / "spec.json", spec_of(verb, paths, options))
        self._jobs[key] = job
        return job.start()

    def get(self, key: str) -> Job:
        """UsageError where there is none of that name."""
        if key not in self._jobs:
            raise UsageError("no such export")
        return self._jobs[key]

    def told(self) -> list[dict[str, Any]]:
        """All of them, the latest first."""
        return [job.told() for job in reversed(self._jobs.values())]

    def end(self) -> None:
        """Ask all to stop, and wait until they have."""
        for job in self._jobs.values():
            job.stop()
        for job in self._jobs.values():
            if job.process is not None:
                with suppress(subprocess.TimeoutExpired):
                    job.process.wait(_PATIENCE)
                job.process.kill()
