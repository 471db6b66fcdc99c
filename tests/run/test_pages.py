"""The frame of all pages, and how its places are filled."""

from __future__ import annotations

import pytest

from dseinvert.run.pages import filled, template


@pytest.mark.parametrize("name", ["faces", "sliders", "video"])
def test_every_page_has_the_frame_and_allows_no_network(name: str) -> None:
    page = template(name)
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert page.count("<body") == page.count("</body>") == page.count("<title>") == 1
    assert "default-src 'none'" in page and "{{style}}" not in page and "{{page}}" not in page


def test_a_value_is_not_read_for_places() -> None:
    assert (
        filled("<h1>{{title}}</h1>", {"title": "{{facts}}", "facts": "no"}) == "<h1>{{facts}}</h1>"
    )


def test_a_place_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="title"):
        filled("{{title}}", {})
