"""What a video file holds, told by its content and never by its name or its header's counts."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.colour import UNSPECIFIED, Colours, Turn, guessed, turn_of
from dseinvert.media.cut import ends_early, is_protected, whole_length
from dseinvert.media.described import hdr10_of
from dseinvert.media.images import HEAD_BYTES, sniff
from dseinvert.timecode import Clock, Timecode
from dseinvert.written import When

# Demuxers that read this one file and nothing else: no playlists, no lists of files, no devices.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,vvc,"
    "m4v,obu,av1,ivf,nut,mxf,dv,rm,wtv,yuv4mpegpipe,mjpeg,vc1,dirac,swf,gxf,lxf,ea,roq,bink,smk,wav"
)
_ERRORS = "surrogateescape"
_AGAIN = "copy or download it again"
_BAD_PACKETS_IN_A_ROW = 64
MOST_STREAMS, MOST_PIXELS = 128, 100_000_000
"""Of a clip, and of each of its pictures: twice what the largest cameras write."""
INTERLACED = (
    "is interlaced; its frames are read and written as progressive ones; --deinterlace makes whole "
    "pictures of them"
)
"""The note of an interlaced clip."""

_FALLBACK_RATE = Fraction(25)


@dataclass(frozen=True)
class Stream:
    """A stream beside the pictures."""

    index: int
    kind: str
    """audio, subtitle, data, attachment or video."""

    codec: str
    language: str = ""


@dataclass(frozen=True)
class Clip:
    """A video whose first frame could be decoded."""

    path: Path
    container: str
    """The demuxer's name, such as `mov,mp4,m4a,3gp,3g2,mj2`; "frames" for a folder of pictures."""

    stream: int
    codec: str
    width: int
    """Upright, in pixels; the frames of `read_frames` have this size."""

    height: int
    turn: Turn
    """What the frames went through to stand upright."""

    time_base: Fraction
    """Seconds a tick of `pts` lasts."""

    rate: Fraction
    """Average frames a second, as far as the file tells."""

    start: Fraction
    """Presentation time of the first frame, in seconds."""

    origin: Fraction
    """Where the container's clock starts: what a transport stream counts from."""

    duration: Fraction | None
    """Seconds by the header; None = not said. Believe the frames instead."""

    claimed_frames: int | None
    """Frames by the header; None = not said. Believe the frames instead."""

    pixel_format: str
    chroma: str
    """420, 422 or 444."""

    depth: int
    """Bits a sample."""

    aspect: Fraction
    """Width over height of an upright pixel."""

    colours: Colours
    """As tagged; what is not tagged stays so."""

    streams: tuple[Stream, ...] = ()
    chapters: tuple[dict[str, Any], ...] = field(default=(), compare=False)
    metadata: dict[str, str] = field(default_factory=dict, compare=False)
    partial: str = ""
    """Why only a part of the clip can be there; "" = nothing says so."""

    notes: tuple[str, ...] = ()
    """What the user should know although the clip can be read, a phrase each."""

    files: tuple[Path, ...] = ()
    """The pictures of a folder of frames."""

    times: tuple[int, ...] = ()
    """Their `pts`."""

    sound: Path | None = None
    """The file whose sound goes with the pictures in place of the clip's own; None = there is none.
    """

    deinterlaced: bool = False
    """Whether whole pictures are made of interlaced ones."""

    alpha: bool = False
    """Whether its pictures are transparent."""

    hdr10: str = ""
    """Mastering display and light levels as x265 takes them; "" = there are none."""

    timecode: str = ""
    """Of the first frame; "" = it has none."""

    @property
    def clock(self) -> Clock:
        """What tells when a timecode is."""
        return Clock(self.rate, self.timecode, min(self.time_base, 1 / (4 * self.rate)) / 2)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        return self.width, self.height

    def kinds(self, kind: str) -> tuple[Stream, ...]:
        """The streams of one kind beside the pictures."""
        return tuple(stream for stream in self.streams if stream.kind == kind)


def seconds_in(clip: Clip, when: When) -> Fraction:
    """From the beginning of a clip; UsageError for a frame that it has not."""
    return clip.clock.seconds(when) if isinstance(when, Timecode) else when


@dataclass
class Trouble:
    """What went wrong while a clip was read."""

    lost: int = 0
    """Packets that gave no frame."""

    damaged: int = 0
    """Places where the file is damaged although frames came of them."""

    problems: list[str] = field(default_factory=list)
    """A phrase each, each once."""

    def note(self, problem: str) -> None:
        """Keep `problem` unless it has been kept before."""
        if problem not in self.problems:
            self.problems.append(problem)

    def damage(self, problem: str) -> None:
        """Count a damaged place and keep the `problem`."""
        self.damaged += 1
        self.note(problem)


