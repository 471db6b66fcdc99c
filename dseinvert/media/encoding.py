"""How frames become packets: the codecs we write, and one clip's settings for one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dseinvert.errors import MissingError, UsageError
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip
from dseinvert.media.colour import FULL, LIMITED, RGB, Colours, Converter, guessed
from dseinvert.media.planes import Planes, as_written, grown, upright_format

CONTAINERS: Mapping[str, str] = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""The file suffixes that can be written, and their formats."""

BESIDE: Literal["matroska_block_additional"] = "matroska_block_additional"
"""What FFmpeg calls the alpha of a packet."""

# A fixed number, for x264 decides by it: the same frames give the same bytes on every machine.
THREADS = 4


@dataclass(frozen=True)
class Codec:
    """One way to write video."""

    encoder: str
    formats: tuple[str, ...]
    """Pixel formats, better ones last."""

    crf: float | None
    """Quality where none is asked for, meant to look like the source; None = has no such number."""

    preset: str | None = None
    crf_option: str = "crf"
    options: Mapping[str, str] = field(default_factory=dict)
    full_range: bool = True
    odd_420: bool = False
    """Whether 4:2:0 pictures may have an odd number of rows or columns."""

    odd_options: Mapping[str, str] = field(default_factory=dict)
    """Options for such pictures."""

    exact: bool = False
    """Whether it loses nothing, and so takes what the source stores as it is."""

    tag: str = ""
    """Sample entry in mp4 and mov where the default one is not played everywhere."""


_PLANAR = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
_NVENC = ("yuv420p", "yuv444p", "p010le")
_NVENC_OPTIONS = {"rc": "vbr", "b": "0"}
CODECS: Mapping[str, Codec] = {
    # With its macroblock tree the same frames came out in up to 14 ways in 15 runs. Without it
    # the file is a tenth larger at the same quality, and always the same.
    "h264": Codec("libx264", _PLANAR, 19, "medium", options={"mbtree": "0"}),
    "h265": Codec(
        *("libx265", _PLANAR, 20, "medium"),
        options={"x265-params": "log-level=error:pools=4:frame-threads=2"},
        tag="hvc1",
    ),
    "av1": Codec("libsvtav1", ("yuv420p", "yuv420p10le"), 26, "8", odd_420=True),
    "prores": Codec(
        *("prores_ks", ("yuv422p10le", "yuv444p10le"), None),
        options={"vendor": "apl0"},
        full_range=False,
    ),
    "ffv1": Codec(
        *("ffv1", _PLANAR, None),
        options={"level": "3", "slices": "4", "slicecrc": "1", "g": "1"},
        odd_420=True,
        odd_options={"slices": "0"},  # as many as it can make of them
        exact=True,
    ),
    "vp9": Codec(
        *("libvpx-vp9", ("yuv420p", "yuva420p"), 24),
        options={"b": "0", "row-mt": "1", "cpu-used": "2", "auto-alt-ref": "0"},
    ),
    "h264_nvenc": Codec("h264_nvenc", _NVENC[:2], 19, "p5", "cq", _NVENC_OPTIONS),
    "h265_nvenc": Codec("hevc_nvenc", _NVENC, 21, "p5", "cq", _NVENC_OPTIONS, tag="hvc1"),
    "av1_nvenc": Codec("av1_nvenc", ("yuv420p", "p010le"), 26, "p5", "cq", _NVENC_OPTIONS),
}
"""The codecs by the names that `--codec` takes."""

HARDWARE = re.compile(
    r"(h264|hevc|av1|vp9|prores)_(amf|mf|nvenc|qsv|rkmpp|v4l2m2m|vaapi|videotoolbox|vulkan)"
)
"""FFmpeg's names of encoders in hardware."""
_SAME = {"hevc_nvenc": "h265_nvenc"}


def codec_of(name: str) -> Codec:
    """The codec by a name of `CODECS`, or by FFmpeg's name of an encoder in hardware.

    Raises UsageError for a name of neither, MissingError for an encoder that this FFmpeg lacks.
    """
    chosen = CODECS.get(_SAME.get(name, name))
    if chosen is not None:
        return chosen
    found = HARDWARE.fullmatch(name)
    if not found:
        raise UsageError(f"unknown codec {name!r}", f"one of {', '.join(CODECS)}")
    return _in_hardware(name, tag="hvc1" if found[1] == "hevc" else "")


def _in_hardware(name: str, tag: str) -> Codec:
    import av

    try:
        taken = {one.name for one in av.Codec(name, "w").video_formats or ()}
    except ValueError as error:
        raise MissingError(f"this FFmpeg has no encoder {name}", "use --codec h264") from error
    formats = [one for one in ("nv12", "yuv420p", "p010le", "yuv422p10le") if one in taken]
    return Codec(name, tuple(formats) or ("yuv420p",), None, tag=tag)


