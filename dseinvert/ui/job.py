"""The process of one export: the run of a verb, which writes how far it is into a journal.

python -m dseinvert.ui.job SPEC JOURNAL
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dseinvert.config import ImagesOptions, VideoOptions
from dseinvert.errors import DseInvertError, ExitCode
from dseinvert.progress import Count

_EVERY = 0.2


@dataclass
class Heard:
    """A `Watcher` that writes a line a news, and of counts a few a second."""

    journal: Path
    told: dict[str, Any] = field(default_factory=lambda: {"what": "loading the model"})
    last: float = 0.0

    def write(self, **news: Any) -> None:
        """One more line, of all that is known."""
        self.told.update(news)
        self.last = time.monotonic()
        with self.journal.open("a") as file:
            file.write(json.dumps(self.told) + "\n")

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""
        self.write(what=what, total=total, done=0)

    def advance(self) -> None:
        """See `Watcher`."""
        self.told["done"] = self.told.get("done", 0) + 1
        if time.monotonic() - self.last > _EVERY:
            self.write()

    @contextmanager
    def within(self, what: str, total: int | None) -> Iterator[Count]:
        """See `Watcher`."""
        yield lambda done, note="": None

    def problem(self, line: str) -> None:
        """See `Watcher`."""
        self.write(problems=[*self.told.get("problems", []), line])

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self.write(note=line)


def spec_of(verb: str, paths: list[str], options: ImagesOptions | VideoOptions) -> bytes:
    """What a process of its own is to do, as JSON; of the options, what is not as usual."""
    usual = asdict(type(options)(out=options.out))  # type: ignore[arg-type]
    given = {k: v for k, v in asdict(options).items() if k == "out" or v != usual[k]}
    return json.dumps({"verb": verb, "paths": paths, "options": given}, default=str).encode()


def options_of(spec: dict[str, Any]) -> ImagesOptions | VideoOptions:
    """The options of what `spec_of` wrote."""
    given: dict[str, Any] = {
        name: Path(value) if name in ("out", "script") else value
        for name, value in spec["options"].items()
    }
    given["edits"] = tuple(given.get("edits", ()))
    return VideoOptions(**given) if spec["verb"] == "video" else ImagesOptions(**given)


def run(spec: dict[str, Any], heard: Heard) -> tuple[int, str]:
    """Do what `dseinvert images` or `dseinvert video` would; the exit code and a line for people.

    Raises:
        DseInvertError: what stops a whole run.
    """
    options = options_of(spec)
    if isinstance(options, VideoOptions):
        from dseinvert.run.video.run import run_video

        clips = run_video(spec["paths"], options, heard)
        return int(clips.exit_code), clips.summary()
    from dseinvert.run.images.run import run_images

    outcome = run_images(spec["paths"], options, heard)
    return int(outcome.exit_code), outcome.summary()


def main(spec: Path, journal: Path) -> int:
    """Run a spec; the last line of the journal says how it ended."""
    # Read when torch is loaded: its idle threads must not spin on cores that decoding needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    heard = Heard(journal)
    heard.write()
    try:
        code, said = run(json.loads(spec.read_text()), heard)
    except DseInvertError as error:
        code, said = int(error.exit_code), str(error)
    except KeyboardInterrupt:
        code, said = int(ExitCode.INTERRUPTED), "stopped"
    heard.write(exit_code=code, said=said)
    return code


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
