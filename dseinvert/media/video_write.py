"""The output video: encoded frames, and the source's sound, subtitles, chapters and tags with them.

The pictures are written upright, without a display matrix. Times are kept to the tick in mp4 and
mov; Matroska and WebM count in whole milliseconds.
"""

from __future__ import annotations

import heapq
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast, get_args

from dseinvert.errors import InputError, OutputError, UsageError
from dseinvert.media.atomic import part_path, replacing, shown
from dseinvert.media.clip import Clip, Trouble, open_video, packets
from dseinvert.media.described import kept_tags, needs_a_table, without_place
from dseinvert.media.encoding import (
    BESIDE,
    CONTAINERS,
    Encoding,
    codec_of,
    configure,
    container_of,
)
from dseinvert.media.levels import boxes_of, header_with, with_lengths
from dseinvert.media.segments import EVERY, Segments, read_segment, segment_files, segment_times
from dseinvert.media.video_verify import verify
from dseinvert.media.words import converted

_COPIED = ("audio", "subtitle", "attachment")
_WORDS = Fraction(1, 1000)
_MOST_TICKS = (1 << 31) - 1
_LONGEST_LAST = 100  # average frames


@dataclass(frozen=True)
class Cut:
    """Which part of a source an output shows, in seconds of the source; None = to its end."""

    start: Fraction | None = None
    end: Fraction | None = None

    def zero(self, source: Clip | None) -> Fraction:
        """What is taken off every time.

        A cut starts at 0, and so does what a transport stream counts from; no frame may be shown
        before 0. Otherwise the times stay.
        """
        if self.start is not None or source is None:
            return self.start or Fraction(0)
        return source.origin or min(source.start, Fraction(0))


WHOLE = Cut()


@contextmanager
def writing(
    path: Path,
    settings: Encoding,
    source: Clip | None = None,
    cut: Cut = WHOLE,
    segments: Path | None = None,
    every: int = EVERY,
) -> Iterator[Segments]:
    """Yield where to write the frames; on leaving it `path` is there, or nothing is.

    source: what sound, subtitles, chapters and tags are copied from; None = there are none.
    segments: the folder in which a killed run's work is kept and found again, gone when `path` is
    there; None = the work is not kept. Raises as `check_output` and `join` do.
    """
    check_output(path, settings, source)
    folder = segments or part_path(path.with_name(f"{path.name}.segments"))
    try:
        if segments is None:
            shutil.rmtree(folder, ignore_errors=True)
        with Segments(folder, settings, every) as frames:
            yield frames
        frames.problems += join(path, folder, settings, source, cut)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if segments is None:
            shutil.rmtree(folder, ignore_errors=True)


def join(
    path: Path, folder: Path, settings: Encoding, source: Clip | None = None, cut: Cut = WHOLE
) -> list[str]:
    """Write the segments of `folder` as one video, with all that `source` has beside its pictures.

    Nothing is encoded again. The file is read back before it gets its name. Returns what was wrong
    with the streams copied, a phrase each. Raises OutputError where the file cannot be written.
    """
    files = segment_files(folder)
    order = [pts for file in files for pts in segment_times(file, settings)]
    if not order:
        raise OutputError(f"{shown(path)}: there is no frame to write")
    zero = cut.zero(source)
    shift = round(zero / settings.time_base)
    trouble = Trouble()
    with replacing(path) as part:
        last = _last_duration(order, settings, source, cut)
        pictures = _stamped(files, order, settings, shift, last)
        _mux(path, part, settings, source, cut, pictures, trouble)
        verify(part, path, [(pts - shift) * settings.time_base for pts in sorted(order)])
    return trouble.problems


def write_sound(path: Path, source: Clip, cut: Cut = WHOLE) -> list[str]:
    """Write the sound of `source` alone, as it is, with the times of its own clock, as Matroska.

    Returns what was wrong with it, a phrase each. Without sound nothing is written.
    """
    import av

    beside, trouble = source.sound or (None if source.files else source.path), Trouble()
    if beside is None:
        return []
    with open_video(beside) as opened:
        streams = list(opened.streams.audio)
        if not streams:
            return []
        options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
        with (
            replacing(path) as part,
            av.open(str(part), "w", format="matroska", container_options=options) as output,
        ):
            copies = {
                one.index: output.add_stream_from_template(one, opaque=True) for one in streams
            }
            for item in _copied(opened, copies, cut, Fraction(0), trouble):
                output.mux_one(item.packet)
    return trouble.problems