@dataclass(frozen=True)
class Encoding:
    """All that decides the bytes of a video stream, but for its frames."""

    codec: str
    width: int
    height: int
    pixel_format: str
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colours: Colours
    crf: float | None
    preset: str | None
    padded: bool = False
    """Whether pictures grow to this size by their last columns and rows; else they are scaled."""

    bitrate: int | None = None
    """Bits a second, in place of `crf`; None = none is asked for."""

    hdr10: str = ""
    """Mastering display and light levels as x265 takes them; "" = there are none to write."""

    def as_json(self) -> dict[str, Any]:
        """The settings as plain values; those that came later only where they are used."""
        later = {"padded": False, "bitrate": None, "hdr10": ""}
        return {
            key: str(value)
            for key, value in asdict(self).items()
            if key not in later or value != later[key]
        }

    def options(self) -> dict[str, str]:
        """The encoder's own options."""
        codec = codec_of(self.codec)
        chosen = {codec.crf_option: self.crf, "preset": self.preset, "b": self.bitrate}
        own = dict(codec.options)
        if self.hdr10:
            own["x265-params"] += f":hdr10=1:{self.hdr10}"
        given = {key: str(it) for key, it in chosen.items() if it is not None}
        return {**own, **given, **(codec.odd_options if self._cuts_a_block else {})}

    @property
    def _cuts_a_block(self) -> bool:
        """Whether the last samples of chroma stand for fewer pixels than the others."""
        chroma, _ = _kind(self.pixel_format)
        return bool(self.height % 2 and chroma in ("420", "440")) or bool(
            self.width % 2 and chroma in ("420", "422")
        )


def encoding(
    clip: Clip,
    codec: str = "h264",
    crf: float | None = None,
    preset: str | None = None,
    size: tuple[int, int] | None = None,
    depth: int | None = None,
    pixel_format: str | None = None,
    bitrate: int | None = None,
    padded: bool = False,
) -> Encoding:
    """Settings that keep what `clip` is: its times, colours, chroma resolution and depth.

    crf, preset: None = the codec's own. size: width and height; None = the clip's. depth: 8 or 10
    bits; None = the clip's. pixel_format: by FFmpeg's name; None = one that loses nothing: a size
    that 4:2:0 cannot hold because it is odd is then written as 4:4:4, so that no row is lost or
    added. bitrate, padded: see `Encoding`. Raises UsageError for what the codec cannot do and
    MissingError for an encoder that does not work on this machine.
    """
    chosen = codec_of(codec)
    if crf is not None and chosen.crf is None:
        raise UsageError(f"{codec} has no --crf", "leave it out")
    if bitrate is not None and (chosen.exact or chosen.encoder.startswith("prores")):
        raise UsageError(f"{codec} has no --bitrate", "leave it out")
    if preset is not None and chosen.preset is None and codec in CODECS:
        raise UsageError(f"{codec} has no --preset", "leave it out")
    width, height = size or clip.size
    own = upright_format(clip.pixel_format, clip.turn) if chosen.exact and not depth else None
    wanted = pixel_format or (own and as_written(own))
    settings = Encoding(
        codec,
        width,
        height,
        wanted or _pixel_format(codec, clip.chroma, depth or clip.depth, width, height),
        clip.time_base,
        clip.rate,
        clip.aspect,
        _kept(clip, chosen, wanted or ""),
        chosen.crf if crf is None and bitrate is None else crf,
        preset or chosen.preset,
        padded,
        bitrate,
        clip.hdr10 if "x265-params" in chosen.options else "",
    )
    _try(settings)
    return settings


def default_codec(path: Path) -> str:
    """The codec for a file name: h264, or av1 where that cannot be held."""
    return "av1" if path.suffix.lower() == ".webm" else "h264"


