"""What came of an `images` run: counts, exit code, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dseinvert.errors import ExitCode
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.names import counted
from dseinvert.run.images.journal import Entry
from dseinvert.run.images.plan import Plan


@dataclass(frozen=True)
class Outcome:
    """The entries of this run's inputs, whether done now or earlier."""

    out: Path
    plan: Plan
    entries: tuple[Entry, ...]
    stopped: ExitCode | None = None
    """None = nobody asked the run to stop."""
    dry: bool = False

    @property
    def undone(self) -> list[tuple[str, str]]:
        """What was asked for and is not done: file and reason."""
        problems = [(shown(p.path), p.reason) for p in self.plan.problems]
        return problems + [(e.shown, e.reason) for e in self.entries if e.status != "done"]

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        if self.stopped is not None:
            return self.stopped
        if not self.undone:
            return ExitCode.OK
        usable = self.dry or any(entry.status != "refused" for entry in self.entries)
        return ExitCode.SOME_FAILED if usable else ExitCode.NO_INPUT

    def summary(self) -> str:
        """One line for people."""
        counts = Counter(entry.status for entry in self.entries)
        faces = sum(len(entry.faces) for entry in self.entries)
        parts = [f"{counted(faces, 'face')} from {counted(counts['done'], 'image')}"]
        fresh = {item.name for item in self.plan.todo}
        earlier = sum(e.status == "done" and e.name not in fresh for e in self.entries)
        parts += [f"{earlier} of them done before"] * bool(earlier)
        parts += [f"{counts['skipped']} without a face"] * bool(counts["skipped"])
        failed = counts["refused"] + counts["failed"] + len(self.plan.problems)
        parts += [f"{failed} failed"] * bool(failed)
        left = len(self.plan.todo) + len(self.plan.settled) - len(self.entries)
        parts += [f"{left} to do"] * bool(left)
        return ", ".join(parts)

    def preview(self) -> list[str]:
        """What a dry run says: a line for each input."""
        do = [f"do    {shown(item.source)} -> {item.name}" for item in self.plan.todo]
        done = [f"{e.status:<5} {e.shown} -> {e.name}" for e in self.entries]
        return do + done

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON; plain values and lists only."""
        earlier = {entry.name for entry in self.plan.settled}
        return {
            "out": far(self.out) or str(self.out),
            "page": far(self.out / "index.html") or str(self.out / "index.html"),
            "exit_code": int(self.exit_code),
            "dry_run": self.dry,
            "todo": [
                {"source": shown(i.source), "name": i.name} for i in self.plan.todo if self.dry
            ],
            "items": [
                {**asdict(entry), "earlier": entry.name in earlier} for entry in self.entries
            ],
            "problems": [{"source": shown(p.path), "reason": p.reason} for p in self.plan.problems],
        }
