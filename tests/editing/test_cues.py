"""When and to whom an edit of a clip acts, as it is written; and how its strength goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dseinvert.editing.cues import cues_of, share_of, told
from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import Edit, fingerprint, parse_edits
from dseinvert.editing.script import read_script
from dseinvert.editing.when import EASES, FADE, Ease, Moment, Timing, moments
from dseinvert.errors import UsageError

AGE = Direction("age", torch.ones(6, 16), "w+", "sd", "abc")
KNOWN = {"age": AGE, "smile": replace(AGE, name="smile")}
ALL, SOMEBODY = frozenset({""}), frozenset({"2"})


def strengths(text: str, *times: float) -> list[float]:
    """Of the one direction in an edit, at some seconds."""
    (cues,) = cues_of([text], None, KNOWN).values()
    (cue,) = cues
    step = cue.step_at([(Moment(time), ALL) for time in times])
    assert isinstance(step, Edit)
    return torch.as_tensor(step.strength).reshape(-1).tolist()


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("age=+2@1.5-4s", "age+2@1.5-4s"),
        ("age=0..+2@0:01.5-1:00:04", "age+0to+2@1.5-3604s"),
        ("age = -1 .. 2 @ 0-3 @ 1s-4s", "age-1to+2@0-3@1-4s"),
        ("age=1@4s-end", "age+1@4s-end"),
        ("2:age=1@shot3,smile=1", "2.age+1@shot3,2.smile+1"),
        ("anna maria.jpg:age=1", "anna-maria.age+1"),
    ],
)
def test_it_is_called_as_it_is_written_and_safe_in_file_names(text: str, called: str) -> None:
    (label,) = cues_of([text], None, KNOWN)
    assert label == called and not {*'<>:"/\\|?* '} & {*label}


def test_a_ramp_rests_at_both_of_its_ends_and_is_even_between() -> None:
    assert strengths("age=0..+2@1-3s", 0, 1, 1.5, 2, 3, 9) == [0, 0, 0.5, 1, 2, 2]
    back = "age=0..+2@1-2s,age=+2..0@3-4s"
    assert strengths(back, 1, 2, 2.5, 3, 3.5, 9) == [0, 2, 2, 2, 1, 0]


def test_what_is_held_comes_and_goes() -> None:
    found = strengths("age=+2@1-3s", 1, 1 + FADE / 2, 1 + FADE, 2, 3 - FADE / 2, 3)
    assert found == pytest.approx([0, 1, 2, 2, 1, 0])
    assert strengths("age=+2@0-3s", 0)[0] == 2
    assert strengths("age=+2@1s-end", 0, 99) == [0, 2]


@pytest.mark.parametrize("ease", EASES)
def test_every_ease_goes_from_key_to_key_without_going_back(ease: Ease) -> None:
    timing = Timing(((0, 0), (1, 1)), ease)
    found = [timing.at(Moment(k / 10)) for k in range(11)]
    assert found[0] == 0 and found[-1] == 1 and found == sorted(found)


def test_nothing_is_shown_where_a_strength_rests_at_nought_and_nothing_pops() -> None:
    (cues,) = cues_of(["age=-2..+2@1-3s,age=2..0@4-5s"], None, KNOWN).values()
    shares = [share_of(cues, Moment(k / 25), ALL) for k in range(150)]
    assert not any(shares[125:]) and shares[50] == 1  # at 0 on its way from -2 to 2
    assert max(abs(a - b) for a, b in zip(shares[1:], shares, strict=False)) <= 1 / 25 / FADE + 1e-9


def test_an_edit_is_for_whom_it_names() -> None:
    (cues,) = cues_of(["2:age=1", "left:smile=1@1-3s"], None, KNOWN).values()
    assert [share_of(cues, Moment(0), who) for who in (ALL, SOMEBODY)] == [0, 1]
    assert share_of(cues, Moment(2), frozenset({"left"})) == 1
    for cue in cues:
        step = cue.step_at([(Moment(2), ALL), (Moment(2), frozenset({"2", "left"}))])
        assert isinstance(step, Edit) and torch.as_tensor(step.strength).tolist() == [0, 1]


def test_a_plain_edit_is_told_apart_as_in_earlier_records_and_a_schedule_by_itself() -> None:
    texts = ["age=2", "2:age=2", "age=2@1-2s", "age=2@1-3s", "age=0..2@1-3s"]
    prints = [told(*cues_of([text], None, KNOWN).values()) for text in texts]
    assert prints[0] == fingerprint(parse_edits("age=2", KNOWN))
    assert len({*prints}) == len(prints)


def test_moments_know_their_shot_and_how_much_of_it_is_over() -> None:
    found = moments([0, 1, 2, 3, 4], [0, 3])
    assert [moment.shot for moment in found] == [1, 1, 1, 2, 2]
    assert [moment.through for moment in found] == [0, 0.5, 1, 0, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("edit = 1", "no \\[\\[edit"),
        ("[[edit]]\nedit = 'age'\nkeyz = []", "did you mean keys"),
        ("[[edit]]\nedit = 'age'\nkeys = [[2, 1], [1, 0]]", "behind"),
        ("[[edit]]\nedit = 'age'\nkeys = [['soon', 1]]", "soon"),
        ("[[edit]]\nedit = 'age'\nkeys = [[1, 'much']]", "much"),
        ("[[edit]]\nedit = 'age'\nkeys = [[1, 0]]\nease = 'inout'", "did you mean in-out"),
        ("[[edit]]\nedit = 'age=1'\nkeys = [[1, 0]]", "beside keys"),
        ("[[edit]]\nedit = 'age'", "NAME=STRENGTH"),
        ("[[edit]", "line 1"),
    ],
)
def test_a_file_that_is_no_file_of_edits_is_refused(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "edits.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_script(file)
