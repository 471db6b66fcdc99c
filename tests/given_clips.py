"""Clips that were found to come out wrong, where DSEINVERT_CLIPS names the folder of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def given(name: str) -> Path:
    """One of the clips; skips the test where it is not here."""
    path = Path(os.environ.get("DSEINVERT_CLIPS", "")) / name
    if not os.environ.get("DSEINVERT_CLIPS") or not path.exists():
        pytest.skip("DSEINVERT_CLIPS names no folder of given clips")
    return path