def check_output(path: Path, settings: Encoding, source: Clip | None = None) -> None:
    """Raise UsageError where `path`'s container cannot hold a stream; nothing is written."""
    try:
        _check(path, settings, source)
    except _CannotHoldError as error:
        named = (suffix for suffix in CONTAINERS if suffix != ".m4v")
        others = [suffix for suffix in named if _holds(suffix, settings, source)]
        advice = f"end the name in {' or '.join(others)}" if others else "use another --codec"
        raise UsageError(f"{shown(path)}: {error}", advice) from error


def suffix_for(source: Clip, settings: Encoding) -> str:
    """The suffix of a container that holds all streams, and that players or editors take.

    The source's own, else .mp4, else .mkv; of ProRes .mov before any other.
    """
    own = source.path.suffix.lower()
    order = [*[own] * (own in CONTAINERS), ".mp4", ".mov", ".mkv"]
    if codec_of(settings.codec).encoder.startswith("prores"):
        order.insert(0, ".mov")
    return next((suffix for suffix in order if _holds(suffix, settings, source)), ".mkv")


class _CannotHoldError(Exception):
    """What a container cannot hold, as a phrase that follows its name."""


def _holds(suffix: str, settings: Encoding, source: Clip | None) -> bool:
    try:
        _check(Path(f"x{suffix}"), settings, source)
    except _CannotHoldError:
        return False
    return True


def _check(path: Path, settings: Encoding, source: Clip | None) -> None:
    with ExitStack() as stack:
        _laid_out(stack, path, io.BytesIO(), settings, source, WHOLE)


@dataclass(frozen=True, order=True)
class _Packet:
    """A packet on its way to the muxer, ordered by when it must be decoded."""

    seconds: Fraction
    stream: int
    number: int
    packet: Any


def _mux(
    path: Path,
    part: Path,
    settings: Encoding,
    source: Clip | None,
    cut: Cut,
    pictures: Iterator[Any],
    trouble: Trouble,
) -> None:
    import av

    with ExitStack() as stack:
        try:
            output, inputs = _laid_out(stack, path, str(part), settings, source, cut)
            own = _numbered(pictures, output.streams[0])
            zero = cut.zero(source)
            kind = container_of(path)
            others = (
                _copied(opened, copies, cut, zero, trouble, kind) for opened, copies in inputs
            )
            for item in heapq.merge(own, *others):
                output.mux_one(item.packet)
            output.close()
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise OutputError(f"{shown(path)}: cannot be written: {error.strerror}") from error


def _laid_out(
    stack: ExitStack, path: Path, file: Any, settings: Encoding, source: Clip | None, cut: Cut
) -> tuple[Any, list[tuple[Any, dict[int, Any]]]]:
    """The output with its header written, and each opened input with the copies of its streams."""
    import av

    kind = container_of(path)
    options = _muxer_options(kind, settings, source, faststart=isinstance(file, str))
    output = av.open(file, "w", format=kind, container_options=options)
    stack.callback(_closed, output)
    video = _add_pictures(stack, output, kind, settings)
    inputs = []
    if source is not None and not source.files:
        opened = stack.enter_context(open_video(source.path))
        kinds = tuple(one for one in _COPIED if one != "audio" or source.sound is None)
        inputs.append((opened, _add_copies(kind, output, opened, kinds)))
        _describe(output, video, opened, source, cut)
        if settings.codec == "vp9" and settings.pixel_format.startswith("yuva"):
            video.metadata["alpha_mode"] = "1"
    if source is not None and source.sound is not None:
        heard = stack.enter_context(open_video(source.sound))
        if not heard.streams.audio:
            raise InputError(f"{shown(source.sound)}: holds no sound")
        inputs.append((heard, _add_copies(kind, output, heard, ("audio",))))
    try:
        output.start_encoding()
    except (av.error.ArgumentError, av.error.InvalidDataError) as error:
        what = f"{kind} cannot hold these streams: {error.strerror}"
        raise _CannotHoldError(what) from error
    return output, inputs


def _add_pictures(stack: ExitStack, output: Any, kind: str, settings: Encoding) -> Any:
    """The stream of the pictures; of HDR10 one whose header says so."""
    import av

    boxes = boxes_of(settings.hdr10)
    try:
        if not boxes:
            return _add_stream(output, kind, settings)
        header = header_with(boxes, lambda file: _add_stream(file, "mp4", settings))
        (template,) = stack.enter_context(av.open(header)).streams.video
        video = output.add_stream_from_template(template, opaque=True)
    except ValueError as error:
        raise _CannotHoldError(f"{kind} cannot hold {settings.codec}") from error
    return _tagged(video, kind, settings)


def _add_stream(output: Any, kind: str, settings: Encoding) -> Any:
    video = output.add_stream(codec_of(settings.codec).encoder, settings.rate)
    configure(video.codec_context, settings)
    return _tagged(video, kind, settings)


