"""The page's server as a stranger meets it: other sites, other people, hostile uploads."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

for needed in ("starlette", "uvicorn"):
    pytest.importorskip(needed)
import uvicorn  # noqa: E402

from dseinvert.ui import guard  # noqa: E402
from dseinvert.ui.given import dropped, placed  # noqa: E402
from dseinvert.ui.server import app_of, bound  # noqa: E402
from dseinvert.ui.session import Sessions, _inside  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

FACE = (ROOT / "examples" / "faces" / "group.jpg").read_bytes()
Answer = tuple[int, Any, dict[str, str]]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = bound("127.0.0.1", 0)
    app = app_of("default", guard.names_here("127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(30)


def ask(
    port: int, method: str, path: str, body: bytes = b"", cookie: str = "", **headers: str
) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if cookie:
        named["Cookie"] = cookie
    connection.request(method, path, body, named)
    response = connection.getresponse()
    data = response.read()
    kind = response.getheader("Content-Type", "")
    told = json.loads(data) if kind.startswith("application/json") else data
    return response.status, told, {k.lower(): v for k, v in response.getheaders()}


def begin(port: int) -> str:
    """A session's cookie."""
    return ask(port, "GET", "/")[2]["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.7", ""])
def test_another_name_for_this_machine_is_refused(port: int, host: str) -> None:
    for method, path in (("GET", "/"), ("POST", "/api/jobs"), ("GET", "/out/a/b")):
        status, told, headers = ask(port, method, path, Host=host)
        assert status in (400, 403) and "set-cookie" not in headers, told


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:3000"]
)
def test_a_page_of_another_origin_changes_nothing(port: int, origin: str) -> None:
    mine = begin(port)
    for method, path in (("POST", "/api/jobs"), ("PUT", "/drop/photo?name=a.jpg")):
        status, _, _ = ask(port, method, path, b"{}", mine, Origin=origin)
        assert status == 403
    own = f"http://127.0.0.1:{port}"
    assert ask(port, "POST", "/api/jobs", b"{}", mine, Origin=own)[0] == 200
    assert ask(port, "POST", "/api/jobs", b"{}", mine)[0] == 200


def test_a_picture_in_another_site_begins_no_session(port: int) -> None:
    elsewhere = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    for kind in ("image", "iframe", "script", "empty"):
        status, _, headers = ask(port, "GET", "/", Sec_Fetch_Dest=kind, **elsewhere)
        assert status == 403 and "set-cookie" not in headers
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(port, "GET", "/", Sec_Fetch_Dest="document", **followed)[0] == 200


def test_a_session_in_use_outlives_those_who_only_open_the_page() -> None:
    sessions = Sessions("default")
    mine = sessions.begin()
    used = sessions.get(mine)
    assert used is not None
    used.photo("group.jpg", FACE)
    for _ in range(40):
        sessions.begin()
    assert sessions.get(mine) is used
    sessions.end()


def test_two_sessions_do_not_reach_each_others_pictures(port: int) -> None:
    mine, other = begin(port), begin(port)
    told = ask(port, "PUT", "/drop/photo?name=group.jpg", FACE, mine)[1]
    asked = json.dumps({"photo": told["id"], "faces": [0]}).encode()
    assert ask(port, "POST", "/api/draw", asked, mine)[0] == 200
    assert ask(port, "POST", "/api/draw", asked, other)[0] == 422
    assert ask(port, "POST", "/api/draw", asked)[0] == 422
    assert ask(port, "POST", "/api/state", b"{}", other)[1]["photos"] == []


HOSTILE = (
    *("%00.jpg", "a%0ab.jpg", "%1b%5b2J.jpg", "..%2f..%2fetc%2fpasswd", "x" * 5000, "%ff%fe.jpg"),
    *("-rf.jpg", "@list.jpg", "%E2%80%AEgpj.exe", "", "/", "...", "%22%3E%3Cscript%3E.jpg"),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_name(port: int, name: str) -> None:
    mine = begin(port)
    status, told, _ = ask(port, "PUT", f"/drop/photo?name={name}", FACE, mine)
    assert status == 200
    shown = told["name"].removeprefix("./")
    assert shown.isprintable() and "/" not in shown and told["name"][:1] not in ("-", "@")
    status, told, _ = ask(port, "PUT", f"/drop/clip?name={name}", b"no clip", mine)
    assert status == 422 and "a bug" not in told["error"] and len(told["error"]) < 600, told
    for action in ("save", "latent"):
        key = ask(port, "POST", "/api/state", b"{}", mine)[1]["photos"][0]["id"]
        asked = json.dumps({"photo": key, "faces": [0]}).encode()
        assert ask(port, "POST", f"/api/{action}", asked, mine)[0] == 200


def test_a_dropped_clip_that_is_none_is_named_without_its_place(port: int) -> None:
    told = ask(port, "PUT", "/drop/clip?name=holiday.mp4", b"no clip", begin(port))[1]
    assert told["error"].startswith("holiday.mp4: is not a video"), told


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"no", "holiday.jpg: is "), (b"\0\0\0\x18ftypmp42", "holiday.jpg: is a video (open it as")],
)
def test_a_dropped_photo_that_is_none_is_named(port: int, data: bytes, said: str) -> None:
    status, told, _ = ask(port, "PUT", "/drop/photo?name=holiday.jpg", data, begin(port))
    assert status == 422 and told["error"].startswith(said), told


