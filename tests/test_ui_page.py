"""The page in a browser: what it shows, what it sends, and what it says of what cannot be."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import av
import numpy as np
import pytest

from dseinvert.latent import Latent
from dseinvert.media.clip import probe
from dseinvert.media.images import encode_png, read_image
from tests.conftest import ROOT, child_environment
from tests.moving_face import clip

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
if CHROMIUM is None:
    pytest.skip("no chromium here", allow_module_level=True)
for needed in ("starlette", "uvicorn", "playwright"):
    pytest.importorskip(needed)
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

WAIT = 100_000
GROUP = ROOT / "examples" / "faces" / "group.jpg"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
expect.set_options(timeout=WAIT)


def served(
    *words: str, home: Path, before: Sequence[str] = ()
) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address; "" where it ended before it was up."""
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "dseinvert", "ui", "--no-open", *words],
        env={**child_environment(), "DSEINVERT_HOME": str(home), "TMPDIR": str(home)},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    return process, found[0] if found else line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    process, address = served("--port", "0", home=home)
    yield address
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert not [*home.glob("dseinvert-ui-*")], "a session's folder was left"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def source(home: Path) -> Path:
    return clip(home / "moving.mp4", 10, sound=True)


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """The page in a context of its own; no request may leave the machine, and no script fail."""
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    asked: list[str] = []
    failed: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: failed.append(str(error)))
    opened.goto(server)
    expect(opened.locator("#said")).to_contain_text("is ready")
    yield opened
    context.close()
    local = (server, "data:", "blob:")
    assert not [url for url in asked if not url.startswith(local)]
    assert not failed


def idle(page: Page) -> None:
    """Wait until nothing is asked for any more."""
    page.wait_for_selector('body[data-busy="0"]')


def drop_group(page: Page) -> None:
    page.set_input_files("#photo-file", GROUP)
    page.wait_for_selector("#photo-view[data-drawn]")
    idle(page)


def redrawn(page: Page, view: str, move: Any) -> str:
    """The picture after a move, once it is another one."""
    after = page.locator(f"#{view} img").nth(1)
    before = after.get_attribute("src") or ""
    move()
    expect(after).not_to_have_attribute("src", before)
    idle(page)
    return after.get_attribute("src") or ""


def slide(page: Page, name: str, key: str) -> None:
    """Move a slider from the keyboard."""
    page.locator(f"#{name}").press(key)


def open_clip(page: Page, path: Path) -> None:
    page.click("#tab-clip")
    page.fill("#clip-path", str(path))
    page.press("#clip-path", "Enter")


def test_two_faces_are_edited_wiped_mixed_and_saved(page: Page, tmp_path: Path) -> None:
    drop_group(page)
    assert page.locator("#faces label").count() == 3
    assert page.locator("#faces img").get_attribute("alt") == "group.jpg, its faces numbered"
    redrawn(page, "photo-view", lambda: page.check("text=Face 2"))
    for name, key in (("age", "End"), ("smile", "ArrowRight"), ("hair", "ArrowLeft")):
        redrawn(page, "photo-view", lambda n=name, k=key: slide(page, f"photo-sliders-{n}", k))
    lines = page.inner_text("#photo-lines")
    assert "--edit age=+3,hair=-0.1,smile=+0.1 --paste" in lines
    assert "for number in [0, 1]:" in lines

    wiped = page.locator("#photo-view input")
    cut = page.locator("#photo-view img").nth(1)
    each = "polygon({}% 0%, {}% 100%, 50% 100%, 50% 0%, {}% 0%, {}% 100%, 100% 100%, 100% 0%)"
    assert cut.evaluate("one => one.style.clipPath") == each.format(25, 25, 75, 75)
    wiped.press("Home")
    assert cut.evaluate("one => one.style.clipPath").endswith("0%)")
    assert cut.evaluate("one => one.style.clipPath") == each.format(0, 0, 50, 50)
    redrawn(page, "photo-view", lambda: page.check("text=whole photo"))
    size = page.locator("#photo-view img").nth(1).evaluate("one => one.naturalWidth")
    assert size == 1056

    with page.expect_download() as got:
        page.click("#photo-latent")
    got.value.save_as(tmp_path / "edited.safetensors")
    assert got.value.suggested_filename == "group.safetensors"
    assert Latent.load(tmp_path / "edited.safetensors").origin["generator"] == "faces-128"

    redrawn(page, "photo-view", lambda: page.select_option("#second", index=3))
    assert "dseinvert mix out/group.safetensors out/group-3.safetensors" in page.inner_text(
        "#photo-lines"
    )
    redrawn(page, "photo-view", lambda: page.select_option("#second-how", "morph"))
    page.click("#morph")
    idle(page)
    assert page.locator("#morph-picture").evaluate("async one => (await one.decode(), true)")


