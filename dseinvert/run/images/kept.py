"""Results of other options: they stay in their folder as they are, unless --overwrite is given.

What a newer version of this program makes otherwise is no other option: it is made again. A run
that only adds files, of other edits or in another format, leaves the others where they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dseinvert.cards import bundled_card
from dseinvert.config import ImagesOptions
from dseinvert.errors import InputError, NoInputError, OtherOptionsError, OutputError
from dseinvert.faces.crops import EVERYBODY
from dseinvert.inversion.asked import parse_refining
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.media.digest import file_sha256
from dseinvert.media.form import form_of
from dseinvert.names import brief, open_regular
from dseinvert.progress import SILENT
from dseinvert.run.flow.keys import now_and_then
from dseinvert.run.images.journal import Entry, every_entry, journals, parse, read_all
from dseinvert.run.images.packed import check_packed
from dseinvert.run.images.plan import named_items
from dseinvert.run.inputs import Item
from dseinvert.run.sources import gathered
from dseinvert.run.spread.shard import ALL, Part
from dseinvert.run.spread.shelf import Told, names, runs

Settings = Mapping[str, Any]
_VERSIONS = frozenset({"outputs", "masking"})
"""Numbers of this program's own."""
_WEIGHTS = frozenset({"generator", "encoder", "resolution", "feature_editor"})
"""Of a model; those of the bundled one are this program's own, too."""
_ADDS = frozenset({"model", "names", "pack", "paste"})
"""What names other files or none; shards are told apart by `check_packed`."""
_ALWAYS = frozenset({"generator", "encoder", "resolution", "crop", "edits"})
"""In every journal but in those of versions that did not tell it."""
_USUAL = {"refine": "none", "label": "none"} | {
    name: getattr(EVERYBODY, name) for name in ("rotate", "faces", "min_face", "min_score")
}
"""Settings that are called as their options and are short, and what they are if not told."""
_AUTO = "=auto"
"""In the label of an edit whose strength a network finds."""
_TAIL = 1 << 18
"""Bytes of the end of a journal, which hold its last entry."""


def check_kept(
    out: Path, todo: Iterable[Item], known: Mapping[str, Entry], settings: Settings
) -> None:
    """OtherOptionsError where results of other options would be replaced; it names what differs.

    todo: what is going to be done. known: the entries of earlier runs. settings: of this one.
    """
    ours = json.loads(json.dumps(settings))
    again = [item for item in todo if item.name in known]
    _check(out, again, known, lambda theirs: ours)
    if again:
        _check(out, again, _beneath(out, known, ours), lambda theirs: ours)


def check_before_loading(paths: Sequence[str], options: ImagesOptions, part: Part = ALL) -> None:
    """As `check_kept`, as far as the options tell without a model; what `run_images` will do.

    It looks at the inputs only where the last entries of the folder are of other options.
    """
    if options.overwrite or options.keep_folders or part.retry:
        return
    ours = partial(_with, _by_options(options))
    last = _last_settings(options.out)
    if not any(one.get("pack") != options.pack or differences(one, ours(one)) for one in last):
        return
    known = read_all(options.out)
    for entry in [*known.values()][-1:]:
        check_packed(options.out, known, options.pack, ours(entry.settings))
    with gathered(paths, SILENT) as found:
        items = named_items(found, options.out, known, {}).items
    _check(options.out, (one for one in items if part.shard.has(one.name)), known, ours)


def _beneath(out: Path, known: Mapping[str, Entry], ours: Settings) -> dict[str, Entry]:
    """Entries of other options to which later runs only added files, with those that they left.

    By name, the last of each. In a folder, for a store is not asked what its objects hold.
    """
    found: dict[str, Entry] = {}
    for entry in () if far(out) else every_entry(out):
        last = known.get(entry.name)
        if last is None or not differences(entry.settings, ours):
            continue
        if left := {n: sha256 for n, sha256 in entry.files.items() if n not in last.files}:
            only_added = not differences(entry.settings, last.settings)
            if only_added and any(_is_as_made(out / n, sha256) for n, sha256 in left.items()):
                found[entry.name] = replace(entry, files=left)
    return found


def _is_as_made(path: Path, sha256: str) -> bool:
    """Whether nothing was written over it since."""
    with suppress(OSError, InputError):
        return path.is_file() and file_sha256(path) == sha256
    return False


def _check(
    out: Path,
    items: Iterable[Item],
    known: Mapping[str, Entry],
    ours: Callable[[Settings], Settings],
) -> None:
    """`ours`: the settings of this run, from those of an earlier one."""
    once: dict[int, list[str]] = {}
    there: Container[str] | None = None
    for entry in (known[item.name] for item in items if item.name in known):
        number = id(entry.settings)  # which millions of entries share
        if number not in once:
            once[number] = differences(entry.settings, ours(entry.settings))
        if once[number]:
            there = names(out) if far(out) and there is None else there
            if any(_is_there(out, name, there) for name in entry.files):
                raise OtherOptionsError(
                    f"{shown(out)}: holds results made with {'; '.join(once[number])}",
                    "choose another --out, or --overwrite",
                )


def differences(theirs: Settings, ours: Settings) -> list[str]:
    """How options differ by which files of one name come out otherwise; a phrase each."""
    changed = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    told = (_told(name, theirs, ours) for name in changed if _decides(name, theirs, ours))
    return list(dict.fromkeys(told))


