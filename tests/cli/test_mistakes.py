"""docs/mistakes.md: every row is typed here, and says what the table says, before torch is there.

`python tests/cli/test_mistakes.py` writes the table anew from what is said now; with `--seconds` it
prints instead what each row costs: seconds of a core, of a process of its own.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from dseinvert.cli.main import run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mistakes.md"
_ROW = re.compile(r"^\| `(dseinvert .*?)` \| (.*) \| (\d+) \|$", re.M)
CHILD = """
import contextlib, io, json, shlex, sys
from dseinvert.cli.main import run

told = []
for line in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(shlex.split(line)[1:])
    told.append([err.getvalue(), out.getvalue(), code])
print(json.dumps([told, "torch" in sys.modules]))
"""


def rows() -> list[tuple[str, str, int]]:
    """What is typed, what is said, and the exit code."""
    found = _ROW.findall(PAGE.read_text("utf-8"))
    return [(line, html.unescape(said), int(code)) for line, said, code in found]


def place(folder: Path) -> Path:
    """A folder with all that the table names."""
    for name in ("photos", "empty", "latents", "old", "clips"):
        (folder / name).mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "clip.mp4", "clips/a.mov", "latents/a.safetensors"):
        (folder / name).write_bytes(b"it is not opened")
    (folder / "old" / "journal.jsonl").write_bytes(b'{"format":"dseinvert-journal-1"}\n')
    (folder / "old" / "a.input.png").write_bytes(b"a crop")
    return folder


def around(folder: Path) -> dict[str, str]:
    """The environment in which the table is typed."""
    own = {"PYTHONPATH": str(ROOT), "DSEINVERT_HOME": str(folder / ".home")}
    return {**os.environ, **own, "CUDA_VISIBLE_DEVICES": ""}


def core_seconds(line: str, folder: Path) -> float:
    """What the process of a command takes of a core, however busy the machine is."""
    words = [sys.executable, "-m", "dseinvert", *shlex.split(line)[1:]]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, cwd=folder, env=around(folder), **silent)
    used = os.wait4(process.pid, 0)[2]
    return used.ru_utime + used.ru_stime


def print_seconds(lines: list[str], folder: Path) -> None:
    """What each line takes, then the median and the most."""
    taken = [core_seconds(line, folder) for line in lines]
    for seconds, line in zip(taken, lines, strict=True):
        print(f"{seconds:6.2f}  {line}")
    print(f"median {statistics.median(taken):.2f} s, at most {max(taken):.2f} s of a core")


def typed(lines: list[str], folder: Path) -> tuple[list[tuple[str, str, int]], bool]:
    """What is said on stderr and stdout with the exit code of each; whether torch was loaded."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=around(folder),
    )
    told, heavy = json.loads(ended.stdout)
    return [tuple(one) for one in told], heavy


def test_every_mistake_is_told_as_the_page_says_without_loading_torch(tmp_path: Path) -> None:
    table = rows()
    assert len(table) >= 40
    before = sorted(place(tmp_path).rglob("*"))
    told, heavy = typed([line for line, _, _ in table], tmp_path)
    for (line, said, code), (err, out, ended) in zip(table, told, strict=True):
        assert (err, out, ended) == (f"dseinvert: {said}\n", "", code), line
    assert not heavy
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


ORDER = "dseinvert images {paths} --out new --edit {edit} --model {model}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"edit": "age:2", "paths": "gone.jpg", "model": "gone"}, "NAME=STRENGTH"),
        ({"edit": "aeg=2", "paths": "gone.jpg", "model": "gone"}, "no images found"),
        ({"edit": "aeg=2", "paths": "photo.jpg", "model": "gone"}, "no model"),
        ({"edit": "aeg=2", "paths": "photo.jpg", "model": "default"}, "did you mean age?"),
    ],
)
def test_options_are_looked_at_first_then_paths_then_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, str], said: str, capsys
) -> None:  # type: ignore[no-untyped-def]
    from dseinvert.cli.main import run

    monkeypatch.chdir(place(tmp_path))
    assert run(shlex.split(ORDER.format(**words))[1:]) in (2, 3)
    assert said in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:  # type: ignore[no-untyped-def]
    from dseinvert.cli.main import run

    monkeypatch.chdir(place(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert run(["images", "photo.jpg", "--out", "new"]) == 6
    assert "new: cannot write: permission denied in " in capsys.readouterr().err


def test_names_of_a_wrong_kind_do_not_stop_those_of_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dseinvert.cli.inputs import IMAGES, check_inputs

    monkeypatch.chdir(place(tmp_path))
    check_inputs(["clip.mp4", "gone.jpg", "photo.jpg"], IMAGES)
    check_inputs(["*.jpg"], IMAGES)


@pytest.mark.parametrize("option", ["--mask", "--identity", "--log"])
def test_a_name_that_no_file_system_takes_is_told_in_a_line(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"")
    words = ["images", str(photo), "--out", str(tmp_path / "new"), "--edit", "age=1"]
    assert run([*words, option, "x" * 300]) == 2
    assert "file name too long" in capsys.readouterr().err


def write_page(lines: list[str], folder: Path) -> None:
    """The table of the page, with what is said now."""
    made = iter(typed(lines, folder)[0])

    def row(match: re.Match[str]) -> str:
        err, _, code = next(made)
        said = html.escape(err.strip().removeprefix("dseinvert: "), quote=False)
        return f"| `{match[1]}` | {said.replace('|', '&#124;')} | {code} |"

    PAGE.write_text(_ROW.sub(row, PAGE.read_text("utf-8")), "utf-8")


def test_a_mistake_takes_little_of_a_core(tmp_path: Path) -> None:
    place(tmp_path)
    taken = [core_seconds(line, tmp_path) for line, _, _ in rows()[::20]]
    assert max(taken) < 2, taken  # about 0.4 where nothing else shares its caches


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        shown = print_seconds if "--seconds" in sys.argv else write_page
        shown([line for line, _, _ in rows()], place(Path(name)))
