from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.cli import main as cli
from dseinvert.cli.main import run
from dseinvert.errors import DeviceError, InputError, MissingError, OutputError

ROOT = Path(__file__).parents[2]
Run = Callable[..., int]
CODE = "from dseinvert.cli.main import main; main()"


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_help_names_the_verbs(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capfd.readouterr().out
    assert all(f"\n  {verb} " in told for verb in ("images", "edit", "train", "models"))


def test_no_verb_is_a_usage_error_with_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    told = capfd.readouterr()
    assert not told.out
    assert "Commands:" in told.err


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("dseinvert ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["paint"],
        ["images"],
        ["images", "a.jpg"],
        ["images", "a.jpg", "--out"],
        ["images", "a.jpg", "--out", "o", "--frobnicate"],
        ["images", "a.jpg", "--out", "o", "--batch", "0"],
        ["images", "a.jpg", "--out", "o", "--batch", "-3"],
        ["images", "a.jpg", "--out", "o", "--batch", "many"],
        ["images", "a.jpg", "--out", "o", "--device", "tpu"],
        ["models", "show", "no-such-model"],
        ["edit"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: list[str],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    told = capfd.readouterr()
    assert not told.out
    assert len(told.err.splitlines()) == 1
    assert told.err.startswith("dseinvert: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.jpg: is empty", "copy it again"), 1),
        (MissingError("gone"), 4),
        (DeviceError("no memory"), 5),
        (OutputError("full"), 6),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 5),
        (ValueError("two\nlines"), 1),
    ],
)
def test_every_error_ends_in_its_exit_code_and_at_most_one_line(
    error: BaseException,
    code: int,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "program", lambda: broken)
    assert run(["models", "list"]) == code
    told = capfd.readouterr().err
    assert len(told.splitlines()) <= 1
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sample", "--seeds", "0-3", "--out", "drawn", "--model", "none-such"], 2),
        (["directions", "list", "--model", "none-such"], 2),
        (["models", "verify", "none-such"], 2),
        (["images", "gone", "--out", "latents"], 3),
        (["images"], 2),
    ],
)
def test_with_json_an_error_is_json_on_stdout_too(
    arguments: list[str],
    code: int,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*arguments, "--json"]) == code
    told = capfd.readouterr()
    line = told.err.splitlines()[-1].removeprefix("dseinvert: ")
    assert json.loads(told.out) == {"exit_code": code, "error": line}


def test_a_bug_shows_its_traceback_when_asked(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "program", lambda: 1 // 0)
    assert run(["images", "-v"]) == 1
    told = capfd.readouterr().err
    assert "Traceback" in told
    assert "this is a bug" in told


def test_a_reader_that_goes_away_causes_no_noise() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", CODE, "--help"]
    ended = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert ended.stderr == ""


def test_file_names_that_are_no_text_are_told_of_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg")
    ended = process(
        "images", name, "--out", str(tmp_path / "out"), env={**os.environ, "LC_ALL": "C"}
    )
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr


def test_a_file_that_a_star_makes_an_option_is_told(
    dse: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-a.safetensors").write_bytes(b"")
    assert dse("edit", "-a.safetensors", "b.safetensors", "--out", "out") == 2
    assert "-a.safetensors is a file: write ./-a.safetensors" in capfd.readouterr().err
