"""What decides about each step of a video: a step made under the same key is not made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dseinvert.config import VideoOptions
from dseinvert.faces.mask import WORDS
from dseinvert.inversion.asked import clip_refining
from dseinvert.media.clip import Clip
from dseinvert.media.digest import file_sha256
from dseinvert.media.encoding import Encoding
from dseinvert.media.video_write import Cut
from dseinvert.run.flow.keys import Setting, result_key, settings_of
from dseinvert.run.video.who import person_key
from dseinvert.written import regions_of

OUTPUTS = 2  # raised when the same input and settings give other outputs: all is then done again
PASTING = 4  # raised when pasted edits come out otherwise: begun and moved ones are made again


@dataclass(frozen=True)
class Asked:
    """All that decides about what becomes of a clip, but for its bytes."""

    clip: Clip
    cut: Cut
    options: VideoOptions
    model: Mapping[str, Any]
    """All of the model and the crops that decides about latents, JSON-ready."""
    encoding: Encoding | None
    """None = frames are written as pictures."""
    edit: tuple[str, str] = ("", "")
    """Label and fingerprint of the output's edit."""


def _rate(asked: Asked) -> dict[str, Any]:
    clip = asked.clip
    return {"rate": str(clip.rate), "time_base": str(clip.time_base)} if clip.files else {}


def _rotate(asked: Asked) -> dict[str, Any]:
    turn = asked.options.rotate
    return {} if turn == "auto" else {"rotate": turn}


def _refine(asked: Asked) -> dict[str, Any]:
    refining = clip_refining(asked.options.refine)
    return {"refine": refining.text} if refining.stages else {}


def _encoding(asked: Asked) -> dict[str, Any]:
    return {"encoding": "frames" if asked.encoding is None else asked.encoding.as_json()}


def _where(asked: Asked) -> dict[str, Any]:
    mask, region = asked.options.mask, asked.options.region
    if mask is None and region is None:
        return {}
    painted = mask if mask is None or mask in WORDS else file_sha256(Path(mask))
    return {"where": [painted, region and sorted(regions_of(region))]}


def _blend(asked: Asked) -> dict[str, Any]:
    options = asked.options
    edited = bool(options.edits or options.script) and options.paste != "replace"
    return {"blend": [options.blend, PASTING]} if edited and options.blend != "difference" else {}


def _sound(asked: Asked) -> dict[str, Any]:
    sound = asked.options.audio
    return {} if sound is None else {"audio": file_sha256(sound)}


TRACKS: tuple[Setting[Asked], ...] = (
    Setting((), lambda asked: {"outputs": OUTPUTS}),
    Setting(("start",), lambda asked: {"start": str(asked.cut.start)}),
    Setting(("end",), lambda asked: {"end": str(asked.cut.end)}),
    Setting(
        ("deinterlace",), lambda asked: {"deinterlace": True} if asked.options.deinterlace else {}
    ),
    Setting(("rotate",), _rotate),
    Setting((), lambda asked: {"detector": asked.model["detector"]}),
)
"""What decides where the faces are."""
LATENTS: tuple[Setting[Asked], ...] = (
    *TRACKS,
    Setting(("model", "feature_edit"), lambda asked: asked.model),
    Setting(("fps",), _rate),
    Setting(("faces",), lambda asked: {"faces": asked.options.faces}),
    Setting(("smooth",), lambda asked: {"smooth": str(asked.options.smooth)}),
    Setting(("refine",), _refine),
    Setting(("person", "identity"), lambda asked: person_key(asked.options)),
)
"""What decides about the latents: all of the above as well."""
_BEFORE: tuple[Setting[Asked], ...] = (
    *LATENTS,
    Setting(("paste",), lambda asked: {"paste": asked.options.paste}),
    Setting(("blend",), _blend),
    Setting(("mask", "region"), _where),
    Setting(("side_by_side",), lambda asked: {"side_by_side": asked.options.side_by_side}),
)
_AFTER: tuple[Setting[Asked], ...] = (
    Setting(("segment",), lambda asked: {"segment": asked.options.segment}),
    Setting(("edits", "script"), lambda asked: {"edit": [*asked.edit]}),
)
PICTURES: tuple[Setting[Asked], ...] = (*_BEFORE, *_AFTER)
"""What decides about the pictures of an output, however they are encoded."""
RENDER: tuple[Setting[Asked], ...] = (
    *_BEFORE,
    Setting(
        ("codec", "pix_fmt", "crf", "bitrate", "preset", "height", "preview", "frames", "out"),
        _encoding,
    ),
    Setting(("audio",), _sound),
    Setting(("keep_gps",), lambda asked: {"gps": True} if asked.options.keep_gps else {}),
    *_AFTER,
)
"""What decides about an output: all of the above as well. Every option is in here or below."""
CHANGES_NOTHING = frozenset({"device", "backend", "batch", "overwrite", "dry_run"}) | {
    *("list_people", "still", "strip")
}
"""Options with which what is there is as good as what would be made; the last make no videos."""


def key_of(table: tuple[Setting[Asked], ...], asked: Asked, sha256: str) -> str:
    """The key of a step of the clip whose bytes have this sha256."""
    return result_key(sha256, settings_of(table, asked))[:16]