def _decides(name: str, theirs: Settings, ours: Settings) -> bool:
    """Whether files that are there would be made otherwise, since this setting differs."""
    if name in _VERSIONS | _ADDS or (name in _ALWAYS and not (name in theirs and name in ours)):
        return False
    if name in _WEIGHTS and _is_bundled(theirs, ours):
        return name == "feature_editor" and _same("generator", theirs, ours)
    if name == "form":
        return _form(theirs)[0] == _form(ours)[0]
    edits = _edits_of_both(theirs, ours)
    if name == "edits":  # those of another model are told by that
        return _same("generator", theirs, ours) and bool(_moved(theirs, ours))
    if name == "mask":
        return bool(edits)
    if name in ("pasting", "gps"):
        pasted = bool(edits) and bool(theirs.get("paste")) and bool(ours.get("paste"))
        return pasted and (name == "gps" or _pasting(theirs)[0] == _pasting(ours)[0])
    return True


def _is_bundled(theirs: Settings, ours: Settings) -> bool:
    """Whether both are of the model that comes with this program, in any of its versions."""
    return _same("model", theirs, ours) and ours.get("model") == bundled_card().get("name", ())


def _same(name: str, theirs: Settings, ours: Settings) -> bool:
    return bool(theirs.get(name) == ours.get(name))


def _moved(theirs: Settings, ours: Settings) -> list[str]:
    """The labels of edits of both whose directions differ, or what `auto` asks.

    Nobody teaches the bundled model directions but a newer version.
    """
    both = _edits_of_both(theirs, ours)
    own = _is_bundled(theirs, ours)
    return [e for e, (before, now) in both.items() if before != now and (_AUTO in e or not own)]


def _edits_of_both(theirs: Settings, ours: Settings) -> dict[str, tuple[Any, Any]]:
    """Their fingerprints, by label; what is no table in a journal has none."""
    before, now = (one.get("edits") for one in (theirs, ours))
    if not isinstance(before, dict) or not isinstance(now, dict):
        return {}
    return {label: (before[label], now[label]) for label in before if label in now}


def _form(settings: Settings) -> tuple[str, str]:
    """Suffix and quality of pictures."""
    suffix, _, quality = str(settings.get("form", "png")).partition(" ")
    return suffix, quality or "as usual"


def _pasting(settings: Settings) -> tuple[Any, Any]:
    """The number of how pastes come out, and how they are blended."""
    told = settings.get("pasting")
    if isinstance(told, list) and len(told) == 2:
        return told[0], told[1]
    return told, "difference"


def _told(name: str, theirs: Settings, ours: Settings) -> str:
    """What differs, in the words of the command line."""
    if name in _USUAL:
        return now_and_then(
            f"--{name.replace('_', '-')}", *(o.get(name, _USUAL[name]) for o in (theirs, ours))
        )
    return _SAID[name](theirs, ours) if name in _SAID else f"another {brief(name)}"


def _model(theirs: Settings, ours: Settings) -> str:
    before, now = theirs.get("model"), ours.get("model")
    return f"other weights of {now}" if before == now else now_and_then("--model", before, now)


def _direction(theirs: Settings, ours: Settings) -> str:
    return f"another direction of --edit {_moved(theirs, ours)[0]}"


_SAID: Mapping[str, Callable[[Settings, Settings], str]] = {
    **dict.fromkeys(("generator", "encoder", "resolution"), _model),
    "crop": lambda theirs, ours: now_and_then("faces found by", theirs["crop"], ours["crop"]),
    "edits": _direction,
    "form": lambda theirs, ours: now_and_then("--quality", _form(theirs)[1], _form(ours)[1]),
    "mask": lambda theirs, ours: "another --mask or --region",
    "gps": lambda theirs, ours: f"{'' if 'gps' in theirs else 'no '}--keep-gps",
    "pasting": lambda theirs, ours: now_and_then("--blend", _pasting(theirs)[1], _pasting(ours)[1]),
    "person": lambda theirs, ours: "another --person",
    "feature_editor": lambda theirs, ours: "another --feature-edit",
}
"""Of what is called otherwise than its option, or is no short word."""


def _is_there(out: Path, name: str, there: Container[str] | None) -> bool:
    """`there`: what lies in a store. None = `out` is a folder."""
    return (out / name).is_file() if there is None else name in there


def _by_options(options: ImagesOptions) -> dict[str, Any]:
    """Settings that no model has a part in; None = it is as usual, which is not written down."""
    refining = parse_refining(options.refine, options.space, options.budget, options.until)
    return {
        "pack": options.pack,
        "refine": refining.text if refining.stages else None,
        "label": options.label,
        "form": form_of(options.format, options.quality).text or None,
    }


def _with(told: Settings, theirs: Settings) -> dict[str, Any]:
    """Their settings, with what is told in place of their own."""
    both = {**theirs, **told}
    return {name: value for name, value in both.items() if value is not None}


def _last_settings(out: Path) -> list[Settings]:
    """Of the last run of each process into a folder, as far as they tell at a glance."""
    if far(out):
        told = (one.facts.get("settings") for one in _runs(out))
        return [settings for settings in told if isinstance(settings, dict)]
    return [one.settings for path in journals(out) if (one := _last(path)) is not None]


def _runs(out: Path) -> list[Told]:
    """Of a store; what is wrong with that is said where something is written to it."""
    with suppress(InputError, NoInputError, OutputError):
        return runs(out)
    return []


def _last(journal: Path) -> Entry | None:
    try:
        with open_regular(journal) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    return next(filter(None, (parse(line, journal.parent) for line in reversed(lines))), None)
