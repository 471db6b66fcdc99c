"""What decides about a result, as a table, and the key that equal results share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Asked = TypeVar("Asked")
"""All that a run knows when it makes a key."""
_SHOWN = 60
"""Characters of a value in a message."""


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


def now_and_then(what: str, before: Any, now: Any) -> str:
    """How an option differs between two runs, for a message; long values are cut."""
    return f"{what} {str(before)[:_SHOWN]}, now {str(now)[:_SHOWN]}"
