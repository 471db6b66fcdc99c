"""What an output video shares with its source, and whether a written one can be read back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from dseinvert.errors import InputError, OutputError
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip, Trouble, decoded, open_video, packets, probe
from dseinvert.media.video_read import frame_times


def audio_packets_sha256(path: Path) -> tuple[str, ...]:
    """A hash of each audio stream's packets as they are stored, without their times.

    The headers that transport streams put before each AAC packet are left out, for mp4 and
    Matroska store them once.
    """
    with open_video(path) as container:
        streams = list(container.streams.audio)
        hashes = {stream.index: hashlib.sha256() for stream in streams}
        for packet in packets(container, streams, Trouble()) if streams else ():
            hashes[packet.stream.index].update(_without_adts(bytes(packet)))
    return tuple(found.hexdigest() for found in hashes.values())


def compare(source: Path, output: Path) -> list[str]:
    """What is not as in the source, a phrase each: frames, their times, duration, audio packets.

    Every frame of both is decoded. Times count from where the source's clock starts, and may
    differ by half a tick of the output's container.
    """
    before, after = probe(source), probe(output)
    zero = before.origin or min(before.start, Fraction(0))
    wanted = [pts * before.time_base - zero for pts in frame_times(before)]
    times = [pts * after.time_base for pts in frame_times(after)]
    found = _different_times(wanted, times, after.time_base / 2)
    found += _different_length(before, after, wanted[-1] - wanted[0])
    sounds = audio_packets_sha256(source), audio_packets_sha256(output)
    if sounds[0] != sounds[1]:
        found.append(f"audio packets differ ({len(sounds[0])} and {len(sounds[1])} streams)")
    return found


def facts(path: Path) -> dict[str, str]:
    """What a file says of itself and its streams beside their packets: a row each, by its name.

    Tags by their names in small letters, side data of the first frame, dispositions and chapters.
    """
    rows: dict[str, str] = {}
    with open_video(path) as container:
        rows |= {f"tag {key.lower()}": value for key, value in container.metadata.items()}
        for chapter in container.chapters():
            start = float(chapter["start"] * chapter["time_base"])
            rows[f"chapter at {start:.3f}"] = chapter["metadata"].get("title", "")
        for stream in container.streams:
            name, context = f"stream {stream.index} {stream.type}", stream.codec_context
            rows[name] = context.name if context else ""
            rows[f"{name} disposition"] = str(int(stream.disposition))
            tags = {f"{name} tag {key.lower()}": it for key, it in stream.metadata.items()}
            rows |= tags
        video = container.streams.video[0]
        rows["pixel format"] = video.codec_context.pix_fmt
        frame = next(decoded(container, video, Trouble()), None)
        for data in () if frame is None else frame.side_data:
            rows[f"side data {data.type.name.lower()}"] = hashlib.sha256(bytes(data)).hexdigest()[
                :8
            ]
    return rows


def compared(source: Path, output: Path) -> list[tuple[str, str, str]]:
    """`facts` of both, a row each with its name; "-" = the file does not say."""
    before, after = facts(source), facts(output)
    return [(name, before.get(name, "-"), after.get(name, "-")) for name in {**before, **after}]


def verify(part: Path, path: Path, times: Sequence[Fraction]) -> None:
    """Read back a written video: one packet for each of `times`, its ends and middle decodable.

    part: where it lies; path: what it will be called. Raises OutputError naming `path`.
    """
    try:
        with open_video(part) as container:
            if not container.streams.video:
                raise InputError("it holds no video")
            _check_packets(container, times)
            for share in (0, 0.5, 1):
                _check_decoding(container, times[round(share * (len(times) - 1))])
    except InputError as error:
        what = f"{shown(path)}: the written file is not as it should be: {error.what}"
        raise OutputError(what, "check the disk, then run the same command again") from error


def _check_packets(container: Any, times: Sequence[Fraction]) -> None:
    stream = container.streams.video[0]
    found = sorted(p.pts for p in packets(container, [stream], Trouble()) if p.pts is not None)
    if len(found) != len(times):
        raise InputError(f"{len(found)} frames instead of {len(times)}")
    for pts, time in zip(found, times, strict=True):
        if abs(pts * stream.time_base - time) > stream.time_base / 2:
            raise InputError(f"a frame at {float(pts * stream.time_base)} s, not {float(time)} s")


def _check_decoding(container: Any, time: Fraction) -> None:
    stream = container.streams.video[0]
    container.seek(int(time / stream.time_base), stream=stream)
    trouble = Trouble()
    frames = decoded(container, stream, trouble)
    reached = any(f.pts is not None and (f.pts + 1) * stream.time_base > time for f in frames)
    if not reached or trouble.lost or trouble.damaged:
        raise InputError(f"the frame at {float(time)} s cannot be decoded")


def _different_times(
    wanted: list[Fraction], found: list[Fraction], tolerance: Fraction
) -> list[str]:
    if len(wanted) != len(found):
        return [f"{len(found)} frames, not {len(wanted)}"]
    wrong = [abs(a - b) > tolerance for a, b in zip(wanted, found, strict=True)]
    if not any(wrong):
        return []
    first = wrong.index(True)
    times = f"{float(found[first])} s, not {float(wanted[first])} s"
    return [f"{sum(wrong)} frames are shown at other times: frame {first} at {times}"]


def _different_length(before: Clip, after: Clip, shown_for: Fraction) -> list[str]:
    """Compare how long the pictures last where both containers tell it and the source's can be."""
    told = [clip.duration for clip in (before, after) if clip.container.startswith("mov")]
    if len(told) < 2 or not (told[0] and told[1]) or told[0] <= shown_for:
        return []
    if abs(told[0] - told[1]) <= max(after.time_base, before.time_base):
        return []
    return [f"lasts {float(told[1])} s, not {float(told[0])} s"]


def _without_adts(packet: bytes) -> bytes:
    """An AAC packet without its transport header (ISO/IEC 14496-3 1.A.2), others as they are."""
    if packet[:1] == b"\xff" and packet[1] & 0xF6 == 0xF0:
        return packet[7 if packet[1] & 1 else 9 :]
    return packet
