"""`--config FILE`: options from a TOML file, or from the training.json that a run left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from dseinvert.errors import UsageError
from dseinvert.media.atomic import shown
from dseinvert.media.toml_file import read_short, toml_value
from dseinvert.names import json_value, printable, suggested
from dseinvert.similarity.weights import FIELDS

_FACTS = {"generator", "encoder", "schedule", "metrics", "encoder_widths"}
"""What a run says of itself in training.json, besides its options."""


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values in a file the defaults of a command; what is typed goes before them.

    Raises:
        UsageError: it is not there, is no TOML or JSON, or names what is no option.
    """
    if path is not None and not context.resilient_parsing:
        known = {one.name: one for one in context.command.params if one.name}
        context.default_map = _defaults(path, known)
    return path


def _defaults(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in _content(path).items():
        name = key.replace("-", "_")
        if name in _FACTS or value is None or (name, value) == ("head", "taps"):
            continue
        if name == "weights" and "weight" in known:
            continue  # they are joined, term by term, with those that are typed
        if name not in known or name == "config":
            names = [one.replace("_", "-") for one in known]
            what = f"--config {shown(path)}: no option {_brief(key)}"
            raise UsageError(what, suggested(key, names, "see --help"))
        found[name] = _plain(path, key, value, known[name])
    return found


def _plain(path: Path, key: str, value: Any, option: Any) -> Any:
    """A value as it would be typed."""
    many = option.multiple
    if isinstance(value, list):
        texts = [str(_scalar(path, key, one)) for one in value]
        return texts if many else ",".join(texts)
    return [str(_scalar(path, key, value))] if many else _scalar(path, key, value)


def _scalar(path: Path, key: str, value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise UsageError(f"--config {shown(path)}: {_brief(key)} is no plain value")
    return value


def _brief(key: str) -> str:
    return printable(key)[:80]


def weights_in(path: Path | None) -> list[str]:
    """The weights of losses in such a file, as they would be typed; None = there is no file.

    Raises:
        UsageError: they are no table of numbers.
    """
    if path is None:
        return []
    value = _content(path).get("weights", {})
    if not isinstance(value, dict):
        raise UsageError(f"--config {shown(path)}: weights is no table")
    terms = {"epsilon": "latent", **{name: name for name in FIELDS}}
    return [f"{terms.get(k, k)}={_scalar(path, k, number)}" for k, number in value.items()]


def _content(path: Path) -> dict[str, Any]:
    try:
        data = read_short(path)
        value = json_value(data) if path.suffix.lower() == ".json" else toml_value(data)
        if not isinstance(value, dict):
            raise ValueError("not a table of options")
    except OSError as error:
        what = f"--config {shown(path)}: {(error.strerror or str(error)).lower()}"
        raise UsageError(what) from error
    except ValueError as error:
        said = printable(" ".join(str(error).split()))[:200]
        raise UsageError(f"--config {shown(path)}: {said}", "see docs/training.md") from error
    return value