def container_of(path: Path) -> str:
    """The format that `path`'s suffix asks for; raises UsageError for one we do not write."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(CONTAINERS)
        raise UsageError(
            f"{shown(path)}: is not a video that can be written", f"end it in {known}"
        ) from None


@dataclass(frozen=True)
class Packet:
    """An encoded frame."""

    pts: int
    key: bool
    data: bytes
    alpha: bytes = b""
    """What WebM keeps beside it where the picture is transparent."""


class Encoder:
    """Frames in, packets out; the first packet is a key frame."""

    def __init__(self, settings: Encoding) -> None:
        import av

        self._settings = settings
        self._context = av.CodecContext.create(codec_of(settings.codec).encoder, "w")
        configure(self._context, settings)
        self._context.open()
        colours = guessed(settings.colours, settings.width, settings.height)
        self._converter = Converter(colours, settings.width, settings.height)

    def encode(self, picture: np.ndarray | Planes, pts: int) -> Iterator[Packet]:
        """Packets that are ready after a frame, [H, W, 3] uint8 or uint16, shown at `pts`."""
        frame = self._frame(picture)
        frame.pts, frame.time_base = pts, self._settings.time_base
        frame.color_primaries = self._settings.colours.primaries  # ProRes writes them into frames
        frame.color_trc = self._settings.colours.transfer
        yield from map(_packet, self._context.encode(frame))

    def _frame(self, picture: np.ndarray | Planes) -> Any:
        """Planes are encoded as they are where they are of the wanted format already."""
        import av

        wanted, size = self._settings.pixel_format, (self._settings.width, self._settings.height)
        if isinstance(picture, np.ndarray):
            if self._settings.padded:
                picture = grown(picture, *size[::-1])
            return self._converter.from_rgb(picture, wanted)
        if self._settings.padded:
            picture = picture.padded(*size)
        if not any(part.is_alpha for part in av.VideoFormat(wanted, 16, 16).components):
            picture = picture.without_alpha()
        return self._converter.from_frame(picture.frame(), wanted, picture.colours.range)

    def flush(self) -> Iterator[Packet]:
        """The packets that were held back."""
        yield from map(_packet, self._context.encode(None))


def configure(context: Any, settings: Encoding) -> None:
    """Set up a codec context, or a stream's, that is not open yet."""
    context.width, context.height = settings.width, settings.height
    context.pix_fmt = settings.pixel_format
    context.time_base, context.framerate = settings.time_base, settings.rate
    context.sample_aspect_ratio = settings.aspect
    context.color_range, context.colorspace = settings.colours.range, settings.colours.matrix
    context.color_primaries = settings.colours.primaries
    context.color_trc = settings.colours.transfer
    context.thread_count = THREADS
    context.options = settings.options()
    from av.codec.context import Flags

    context.flags |= Flags.global_header | Flags.bitexact


def _packet(packet: Any) -> Packet:
    beside = packet.get_sidedata(BESIDE) if packet.has_sidedata(BESIDE) else b""
    return Packet(packet.pts, bool(packet.is_keyframe), bytes(packet), bytes(beside))


def _kept(clip: Clip, codec: Codec, pixel_format: str) -> Colours:
    tags = clip.colours
    if pixel_format.startswith(("bgr", "gbr", "rgb")):  # whose samples have no matrix
        return Colours(FULL, RGB, tags.primaries, tags.transfer)
    if tags.range == FULL and not codec.full_range:
        return Colours(LIMITED, tags.matrix, tags.primaries, tags.transfer)
    return tags


def _pixel_format(codec: str, chroma: str, depth: int, width: int, height: int) -> str:
    """The least of the codec's formats that loses nothing, or the best it has."""
    chosen = codec_of(codec)
    odd = (height % 2 and chroma == "420") or (width % 2 and chroma != "444")
    wanted = ("444" if odd and not chosen.odd_420 else chroma, depth > 8)
    formats = chosen.formats
    for name in sorted(formats, key=lambda name: (_kind(name)[1], formats.index(name))):
        found = _kind(name)
        if found[0] >= wanted[0] and found[1] >= wanted[1]:
            return name
    if (width % 2 or height % 2) and not chosen.odd_420:
        advice = "use --codec h264, h265 or ffv1"
        raise UsageError(f"{codec} cannot hold pictures of {width} x {height}, an odd size", advice)
    return max(formats, key=lambda name: (_kind(name)[1] == wanted[1], _kind(name)[0] <= wanted[0]))


def _kind(pixel_format: str) -> tuple[str, bool]:
    """Chroma resolution, and whether a sample has ten bits."""
    if pixel_format in ("p010le", "nv12"):
        return "420", pixel_format == "p010le"
    return pixel_format.replace("yuva", "yuv")[3:6], pixel_format.endswith("10le")


def _try(settings: Encoding) -> None:
    """Open the encoder once, before any work starts."""
    import av

    os.environ.setdefault("SVT_LOG", "1")  # or SVT-AV1 greets on stderr
    try:
        Encoder(settings)
    except (av.error.FFmpegError, ValueError) as error:
        name = codec_of(settings.codec).encoder
        why = (getattr(error, "strerror", None) or str(error)).lower()
        what = f"the encoder {name} does not work here with {settings.pixel_format} at "
        size = f"{settings.width} x {settings.height}"
        raise MissingError(f"{what}{size}: {why}", "use --codec h264") from error
