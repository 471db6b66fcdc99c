"""What is said where a clip shows no face: that, and a way on."""

from __future__ import annotations

from dseinvert.config import VideoOptions
from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip
from dseinvert.video.lookout import SMALLEST

LISTED = "--list-people shows who is there, and when"


def no_face_in(clip: Clip, options: VideoOptions) -> InputError:
    """That no frame of what was asked for shows a face, and which option may find one."""
    if options.rotate != "auto":
        advice = "--rotate auto tries all turns"
    elif options.start is not None or options.end is not None:
        advice = f"without --start and --end, {LISTED}"
    else:
        advice = f"a face has to be {SMALLEST} pixels high; --rotate 90, 180 or 270 turns the clip"
    return InputError(f"{shown(clip.path)}: no face found in any frame", advice)
