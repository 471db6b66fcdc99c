"""Where converted models lie: whole or not at all, each under the hash of what it came from."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dseinvert.cards import (
    BUNDLED,
    CARD,
    DEFAULT,
    ENCODER,
    GENERATOR,
    added,
    home,
    read_card,
    root,
)
from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.media.digest import file_sha256
from dseinvert.models.folder import ModelRow, recorded, row
from dseinvert.names import json_value

_UNFINISHED = ".adding-"
_DAY = 86_400


@dataclass(frozen=True)
class Added:
    """What `models add` did."""

    name: str
    folder: Path
    format: str
    """What the file was."""
    notes: tuple[str, ...]
    new: bool
    """False where it had been converted before."""


def rows() -> list[ModelRow]:
    """The converted models by name; a damaged card hides its model (`verify` tells)."""
    found = []
    for folder in added():
        with suppress(MissingError):
            found.append(row(folder))
    return sorted(found, key=lambda model: model.name)


def remove(name: str) -> Path:
    """Delete a model of the cache, and what was exported of it to run it faster.

    Raises:
        UsageError: none of that name, or one that is not in the cache.
    """
    for known in rows():
        if known.name == name:
            with suppress(MissingError):
                _forget_exports(_weights(known.folder))
            try:
                with unfinished() as part:
                    known.folder.rename(part / "removed")
            except OSError as error:
                raise OutputError(f"{known.folder}: cannot delete: {error.strerror}") from error
            return known.folder
    names = ", ".join(known.name for known in rows()) or "none"
    raise UsageError(f"no added model {name!r}", f"added models: {names}")


def _weights(folder: Path) -> tuple[str, str]:
    """The sha256 of a model's generator and encoder, which an export names, too."""
    sums = recorded(read_card(folder))
    return sums.get(GENERATOR, ""), sums.get(ENCODER, "")


def _forget_exports(weights: tuple[str, str]) -> None:
    """Delete the exports of these weights, and the engines that were built of them."""
    engines: set[str] = set()
    for sidecar in (home() / "exports").glob("*/export.json"):
        try:
            told = json_value(sidecar.read_bytes())
            theirs = told["generator_sha256"], told["encoder_sha256"]
            sums = {name: s for one in told["files"].values() for name, s in one["sha256"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if theirs == weights:
            engines |= {sha256 for name, sha256 in sums.items() if name.endswith(".plan")}
            shutil.rmtree(sidecar.parent, ignore_errors=True)
    for plan in (home() / "engines").glob("*.plan") if engines else ():
        if file_sha256(plan) in engines:
            plan.unlink(missing_ok=True)


def free_name(name: str, folder: Path) -> str:
    """The name, where no other model has it.

    Raises:
        UsageError: one has.
    """
    bundled = [row(folder) for folder in (BUNDLED,) if (folder / CARD).is_file()]
    taken = {known.name: known.folder for known in [*bundled, *rows()]}
    if name == DEFAULT or taken.get(name, folder) != folder:
        raise UsageError(f"there is a model {name!r} already", f"dseinvert models rm {name}")
    return name


@contextmanager
def unfinished() -> Iterator[Path]:
    """A folder beside the models that is gone afterwards, whatever happens."""
    place = root()
    try:
        place.mkdir(parents=True, exist_ok=True)
        _remove_stale(place)
        part = place / f"{_UNFINISHED}{secrets.token_hex(8)}"
        part.mkdir()
    except OSError as error:
        raise OutputError(
            f"{place}: cannot write: {error.strerror}", "set DSEINVERT_HOME to another folder"
        ) from error
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove_stale(place: Path) -> None:
    """What a killed process left a day ago."""
    for part in place.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _DAY:
                shutil.rmtree(part, ignore_errors=True)


def put(part: Path, folder: Path) -> None:
    """Give a whole model its place; where another process was first, its result stays."""
    try:
        if folder.exists() and not whole(folder):
            folder.rename(part.with_name(f"{part.name}-old"))
        part.rename(folder)
    except OSError as error:
        if not whole(folder):
            raise OutputError(f"{folder}: cannot write: {error.strerror}") from error
    finally:
        shutil.rmtree(part.with_name(f"{part.name}-old"), ignore_errors=True)


def whole(folder: Path) -> bool:
    """Whether all files of a model are there; `verify` looks into them."""
    try:
        return all((folder / file).is_file() for file in recorded(read_card(folder)))
    except MissingError:
        return False
