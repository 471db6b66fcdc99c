"""A download goes on where it was cut, and a file that is not the expected one is never kept."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.models.download import TRIES, download

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()


def quiet(here: int, whole: int) -> None: ...


@pytest.fixture
def target(tmp_path: Path, server: Any) -> Path:
    server.files["/f.pkl"] = DATA
    return tmp_path / "downloads" / "f.pkl"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_it_arrives_whole_and_alone(server: Any, target: Path) -> None:
    told: list[tuple[int, int]] = []
    found = download(server.url + "/f.pkl", target, told=lambda *n: told.append(n))
    assert found == SHA256 and target.read_bytes() == DATA
    assert left(target) == ["f.pkl"]
    assert told[-1] == (len(DATA), len(DATA)) and told == sorted(told)


@pytest.mark.parametrize("sha256", ["", SHA256])
def test_a_cut_connection_is_continued(server: Any, target: Path, sha256: str) -> None:
    server.cuts = [300_000, 400_000]
    assert download(server.url + "/f.pkl", target, sha256=sha256, told=quiet) == SHA256
    assert [asked for _, asked in server.requests] == ["", "bytes=300000-", "bytes=700000-"]
    assert target.read_bytes() == DATA


def test_another_process_continues_what_one_left(server: Any, target: Path) -> None:
    server.cuts = [500_000] + [0] * TRIES
    with pytest.raises(MissingError, match="goes on where it was"):
        download(server.url + "/f.pkl", target, told=quiet)
    assert not target.exists() and ".f.pkl.dse-part" in left(target)
    server.requests.clear()
    download(server.url + "/f.pkl", target, told=quiet)
    assert server.requests == [("/f.pkl", "bytes=500000-")]
    assert target.read_bytes() == DATA and left(target) == ["f.pkl"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Any, target: Path) -> None:
    server.cuts = [500_000] + [0] * TRIES
    with pytest.raises(MissingError):
        download(server.url + "/f.pkl", target, told=quiet)
    server.etag, server.files["/f.pkl"] = '"two"', DATA[::-1]
    download(server.url + "/f.pkl", target, told=quiet)
    assert target.read_bytes() == DATA[::-1]


def test_without_a_mark_or_a_sum_nothing_is_continued(server: Any, target: Path) -> None:
    server.etag, server.cuts = "", [500_000]
    download(server.url + "/f.pkl", target, told=quiet)
    assert [asked for _, asked in server.requests] == ["", ""]
    assert target.read_bytes() == DATA


def test_a_server_without_ranges_sends_all_again(server: Any, target: Path) -> None:
    server.ranges, server.cuts = False, [500_000]
    assert download(server.url + "/f.pkl", target, sha256=SHA256, told=quiet) == SHA256


def test_a_part_that_is_whole_already_is_not_fetched_again(server: Any, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / ".f.pkl.dse-part").write_bytes(DATA)
    download(server.url + "/f.pkl", target, sha256=SHA256, told=quiet)
    assert target.read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [f"bytes={len(DATA)}-"]


def test_a_part_that_is_too_long_is_thrown_away(server: Any, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / ".f.pkl.dse-part").write_bytes(DATA + b"more")
    assert download(server.url + "/f.pkl", target, sha256=SHA256, told=quiet) == SHA256


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 12}])
def test_another_file_is_deleted(server: Any, target: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(MissingError, match="expected"):
        download(server.url + "/f.pkl", target, told=quiet, **wrong)
    assert not target.exists()
    if "sha256" in wrong:
        assert ".f.pkl.dse-part" not in left(target)


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, TRIES)])
def test_a_server_that_refuses_is_told(
    server: Any, target: Path, status: int, requests: int
) -> None:
    server.status = status
    with pytest.raises(MissingError, match=str(status)):
        download(server.url + "/f.pkl", target, told=quiet)
    assert len(server.requests) == requests


def test_nobody_there_is_told(server: Any, target: Path) -> None:
    with pytest.raises(MissingError, match="models add"):
        download("http://127.0.0.1:9/f.pkl", target, told=quiet)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/f", "data:,x", "/etc"])
def test_only_http_is_downloaded_from(target: Path, url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        download(url, target, told=quiet)


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/f"])
def test_nor_led_elsewhere(server: Any, target: Path, to: str) -> None:
    server.redirect = to
    with pytest.raises(MissingError):
        download(server.url + "/f.pkl", target, told=quiet)
    assert not target.exists()


def test_two_downloads_of_one_file_do_not_mix(server: Any, target: Path) -> None:
    pytest.importorskip("fcntl")
    inside, go_on = threading.Event(), threading.Event()

    def wait(here: int, whole: int) -> None:
        inside.set()
        go_on.wait(10)

    first = threading.Thread(
        target=download, args=(server.url + "/f.pkl", target), kwargs={"told": wait}
    )
    first.start()
    assert inside.wait(10)
    try:
        with pytest.raises(MissingError, match="another process"):
            download(server.url + "/f.pkl", target, told=quiet)
    finally:
        go_on.set()
        first.join()
    assert target.read_bytes() == DATA


def test_a_folder_that_cannot_be_made_is_an_output_error(server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        download(server.url + "/f.pkl", tmp_path / "file" / "f.pkl", told=quiet)
