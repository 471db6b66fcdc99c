"""Where models lie, and what is known of one before its networks are loaded: its card, its names.

Light, so that a command line can be refused within a moment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dseinvert.errors import MissingError, UsageError
from dseinvert.names import (
    each,
    file_name,
    json_value,
    nearest,
    read_regular,
    suggested,
    table,
    text,
    word,
)

FORMAT = "dseinvert-model-1"
BUNDLED = Path(__file__).parent / "bundled"
DEFAULT = "default"
REGISTRY = Path(__file__).parent / "models" / "models.toml"
"""Of the models to download."""
CARD = "model.json"
HUB_WEIGHTS = "pytorch_model.bin"
"""In a folder as Hugging Face's libraries save one."""
GENERATOR, ENCODER, DIRECTIONS, FEATURE_EDITOR = (
    f"{part}.safetensors" for part in ("generator", "encoder", "directions", "feature_editor")
)


def home() -> Path:
    """Where models are kept: $DSEINVERT_HOME, or `dseinvert` among the user's caches."""
    if own := os.environ.get("DSEINVERT_HOME"):
        return Path(own).expanduser()
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "dseinvert"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "dseinvert"
    caches = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    return Path(caches).expanduser() / "dseinvert"


def root() -> Path:
    """The folder of the added models' folders."""
    return home() / "models"


def added() -> list[Path]:
    """The folder of every added model, also of those with a damaged card."""
    return sorted(card.parent for card in root().glob(f"[!.]*/{CARD}"))


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model.

    Raises:
        MissingError: absent, damaged, or of another program.
    """
    file = folder / CARD
    try:
        card = json_value(read_regular(file))
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        _check_card(card)
    except KeyError as error:
        raise MissingError(f"{file}: not a model description: it has no {error.args[0]}") from error
    except (OSError, ValueError) as error:
        raise MissingError(f"{file}: not a model description: {error}") from error
    return card


def _check_card(card: Mapping[str, Any]) -> None:
    """ValueError where what is shown, or stands in a path, is not what this program writes."""
    word(card["name"])
    for told in ("description", "licence", "alignment", "detector"):
        text(card.get(told, ""))
    each(card.get("notes", []), text)
    table(card.get("source", {}), text, lambda value: value)
    table(card.get("sha256", {}), file_name, text)


def bundled_card() -> dict[str, Any]:
    """The card of the bundled model; {} = there is none."""
    with suppress(MissingError):
        return read_card(BUNDLED)
    return {}


def named() -> dict[str, Path]:
    """The folders of the models that can be named, the bundled one first."""
    found: dict[str, Path] = {}
    for folder in (BUNDLED, *added()):
        with suppress(MissingError):
            found.setdefault(read_card(folder)["name"], folder)
    return found


def find(name_or_path: str) -> Path:
    """What a name or path means: the folder of a model, or a checkpoint that is none yet.

    Raises:
        UsageError: neither a known name, a folder nor a file.
    """
    known = named()
    if name_or_path == DEFAULT and known:
        return next(iter(known.values()))
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.name == GENERATOR and (path.parent / CARD).is_file():
        return path.parent
    if path.is_file() or any((path / file).is_file() for file in (CARD, HUB_WEIGHTS)):
        return path
    names = ", ".join(known)
    if path.is_dir():
        raise UsageError(f"{path}: no model here: it has no {CARD}", f"known models: {names}")
    like = _published(name_or_path)
    pull = f"pull {like}` downloads one" if like else "pull` lists those to download"
    advice = f"known models: {names}; `dseinvert models {pull}"
    raise UsageError(
        f"no model, folder or checkpoint file {name_or_path!r}",
        suggested(name_or_path, (*known, DEFAULT), advice),
    )


def _published(name: str) -> str:
    """The model to download that `name` may mean; "" = none is like it."""
    rows = re.findall(r'^name = "(.+)"', REGISTRY.read_text("utf-8"), re.M)
    within = (row for row in rows if len(name) > 2 and name.casefold() in row)
    return next(within, "") or nearest(name, rows)


def direction_names(folder: Path) -> list[str]:
    """The names of a model's directions, from the head of their file; [] = it has none.

    Raises:
        MissingError: their file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    file = folder / DIRECTIONS
    if not file.is_file():
        return []
    try:
        with safe_open(file, "np") as opened:
            return sorted(opened.keys())
    except (SafetensorError, OSError) as error:
        raise MissingError(f"{file}: damaged directions file: {error}") from error