def probe(path: Path, *, deinterlace: bool = False) -> Clip:
    """Open `path` and decode its first frame; raises InputError saying what is wrong with it."""
    _refuse_what_is_no_video(path)
    with open_video(path) as container:
        stream = _pictures(path, container)
        _check_size(path, stream.codec_context)
        frame = next(decoded(container, stream, Trouble()), None)
        if frame is None:
            raise InputError(f"{shown(path)}: none of its frames can be decoded", _AGAIN)
        clip = _described(path, container, stream, frame)
    if not deinterlace:
        return clip
    return replace(clip, deinterlaced=True, notes=tuple(n for n in clip.notes if n != INTERLACED))


@contextmanager
def open_video(path: Path) -> Iterator[Any]:
    """The opened container of `path`; raises InputError for what cannot be opened."""
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    options["max_streams"] = str(MOST_STREAMS)
    with ExitStack() as stack:
        try:
            try:  # `file:`, or a file called `concat:x` would be taken for an instruction
                container = av.open(f"file:{path}", options=options, metadata_errors=_ERRORS)
            except (av.error.ArgumentError, av.error.InvalidDataError):
                # Its name asks for a reader that is not on the list, or its last box is torn.
                file = _nameless(stack.enter_context(path.open("rb")), whole_length(path))
                container = av.open(file, options=options, metadata_errors=_ERRORS)
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"{shown(path)}: {_refusal(error)}", _AGAIN) from error
        yield stack.enter_context(container)


def _nameless(file: BinaryIO, length: int) -> SimpleNamespace:
    """The first `length` bytes of `file` as a file whose name tells nothing."""

    def read(size: int) -> bytes:
        return file.read(max(0, min(size, length - file.tell())))

    def seek(offset: int, whence: int = 0) -> int:
        return file.seek(length + offset) if whence == 2 else file.seek(offset, whence)

    return SimpleNamespace(name="", read=read, seek=seek, tell=file.tell)


def packets(container: Any, streams: list[Any], trouble: Trouble) -> Iterator[Any]:
    """The packets of `streams` in file order, going on behind damaged places."""
    import av

    demuxed, failures = container.demux(streams), 0
    while failures < _BAD_PACKETS_IN_A_ROW:
        try:
            packet = next(demuxed, None)
        except av.error.FFmpegError as error:
            trouble.damage(f"is damaged: {_said(error)}")
            demuxed, failures = container.demux(streams), failures + 1
            continue
        except IndexError:  # PyAV stumbles at the end over streams that appeared on the way
            return
        if packet is None:
            return
        failures = 0
        yield packet


def decoded(container: Any, stream: Any, trouble: Trouble) -> Iterator[Any]:
    """The frames of `stream` in order of presentation; a bad packet costs its frame, no other."""
    import av

    context = _decoder(stream)
    _set_threads(context)
    for packet in packets(container, [stream], trouble):
        if packet.is_corrupt and packet.size:
            trouble.damage("is damaged: a packet is cut short")
        try:
            frames = context.decode(packet)
        except EOFError:
            return
        except (av.error.FFmpegError, ValueError) as error:
            trouble.lost += 1
            trouble.note(f"has a frame that cannot be decoded: {_said(error)}")
            continue
        for frame in frames:
            if frame.is_corrupt:
                trouble.damage("has damaged frames, which the decoder patched")
            yield frame


def _decoder(stream: Any) -> Any:
    """The stream's own, or for VP8 and VP9 with alpha the one that reads it."""
    import av

    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name, "")
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if name and tags.get("alpha_mode") == "1":
        with suppress(ValueError):  # it is not in every FFmpeg
            return av.CodecContext.create(name, "r")
    return stream.codec_context


def _set_threads(context: Any) -> None:
    """No threads over frames: they report a bad packet late or, at the end of a file, never."""
    from av.codec.context import Flags

    if not context.is_open:
        context.thread_type = "SLICE"
        context.flags |= Flags.low_delay if context.name == "libdav1d" else 0


def _refuse_what_is_no_video(path: Path) -> None:
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise InputError(f"{shown(path)}: is a folder", "give its frame rate too")
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{shown(path)}: is not a regular file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"{shown(path)}: cannot be read: {why}") from error
    if not head:
        raise InputError(f"{shown(path)}: is empty", _AGAIN)
    if sniff(head) not in ("", "GIF"):
        raise InputError(f"{shown(path)}: is a picture, not a video", "use `dseinvert images`")
    if is_protected(path):
        raise InputError(f"{shown(path)}: is protected: its streams are encrypted")


def _refusal(error: Exception) -> str:
    import av

    if isinstance(error, MemoryError):  # FFmpeg's word for either
        return f"has more than {MOST_STREAMS} streams, or too little memory is free"
    if isinstance(error, OSError):
        return f"cannot be read: {_said(error)}"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        return "is not a video, or its beginning or its index is missing"
    return f"cannot be opened as a video: {_said(error)}"


def _said(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _pictures(path: Path, container: Any) -> Any:
    """The video stream to take: the default one, else the first; covers are none."""
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if stream.codec_context]
    videos = [stream for stream in streams if not stream.disposition & _still()]
    if not videos:
        held = sorted({stream.type for stream in container.streams if stream.type != "video"})
        cover = ["a cover picture"] if container.streams.video else []
        raise InputError(
            f"{shown(path)}: has no video, only {' and '.join(held + cover) or 'nothing'}"
        )
    return next((s for s in videos if s.disposition & Disposition.default), videos[0])


