"""What lies beside the pictures of a clip as words and numbers: tags, timecode, HDR10 values."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from dseinvert.timecode import read_timecode

_STALE_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "rotate"}
    | {"bps", "number_of_frames", "number_of_bytes", "vendor_id", "alpha_mode"}
)
# What FFmpeg writes into mp4 and mov of its own accord; more needs a table of names and values.
_ATOMS = frozenset(
    {
        "title",
        "artist",
        "album_artist",
        "composer",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
    }
    | {"copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"}
    | {"network", "keywords", "episode_sort", "season_number", "media_type", "compilation"}
    | {
        "hd_video",
        "gapless_playback",
        "creation_time",
        "track",
        "disc",
        "timecode",
        "language",
        "handler_name",
    }
)
_PLACE = re.compile(r"location|iso6709|gps|^xyz$", re.IGNORECASE)
_MASTERING = struct.Struct("<20i2i")
# The steps in which x265 counts chromaticity, and candela per square metre.
_CHROMATICITY, _LIGHT = 50_000, 10_000


def kept_tags(tags: Mapping[str, str], rate: Fraction, start: Fraction) -> dict[str, str]:
    """The tags that are true of a copy that begins `start` seconds later."""
    kept = {
        key: value
        for key, value in tags.items()
        if key.lower() not in _STALE_TAGS and not key.startswith("_STATISTICS")
    }
    return {
        key: later(value, rate, start) if key.lower() == "timecode" else value
        for key, value in kept.items()
    }


def without_place(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags without those that say where a clip was taken."""
    return {key: value for key, value in tags.items() if not _PLACE.search(key)}


def needs_a_table(tags: Mapping[str, str]) -> bool:
    """Whether mp4 and mov hold some of the tags in a table of names and values only."""
    return not {key.lower() for key in tags} <= _ATOMS | _STALE_TAGS


def later(timecode: str, rate: Fraction, seconds: Fraction) -> str:
    """A timecode, of drop frames where it has a `;` or `.`, some seconds later (SMPTE ST 12-1)."""
    found = read_timecode(timecode)
    return timecode if found is None else str(found.later(round(seconds * rate), rate))


def hdr10_of(frame: Any) -> str:
    """The mastering display and light levels of a frame as x265 takes them; "" = it has none."""
    return ":".join(part for part in (_mastering(frame), _light(frame)) if part)


def _mastering(frame: Any) -> str:
    data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if data is None or len(bytes(data)) < _MASTERING.size:
        return ""
    *numbers, has_colours, has_light = _MASTERING.unpack_from(bytes(data))
    if not (has_colours and has_light) or 0 in numbers[1::2]:
        return ""
    values = [Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    red, green, blue, white = (
        f"({','.join(str(round(one * _CHROMATICITY)) for one in values[k : k + 2])})"
        for k in (0, 2, 4, 6)
    )
    least, most = (round(one * _LIGHT) for one in values[8:])
    return f"master-display=G{green}B{blue}R{red}WP{white}L({most},{least})"


def _light(frame: Any) -> str:
    data = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if data is None:
        return ""
    return "max-cll={},{}".format(*struct.unpack_from("<2I", bytes(data)))
