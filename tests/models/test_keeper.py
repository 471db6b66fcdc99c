"""Who keeps `auto` edits: asked for by the edits as they are parsed, and opened before they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dseinvert.editing.grammar import asks_auto
from dseinvert.errors import MissingError, UsageError
from dseinvert.models import open_model
from dseinvert.models.keeper import open_keeper


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("age=auto", True),
        ("age = auto+", True),
        ("smile=1,age=auto-@0-3", True),
        ("age=autox", True),
        ("age=2", False),
        ("auto=2", False),
        ("auto", False),
        ("age=-auto", False),
    ],
)
def test_an_edit_asks_for_auto_by_its_strength_alone(text: str, asks: bool) -> None:
    assert asks_auto(text) is asks


def test_a_wrong_floor_or_network_is_told_before_a_wrong_direction(tiny_model: Path) -> None:
    model, none = open_model(str(tiny_model)), Path("none")
    with pytest.raises(UsageError, match="--identity-floor 2"):
        open_keeper(["beauty=auto"], none, 2, model)
    with pytest.raises(MissingError):
        open_keeper(["beauty=1", "age=auto"], none, 0.5, model)
    assert open_keeper(["beauty=1"], none, 2, model) is None
