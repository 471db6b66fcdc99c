"""Whom a command line names: `--person`, and the people of edits; and what decides about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dseinvert.config import VideoOptions
from dseinvert.editing.grammar import SIDES
from dseinvert.editing.script import people_of, read_script
from dseinvert.media.digest import file_sha256
from dseinvert.media.formats import SUFFIXES
from dseinvert.similarity.identity import Identity, is_named, open_identity

EVERYBODY = ""
"""Who is meant where nobody is named: those of --person, else of --faces."""


def whos(options: VideoOptions) -> tuple[str, ...]:
    """Everybody whom --person and edits name, each once, as they are written."""
    lines = () if options.script is None else read_script(options.script)[1]
    return tuple(dict.fromkeys([*options.person, *people_of(options.edits, lines)]))


def person_key(options: VideoOptions) -> dict[str, Any]:
    """What decides about who is edited, JSON-ready; nothing where nobody is named."""
    named = whos(options)
    if not named:
        return {}
    network = network_sha256(options) if any(one not in SIDES for one in named) else ""
    keys = {who: [file_sha256(file) for file in pictures_of(who)] for who in sorted(named)}
    return {"people": [keys, sorted(options.person), sorted(acting(options)), network]}


def network_sha256(options: VideoOptions) -> str:
    """Of the network by which people are known again; "" = there is none."""
    network = open_network(options)
    return "" if network is None else network.sha256


def open_network(options: VideoOptions, device: Any = "cpu") -> Identity | None:
    """The network that is named by an option or the environment; None = none is."""
    if options.identity is None and not is_named():
        return None
    return open_identity(options.identity, device)


def acting(options: VideoOptions) -> list[str]:
    """Whose faces anything is done to."""
    lines = () if options.script is None else read_script(options.script)[1]
    addressed = people_of(options.edits, lines)
    for_all = not (options.edits or lines)
    for_all |= any(not people_of([text]) for text in options.edits)
    for_all |= any(not line.who for line in lines)
    return [*addressed, *([EVERYBODY] if for_all else [])]


def pictures_of(who: str) -> list[Path]:
    """The files that show somebody named so; none for a number or a word."""
    path = Path(who)
    if who in SIDES or who.isdecimal():
        return []
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    return [path]
