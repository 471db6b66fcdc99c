"""What decides about a result, as a table, and the key that equal results share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Asked = TypeVar("Asked")
"""All that a run knows when it makes a key."""


@dataclass(frozen=True)
class Setting(Generic[Asked]):
    """Something that decides about a result."""

    fields: tuple[str, ...]
    """Those of the options class that it comes from; empty = none of them."""
    entries: Callable[[Asked], Mapping[str, Any]]
    """JSON-ready, by name; empty = it plays no part this time."""


def settings_of(table: Iterable[Setting[Asked]], asked: Asked) -> dict[str, Any]:
    """All entries, in the order of the table."""
    return {name: value for row in table for name, value in row.entries(asked).items()}


def result_key(sha256: str, settings: Mapping[str, Any]) -> str:
    """Equal for equal bytes under equal settings."""
    text = json.dumps([sha256, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
