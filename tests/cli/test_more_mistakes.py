"""Mistakes about paths: of other shells and systems, and of what is no file at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.cli.main import run

Typed = Callable[..., str]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """What is said, after `dseinvert: `, and that nothing was left behind."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg"):
        Path(name).write_bytes(b"\xff\xd8\xff")
    Path("gone-link").symlink_to("gone")
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    before = {*tmp_path.rglob("*")}

    def call(code: int, *words: str) -> str:
        assert run([*words]) == code
        assert {*tmp_path.rglob("*")} == before
        (line,) = capfd.readouterr().err.splitlines()
        return line.removeprefix("dseinvert: ")

    return call


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (r"photos\a.jpg", r"photos\a.jpg: no such file or directory (did you mean photos/a.jpg?)"),
        ("~/a.jpg", "no such file or directory (a shell makes a folder of ~ where it stands"),
        (" photo.jpg", "' photo.jpg': no such file or directory (did you mean photo.jpg?)"),
        ("gone-link", "gone-link: a link to what is not there ("),
        ("loop", "loop: a link to what is not there ("),
        (r"C:\Users\me\a.jpg", r"C:\Users\me\a.jpg: no such file or directory ("),
    ],
)
def test_a_path_of_another_kind_is_told_as_what_it_is(path: str, said: str, typed: Typed) -> None:
    assert said in typed(3, "images", path, "--out", "new")


@pytest.mark.parametrize("option", ["--identity", "--person"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("pipe", "pipe: is no regular file (a pipe or a device)"),
        ("gone-link", "gone-link: a link to what is not there"),
        ("photos", "photos: is a folder"),
        ("phto.jpg", "phto.jpg: no such file (did you mean photo.jpg?)"),
    ],
)
def test_what_is_no_file_is_never_suggested_for_itself(
    option: str, path: str, said: str, typed: Typed
) -> None:
    assert typed(2, "images", "photo.jpg", "--out", "new", option, path) == f"{option} {said}"


def test_a_mask_that_is_a_pipe_is_one(typed: Typed) -> None:
    said = typed(2, "images", "photo.jpg", "--out", "new", "--edit", "age=1", "--mask", "pipe")
    assert said.startswith("--mask pipe: is no regular file")


def test_an_option_that_lacks_a_dash_is_known(typed: Typed) -> None:
    said = typed(2, "images", "photo.jpg", "-out", "new")
    assert said == "images has no -o (did you mean --out? see dseinvert images --help)"


def test_a_host_that_is_not_here_is_no_matter_of_the_port(typed: Typed) -> None:
    pytest.importorskip("uvicorn")
    said = typed(2, "ui", "--host", "256.1.1.1", "--no-open")
    assert said.startswith("--host 256.1.1.1: no address of this machine (127.0.0.1")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("pipe", "no images found: pipe: is no regular file (a pipe or a device)"),
        ("[", "no images found: [: matches no file"),
        ("*.nothing", "no images found: *.nothing: matches no file"),
    ],
)
@pytest.mark.parametrize("verb", ["images", "evaluate"])
def test_one_thing_that_is_no_picture_is_one_line(
    verb: str, path: str, said: str, typed: Typed
) -> None:
    assert typed(3, verb, path, "--out", "new").startswith(said)


@pytest.mark.parametrize("verb", ["status", "report"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("photo.jpg", "photo.jpg: is a file, no folder"),
        ("pipe", "pipe: is no regular file (a pipe or a device)"),
        ("gone-link", "gone-link: a link to what is not there"),
        ("gone", "gone: no such folder"),
    ],
)
def test_what_is_no_folder_of_a_run_is_told_as_what_it_is(
    verb: str, path: str, said: str, typed: Typed
) -> None:
    assert typed(3, verb, path) == f"{said} (name the --out of a run)"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("photo.jpg", "photo.jpg: is no set of pictures (name a folder, zip, tar"),
        ("pipe", "pipe: is no regular file (a pipe or a device) (name a folder"),
    ],
)
def test_real_pictures_of_a_training_are_looked_at_before_its_networks(
    path: str, said: str, typed: Typed
) -> None:
    words = ("--gan", "default", "--perceptual", "lpips", "--out", "new")
    assert typed(2, "train", *words, "--real", path).startswith(f"--real {said}")
