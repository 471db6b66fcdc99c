"""`--name-template`: pictures named as the user wants, by a text with fields in braces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dseinvert.errors import InputError, UsageError
from dseinvert.media.atomic import shown
from dseinvert.names import file_name, printable, suggested
from dseinvert.run.flow.names import folded, safe_stem

FIELDS = ("stem", "parent", "edit", "n")
_FIELD = re.compile(r"\{([^{}:]*)(?::0?([1-9]))?\}")
_SUFFIX = ".photo.webp"
"""The longest of what follows a name."""


@dataclass(frozen=True)
class Template:
    """A text such as `{parent}_{stem}_{edit}`.

    stem = the input's name, parent = that of its folder, edit = what the picture shows, n = the
    number of the face, from 1, and 0 of a whole photo; {n:03} has three digits at least.
    """

    text: str

    @property
    def fields(self) -> frozenset[str]:
        """Those that it has."""
        return frozenset(found[1] for found in _FIELD.finditer(self.text))

    def name(self, source: Path, edit: str, n: int = 1) -> str:
        """The name of a picture, without its suffix.

        Where there is no {n}, further faces have their numbers at the stem, as they always do.
        """
        stem = safe_stem(source)
        further = n > 1 and "n" not in self.fields
        values = {
            "stem": f"{stem}-{n}" if further else stem,
            "parent": safe_stem(Path(source.absolute().parent.name + ".x")),
            "edit": edit,
        }

        def filled(found: re.Match[str]) -> str:
            return str(n).zfill(int(found[2] or 0)) if found[1] == "n" else values[found[1]]

        return _FIELD.sub(filled, self.text)


def parse_template(text: str) -> Template:
    """UsageError for a field that is unknown, and for a name that could leave the folder."""
    for found in _FIELD.finditer(text):
        if found[1] not in FIELDS or (found[2] and found[1] != "n"):
            advice = suggested(found[1], FIELDS, f"there are {', '.join(FIELDS)}, and n:03")
            raise UsageError(f"--name-template: no field {printable(found[0])}", advice)
    plain = _FIELD.sub("a", text)
    if {*plain} & {*"{}"}:
        raise UsageError(f"--name-template {printable(text)!r}: a brace stands alone", "as {stem}")
    if {*plain} & {*"/\\"}:
        what = f"--name-template {printable(text)!r}: a name, and no path"
        raise UsageError(what, "--out names the folder; --keep-folders keeps those of the images")
    _check(plain, text)
    return Template(text)


def check_names(template: Template, sources: Iterable[Path], edits: Sequence[str]) -> None:
    """UsageError where two pictures of these sources would have one name, or a name is too long."""
    owners: dict[str, tuple[Path, str]] = {}
    for source in sources:
        for edit in edits:
            name = template.name(source, edit)
            _check(name, template.text)
            other, _ = owners.setdefault(folded(name), (source, edit))
            if owners[folded(name)] != (source, edit):
                raise UsageError(*_collision(template, name, other, source))


def _collision(template: Template, name: str, other: Path, source: Path) -> tuple[str, str]:
    """What is said of two pictures of one name."""
    of = f"two pictures of {shown(source)}"
    if other != source:
        of = f"pictures of {shown(other)} and {shown(source)}"
    missing = [one for one in ("edit", "stem", "parent") if one not in template.fields]
    if other != source and other.parent == source.parent:
        missing = [one for one in missing if one == "stem"]
    advice = f"add {{{missing[0]}}}" if missing else "rename one, or leave --name-template out"
    what = f"--name-template {printable(template.text)!r}: {of} would be {printable(name)}"
    return what, advice


def _check(name: str, text: str) -> None:
    try:
        file_name(name + _SUFFIX)
    except ValueError as error:
        what = f"--name-template {printable(text)!r}: {error}"
        raise UsageError(what, "a plain name, such as {stem}_{edit}") from error


@dataclass(frozen=True)
class Claims:
    """Which input each file of a run is of; threads may claim at once."""

    owners: dict[str, str] = field(default_factory=dict)
    """By folded file names."""

    def claim(self, names: Sequence[str], owner: str) -> None:
        """InputError where one of the names is that of another's file, or is there twice."""
        if len({*map(folded, names)}) < len(names):
            raise InputError("two of its pictures would have one name", "add {n} and {edit}")
        for name in names:
            if self.owners.setdefault(folded(name), owner) != owner:
                what = f"its output {name} is that of another input"
                raise InputError(what, "put something between {stem} and {n}")
