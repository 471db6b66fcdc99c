"""What a `video` run is going to do: clips, the names of their outputs, what is done already."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from dseinvert.cards import GENERATOR, bundled_card
from dseinvert.config import VideoOptions
from dseinvert.editing.grammar import addressed
from dseinvert.errors import NoInputError, OutputError, OutsideError, UsageError
from dseinvert.inversion.asked import clip_refining
from dseinvert.media.atomic import shown, within
from dseinvert.media.clip import Clip, probe, seconds_in
from dseinvert.media.described import without_place
from dseinvert.media.digest import file_sha256
from dseinvert.media.encoding import CONTAINERS, Encoding, container_of, encoding
from dseinvert.media.formats import VIDEO_SUFFIXES
from dseinvert.media.frame_files import probe_frames
from dseinvert.media.playable import Choice, playable
from dseinvert.media.scan import Problem, looks_like_image, scan
from dseinvert.media.video_write import Cut, check_output, suffix_for
from dseinvert.run.flow.keys import settings_of
from dseinvert.run.flow.names import assign, folded
from dseinvert.run.video.keys import LATENTS, PASTING, PICTURES, RENDER, TRACKS, Asked, key_of

_OTHER_FILES = frozenset(
    {".gif", ".apng", ".png", ".jpg", ".jpeg", ".webp", ".mp3", ".m4a", ".wav", ".ogg", ".f4v"}
    | {".m2v", ".vob", ".rm", ".nut", ".divx", ".h264", ".h265", ".264", ".265", ".hevc"}
)
_OF_ENCODERS = ("pix_fmt", "bitrate", "preset", "height")
# What follows the stem in the name of a video this program wrote.
_OURS = re.compile(r"(recon|recon\..*|edits-.*|.*([+-]\d|=auto).*)\.(frames|mp4|m4v|mov|mkv|webm)")
_PREVIEW_SIDE, _PREVIEW_CRF, _PREVIEW_PRESET = 480, 30, "veryfast"


@dataclass(frozen=True)
class Output:
    """One video, or folder of frames, to be written."""

    label: str
    """The edit's label, or "recon"."""
    path: Path
    key: str
    """Of source, settings and model together: an equal key means an equal result."""
    look: str = ""
    """Of all that but the encoding: an equal one means the same pictures."""
    settings: str = ""
    """All that decides about it besides the source, as JSON."""
    added: str = ""
    """The key that it would have with --blend difference, as all runs had before there was another
    one."""

    @property
    def begun(self) -> str:
        """The end of the names of its unfinished work; another one for another way to paste."""
        return f"p{PASTING}-{self.key}"


@dataclass(frozen=True)
class Task:
    """One clip with all that decides about its outputs."""

    clip: Clip
    name: str
    folder: Path
    """Where everything of it is written."""
    sha256: str
    """Of the source's bytes."""
    cut: Cut
    tracks_key: str
    """Of all that decides about the tracks."""
    latents_key: str
    """Of all that decides about the latents."""
    settings: Encoding | None
    """None = frames are written as pictures."""
    outputs: tuple[Output, ...]
    notes: tuple[str, ...] = ()
    """What the user should know about how they are written, a phrase each."""

    @property
    def frames(self) -> int:
        """How many there are to do, as far as the header of the clip tells."""
        clip = self.clip
        if clip.duration is None:
            return clip.claimed_frames or 0
        start, end = clip.start, clip.start + clip.duration
        first, last = max(self.cut.start or start, start), min(self.cut.end or end, end)
        return max(0, round((last - first) * clip.rate))

    @property
    def latents(self) -> Path:
        """The file of all latents."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def kept(self) -> Path:
        """The folder for what a killed run leaves to the next one."""
        return self.folder / f".{self.name}.dse-work"


def find_sources(patterns: Sequence[str]) -> tuple[list[Path], list[Problem]]:
    """Video files, and folders of frames, that the patterns mean.

    A folder that holds videos stands for these; one that holds pictures only is a clip itself.
    """
    sources: list[Path] = []
    problems: list[Problem] = []
    for pattern in patterns:
        path = Path(pattern)
        found = scan([pattern], wanted=lambda file: file.suffix.lower() in VIDEO_SUFFIXES)
        videos = [file for file in found.files if not (path.is_dir() and _is_output(file))]
        problems += found.problems
        if path.is_dir() and not videos:
            if scan([pattern], recursive=False, wanted=looks_like_image).files:
                videos = [path]
            elif not found.problems:
                problems.append(Problem(path, "holds neither videos nor pictures"))
        sources += [file for file in videos if file not in sources]
    return sources, problems


def name_tasks(sources: Sequence[Path]) -> dict[Path, str]:
    """The name of each source's outputs."""
    return assign(sources, {}, ())


def open_source(path: Path, fps: Fraction | None, *, deinterlace: bool = False) -> Clip:
    """A video, or a folder of frames; InputError where it cannot be used."""
    return probe_frames(path, fps) if path.is_dir() else probe(path, deinterlace=deinterlace)


