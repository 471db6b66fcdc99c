"""How a clip is written where players and editors are to take it, and what that costs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dseinvert.errors import UsageError
from dseinvert.media.clip import Clip
from dseinvert.media.encoding import Codec, Encoding, codec_of, encoding
from dseinvert.media.planes import as_written, is_yuv, upright_format


@dataclass(frozen=True)
class Choice:
    """The settings for a clip."""

    settings: Encoding
    notes: tuple[str, ...]
    """What is not written as it is in the source, one phrase or none."""


def playable(
    clip: Clip,
    codec: str | None = None,
    pixel_format: str | None = None,
    suffix: str = "",
    size: tuple[int, int] | None = None,
    **given: Any,
) -> Choice:
    """What players take: h264 with 8 bits and 4:2:0, h265 of deeper clips, and even sizes.

    Args:
        codec, pixel_format: what was asked for, which wins; None = nothing.
        suffix: of the file to write, with its dot; "" = any.
        size: of the pictures before they are padded; None = the clip's.
        given: crf, preset and bitrate, as `encoding` takes them.

    Raises:
        UsageError, MissingError: as `encoding` does.
    """
    name = codec or usual_codec(clip, suffix)
    chosen = codec_of(name)
    wanted = pixel_format or _format(name, chosen, clip)
    if pixel_format:
        _check_format(name, chosen, pixel_format)
    own, padded = size or clip.size, even(size or clip.size, wanted, chosen)
    settings = encoding(clip, name, size=padded, pixel_format=wanted, padded=padded != own, **given)
    return Choice(settings, tuple(_notes(clip, settings, own, codec or pixel_format)))


def usual_codec(clip: Clip, suffix: str = "") -> str:
    """The codec where none is asked for. suffix: see `playable`."""
    webm = suffix.lower() == ".webm"
    if clip.alpha and (webm or (not suffix and clip.path.suffix.lower() == ".webm")):
        return "vp9"
    if webm:
        return "av1"
    return "h265" if clip.depth > 8 else "h264"


def even(size: tuple[int, int], pixel_format: str, codec: Codec) -> tuple[int, int]:
    """A size that players take, not smaller: even where samples of chroma are shared."""
    if codec.exact or "444" in pixel_format or not is_yuv(pixel_format):
        return size
    width, height = size
    return width + width % 2, height + height % 2


def _format(name: str, codec: Codec, clip: Clip) -> str:
    """The pixel format of a codec that players take."""
    if codec.exact:
        own = upright_format(clip.pixel_format, clip.turn)
        return _kept(clip) if own is None else as_written(own)
    if codec.encoder.startswith("prores"):
        if clip.alpha:
            return "yuva444p10le"
        return "yuv444p10le" if clip.chroma == "444" and clip.depth > 8 else "yuv422p10le"
    if name == "vp9" and clip.alpha:
        return "yuva420p"
    deep = clip.depth > 8 and not codec.encoder.startswith(("libx264", "h264"))
    formats = ("yuv420p10le", "p010le") if deep else ()
    usual = (one for one in (*formats, "yuv420p", "nv12") if one in codec.formats)
    return next(usual, codec.formats[0])


def _kept(clip: Clip) -> str:
    return f"yuv{clip.chroma}p{'10le' if clip.depth > 8 else ''}"


def _check_format(name: str, codec: Codec, pixel_format: str) -> None:
    """UsageError for a format that the encoder does not take."""
    import av

    try:
        taken = [one.name for one in av.Codec(codec.encoder, "w").video_formats or ()]
    except ValueError:  # there is no such encoder here, which is said elsewhere
        return
    if taken and pixel_format not in taken:
        raise UsageError(f"{name} takes no --pix-fmt {pixel_format}", f"one of {', '.join(taken)}")


def _notes(
    clip: Clip, settings: Encoding, own: tuple[int, int], asked: str | None
) -> Iterator[str]:
    import av

    written = av.VideoFormat(settings.pixel_format, 16, 16)
    said = [] if asked or settings.codec == "h264" else [f"is written as {settings.codec}"]
    lost = [*_lost(clip, written)]
    if clip.hdr10 and not settings.hdr10:
        lost.append("its mastering display and light levels")
    if lost:
        said.append(f"is written as {settings.pixel_format}, which loses {' and '.join(lost)}")
    if settings.padded:
        sizes = f"{own[0]} x {own[1]} to {settings.width} x {settings.height}"
        said.append(f"is padded from {sizes} by repeating its last columns and rows")
    if said:
        keeps = "; --codec ffv1 keeps all" if lost or settings.padded else ""
        yield ", ".join(said) + keeps


def _lost(clip: Clip, written: Any) -> Iterator[str]:
    parts = written.components
    if parts[0].bits < clip.depth:
        yield f"{clip.depth} bits"
    subsampled = len(parts) > 2 and parts[1].width < parts[0].width
    if clip.chroma == "444" and subsampled:
        yield "4:4:4 chroma"
    if clip.chroma == "422" and parts[1].height < parts[0].height:
        yield "4:2:2 chroma"
    if clip.alpha and not any(part.is_alpha for part in parts):
        yield "its alpha"
