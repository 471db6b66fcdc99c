"""What can be written after --edit, and what it is called in file names."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import (
    AutoEdit,
    ClassEdit,
    Edit,
    Keeper,
    fingerprint,
    label,
    parse_edits,
    parse_strengths,
    parse_strip,
)
from dseinvert.errors import UsageError

AGE = Direction("age", torch.ones(6, 16), "w+", "sd", "abc")
KNOWN = {
    "age": AGE,
    "smile": replace(AGE, name="smile", layers=(0, 2)),
    "fringe": Direction("fringe", torch.ones(1, 40), "s", "sd", "abc"),
}
KEEPER = Keeper(lambda images: images.flatten(1), 0.5, "net")


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("age=2", "age+2"),
        ("age=-1.5@0-3", "age-1.5@0-3"),
        ("age = +2 @ 4 , smile=1", "age+2@4,smile+1"),
        ("age=1@0-2,age=-1@3-5", "age+1@0-2,age-1@3-5"),
        ("age=auto", "age=auto"),
        ("age=auto-@0-3,smile=1", "age=auto-@0-3,smile+1"),
        ("class=207:0.5", "class207+0.5"),
        ("class=3", "class3+1"),
    ],
)
def test_an_edit_is_called_as_it_is_written_and_safe_in_file_names(text: str, called: str) -> None:
    edits = parse_edits(text, KNOWN, 1000, KEEPER)
    assert label(edits) == called
    assert not {*'<>:"/\\|?* '} & {*called}


def test_rows_signs_and_shares_are_read() -> None:
    age, smile, cls = parse_edits("age=2@0-3,smile=auto-,class=7:.25", KNOWN, 10, KEEPER)
    assert isinstance(age, Edit) and age.rows == (0, 3)
    assert isinstance(smile, AutoEdit) and smile.sign == -1 and smile.keeper is KEEPER
    assert cls == ClassEdit(7, 0.25)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age=1@", "@3 or @0-7"),
        ("age=1@a", "@3 or @0-7"),
        ("age=1@4-2", "no rows 4-2"),
        ("age=1@0-6", "0-5"),
        ("smile=1@3-5", "acts on rows 0-2 only"),
        ("fringe=1@0", "no rows"),
        ("age=1@0-3,age=1@3-4", "twice"),
        ("age=1,age=1@3", "twice"),
        ("age=auto,smile=auto", "auto twice"),
        ("age=automatic", "not a strength"),
        ("class=10:0.5", "0 to 9"),
        ("class=1:2", "from 0 to 1"),
        ("class=cat", "NUMBER:SHARE"),
        ("class=1,class=2", "twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_edits(text, KNOWN, 10, KEEPER)


def test_auto_without_a_network_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="--identity FILE") as refused:
        parse_edits("age=auto", KNOWN)
    assert "\n" not in str(refused.value)


def test_a_model_without_classes_says_so() -> None:
    with pytest.raises(UsageError, match="has no classes"):
        parse_edits("class=1:0.5", KNOWN)


def test_a_direction_may_be_called_class() -> None:
    (edit,) = parse_edits("class=1", {"class": replace(AGE, name="class")})
    assert isinstance(edit, Edit)


def test_strengths_are_evenly_spaced() -> None:
    assert parse_strengths("-3:3:7") == (-3, -2, -1, 0, 1, 2, 3)
    assert parse_strengths("0:1:3") == (0, 0.5, 1)
    assert parse_strengths("-1:1:7")[1] == -0.6667


@pytest.mark.parametrize(
    "text", ["", "3", "-3:3", "-3:3:1", "-3:3:100", "a:b:c", "0:nan:3", "0:999:3"]
)
def test_other_strengths_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--strengths"):
        parse_strengths(text)


def test_a_strip_is_an_edit_of_each_strength() -> None:
    strip = parse_strip("age@0-3", (-1, 0, 2), KNOWN)
    assert [label(one) for one in strip] == ["age-1@0-3", "age+0@0-3", "age+2@0-3"]
    for text in ("age=1", "age,smile", "", "beard"):
        with pytest.raises(UsageError):
            parse_strip(text, (0, 1), KNOWN)


def test_fingerprints_tell_apart_what_gives_other_pictures() -> None:
    other = Keeper(KEEPER.identity, 0.6, "net")
    changed = {**KNOWN, "age": replace(AGE, vector=2 * AGE.vector)}
    parsed = [
        parse_edits("age=1", KNOWN),
        parse_edits("age=2", KNOWN),
        parse_edits("age=1", changed),
        parse_edits("age=1", {"age": replace(AGE, layers=(0, 3))}),
        parse_edits("age=1@0-3", KNOWN),
        parse_edits("age=auto", KNOWN, 0, KEEPER),
        parse_edits("age=auto+", KNOWN, 0, KEEPER),
        parse_edits("age=auto", KNOWN, 0, other),
        parse_edits("class=1", KNOWN, 9),
    ]
    assert len({fingerprint(edits) for edits in parsed}) == len(parsed)


def test_the_fingerprint_of_a_plain_edit_is_that_of_earlier_journals() -> None:
    told = AGE.vector.numpy().tobytes() + b"2.0"
    assert fingerprint(parse_edits("age=+2", KNOWN)) == hashlib.sha256(told).hexdigest()[:16]
