"""A small file takes neither the memory nor the time of the machine: it is refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import bombs_of_many
from tests.faults.bombs import MB

ROOT = Path(__file__).parents[2]
HARMLESS = {
    *bombs_of_many.HARMLESS,
    *("table: rows", "table: records", "table: intent", "table: intent of lists", "table: a clip"),
    *("table: journal of nothing", "table: journal of ends", "table: journal of one line"),
    "table: deep journal",
}
"""What is read, or passed over as are lines of a crash: no run ends for it."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each bomb took, in a process that reads them all."""
    place = tmp_path_factory.mktemp("bombs")
    words = [sys.executable, "-m", "tests.faults.bombs", str(place)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kind_of_file_has_its_bombs(told: list[dict[str, Any]]) -> None:
    kinds = [one["name"].split(":")[0] for one in told]
    own = {"checkpoint", "latent", "card", "table", "tar"}
    assert {*kinds} == {*own, "set", "share", "options", "unfinished"}
    assert min(map(kinds.count, kinds)) >= 5 and len(told) > 120
    assert all(one["size"] < 10 * MB for one in told)


def test_no_small_file_takes_much_memory(told: list[dict[str, Any]]) -> None:
    over = [one for one in told if one["bytes"] > max(300 * MB, 20 * one["size"])]
    assert over == []


def test_no_small_file_takes_much_time(told: list[dict[str, Any]]) -> None:
    assert [one for one in told if one["seconds"] > 10] == []


def test_a_bomb_is_refused_in_a_line_that_names_its_file(told: list[dict[str, Any]]) -> None:
    for one in told:
        if one["name"] in HARMLESS:
            assert (one["code"], one["said"]) == (0, ""), one
            continue
        (line,) = one["said"].splitlines()
        assert one["code"] in (1, 2, 4), one
        assert "/a." in line or "/model.json" in line or "/times.csv" in line, one
        assert "a bug" not in line and line.isprintable() and len(line) < 1000, one