def test_a_double_click_and_a_button_take_a_slider_back(page: Page) -> None:
    drop_group(page)
    plain = page.locator("#photo-view img").nth(1).get_attribute("src")
    moved = redrawn(page, "photo-view", lambda: slide(page, "photo-sliders-age", "End"))
    assert moved != plain
    back = redrawn(page, "photo-view", lambda: page.click("[aria-label='age back to 0']"))
    assert back == plain
    redrawn(page, "photo-view", lambda: slide(page, "photo-sliders-age", "End"))
    back = redrawn(page, "photo-view", lambda: page.dblclick("#photo-sliders-age"))
    assert back == plain


def test_what_is_no_photo_is_told_and_the_next_one_is_taken(page: Page, tmp_path: Path) -> None:
    text, cut, grey = (tmp_path / name for name in ("notes.jpg", "cut.jpg", "grey.png"))
    text.write_text("dear diary")
    cut.write_bytes(GROUP.read_bytes()[:9000])
    shutil.copy(ROOT / "tests" / "assets" / "grey.jpg", grey)
    for file, said in ((text, "not"), (cut, "cut|damaged|truncated"), (grey, "no face found")):
        page.set_input_files("#photo-file", file)
        expect(page.locator("#said.wrong")).to_contain_text(re.compile(said))
        idle(page)
    drop_group(page)


def test_a_clip_gets_keys_a_preview_and_an_export_that_outlives_a_reload(
    page: Page, server: str, source: Path, home: Path
) -> None:
    there = {*home.iterdir()}
    open_clip(page, source)
    page.wait_for_selector("#clip-view[data-drawn]")
    idle(page)
    page.click("#people")
    expect(page.locator("#who img")).to_have_count(1)
    idle(page)
    page.check("#who input[value='1']")
    page.click("[aria-label='key of age here']")
    idle(page)
    page.locator("#time").press("End")
    idle(page)
    redrawn(page, "clip-view", lambda: slide(page, "clip-sliders-age", "End"))
    assert re.fullmatch(r"age: 0 at 0 s, 3 at 0\.3\d* s", page.inner_text("#keys"))
    page.locator("#time").press("Home")
    idle(page)
    assert page.locator("#clip-sliders-age").input_value() == "0"

    page.select_option("#preview-seconds", "1")
    page.click("#preview")
    idle(page)
    video = page.locator("#preview-video")
    assert video.evaluate("one => one.readyState >= 2 && one.videoWidth") == 176
    made = {file for file in home.iterdir() if file not in there}
    assert not [file for file in made if not file.name.startswith("dseinvert-")]

    with page.expect_download() as got:
        page.click("#settings")
    assert 'person = "1"' in Path(got.value.path()).read_text()
    assert "--edits edits.toml" in page.inner_text("#clip-lines")

    out = home / "exported"
    page.fill("#clip-out", str(out))
    page.click("#export")
    page.wait_for_selector("#clip-jobs [data-state='running']")
    page.reload()
    page.click("#tab-clip")
    page.wait_for_selector("#clip-jobs [data-state='done']")
    written = out / "moving.edits-moving-edits.mp4"
    assert "audio" in [stream.kind for stream in probe(written).streams]
    address = page.locator(f"#clip-jobs a:text-is('{written.name}')").get_attribute("href") or ""
    assert page.request.get(f"{server}{address}").body() == written.read_bytes()


def test_two_who_look_do_not_see_each_others_pictures(
    browser: Browser, page: Page, server: str
) -> None:
    drop_group(page)
    key = page.evaluate("() => state.photo.id")
    stranger = browser.new_context()
    seen = stranger.request.get(server)
    assert seen.ok
    asked = {"photo": key, "faces": [0]}
    answer = stranger.request.post(f"{server}/api/draw", data=json.dumps(asked))
    assert answer.status == 422 and "here no longer" in answer.json()["error"]
    state = stranger.request.post(f"{server}/api/state", data="{}").json()
    assert state["photos"] == [] and state["jobs"] == []
    stranger.close()
    bare = browser.new_context()
    assert bare.request.post(f"{server}/api/state", data="{}").status == 422
    assert bare.request.get(f"{server}/file/x").status == 422
    for path in ("/etc/passwd", "/out/x/../../etc/passwd", "/page.py", "/../pyproject"):
        assert bare.request.get(f"{server}{path}").status == 404
    foreign = bare.request.get(server, headers={"Host": "evil.example"})
    assert foreign.status == 403
    bare.close()