def cut_of(clip: Clip, options: VideoOptions, named: str = "--start") -> Cut:
    """The part to do, in the clip's own time; OutsideError or UsageError where it holds nothing.

    Args:
        named: the option that gave the start, for what is said.
    """
    start, end = (
        None if when is None else clip.start + seconds_in(clip, when)
        for when in (options.start, options.end)
    )
    if end is not None and end <= (clip.start if start is None else start):
        raise UsageError("--end is not behind --start")
    length = clip.duration
    if start is not None and length is not None and start >= clip.start + length:
        what = f"{shown(clip.path)}: {named} is behind its end, at {float(length):.2f} s"
        raise OutsideError(what, "choose a time within it")
    return Cut(start, end)


def make_task(
    clip: Clip,
    name: str,
    options: VideoOptions,
    model: Mapping[str, Any],
    edits: Mapping[str, str],
    *,
    sha256: str | None = None,
) -> Task:
    """Name the outputs of a clip; nothing is written.

    Args:
        model: all of the model and the crops that decides about latents, JSON-ready.
        edits: a fingerprint of each edit, by label.
        sha256: of the source; None = it is read.

    Raises:
        InputError, UsageError, OutputError, MissingError: what cannot be done, before any work.
    """
    sha256 = source_sha256(clip) if sha256 is None else sha256
    clip = replace(clip, sound=options.audio) if options.audio is not None else clip
    cut = cut_of(clip, options)
    choice = None if options.frames else encoding_of(clip, options)
    settings = None if choice is None else choice.settings
    asked = Asked(clip, cut, options, model, settings)
    paths = _paths(clip, name, options, settings, [*edits] or ["recon"])
    if settings is not None:
        for path in paths.values():
            check_output(path, settings, clip)
    outputs = tuple(
        _output(label, path, replace(asked, edit=(label, edits.get(label, ""))), sha256)
        for label, path in paths.items()
    )
    _check_paths(clip, outputs)
    folder = outputs[0].path.parent
    keys = key_of(TRACKS, asked, sha256), key_of(LATENTS, asked, sha256)
    clip, notes = _told(clip, options, choice)
    return Task(clip, name, folder, sha256, cut, *keys, settings, outputs, notes)


def _output(label: str, path: Path, asked: Asked, sha256: str) -> Output:
    plain = replace(asked, options=replace(asked.options, blend="difference"))
    key, look = key_of(RENDER, asked, sha256), key_of(PICTURES, asked, sha256)
    settings = json.dumps({**settings_of(RENDER, asked), **_bundled(asked)}, sort_keys=True)
    return Output(label, path, key, look, settings, added=key_of(RENDER, plain, sha256))


def _bundled(asked: Asked) -> dict[str, Any]:
    """That the weights are those that come with this program; no part of a key."""
    own = bundled_card().get("sha256", {}).get(GENERATOR)
    return {"bundled": True} if asked.model.get("generator") == own else {}


def _told(clip: Clip, options: VideoOptions, choice: Choice | None) -> tuple[Clip, tuple[str, ...]]:
    """The clip as it is to be described in its outputs, and what the user should know of them."""
    notes = () if choice is None else choice.notes
    if options.fps is not None and not clip.files:
        notes += ("--fps is for folders of frames; a video keeps the times of its frames",)
    if choice is None or options.keep_gps:
        return clip, notes
    tags = without_place(clip.metadata)
    if len(tags) < len(clip.metadata):
        notes += ("where it was taken (GPS) is left out; --keep-gps keeps it",)
    return replace(clip, metadata=tags), notes


def encoding_of(clip: Clip, options: VideoOptions) -> Choice:
    """The encoder's settings for what the options ask."""
    width, height = clip.size
    if options.preview:
        scale = min(Fraction(1), Fraction(_PREVIEW_SIDE, min(width, height)))
        width, height = (max(2, round(side * scale / 2) * 2) for side in (width, height))
    if options.height is not None:
        width = max(2, round(Fraction(width * options.height, 2 * height)) * 2)
        height = options.height - options.height % 2
    size = (2 * (width + width % 2) if options.side_by_side else width, height)
    if options.preview:
        settings = encoding(clip, "h264", _PREVIEW_CRF, _PREVIEW_PRESET, size, 8, "yuv420p")
        return Choice(settings, ())
    named = options.out.suffix if options.out is not None and _is_file(options.out) else ""
    given = {"crf": options.crf, "preset": options.preset, "bitrate": options.bitrate}
    return playable(clip, options.codec, options.pix_fmt, named, size, **given)


