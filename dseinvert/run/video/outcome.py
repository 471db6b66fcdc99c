"""What came of a `video` run: counts, exit code, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dseinvert.errors import ExitCode
from dseinvert.media.atomic import shown
from dseinvert.run.video.plan import Task

Status = Literal["done", "skipped", "refused", "failed"]


@dataclass(frozen=True)
class Written:
    """One finished video or folder of frames."""

    edit: str
    path: Path
    sha256: str
    earlier: bool
    """Whether it was there already."""


@dataclass(frozen=True)
class Result:
    """What became of one clip."""

    source: str
    """The path as the user wrote it."""
    name: str = ""
    status: Status = "done"
    reason: str = ""
    """Why it is not done."""
    frames: int = 0
    without_face: int = 0
    faces: int = 0
    """Tracks that were edited."""
    lost: int = 0
    """Frames that could not be decoded."""
    partial: bool = False
    """Whether the source is not all there, or was damaged."""
    problems: tuple[str, ...] = ()
    """What the user should know although it is done, a phrase each."""
    outputs: tuple[Written, ...] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By file name."""


@dataclass(frozen=True)
class VideoOutcome:
    """What became of all clips of a run."""

    tasks: tuple[Task, ...]
    results: tuple[Result, ...]
    stopped: ExitCode | None = None
    """None = nobody asked the run to stop."""
    dry: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        if self.stopped is not None:
            return self.stopped
        statuses = {result.status for result in self.results}
        if statuses and statuses <= {"refused", "skipped"} and not self.dry:
            return ExitCode.NO_INPUT
        if statuses - {"done"}:
            return ExitCode.SOME_FAILED
        if any(result.partial for result in self.results):
            return ExitCode.PARTIAL_VIDEO
        return ExitCode.OK

    def summary(self) -> str:
        """One line for people."""
        done = [result for result in self.results if result.status == "done"]
        videos = [video for result in done for video in result.outputs]
        frames = sum(result.frames for result in done)
        parts = [f"{_count(len(videos), 'video')} of {_count(frames, 'frame')}"]
        earlier = sum(video.earlier for video in videos)
        parts += [f"{earlier} of them done before"] * bool(earlier)
        bare = sum(result.without_face for result in done)
        parts += [f"{_count(bare, 'frame')} without a face"] * bool(bare)
        lost = sum(result.lost for result in done)
        parts += [f"{_count(lost, 'frame')} lost"] * bool(lost)
        left = len(self.results) - len(done)
        parts += [f"{_count(left, 'clip')} not done"] * bool(left)
        return ", ".join(parts)

    def where(self) -> str:
        """Where to look: the only video, or the folder of several; nothing where there is none."""
        done = (result for result in self.results if result.status == "done")
        paths = [video.path for result in done for video in result.outputs]
        look = paths[:1] if len(paths) == 1 else sorted({path.parent for path in paths})[:1]
        return f"; see {shown(look[0])}" if look else ""

    def preview(self) -> list[str]:
        """What a dry run says: a line for each video."""
        return [
            f"do    {shown(task.clip.path)} -> {shown(output.path)}"
            for task in self.tasks
            for output in task.outputs
        ]

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON; plain values and lists only."""
        return {
            "exit_code": int(self.exit_code),
            "dry_run": self.dry,
            "todo": [
                {
                    "source": shown(task.clip.path),
                    "outputs": [str(output.path) for output in task.outputs],
                }
                for task in self.tasks
                if self.dry
            ],
            "clips": [_plain(result) for result in self.results],
        }


def _plain(result: Result) -> dict[str, Any]:
    return {
        "source": result.source,
        "name": result.name,
        "status": result.status,
        "reason": result.reason,
        "frames": result.frames,
        "without_face": result.without_face,
        "faces": result.faces,
        "lost": result.lost,
        "partial": result.partial,
        "problems": list(result.problems),
        "outputs": [
            {
                "edit": one.edit,
                "path": str(one.path),
                "sha256": one.sha256,
                "earlier": one.earlier,
                "metrics": dict(result.metrics.get(one.path.name, {})),
            }
            for one in result.outputs
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