def _tagged(video: Any, kind: str, settings: Encoding) -> Any:
    video.time_base, tag = settings.time_base, codec_of(settings.codec).tag
    if tag and kind in ("mp4", "mov"):
        video.codec_context.codec_tag = tag
    return video


def _closed(container: Any) -> None:
    """Close after a failure, which the muxer answers with another one."""
    import av

    with suppress(av.error.FFmpegError, OSError):
        container.close()


def _muxer_options(
    kind: str, settings: Encoding, source: Clip | None, faststart: bool
) -> dict[str, str]:
    options = {"fflags": "+bitexact"}  # or Matroska draws random numbers as names
    if kind in ("matroska", "webm"):
        # Sound often begins before 0, with what its decoder needs to start up; by itself FFmpeg
        # moves all streams so far that it does not. Blocks can hold times down to -32.8 s.
        options |= {"avoid_negative_ts": "disabled"}
    if kind in ("mp4", "mov"):
        ticks = settings.time_base.denominator
        if ticks <= _MOST_TICKS:  # both, for the start of a track is told in those of the movie
            options |= {"video_track_timescale": str(ticks), "movie_timescale": str(ticks)}
        flags = "+faststart" * faststart
        if source is not None and needs_a_table(source.metadata):
            flags += "+use_metadata_tags"
        options |= {"movflags": flags} if flags else {}
    return options


def _add_copies(kind: str, output: Any, opened: Any, kinds: tuple[str, ...]) -> dict[int, Any]:
    copies = {}
    for stream in opened.streams:
        if stream.type not in kinds:
            continue
        try:
            if stream.type == "attachment":
                if kind != "matroska":
                    raise ValueError
                output.add_attachment(stream.name or "", stream.mimetype or "", stream.data)
                continue
            made = _words_of(kind, stream)
            if made is None:
                copy = output.add_stream_from_template(stream, opaque=True)
            else:
                copy = output.add_mux_stream(made[0], time_base=_WORDS)
        except ValueError as error:
            codec = stream.codec_context.name if stream.codec_context else "unknown"
            what = f"the {stream.type}" if stream.type == "attachment" else f"{codec} {stream.type}"
            message = f"{kind} cannot hold {what} of {shown(Path(opened.name[5:]))}"
            raise _CannotHoldError(message) from error
        copy.metadata.update(kept_tags(without_place(stream.metadata), Fraction(1), Fraction(0)))
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def _words_of(kind: str, stream: Any) -> tuple[str, Callable[[bytes], bytes]] | None:
    """What becomes of a stream of words in a container; see `converted`."""
    codec = stream.codec_context.name if stream.codec_context else ""
    return converted(kind, codec) if stream.type == "subtitle" else None


def _describe(output: Any, video: Any, opened: Any, source: Clip, cut: Cut) -> None:
    """Copy tags and chapters."""
    pictures, gone = opened.streams[source.stream], cut.start or Fraction(0)
    moved = max(gone - source.start, Fraction(0)) if cut.start is not None else gone
    output.metadata.update(kept_tags(source.metadata, source.rate, moved))
    video.metadata.update(kept_tags(without_place(pictures.metadata), source.rate, moved))
    video.disposition = pictures.disposition
    zero, chapters = cut.zero(source), []
    for chapter in opened.chapters():
        base = chapter["time_base"]
        start, end = (round((chapter[key] * base - zero) / base) for key in ("start", "end"))
        if end > 0 and (cut.end is None or start * base < cut.end - zero):
            chapters.append({**chapter, "start": max(start, 0), "end": end})
    output.set_chapters(chapters)


def _last_duration(order: list[int], settings: Encoding, source: Clip | None, cut: Cut) -> int:
    """Ticks the last frame is shown: what the source's length leaves for it, or the average."""
    step = max(1, round(1 / (settings.rate * settings.time_base)))
    if source and source.duration and not (source.partial or cut.end):
        left = round((source.start + source.duration) / settings.time_base) - max(order)
        if source.container.startswith("mov") and 0 < left <= _LONGEST_LAST * step:
            return left
    return _own_duration(max(order), source) or step


def _own_duration(pts: int, source: Clip | None) -> int:
    """Ticks for which a frame is shown by what its packet says; 0 = that says nothing."""
    import av

    if source is None or source.files or source.container.startswith(("mov", "avi", "mpeg")):
        return 0
    with open_video(source.path) as opened:
        stream = opened.streams[source.stream]
        with suppress(av.error.FFmpegError):
            opened.seek(pts, stream=stream)
        found = packets(opened, [stream], Trouble())
        return next((packet.duration or 0 for packet in found if packet.pts == pts), 0)


