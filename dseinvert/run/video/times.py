"""Times that were asked for at which a clip has nothing: said, and not passed over."""

from __future__ import annotations

from dseinvert.editing.cues import Cues
from dseinvert.errors import UsageError
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip


def idle(cues: Cues, clip: Clip) -> tuple[str, ...]:
    """Of each edit that acts nowhere in a clip, a phrase."""
    if clip.duration is None:
        return ()
    end = float(clip.duration)
    return tuple(
        f"{cue.label} is behind its end, at {end:.2f} s"
        for of_label in cues.values()
        for cue in of_label
        if cue.timing is not None and not cue.timing.acts_in(0.0, end)
    )


def beyond(cues: Cues, shots: int) -> tuple[str, ...]:
    """Of each edit of a shot that a clip of so many does not have, a phrase."""
    numbers = ((cue, cue.timing.shot) for one in cues.values() for cue in one if cue.timing)
    return tuple(
        f"{cue.label} acts nowhere: its last shot is shot{shots}"
        for cue, number in numbers
        if number is not None and number > shots
    )


def refuse_idle(cues: Cues, clip: Clip) -> None:
    """UsageError where an edit acts nowhere in the only clip."""
    for phrase in idle(cues, clip):
        raise UsageError(f"{shown(clip.path)}: {phrase}", "choose a time within it")
