from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dseinvert.run.flow.names import assign, face_names, folded, safe_stem


def names(*sources: str, before: dict[str, str] | None = None) -> list[str]:
    return list(assign(map(Path, sources), before or {}, (before or {}).values()).values())


def test_a_stem_is_the_name() -> None:
    assert names("/p/a.jpg", "/p/b.c.png") == ["a", "b.c"]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (("/p/a.jpg", "/p/a.png", "/p/a.webp"), ["a", "a_png", "a_webp"]),
        (("/x/a.jpg", "/y/a.jpg", "/z/a.jpg"), ["a", "y_a", "z_a"]),
        (("/p/a.jpg", "/p/A.JPG", "/p/A.png"), ["a", "A_jpg", "A_png"]),
        (("/p/caf\u00e9.jpg", "/p/cafe\u0301.png"), ["caf\u00e9", "cafe\u0301_png"]),
    ],
)
def test_colliding_stems_get_distinct_names(sources: tuple[str, ...], expected: list[str]) -> None:
    assert names(*sources) == expected


def test_a_name_given_once_is_kept_when_files_are_added() -> None:
    before = {"/p/a.png": "a"}
    assert names("/p/a.jpg", "/p/a.png", before=before) == ["a_jpg", "a"]


def test_a_name_of_another_source_is_not_taken() -> None:
    assert names("/p/a.jpg", before={"/gone/a.jpg": "a"}) == ["a_jpg"]


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=12, unique=True))
def test_names_are_distinct_and_safe_whatever_files_are_called(texts: list[str]) -> None:
    sources = [Path("/p") / f"{text.replace('/', '').replace(chr(0), '')}x.jpg" for text in texts]
    given_names = assign(dict.fromkeys(sources), {}, ()).values()
    assert len({folded(name) for name in given_names}) == len(given_names)
    for name in given_names:
        assert name.strip(" .") == name
        assert not set(name) & set('<>:"/\\|?*\0\n')
        name.encode()


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        (".jpg", "jpg"),
        ("...jpg", "image"),
        ("a:b?.jpg", "a_b_"),
        ("a\udcff.jpg", "a_"),
        ("a\u202egnp.jpg", "a_gnp"),
    ],
)
def test_awkward_stems_become_safe(source: str, stem: str) -> None:
    assert safe_stem(Path(source)) == stem


def test_long_stems_are_cut_and_stay_distinct() -> None:
    first, second = (safe_stem(Path("ü" * 110 + end + ".jpg")) for end in "ab")
    assert first != second
    assert len(first.encode()) <= 120


def test_further_faces_are_numbered() -> None:
    assert face_names("photo", 3, frozenset()) == ["photo", "photo-2", "photo-3"]


def test_a_further_face_leaves_the_name_of_another_input_alone() -> None:
    taken = frozenset({"photo", "photo-2", "photo_face2"})
    assert face_names("Photo", 3, taken) == ["Photo", "Photo_face2_", "Photo-3"]
