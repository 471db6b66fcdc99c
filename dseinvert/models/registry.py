"""Models to download: the rows of models.toml."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dseinvert.cards import REGISTRY, home, read_card
from dseinvert.errors import InputError, MissingError, UsageError
from dseinvert.importers.found import Found
from dseinvert.latent import LatentSpec
from dseinvert.media.atomic import write_bytes
from dseinvert.media.digest import file_sha256
from dseinvert.media.toml_file import read_toml
from dseinvert.models import cache, store
from dseinvert.models.download import Told, download
from dseinvert.models.folder import check_name
from dseinvert.names import each, json_value, printable, read_regular

_TRUE = ("1", "on", "yes", "true")


@dataclass(frozen=True)
class Row:
    """One model that can be downloaded."""

    name: str
    description: str
    licence: str
    space: str
    layers: int
    dim: int
    classes: int = 0
    alignment: str = "none"
    """How its pictures are cropped: "ffhq", or "none"."""
    url: str = ""
    """Of a file, or with `hub`: "" """
    hub: str = ""
    """A repository of the Hugging Face hub, OWNER/NAME; its file and revision are below."""
    file: str = ""
    revision: str = ""
    sha256: str = ""
    """ "" = not known until the first download, which records it."""
    bytes: int = 0
    """0 = not known."""

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return self.url or f"{self.hub}/{self.file} at {self.revision}"


def rows(file: Path = REGISTRY) -> list[Row]:
    """The rows of a registry.

    Raises:
        UsageError: it cannot be read, or has a row that is not whole.
    """
    try:
        tables = each(read_toml(file).get("model", []), lambda table: table)
        made = [Row(**table) for table in tables]
        for row in made:
            _check(row)
    except (OSError, TypeError, ValueError, UsageError) as error:
        said = printable(str(error))[:300]
        raise UsageError(f"{file}: not a registry of models: {said}") from error
    return made


def pull(name: str, told: Told, registry: Path = REGISTRY) -> store.Added:
    """Download a model, verify it and convert it; what is here already stays.

    Raises:
        UsageError: no such row. MissingError: not to be had, or not what was expected.
        InputError: it cannot be converted.
    """
    row = find(name, registry)
    for known in store.rows():
        if known.name == row.name:
            card = read_card(known.folder)
            told_format = str(card.get("source", {}).get("format", ""))
            return store.Added(row.name, known.folder, told_format, (), new=False)
    expected = row.sha256 or _remembered().get(row.source, "")
    file, sha256 = (_from_hub if row.hub else _from_url)(row, expected, told)
    _remember(row.source, sha256)
    about = {"licence": row.licence, "source": {"url": row.source}}
    try:
        added = cache.add(
            file,
            row.name,
            alignment=row.alignment,
            about=about,
            check=lambda found: _same_spec(row, found),
        )
    except InputError:
        _forget(row, file)
        raise
    _forget(row, file)
    return added


def find(name: str, registry: Path = REGISTRY) -> Row:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    known = rows(registry)
    for row in known:
        if row.name == name:
            return row
    raise UsageError(
        f"no model {name!r} to download", f"known: {', '.join(row.name for row in known) or 'none'}"
    )


def _check(row: Row) -> None:
    """ValueError for a row that names no source, or has a field of a wrong kind."""
    for field in fields(row):
        if type(getattr(row, field.name)) is not (int if field.type == "int" else str):
            raise ValueError(f"{row.name}: {field.name} must be of another kind")
    check_name(row.name)
    if row.alignment not in ("ffhq", "none"):
        raise ValueError(f"{row.name}: alignment must be ffhq or none")
    if bool(row.url) == bool(row.hub and row.file and row.revision):
        raise ValueError(f"{row.name}: give a url, or a hub repository with file and revision")


def _from_url(row: Row, sha256: str, told: Told) -> tuple[Path, str]:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
        raise MissingError(f"{row.name}: not here, and HF_HUB_OFFLINE forbids to download it")
    suffix = Path(urlsplit(row.url).path).suffix
    target = home() / "downloads" / f"{row.name}{suffix}"
    return target, download(row.url, target, size=row.bytes, sha256=sha256, told=told)


def _from_hub(row: Row, sha256: str, told: Told) -> tuple[Path, str]:
    """By the hub's own library, which keeps to HF_HOME, HF_HUB_OFFLINE and HF_TOKEN."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingError(
            f"{row.name} lies on the Hugging Face hub, whose library is not installed",
            "pip install 'dseinvert[hub]'",
        ) from error
    try:
        path = hf_hub_download(row.hub, row.file, revision=row.revision)
    except (OSError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError(f"{row.source}: {said}") from error
    file = Path(path)
    size, found = file.stat().st_size, file_sha256(file)
    told(size, size)
    if (sha256 and found != sha256) or (row.bytes and size != row.bytes):
        raise MissingError(f"{row.source}: not the file that was expected: its sha256 is {found}")
    return file, found


def _same_spec(row: Row, found: Found) -> None:
    wanted = LatentSpec(row.space, row.layers, row.dim, row.classes)  # type: ignore[arg-type]
    if found.generator is None or found.generator.spec != wanted:
        spec = found.generator.spec if found.generator else "no generator"
        raise InputError(f"{row.source}: {spec}, and the registry says {wanted}")


def _forget(row: Row, file: Path) -> None:
    """What was downloaded is of no more use; the hub keeps its own files."""
    if not row.hub:
        file.unlink(missing_ok=True)


def _remembered() -> dict[str, Any]:
    """The sha256 of each source at its first download."""
    try:
        known = json_value(read_regular(_memory()))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(source: str, sha256: str) -> None:
    known = {**_remembered(), source: sha256}
    write_bytes(_memory(), (json.dumps(known, indent=2) + "\n").encode())


def _memory() -> Path:
    return home() / "pulled.json"