def test_a_batch_shows_its_page_of_results(page: Page, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(GROUP, folder)
    page.click("#tab-batch")
    page.fill("#batch-folder", str(folder))
    page.fill("#batch-out", str(tmp_path / "done"))
    slide(page, "batch-sliders-age", "End")
    expect(page.locator("#batch-lines")).to_contain_text("--edit age=+3")
    page.click("text=Start")
    page.wait_for_selector("#batch-jobs [data-state='done']")
    page.click("text=Show the results")
    inside = page.frame_locator("#result")
    expect(inside.locator("article")).to_have_count(3)


def test_the_keyboard_alone_goes_from_a_photo_to_what_is_saved(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        tab_to(page, "photo-file")
        page.keyboard.press("Enter")
    chooser.value.set_files(GROUP)
    page.wait_for_selector("#photo-view[data-drawn]")
    idle(page)
    plain = page.locator("#photo-view img").nth(1).get_attribute("src")
    tab_to(page, "photo-sliders-age")
    moved = redrawn(page, "photo-view", lambda: page.keyboard.press("ArrowRight"))
    assert moved != plain
    assert page.locator("#photo-sliders-age").input_value() == "0.1"
    assert redrawn(page, "photo-view", lambda: page.keyboard.press("0")) == plain
    redrawn(page, "photo-view", lambda: page.keyboard.press("End"))
    tab_to(page, "photo-save", back=True)
    with page.expect_download() as got:
        page.keyboard.press("Enter")
    assert got.value.suggested_filename == "group.edited.png"
    tab_to(page, "photo-run")
    with page.expect_download() as got:
        page.keyboard.press("Enter")
    assert 'edits = ["age=+3"]' in Path(got.value.path()).read_text()


def tab_to(page: Page, name: str, *, back: bool = False) -> None:
    """Press Tab until something has the focus, and shows it."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        focused = page.locator(":focus")
        if focused.get_attribute("id") == name:
            assert focused.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_the_keyboard_alone_goes_from_a_clip_to_its_export(
    page: Page, source: Path, tmp_path: Path
) -> None:
    tab_to(page, "tab-photo")
    page.keyboard.press("ArrowRight")
    tab_to(page, "clip-path")
    page.keyboard.type(str(source))
    page.keyboard.press("Enter")
    page.wait_for_selector("#clip-view[data-drawn]")
    idle(page)
    tab_to(page, "clip-sliders-age")
    redrawn(page, "clip-view", lambda: page.keyboard.press("End"))
    tab_to(page, "clip-out")
    page.keyboard.press("Control+A")
    page.keyboard.type(str(tmp_path / "out"))
    page.keyboard.press("Enter")
    page.wait_for_selector("#clip-jobs [data-state='done']")
    assert [*(tmp_path / "out").glob("*.mp4")]


def test_models_are_listed_added_taught_and_looked_at(page: Page, foreign_gan: Path) -> None:
    page.click("#tab-models")
    expect(page.locator("#models-here")).to_contain_text("faces-128")
    page.fill("#add-path", str(foreign_gan))
    page.fill("#add-name", "foreign")
    page.press("#add-name", "Enter")
    expect(page.locator("#said")).to_contain_text("foreign is here")
    idle(page)
    row = page.locator("#models-here .job", has_text="foreign")
    expect(row).to_contain_text("no encoder: it draws and edits latents, but inverts no photo")
    expect(row).to_contain_text("no directions: learn some below")
    row.get_by_role("button").click()
    expect(page.locator("#model")).to_contain_text("foreign")
    idle(page)
    page.click("#tab-photo")
    expect(page.locator("#photo-sliders")).to_contain_text("no directions: learn some under Models")
    page.set_input_files("#photo-file", GROUP)
    expect(page.locator("#said.wrong")).to_contain_text("encoder")
    idle(page)
    page.click("#tab-models")
    page.fill("#learn-count", "2")
    page.click("text=Learn >> nth=-1")
    expect(page.locator("#said")).to_contain_text("foreign is ready")
    idle(page)
    page.locator("#directions button").first.click()
    idle(page)
    assert page.locator("#direction-picture").evaluate("async one => (await one.decode(), true)")
    page.locator("#models-here .job", has_text="faces-128").get_by_role("button").click()
    expect(page.locator("#model")).to_contain_text("faces-128")
    idle(page)


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    there = shutil.which("unshare")
    return bool(there) and not subprocess.run(command, capture_output=True).returncode


@pytest.mark.skipif(not can_mount(), reason="no mounts without root here")
def test_a_full_disk_ends_an_export_in_a_sentence_and_the_page_goes_on(
    browser: Browser, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mounted = f'mount -t tmpfs -o size=12k none {out} && exec "$0" "$@"'
    process, address = served(
        "--port", "0", home=tmp_path, before=["unshare", "-rm", "sh", "-c", mounted]
    )
    page = browser.new_context().new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    expect(page.locator("#said")).to_contain_text("is ready")
    open_clip(page, source)
    page.wait_for_selector("#clip-view[data-drawn]")
    idle(page)
    page.fill("#clip-out", str(out))
    page.press("#clip-out", "Enter")
    expect(page.locator("#clip-jobs [data-state='stopped']")).to_contain_text("no space left")
    page.click("#tab-photo")
    drop_group(page)
    page.context.close()
    process.send_signal(signal.SIGINT)
    process.wait(60)


def test_a_clip_of_two_hours_opens_and_is_not_searched(page: Page, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    with av.open(str(long), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(1, 60))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(120):
            file.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        file.mux(stream.encode(None))
    open_clip(page, long)
    expect(page.locator("#clip-said")).to_contain_text("7200.0 s")
    idle(page)
    page.click("#people")
    expect(page.locator("#said.wrong")).to_contain_text("long.mp4 is 120 minutes long")
    idle(page)
    page.click("#tab-photo")
    drop_group(page)


Send = Callable[..., bytes]


def visitor(server: str) -> Send:
    """What sends to a server, in a session of its own, and gives the answer."""
    opener = build_opener(HTTPCookieProcessor())
    opener.open(server).close()

    def sent(path: str, data: bytes, method: str = "POST") -> bytes:
        answer: bytes = opener.open(Request(server + path, data, method=method)).read()
        return answer

    return sent


def resident(process: subprocess.Popen[str]) -> int:
    """The memory of a process in kB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_is_as_large_after_50_photos_as_after_10(tmp_path: Path) -> None:
    process, address = served("--port", "0", home=tmp_path)
    sent, group, sizes = visitor(address), read_image(GROUP), []
    for number in range(50):
        shifted = encode_png(np.roll(group, number, axis=0))
        photo = json.loads(sent("/drop/photo?name=group.png", shifted, "PUT"))
        asked = {"photo": photo["id"], "faces": [0], "edits": {"age": 2}, "view": "photo"}
        sent("/api/draw", json.dumps(asked).encode())
        sizes.append(resident(process))
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert sizes[49] < 1.05 * sizes[9], sizes


def test_a_program_opens_edits_and_downloads_without_a_browser(server: str, tmp_path: Path) -> None:
    sent = visitor(server)
    photo = json.loads(sent("/drop/photo?name=group.jpg", GROUP.read_bytes(), "PUT"))
    asked = json.dumps({"photo": photo["id"], "faces": [1], "edits": {"age": 2}}).encode()
    drawn = json.loads(sent("/api/draw", asked))
    assert drawn["before"] != drawn["after"]
    assert "group-2.safetensors" in drawn["lines"]["shell"]
    file = tmp_path / "a.safetensors"
    file.write_bytes(sent("/api/latent", asked))
    assert len(Latent.load(file)) == 1
    with pytest.raises(HTTPError) as refused:
        sent("/api/draw", b"[]")
    assert refused.value.code == 422 and "no JSON object" in json.load(refused.value)["error"]


def test_a_clip_that_cannot_be_read_is_told(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "notes.mp4"
    file.write_text("dear diary")
    for path in (file, tmp_path / "none.mp4"):
        open_clip(page, path)
        expect(page.locator("#said.wrong")).to_contain_text(path.name)
        idle(page)


def test_the_page_fits_a_telephone_and_goes_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    drop_group(page)
    page.focus("#tab-photo")
    for name in ("clip", "batch", "models", "photo"):
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#{name}").is_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        unnamed = page.locator("img:not([alt]), input:not([aria-label]):not(label input)")
        assert [one.get_attribute("id") for one in unnamed.all() if not _labelled(page, one)] == []


def _labelled(page: Page, one: Any) -> bool:
    return bool(one.evaluate("one => one.labels && one.labels.length"))


def test_a_second_server_at_the_same_port_says_so(server: str, home: Path) -> None:
    port = server.rpartition(":")[2]
    process, said = served("--port", port, home=home)
    assert process.wait(60) == 2
    assert f"port {port}" in said and "choose another --port" in said