def _stamped(
    files: list[Path], order: list[int], settings: Encoding, shift: int, last: int
) -> Iterator[Any]:
    """Packets of all segments with the times of one stream, in ticks.

    order: the packets' `pts` as stored, of which `shift` is taken off; last: how long the last
    frame is shown.
    """
    import av

    moved = [pts - shift for pts in order]
    shown_at = sorted(moved)
    rank = {pts: index for index, pts in enumerate(shown_at)}
    ends = [*shown_at[1:], shown_at[-1] + last]
    decoded_at = _decoding_times(moved, shown_at, rank, ends)
    levels = boxes_of(settings.hdr10)
    stored = (packet for file in files for packet in read_segment(file, settings))
    for kept, pts, dts in zip(stored, moved, decoded_at, strict=True):
        packet = av.Packet(with_lengths(kept.data) if levels else kept.data)
        packet.pts, packet.dts = pts, dts
        packet.duration = ends[rank[pts]] - pts
        packet.is_keyframe = kept.key
        if kept.alpha:
            packet.set_sidedata(_beside(kept.alpha))
        packet.time_base = settings.time_base
        yield packet


def _beside(alpha: bytes) -> Any:
    from av import packet

    kind, made = get_args(packet.PktSideDataT).index(BESIDE), cast(Any, packet.PacketSideData)
    data = made.__new__(made, kind, len(alpha))
    data.update(alpha)
    return data


def _decoding_times(
    order: list[int], shown_at: list[int], rank: dict[int, int], ends: list[int]
) -> list[int]:
    """When each packet of `order` is decoded: the times of showing, some packets late.

    The first ones lie before the first time of showing, by so much that decoding lasts as long as
    showing: mp4 takes a track's length from there.
    """
    delay = max(index - rank[pts] for index, pts in enumerate(order))
    last = ends[rank[order[-1]]] - order[-1]
    early = ends[-1] - shown_at[-1 - delay] - last
    if shown_at[0] > 0:  # or FFmpeg's reader loses some of the time before the first frame
        early = min(early, max(shown_at[0], shown_at[delay] - shown_at[0]))
    early = max(early, delay)
    first = [shown_at[0] - early * (delay - index) // delay for index in range(delay)]
    return first + shown_at[: len(shown_at) - delay]


def _numbered(pictures: Iterator[Any], stream: Any) -> Iterator[_Packet]:
    for number, packet in enumerate(pictures):
        packet.stream = stream
        yield _Packet(packet.dts * packet.time_base, 0, number, packet)


def _copied(
    opened: Any,
    copies: dict[int, Any],
    cut: Cut,
    zero: Fraction,
    trouble: Trouble,
    kind: str = "matroska",
) -> Iterator[_Packet]:
    """The packets of the copied streams that are heard or seen within `cut`.

    kind: of container, for which words are converted.
    """
    if not copies:
        return
    from av.stream import Discard

    for stream in opened.streams:
        if stream.index not in copies:
            stream.discard = Discard.all
    latest: dict[int, int] = {}
    made = {index: _words_of(kind, opened.streams[index]) for index in copies}
    streams = [opened.streams[index] for index in copies]
    for number, packet in enumerate(packets(opened, streams, trouble)):
        if not packet.size or (packet.pts is None and packet.dts is None):
            continue
        if not _within(packet, cut):
            continue
        index = packet.stream_index
        words = made[index]
        if words is not None:
            packet = _with_words(packet, words[1](bytes(packet)))
            if not bytes(packet).strip(b"\0"):  # 3GPP fills the time between two with nothing
                continue
        _move(packet, zero)
        if opened.streams[index].type == "subtitle" and packet.pts < 0:  # it was up already
            packet.duration = max(0, packet.pts + (packet.duration or 0))
            packet.pts = packet.dts = 0
        packet.dts = max(packet.dts, latest.get(index, packet.dts - 1) + 1)
        packet.pts = max(packet.pts, packet.dts)
        latest[index] = packet.dts
        packet.stream = copies[index]
        yield _Packet(packet.dts * packet.time_base, index + 1, number, packet)


def _with_words(packet: Any, data: bytes) -> Any:
    """The packet with other words."""
    import av

    changed = av.Packet(data)
    changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
    changed.time_base, changed.is_keyframe = packet.time_base, True
    return changed


def _within(packet: Any, cut: Cut) -> bool:
    start = (packet.dts if packet.pts is None else packet.pts) * packet.time_base
    end = start + (packet.duration or 0) * packet.time_base
    return (cut.start is None or end > cut.start) and (cut.end is None or start < cut.end)


def _move(packet: Any, zero: Fraction) -> None:
    """Take `zero` seconds off a packet's times, and give it both."""
    shift = round(zero / packet.time_base)
    pts = packet.dts if packet.pts is None else packet.pts
    dts = packet.pts if packet.dts is None else packet.dts
    packet.pts, packet.dts = pts - shift, dts - shift