def _check_size(path: Path, context: Any) -> None:
    """InputError for pictures of which a few would fill the memory."""
    if context.width * context.height > MOST_PIXELS:
        size = f"pictures of {context.width}x{context.height}"
        most = f"the most is {MOST_PIXELS // 1_000_000} million pixels"
        raise InputError(f"{shown(path)}: has {size}, {most}", "scale it down with ffmpeg")


def _still() -> Any:
    """The dispositions of video streams that are no video: covers, thumbnails."""
    from av.stream import Disposition

    return Disposition.attached_pic | Disposition.timed_thumbnails


def _described(path: Path, container: Any, stream: Any, frame: Any) -> Clip:
    turn = turn_of(_display_matrix(frame))
    width, height = (frame.height, frame.width) if turn.transpose else (frame.width, frame.height)
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    chroma, depth = _samples(frame.format)
    duration = stream.duration * stream.time_base if stream.duration else None
    if duration is None and container.duration and container.duration > 0:
        duration = Fraction(container.duration, 1_000_000)
    transport = container.format.name in ("mpegts", "mpeg")
    return Clip(
        path=path,
        container=container.format.name,
        stream=stream.index,
        codec=stream.codec_context.name,
        width=width,
        height=height,
        turn=turn,
        time_base=Fraction(stream.time_base),
        rate=Fraction(stream.average_rate or stream.base_rate or _FALLBACK_RATE),
        start=(frame.pts or 0) * Fraction(stream.time_base),
        origin=Fraction((container.start_time or 0) * transport, 1_000_000),
        duration=duration,
        claimed_frames=stream.frames or None,
        pixel_format=frame.format.name,
        chroma=chroma,
        depth=depth,
        aspect=1 / aspect if turn.transpose else aspect,
        colours=_colours(frame),
        streams=tuple(_beside(other) for other in container.streams if other.index != stream.index),
        chapters=tuple(container.chapters()),
        metadata=dict(container.metadata),
        partial="the file ends early" if ends_early(path) else "",
        notes=tuple(_notes(container, stream, frame)),
        alpha=any(part.is_alpha for part in frame.format.components),
        hdr10=hdr10_of(frame),
        timecode=_timecode(container, stream),
    )


def _timecode(container: Any, stream: Any) -> str:
    tables = (stream.metadata, container.metadata)
    found = ((key.lower(), value) for table in tables for key, value in table.items())
    return next((value for key, value in found if key == "timecode"), "")


def _display_matrix(frame: Any) -> bytes:
    data = frame.side_data.get("DISPLAYMATRIX")
    return bytes(data) if data else (65536).to_bytes(4, "little") + bytes(12) + b"\0\0\1\0"


def _samples(pixel_format: Any) -> tuple[str, int]:
    """Chroma resolution, rounded up to what encoders know, and bits of a pixel format."""
    parts = pixel_format.components
    depth = max(part.bits for part in parts)
    if len(parts) < 3:
        return "444" if pixel_format.has_palette else "420", depth
    luma, chroma = parts[0], parts[1]
    if chroma.width == luma.width:
        return "444", depth
    return "422" if chroma.height == luma.height else "420", depth


def _colours(frame: Any) -> Colours:
    full_by_format = frame.format.name.startswith("yuvj")
    tagged = Colours(
        2 if full_by_format else frame.color_range,
        frame.colorspace,
        frame.color_primaries,
        frame.color_trc,
    )
    if not (frame.format.is_rgb or frame.format.has_palette):
        return tagged
    own = guessed(Colours(1, UNSPECIFIED), 1280, 720)  # RGB has no matrix to keep
    return Colours(own.range, own.matrix, tagged.primaries, tagged.transfer)


def _beside(stream: Any) -> Stream:
    codec = stream.codec_context.name if stream.codec_context else ""
    return Stream(stream.index, stream.type, codec, stream.metadata.get("language", ""))


def _notes(container: Any, stream: Any, frame: Any) -> Iterator[str]:
    others = [other for other in container.streams.video if other.index != stream.index]
    covers = sum(bool(other.disposition & _still()) for other in others)
    if covers:
        yield "holds a cover picture, which is dropped"
    if len(others) > covers:
        yield f"holds several video streams; only stream {stream.index} is read and written"
    # In mp4 chapters and timecode are data streams too, which are made anew.
    data = [other for other in container.streams if other.type == "data"]
    if sum("timecode" not in other.metadata for other in data) > bool(container.chapters()):
        yield "holds data streams, which are dropped"
    if _colours(frame).hdr:
        yield "is HDR: its colours are kept as coded, not tone-mapped for the model"
    if frame.interlaced_frame:
        yield INTERLACED
    if any(part.is_alpha for part in frame.format.components):
        yield "is transparent"
