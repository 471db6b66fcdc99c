"""The frame of all pages, and how its places are filled."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import UndefinedError

from dseinvert.run.pages import page

EVIL = "<script>alert(1)</script>\"' onload=alert(1) {{facts}}"
FACTS = {EVIL: EVIL}
VALUES: Mapping[str, Mapping[str, Any]] = {
    "faces": {
        "title": EVIL,
        "subtitle": EVIL,
        "medians": [(EVIL, EVIL)],
        "sorts": [(EVIL, EVIL)],
        "pages": [EVIL],
        "here": 1,
        "undone": [(EVIL, EVIL)],
        "more_undone": 3,
        "facts": FACTS,
        "columns": 3,
        "cards": [
            {
                "name": EVIL,
                "source": EVIL,
                "sortable": [("psnr", EVIL)],
                "numbers": [(EVIL, EVIL)],
                "figures": [
                    {"kind": "picture", "link": EVIL, "source": EVIL, "caption": EVIL, "alt": EVIL}
                ],
                "notes": [EVIL],
            }
        ],
    },
    "sliders": {
        "title": EVIL,
        "subtitle": EVIL,
        "sliders": [{"name": EVIL, "said": [EVIL], "rest": 0}],
        "facts": FACTS,
        "start": EVIL,
        "frames": [[EVIL]],
    },
    "video": {
        "title": EVIL,
        "subtitle": EVIL,
        "counts": [(EVIL, EVIL)],
        "notes": [EVIL],
        "times": [EVIL],
        "strips": [{"title": EVIL, "link": EVIL, "pictures": [EVIL]}],
        "titles": [EVIL],
        "metrics": [(EVIL, [EVIL])],
        "facts": FACTS,
    },
}


def made(name: str, **more: Any) -> str:
    return "".join(page(name, {**VALUES[name], **more}))


def attributes(text: str) -> set[str]:
    found: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.update(n for n, _ in attrs)  # type: ignore[method-assign]
    parser.feed(text)
    return found


@pytest.mark.parametrize("name", VALUES)
def test_every_page_has_the_frame_and_allows_no_network(name: str) -> None:
    text = made(name, facts={})
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert text.count("<body") == text.count("</body>") == text.count("<title>") == 1
    assert "default-src 'none'" in text and "--ground" in text and "{{ " not in text


@pytest.mark.parametrize("name", VALUES)
def test_no_value_is_markup_wherever_it_stands(name: str) -> None:
    text = made(name)
    assert "<script>alert" not in text and "\"' onload" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("name", VALUES)
def test_a_page_lets_only_its_own_script_run(name: str) -> None:
    text = made(name)
    allowed = set(re.findall(r"'(sha256-[^']+)'", text.partition(">\n<meta name")[0]))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    sums = [hashlib.sha256(one.encode()).digest() for one in scripts]
    assert allowed == {f"sha256-{base64.b64encode(digest).decode()}" for digest in sums}
    policy = re.search(r'Security-Policy" content="([^"]*)"', text)
    assert policy and "unsafe-inline" not in policy[1].partition("script-src")[2]
    assert not [name for name in attributes(text) if name.startswith("on")]


def test_a_value_is_not_read_for_places() -> None:
    assert "<h1>{{facts}}</h1>" in made("video", title="{{facts}}")


def test_a_place_without_a_value_is_an_error() -> None:
    rest = {name: value for name, value in VALUES["video"].items() if name != "title"}
    with pytest.raises(UndefinedError, match="title"):
        list(page("video", rest))


@pytest.mark.parametrize("name", VALUES)
def test_what_hides_in_a_value_is_shown(name: str) -> None:
    hidden = "a\u202eb\x1bc\u200bd"
    text = "".join(page(name, _with(VALUES[name], hidden)))
    assert "a\\u202eb\\x1bc\\u200bd" in text
    assert not {*"\u202e\x1b\u200b"} & {*text}


def _with(values: Any, text: str) -> Any:
    """The same values with `text` in place of the evil one."""
    if isinstance(values, dict):
        return {_with(key, text): _with(value, text) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_with(value, text) for value in values)
    return text if values == EVIL else values
