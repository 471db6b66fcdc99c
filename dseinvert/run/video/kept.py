"""Videos made with other options: they stay as they are, unless --overwrite is given.

What a newer version of this program makes otherwise is no other option: it is made again, and so
is what an earlier version made that did not write down how.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from dseinvert.editing.script import SCRIPTED
from dseinvert.errors import OtherOptionsError, OutputError
from dseinvert.media.atomic import shown
from dseinvert.names import brief, json_value, table, text
from dseinvert.run.flow.keys import now_and_then
from dseinvert.run.video.plan import Output, Task
from dseinvert.run.video.records import Record, read_records
from dseinvert.run.video.unfinished import identity, intended

Settings = Mapping[str, Any]
_NETWORKS = frozenset({"generator", "encoder"})
_WEIGHTS = _NETWORKS | {"feature_editor"}
_BUNDLED = "bundled"
"""Whether the weights came with this program, any version of it; they are its own, then."""
_USUAL: Mapping[str, tuple[str, Any]] = {
    **{"faces": ("--faces", "largest"), "smooth": ("--smooth", "auto")},
    **{"refine": ("--refine", "none"), "rotate": ("--rotate", "auto")},
    **{"segment": ("--segment", "none"), "deinterlace": ("--deinterlace", False)},
    **{"side_by_side": ("--side-by-side", False), "gps": ("--keep-gps", False)},
}
"""Settings that are short: their options, and what they are if not told."""
_WAY = "choose another --out, or --overwrite"


def refuse_replacing(task: Task) -> None:
    """OutputError for a file in the way that no earlier run on this source made, or made otherwise.

    It names what differs.
    """
    records, intent = read_records(task), intended(task)
    for output in task.outputs:
        name = output.path.name
        _refuse(task, output, records.get(name), intent.get(name, {}))


def refuse_replacing_stored(task: Task, out: Path, there: Container[str]) -> None:
    """As `refuse_replacing`, of what was made otherwise and lies in a store.

    out: the store. there: the names of its objects.
    """
    records = read_records(task)
    for output in task.outputs:
        record = records.get(output.path.name)
        lies = task.settings is None or output.path.name in there
        if lies and record is not None and record.source == task.sha256:
            _refuse_others(out / output.path.name, record.settings, output)


def _refuse(task: Task, output: Output, record: Record | None, note: Settings) -> None:
    """note: of a run that was killed, on what it was going to write."""
    if not output.path.exists() or note.get("key") == output.key:
        return
    if note and identity(output.path) not in (None, note.get("before")):
        _refuse_others(output.path, note.get("settings"), output)  # finished before the kill
    elif record is not None and record.source == task.sha256:
        _refuse_others(output.path, record.settings, output)
        _refuse_encoded(output, record)
    elif not note:
        raise OutputError(f"{shown(output.path)}: is there already, made of something else", _WAY)


def _refuse_others(path: Path, theirs: Any, ours: Output) -> None:
    told = differences(_read(theirs), _read(ours.settings))
    if told:
        what = f"{shown(path)}: is there already, made with {'; '.join(told)}"
        raise OtherOptionsError(what, _WAY)


def _refuse_encoded(output: Output, record: Record) -> None:
    """Of what shows the same pictures in another encoding, which it does not tell."""
    if not record.settings and record.look == output.look and record.key != output.key:
        what = f"{shown(output.path)}: is there already, with another codec, quality or size"
        raise OtherOptionsError(what, _WAY)


def _read(settings: Any) -> Settings:
    """None are told by records of earlier versions, and by what is none of ours."""
    try:
        return table(json_value(text(settings)), text, lambda value: value)
    except ValueError:
        return {}


def differences(theirs: Settings, ours: Settings) -> list[str]:
    """How options differ by which one video comes out otherwise; a phrase each.

    theirs: {} = they are not known, and nothing differs.
    """
    names = {**theirs, **ours} if theirs else {}
    changed = [name for name in names if theirs.get(name) != ours.get(name)]
    told = (_told(name, theirs, ours) for name in changed if _decides(name, theirs, ours))
    return list(dict.fromkeys(told))


def _decides(name: str, theirs: Settings, ours: Settings) -> bool:
    """Whether a video is made otherwise, since this setting differs."""
    if name in ("outputs", _BUNDLED):  # of this program's own
        return False
    if name in _WEIGHTS and _are_bundled(theirs, ours):
        return name == "feature_editor" and _same_networks(theirs, ours)
    if name == "paste":
        return bool(_paste(theirs) != _paste(ours))
    if name == "blend":  # of what is pasted otherwise, that tells
        return _paste(theirs) == _paste(ours) and _blend(theirs) != _blend(ours)
    if name == "people":
        return _people_differ(theirs.get(name), ours.get(name))
    if name == "where":  # a reconstruction is the same everywhere
        return bool(_edit(theirs)[1] or _edit(ours)[1])
    if name == "edit":  # directions of another model are told by that
        return _edit(theirs)[0] != _edit(ours)[0] or _is_moved(theirs, ours)
    return True


def _are_bundled(theirs: Settings, ours: Settings) -> bool:
    return theirs.get(_BUNDLED) is ours.get(_BUNDLED) is True


def _is_moved(theirs: Settings, ours: Settings) -> bool:
    """Whether an edit of one label is another one by what a user did.

    Nobody teaches the bundled model directions but a newer version. A changed file of edits is as
    a changed source.
    """
    label = str(_edit(ours)[0])
    if label.startswith(SCRIPTED):
        return False
    return _same_networks(theirs, ours) and ("=auto" in label or not _are_bundled(theirs, ours))


def _same_networks(theirs: Settings, ours: Settings) -> bool:
    return all(theirs.get(network) == ours.get(network) for network in _NETWORKS)


def _pair(value: Any) -> tuple[Any, Any]:
    """Two values that a setting holds in a list; whatever else it is counts as the first."""
    return (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (value, None)


def _edit(settings: Settings) -> tuple[Any, Any]:
    """Label and fingerprint."""
    return _pair(settings.get("edit"))


def _paste(settings: Settings) -> Any:
    """As it is done where the option is not given."""
    return settings.get("paste") or ("difference" if _edit(settings)[1] else "replace")


def _blend(settings: Settings) -> Any:
    """As --blend says, without the number of how that comes out."""
    return _pair(settings.get("blend", "difference"))[0]


_RESOLVED: Mapping[str, Callable[[Settings], Any]] = {"paste": _paste, "blend": _blend}
"""What is not told as it was written down."""


def _people_differ(theirs: Any, ours: Any) -> bool:
    """Whether --person, or a picture of somebody who is named in both runs, is another one.

    Somebody whom only a further edit names changes nothing about the videos of the others.
    """
    if theirs is None or ours is None:
        told = ours if theirs is None else theirs
        return not (isinstance(told, list) and len(told) == 4 and not told[1])
    return _named(theirs, ours) != _named(ours, theirs)


def _named(one: Any, other: Any) -> Any:
    """What of a list of people, as `person_key` makes it, is compared with another one."""
    lists = [isinstance(told, list) and len(told) == 4 for told in (one, other)]
    if not all(lists) or not isinstance(one[0], dict) or not isinstance(other[0], dict):
        return one
    known = all(told[3] for told in (one, other))
    return {k: v for k, v in one[0].items() if k in other[0]}, one[1], known and one[3]


def _told(name: str, theirs: Settings, ours: Settings) -> str:
    """What differs, in the words of the command line."""
    if name in _USUAL:
        option, usual = _USUAL[name]
        before, now = (_plain(settings.get(name, usual)) for settings in (theirs, ours))
        return now_and_then(option, before, now)
    if name in _RESOLVED:
        return now_and_then(f"--{name}", *(_RESOLVED[name](one) for one in (theirs, ours)))
    if name == "edit":
        return _edit_told(*(_edit(settings)[0] for settings in (theirs, ours)))
    return _SAID.get(name) or f"another {brief(name)}"


def _plain(value: Any) -> Any:
    """As a switch is called."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _edit_told(before: Any, now: Any) -> str:
    """The labels of both."""
    if before != now:
        return now_and_then("the edit", before, now)
    return f"another direction of --edit {now}"


_SAID: Mapping[str, str] = {
    **dict.fromkeys(_NETWORKS, "another --model"),
    "detector": "faces found by another detector",
    "feature_editor": "another --feature-edit",
    "start": "another --start",
    "end": "another --end",
    **dict.fromkeys(("rate", "time_base"), "another --fps"),
    "people": "another --person",
    "where": "another --mask or --region",
    "encoding": "another codec, quality or size",
    "audio": "another --audio",
}
"""Of what is called otherwise than its option, or is no short word."""
