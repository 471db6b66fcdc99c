"""Whoever looks at the page: their photos, clip and exports, which nobody else sees."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dseinvert.config import ImagesOptions
from dseinvert.errors import DseInvertError, UsageError
from dseinvert.names import brief
from dseinvert.ui import lines, models
from dseinvert.ui.clips import Clip, output_folder
from dseinvert.ui.given import Asked, Download, dropped, placed, text
from dseinvert.ui.jobs import Jobs
from dseinvert.ui.photos import Photos

_SESSIONS = 16
_SMALL, _CORES = 128, torch.get_num_threads()
_FILES = 8
"""Previews of a session that are kept."""
Answer = dict[str, Any] | Download


class Session:
    """One of them. What it keeps on disk is in a temporary folder that goes with it."""

    def __init__(self, model: str) -> None:
        self._folder = TemporaryDirectory(prefix="dseinvert-ui-")
        self.folder = Path(self._folder.name)
        self.files: OrderedDict[str, Path] = OrderedDict()
        self.jobs = Jobs(self.folder)
        self._gan, self._model = models.gan_of(model), model
        self._photos = Photos(self._gan, model)
        self._clip: Clip | None = None

    @property
    def threads(self) -> int:
        """By which its model draws: one for a small model, whose work is done before more wake."""
        return 1 if self._gan.resolution <= _SMALL else _CORES

    def end(self) -> None:
        """Stop its exports and refinements, and remove what it kept."""
        self._photos.end()
        self.jobs.end()
        self._folder.cleanup()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was dropped, opened or begun in it."""
        return not (self._photos.told() or self._clip or self.jobs.told())

    def place(self, name: str) -> Path:
        """Where a file that was dropped is put: under a name of its own, with that one's end."""
        folder = self.folder / secrets.token_urlsafe(8)
        folder.mkdir()
        return folder / placed(name)

    def without_place(self, said: str) -> str:
        """A sentence about a file that was dropped, without the folder that it was put into."""
        return re.sub(rf"{re.escape(str(self.folder))}/[\w-]+/", "", said)

    def photo(self, name: str, data: bytes) -> Answer:
        """A photo that was dropped."""
        return self._photos.add(dropped(name), data)

    def clip(self, path: Path, *, uploaded: bool) -> Answer:
        """A clip that was dropped, or one of this machine."""
        self._clip = Clip(self._gan, path, self.folder, uploaded=uploaded, model=self._model)
        return self._clip.told()

    def dropped_clip(self, path: Path) -> Answer:
        """A clip that was dropped at `path`; what is none does not stay on the disk."""
        try:
            return self.clip(path, uploaded=True)
        except DseInvertError:
            path.unlink(missing_ok=True)
            raise

    def answer(self, action: str, asked: Asked) -> Answer:
        """Do what the page asks for.

        Raises:
            DseInvertError: what cannot be, in a plain sentence.
        """
        if action not in _ACTIONS:
            raise UsageError(f"no action {brief(action)}", ", ".join(sorted(_ACTIONS)))
        return _ACTIONS[action](self, asked)

    def _use(self, model: str) -> None:
        self._gan, self._model = models.gan_of(model), model
        self._photos.end()
        self._photos = Photos(self._gan, model)
        if self._clip is not None:
            self.clip(self._clip.path, uploaded=self._clip.uploaded)

    def _state(self, asked: Asked) -> Answer:
        clip = None if self._clip is None else self._clip.told()
        told = {"photos": self._photos.told(), "clip": clip, "jobs": self.jobs.told()}
        return {"model": models.told(self._gan, self._model), **told}

    def _opened(self) -> Clip:
        if self._clip is None:
            raise UsageError("no clip is open", "drop one, or name one of this machine")
        return self._clip

    def _moving(self, suffix: str, write: Callable[[Path], None]) -> Answer:
        """A preview in the session's folder, under a name that nobody guesses."""
        key = secrets.token_urlsafe(16)
        file = self.folder / f"{key}{suffix}"
        write(file)
        self.files[key] = file
        while len(self.files) > _FILES:
            self.files.popitem(last=False)[1].unlink(missing_ok=True)
        return {"url": f"/file/{key}"}

    def _morph(self, asked: Asked) -> Answer:
        return self._moving(".webp", lambda file: self._photos.morph(asked, file))

    def _preview(self, asked: Asked) -> Answer:
        return self._moving(".mp4", lambda file: self._opened().preview(asked, file))

    def _export(self, asked: Asked) -> Answer:
        return self.jobs.begin("video", *self._opened().export(asked))

    def _batch(self, asked: Asked) -> Answer:
        paths, options = self._photos_of(asked)
        return self.jobs.begin("images", paths, replace(options, out=output_folder(asked)))

    def _photos_of(self, asked: Asked) -> tuple[list[str], ImagesOptions]:
        """A batch, its folders as they are typed."""
        if not text(asked, "folder"):
            raise UsageError("no folder of photos is named", "name one of this machine")
        folder = str(Path(text(asked, "folder")).expanduser().absolute())
        words, out = lines.words_of(asked), Path(text(asked, "out") or lines.OUT)
        return [folder], lines.options_of(self._model, words, out, paste=asked.get("paste") is True)

    def _settings(self, asked: Asked) -> Answer:
        """Of the view that sends it: what `--config` of its verb reads."""
        if "rows" in asked:
            return self._opened().settings(asked)
        if "folder" in asked:
            return lines.settings_of("images", *self._photos_of(asked))
        return self._photos.settings(asked)

    def _use_model(self, asked: Asked) -> Answer:
        self._use(text(asked, "model"))
        return self._state(asked)