def check_options(options: VideoOptions, inputs: int) -> None:
    """UsageError for options that exclude each other."""
    clip_refining(options.refine)
    if options.preview and (options.codec or options.crf is not None):
        raise UsageError("--preview chooses --codec and --crf itself", "leave them out")
    if options.frames and (options.codec or options.crf is not None or options.preview):
        raise UsageError("--frames writes pictures", "leave out --codec, --crf and --preview")
    encoder = {f"--{name.replace('_', '-')}": getattr(options, name) for name in _OF_ENCODERS}
    asked = [name for name, value in encoder.items() if value is not None]
    if asked and (options.preview or options.frames):
        what = "--preview" if options.preview else "--frames"
        raise UsageError(f"{what} goes without {asked[0]}", "leave one of them out")
    if options.bitrate is not None and options.crf is not None:
        raise UsageError("--bitrate takes the place of --crf", "leave one of them out")
    if options.paste == "difference" and not (options.edits or options.script):
        raise UsageError(
            "--paste difference shows what an edit changed", "add --edit NAME=STRENGTH"
        )
    check_place(options)
    _check_times(options)
    if options.out is not None and _is_no_folder(options.out):
        container_of(options.out)
    if options.out is not None and _is_file(options.out):
        if options.frames:
            raise UsageError("--frames writes folders", "let --out name a folder")
        if inputs > 1 or videos_of(options) > 1:
            raise UsageError(
                f"--out {options.out} is one file, and there are several videos to write",
                "let --out name a folder",
            )


def _check_times(options: VideoOptions) -> None:
    start, end = options.start or Fraction(0), options.end
    if isinstance(start, Fraction) and isinstance(end, Fraction) and end <= start:
        raise UsageError("--end is not behind --start")


def check_place(options: VideoOptions) -> None:
    """UsageError where --mask or --region cannot show what an edit changed."""
    place = "--mask" if options.mask is not None else "--region"
    if options.mask is None and options.region is None:
        return
    if options.paste == "replace":
        raise UsageError(f"{place} shows what an edit changed", "leave out --paste replace")


def videos_of(options: VideoOptions) -> int:
    """How many are made of each clip: edits that name somebody are in one."""
    named = [text for text in options.edits if addressed(text)[0]]
    return len(options.edits) - max(0, len(named) - 1) + (options.script is not None)


def source_sha256(clip: Clip) -> str:
    """The sha256 of a video's bytes, or of those of its frames and their times."""
    if not clip.files:
        return file_sha256(clip.path)
    digest = hashlib.sha256(repr((clip.times, str(clip.time_base))).encode())
    for file in (*clip.files, *([clip.sound] if clip.sound else [])):
        digest.update(bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()


def check_room(task: Task, bytes_per_frame: int) -> None:
    """OutputError where the disk cannot even hold the latents."""
    needed = task.frames * bytes_per_frame
    folder = next((f for f in (task.folder, *task.folder.absolute().parents) if f.is_dir()), None)
    free = shutil.disk_usage(folder).free if folder else needed
    if free < needed:
        raise OutputError(
            f"{shown(task.folder)}: no space left for the latents: "
            f"{needed >> 10} KiB needed, {free >> 10} KiB free",
            "free some space or choose another --out",
        )


def _is_file(path: Path) -> bool:
    return path.suffix.lower() in CONTAINERS and not path.is_dir()


def _is_no_folder(path: Path) -> bool:
    """Whether a name is that of a file that cannot be a folder for what is written."""
    return path.suffix.lower() in VIDEO_SUFFIXES | _OTHER_FILES and not path.is_dir()


def _paths(
    clip: Clip,
    name: str,
    options: VideoOptions,
    settings: Encoding | None,
    labels: Sequence[str],
) -> dict[str, Path]:
    out = options.out or Path()
    if _is_file(out):
        return {labels[0]: out}
    if settings is None:
        return {label: within(out, f"{name}.{label}.frames") for label in labels}
    suffix = suffix_for(clip, settings)
    kind = ".side" * options.side_by_side + ".preview" * options.preview
    return {label: within(out, f"{name}.{label}{kind}{suffix}") for label in labels}


def _check_paths(clip: Clip, outputs: Sequence[Output]) -> None:
    for output in outputs:
        if output.path.resolve() == clip.path.resolve():
            raise UsageError(
                f"{shown(clip.path)}: is the input, and would be overwritten",
                "choose another --out",
            )
        if output.path.is_dir() and output.path.suffix != ".frames":
            raise OutputError(f"{shown(output.path)}: a folder of that name is in the way")
    if len({folded(str(output.path)) for output in outputs}) < len(outputs):
        raise UsageError("two --edit give one name", "leave one out")


def _is_output(path: Path) -> bool:
    """Whether a video in a folder was written by this program: it lies beside its latents."""
    return any(
        _OURS.fullmatch(path.name[dot + 1 :])
        and path.with_name(path.name[:dot] + ".safetensors").exists()
        for dot in _dots(path.name)
    )


def _dots(name: str) -> Iterator[int]:
    yield from (match.start() for match in re.finditer(r"\.", name))


def nothing_found(problems: Sequence[Problem]) -> NoInputError:
    """The error of a run without inputs."""
    if len(problems) == 1:
        return NoInputError(f"{shown(problems[0].path)}: {problems[0].reason}")
    return NoInputError("no videos found", "name video files, folders of frames or globs")
