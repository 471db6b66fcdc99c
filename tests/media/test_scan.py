from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dseinvert.media.scan import Scan, scan

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)


def fill(folder: Path, *names: str, data: bytes = PNG) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def names(found: Scan) -> list[str]:
    return [path.name for path in found.files]


def reasons(found: Scan) -> list[str]:
    return [problem.reason for problem in found.problems]


@pytest.fixture
def mortal() -> Iterator[None]:
    """For whom permissions count: root reads everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    fill(tmp_path, "img10.png", "img2.png", "IMG1.png", "b/1.png", "a/2.png")
    assert [str(path.relative_to(tmp_path)) for path in scan([str(tmp_path)]).files] == [
        "a/2.png",
        "b/1.png",
        "IMG1.png",
        "img2.png",
        "img10.png",
    ]


def test_the_order_does_not_depend_on_the_arguments_order(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png", "10.png")
    paths = [str(path) for path in tmp_path.iterdir()]
    assert scan(paths) == scan(paths[::-1])


def test_in_a_folder_the_suffix_or_the_content_decides(tmp_path: Path) -> None:
    fill(tmp_path, "a.JPG", "empty.png", data=b"")
    fill(tmp_path, "noextension", "odd.download")
    fill(tmp_path, "notes.txt", "script", data=b"words")
    fill(tmp_path, "photo.dng", data=b"II*\0" + bytes(32))
    found = scan([str(tmp_path)])
    assert names(found) == ["a.JPG", "empty.png", "noextension", "odd.download"]
    assert found.ignored == 3
    assert found.problems == ()


def test_hidden_temporary_and_litter_files_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, ".hidden.png", ".a.png.dse-part", "Thumbs.db", ".git/x.png", "a.png")
    assert names(scan([str(tmp_path)])) == ["a.png"]
    assert names(scan([f"{tmp_path}/*"])) == ["a.png"]
    assert names(scan([f"{tmp_path}/**/*.png"])) == ["a.png"]


def test_a_named_file_is_always_taken(tmp_path: Path) -> None:
    fill(tmp_path, "notes.txt", ".hidden", "Thumbs.db", data=b"words")
    found = scan([str(path) for path in tmp_path.iterdir()])
    assert sorted(names(found)) == [".hidden", "Thumbs.db", "notes.txt"]


def test_folders_are_entered_only_if_wished(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "deep/er/b.png")
    assert sorted(names(scan([str(tmp_path)]))) == ["a.png", "b.png"]
    assert names(scan([str(tmp_path)], recursive=False)) == ["a.png"]


def test_globs_mean_what_they_mean_to_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a1.png", "a2.png", "b.png", "sub/c.png")
    fill(tmp_path, "sub/notes.txt", data=b"words")
    assert names(scan([f"{tmp_path}/a?.png"])) == ["a1.png", "a2.png"]
    assert names(scan([f"{tmp_path}/[ab]*.png"])) == ["a1.png", "a2.png", "b.png"]
    assert len(scan([f"{tmp_path}/**/*.png"]).files) == 4
    assert names(scan([f"{tmp_path}/su*"])) == ["c.png"]
    monkeypatch.chdir(tmp_path / "sub")
    assert names(scan(["*.png"])) == ["c.png"]
    assert names(scan(["../a*.png"])) == ["a1.png", "a2.png"]


def test_a_name_with_glob_characters_means_itself(tmp_path: Path) -> None:
    fill(tmp_path, "photo [1].png", "photo 1.png")
    assert names(scan([str(tmp_path / "photo [1].png")])) == ["photo [1].png"]


def test_a_file_reached_twice_is_taken_once(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "folder").symlink_to(".")
    found = scan([str(tmp_path), str(tmp_path / "a.png"), f"{tmp_path}/*.png"])
    assert names(found) == ["a.png"]


def test_loops_of_links_are_survived(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.png")
    for name in ("one", "two", "three"):
        (tmp_path / "a" / name).symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to("self.png")
    found = scan([str(tmp_path), f"{tmp_path}/**/*.png"])
    assert names(found) == ["x.png"]
    assert reasons(found) == ["too many levels of symbolic links"]


def test_what_is_named_and_missing_is_a_problem(tmp_path: Path) -> None:
    found = scan(["", f"{tmp_path}/none.png", f"{tmp_path}/*.png", f"{tmp_path}/a**b", "nul\0"])
    assert found.files == ()
    assert reasons(found)[:2] == ["the name is empty", "no such file or directory"]
    assert reasons(found)[2:4] == ["matches no file", "matches no file"]
    assert "embedded null" in reasons(found)[4]


def test_pipes_sockets_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
    found = scan([str(tmp_path), str(tmp_path / "pipe"), "/dev/zero"])
    assert found.files == ()
    assert reasons(found) == ["is not a regular file"] * 4
    assert {problem.path.name for problem in found.problems} == {
        "pipe",
        "pipe.png",
        "socket.png",
        "zero",
    }


def test_a_dangling_link_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    assert reasons(scan([str(tmp_path)])) == ["no such file or directory"]


def test_an_unreadable_folder_is_a_problem_and_the_rest_is_found(mortal: None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, "a.png", "closed/b.png", "blind/c.png")
        (folder / "closed").chmod(0)
        (folder / "blind").chmod(0o600)  # its names can be read, its files cannot be asked about
        try:
            found = scan([name, str(folder / "closed" / "b.png")])
        finally:
            (folder / "closed").chmod(0o700)
            (folder / "blind").chmod(0o700)
    assert names(found) == ["a.png"]
    assert reasons(found) == ["permission denied"] * 3
    assert {problem.path.name for problem in found.problems} == {"closed", "b.png", "c.png"}


def test_any_bytes_may_be_a_name(tmp_path: Path) -> None:
    fill(tmp_path, os.fsdecode(b"\xff\xfe.png"), "²³.png", "新しい.png", "a\nb.png")
    assert len(scan([str(tmp_path)]).files) == 4


def test_another_room_may_want_other_files(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a.safetensors")
    found = scan([str(tmp_path)], wanted=lambda path: path.suffix == ".safetensors")
    assert names(found) == ["a.safetensors"]