_ACTIONS: dict[str, Callable[[Session, Asked], Answer]] = {
    "state": Session._state,
    "draw": lambda session, asked: session._photos.draw(asked),
    "latent": lambda session, asked: session._photos.latent(asked),
    "save": lambda session, asked: session._photos.save(asked),
    "morph": Session._morph,
    "clip": lambda session, asked: session.clip(
        Path(text(asked, "path")).expanduser(), uploaded=False
    ),
    "people": lambda session, asked: {"people": session._opened().people()},
    "frame": lambda session, asked: session._opened().frame(asked),
    "preview": Session._preview,
    "edits": lambda session, asked: session._opened().edits(asked),
    "settings": Session._settings,
    "export": Session._export,
    "batch": Session._batch,
    "batch-lines": lambda session, asked: {"lines": lines.of_batch(*session._photos_of(asked))},
    "jobs": lambda session, asked: {"jobs": session.jobs.told()},
    "stop": lambda session, asked: session.jobs.get(text(asked, "job")).stop(),
    "go-on": lambda session, asked: session.jobs.get(text(asked, "job")).start(),
    "models": lambda session, asked: models.listed(),
    "use-model": Session._use_model,
    "add-model": lambda session, asked: models.add(asked),
    "learn": lambda session, asked: models.learned(asked),
    "direction": lambda session, asked: models.previewed(asked, session.folder),
}


class Sessions:
    """All of them, the last few, by names that nobody guesses."""

    def __init__(self, model: str) -> None:
        self._model, self._sessions = model, OrderedDict[str, Session]()
        self._lock = threading.Lock()

    def begin(self) -> str:
        """The name of a new one; where there are too many, the longest idle of the empty ones goes.

        Where none is empty, it is the longest idle of all: whoever opens the page again and again
        ends nobody's work as long as they do nothing in it.
        """
        key, session = secrets.token_urlsafe(24), Session(self._model)
        with self._lock:
            old = self._oldest() if len(self._sessions) >= _SESSIONS else None
            self._sessions[key] = session
        if old is not None:
            old.end()
        return key

    def _oldest(self) -> Session:
        empty = (key for key, one in self._sessions.items() if one.is_empty)
        return self._sessions.pop(next(empty, next(iter(self._sessions))))

    def get(self, key: str) -> Session | None:
        """None = there is none of that name."""
        with self._lock:
            if key in self._sessions:
                self._sessions.move_to_end(key)
            return self._sessions.get(key)

    def job_file(self, key: str, name: str) -> Path | None:
        """A file of an export's output folder by the export's unguessable name; None = no such."""
        for session in [*self._sessions.values()]:
            try:
                out = session.jobs.get(key).out.resolve()
            except UsageError:
                continue
            return _inside(out, name)
        return None

    def end(self) -> None:
        """End all."""
        for session in self._sessions.values():
            session.end()


_SERVED = {
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".m4v", ".mov", ".mkv", ".webm"),
    *(".html", ".csv", ".json", ".jsonl", ".toml", ".safetensors", ".npz", ".pt"),
}
"""What runs write; a folder to write into may hold what is nobody's business."""


def _inside(out: Path, name: str) -> Path | None:
    """A file of an output folder, which is no link to elsewhere; None = there is none."""
    try:
        file = (out / name).resolve()
        found = file.is_relative_to(out) and file.is_file()
    except (OSError, ValueError, RuntimeError):  # no name of a file
        return None
    hidden = any(part.startswith(".") for part in file.relative_to(out).parts) if found else True
    return None if hidden or file.suffix.lower() not in _SERVED else file