def test_what_is_no_clip_does_not_stay_on_the_disk(tmp_path: Path) -> None:
    sessions = Sessions("default")
    session = sessions.get(sessions.begin())
    assert session is not None
    file = session.place("a.mp4")
    file.write_bytes(b"no clip")
    with pytest.raises(Exception, match=r"a\.mp4"):
        session.dropped_clip(file)
    assert not file.exists()
    sessions.end()


BODIES = (
    *(b"[" * 100_000, b"{", b"[]", b"1", b"\xff", b'{"a":' * 3000, b"9" * 5000),
    *(b'{"photo": 1}', b'{"photo": "x", "faces": 1}', b'{"model": "\\u0000"}', b'{"time": 1e400}'),
    b'{"path": "\\u0000", "folder": "\\u0000", "out": "\\u0000", "name": "\\u001b[2J"}',
    b'{"path": "/dev/zero", "folder": "/dev/zero", "out": "/dev/null/a", "model": "../../x"}',
    b'{"rows": [1], "edits": [1], "out": "", "folder": "x", "second": [], "direction": "../a"}',
    b'{"rows": [{"edits": "x"}, {"edits": 5}], "out": "relative", "start": "a", "end": -5}',
    b'{"edits": {"age": 1e300}, "folder": 7, "count": 1e300, "method": "sefa", "copy": "../x"}',
)
ACTIONS = (
    *("state", "draw", "latent", "save", "morph", "clip", "people", "frame", "preview"),
    *("settings", "export", "batch", "batch-lines", "jobs", "stop", "go-on", "models"),
    *("use-model", "add-model", "learn", "direction", "none", "__class__"),
)


@pytest.mark.parametrize("action", ACTIONS)
def test_no_body_of_an_action_is_a_bug(
    port: int, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSEINVERT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    mine = begin(port)
    for body in BODIES:
        status, told, _ = ask(port, "POST", f"/api/{action}", body, mine)
        assert status in (200, 404, 422), (body, told)
        said = told.get("error", "") if isinstance(told, dict) else ""
        assert "a bug" not in said and len(said) < 1000 and said.isprintable(), (body, told)
    assert {*tmp_path.iterdir()} <= {tmp_path / "home"}


def test_more_than_an_action_takes_is_refused(port: int) -> None:
    status, told, _ = ask(port, "POST", "/api/state", b" " * (2 << 20), begin(port))
    assert status == 422 and "1 MB" in told["error"]


def test_one_face_asked_for_again_and_again_is_drawn_once(port: int) -> None:
    mine = begin(port)
    key = ask(port, "PUT", "/drop/photo?name=g.jpg", FACE, mine)[1]["id"]
    once, often = (
        ask(port, "POST", "/api/draw", json.dumps({"photo": key, "faces": f}).encode(), mine)[1]
        for f in ([0], [0] * 100_000)
    )
    assert once["before"] == often["before"]


def test_an_output_folder_serves_what_runs_write_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".ssh").mkdir(parents=True)
    secret = tmp_path / "secret.png"
    for file in (out / "a.png", out / "id_rsa", out / ".ssh" / "a.png", out / ".env", secret):
        file.write_bytes(b"a")
    (out / "link.png").symlink_to(secret)
    assert _inside(out, "a.png") == out / "a.png"
    refused = ("id_rsa", ".ssh/a.png", ".env", "link.png", "../secret.png", str(secret), "\0", "")
    assert [_inside(out, name) for name in (*refused, "a" * 5000)] == [None] * 9


@pytest.mark.parametrize(
    ("host", "known"),
    [
        *(("192.168.1.7:7860", True), ("[fe80::1]:7860", True), ("server.lan:7860", True)),
        *(("server:7860", True), ("localhost", True), ("proxy.example", True)),
        *(("evil.example:7860", False), ("192.168.1.7.evil.example", False), ("", False)),
    ],
)
def test_a_page_for_the_network_answers_to_its_own_names(host: str, known: bool) -> None:
    names = [*guard.names_here("0.0.0.0"), "proxy.example"]
    assert guard.may_ask("GET", {"host": host}, names) is known
    assert guard.may_ask("GET", {"host": host}, ["*"])


def test_a_dropped_name_keeps_what_a_file_may_be_called() -> None:
    for name in ("a b.jpg", "photo [1].jpg", "Zoë.png", "it's.jpg", 'a"b.jpg'):
        assert dropped(name) == name
    assert placed('a"b.mp4') == "a_b.mp4" and placed("-x.mp4") == "x.mp4"
