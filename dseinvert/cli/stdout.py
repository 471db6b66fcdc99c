"""Keeping stdout for results: whatever else is printed, by us or a library, goes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from dseinvert.names import printable


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Inside, file descriptor 1 and Python's print go to stderr, so C libraries do as well."""
    try:
        kept = os.dup(1)
        sys.stdout.flush()
        os.dup2(2, 1)
    except (OSError, AttributeError):  # started without a stdout or stderr
        yield
        return
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def say(line: str, *, error: bool = False) -> None:
    """The one door to a terminal: a line on stdout, or with `error` on stderr.

    What cannot be printed, and what a terminal would obey, is shown as an escape: \\x1b.
    """
    print(printable(line), file=sys.stderr if error else None)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2))
