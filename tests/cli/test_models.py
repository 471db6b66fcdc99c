from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., int]


def test_list_can_be_read_by_programs(dse: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert dse("models", "list", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert all({"name", "folder", "description", "bytes"} == set(row) for row in rows)


def test_list_has_one_line_a_model(dse: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert dse("models", "list", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert dse("models", "list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]


def test_show_describes_a_folder(
    dse: Run, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "show", tiny_model, "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["name"] == "tiny"
    assert set(told["directions"]) == {"age", "smile"}
    assert dse("models", "show", tiny_model) == 0
    assert "age: one deviation" in capfd.readouterr().out
