"""What hands out the work of a cluster ends, and the process that the user started says so."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.forked import Forked
from tests.run.spread.test_shards import OPTIONS

Run = Callable[..., int]


def program(path: Path, text: str) -> str:
    """A program that is run in place of Python."""
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import os; os._exit(1)", 5, "its node on this machine is lost"),
        ("import os; os.kill(os.getpid(), 9)", 5, "died of SIGKILL"),
        ("print('{\"cut short')", 5, "its node on this machine is lost"),
        ('print(\'{"error": ["no such thing", "look", 4]}\')', 4, "no such thing (look)"),
    ],
)
def test_a_death_without_a_word_is_one_line(
    text: str,
    code: int,
    said: str,
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path / "python", text))
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--engine", "ray")
    assert dse(*words) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert code != 5 or "the same command goes on where it stopped" in line


def test_what_it_tells_is_passed_on(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [
        *({"begin": "inverting", "total": 2}, {"note": "well"}, {"advance": 1}),
        *({"problem": "a.png: is no picture"}, {"advance": 1}, {"end": 1}),
    ]
    lines = "\n".join(json.dumps(one) for one in told)
    text = f"import sys; sys.stdin.buffer.read(9); print({lines!r})"
    monkeypatch.setattr(sys, "executable", program(tmp_path / "python", text))
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--engine", "ray")
    assert dse(*words) == 1
    assert capsys.readouterr().err.splitlines() == ["dseinvert: a.png: is no picture"]


def test_it_ends_with_the_process_that_started_it(
    dse_process: Callable[..., Forked], pictures: Path, tmp_path: Path
) -> None:
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--engine", "ray")
    process = dse_process(*words)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not tell of children")
    while process.poll() is None and not (found := children.read_text().split()):
        time.sleep(0.01)
    other = Path(f"/proc/{found[0]}/stat")
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(600):
        if not other.exists() or other.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("it still runs")
