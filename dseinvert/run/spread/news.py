"""What the processes that one has started tell it, a JSON line each."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from queue import Queue
from typing import Any

News = tuple[int, dict[str, Any]]
"""The number of who tells, and what."""


def listen(number: int, process: subprocess.Popen[bytes], news: Queue[News]) -> None:
    """Pass on each line of its stdout, and at last how the process ended: {"gone": code}."""
    assert process.stdout is not None
    for line in process.stdout:
        with suppress(ValueError):  # cut short by its death
            news.put((number, json.loads(line)))
    news.put((number, {"gone": process.wait()}))
