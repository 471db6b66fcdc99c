"""Shards of one run, by processes that know nothing of each other, give what one process gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.config import SpreadOptions
from dseinvert.errors import OutputError, UsageError
from dseinvert.run.images.journal import open_journal, read, read_all
from dseinvert.run.spread.choice import crew_of, inner
from dseinvert.run.spread.notes import notes_path, read_notes
from dseinvert.run.spread.others import differing
from dseinvert.run.spread.shard import Shard, parse_shard
from tests.moving_face import clip

Run = Callable[..., int]
OPTIONS = ("--no-align", "--edit", "age=2", "--batch", "2", "-q")
BOOKS = ("journal", ".journal")


def outputs(out: Path) -> dict[str, bytes]:
    """All that was made, without what the processes wrote down of it."""
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if not p.name.startswith(BOOKS)}


def test_shards_by_themselves_give_the_bytes_of_one_process(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "p0.jpg").write_bytes(b"no picture")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 1
    shares = []
    for number in (3, 1, 2):
        dse("images", pictures, "--out", out, *OPTIONS, "--shard", f"{number}/3")
        shares.append({*read(out / f"journal-{number}-of-3.jsonl")})
    assert not (out / "index.html").exists()
    assert sum(map(len, shares)) == 8 == len(set.union(*shares))
    assert dse("report", out) == 1
    made = outputs(out)
    assert made.pop("failed.csv").decode().splitlines()[1].startswith(f"{pictures}/p0.jpg,p0,")
    assert made == outputs(whole)


def test_the_count_of_shards_may_change_and_what_is_done_is_done(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in (1, 3):
        assert dse("images", pictures, "--out", out, *OPTIONS, "--shard", f"{number}/3") == 0
    done = len(read_all(out))
    for number in (1, 2):
        assert dse("images", pictures, "--out", out, *OPTIONS, "--shard", f"{number}/2") == 0
    fresh = sum(len(read(out / f"journal-{number}-of-2.jsonl")) for number in (1, 2))
    assert 0 < done < 7 and fresh == 7 - done
    assert dse("images", pictures, "--out", out, *OPTIONS) == 0
    assert read(out / "journal.jsonl") == {}
    assert dse("images", pictures, "--out", tmp_path / "whole", *OPTIONS) == 0
    assert outputs(out) == outputs(tmp_path / "whole")


def test_a_shard_depends_on_the_name_and_on_nothing_else() -> None:
    names = [f"p{number}" for number in range(1000)]
    shares = [[name for name in names if Shard(k, 4).has(name)] for k in (1, 2, 3, 4)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(200 < len(share) < 300 for share in shares)
    assert [name for name in names[500:] if Shard(2, 4).has(name)] == [
        name for name in shares[1] if int(name[1:]) >= 500
    ]


def test_workers_of_a_shard_share_it() -> None:
    names = [f"p{number}" for number in range(500)]
    own = {name for name in names if Shard(2, 3).has(name)}
    shares = [{n for n in names if inner(Shard(2, 3), k, 4).has(n)} for k in range(4)]
    assert set.union(*shares) == own and sum(map(len, shares)) == len(own)


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}, (4, 8)),
        (
            {
                **{"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "3"},
                **{"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"},
            },
            (3, 3),
        ),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (2, 2)),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "5"}, (1, 5)),
        (
            {
                **{"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2"},
                **{"RANK": "3", "WORLD_SIZE": "4"},
            },
            (8, 8),
        ),
    ],
)
def test_auto_is_what_the_scheduler_says(
    environment: dict[str, str], shard: tuple[int, int]
) -> None:
    assert parse_shard("auto", environment) == Shard(*shard)


@pytest.mark.parametrize(
    ("task", "first", "last", "count"),
    [(3, 3, 3, 1), (1, 1, 1, 1), (4, 4, 7, 4), (0, 0, 5, 3), (5, 0, 5, 3), (3, 3, 5, 2)],
    ids=["3", "1", "4-7", "0,3,5", "0,3,5 its last", "3,5"],
)
def test_some_tasks_of_an_array_submitted_again_are_not_taken_for_all(
    task: int, first: int, last: int, count: int
) -> None:
    told = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, "STEP": 1}
    environment = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()}
    with pytest.raises(UsageError, match="--shard auto: the array") as refused:
        parse_shard("auto", environment)
    assert "--shard K/N" in str(refused.value)


@pytest.mark.parametrize(
    ("task", "first", "last", "count", "step", "shard"),
    [(0, 0, 0, 1, 1, (1, 1)), (8, 1, 8, 8, 1, (8, 8)), (6, 0, 6, 4, 2, (4, 4))],
    ids=["0", "1-8", "0-7:2"],
)
def test_an_array_from_0_or_1_without_gaps_is_whole(
    task: int, first: int, last: int, count: int, step: int, shard: tuple[int, int]
) -> None:
    told = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, "STEP": step}
    environment = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()}
    assert parse_shard("auto", environment) == Shard(*shard)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "٣/٤", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"JOB_COMPLETION_INDEX": "1"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": "2"},
        {"RANK": "1", "WORLD_SIZE": "100001"},
        {"SLURM_ARRAY_TASK_ID": "3"},
        {
            "SLURM_ARRAY_TASK_ID": "2",
            "SLURM_ARRAY_TASK_COUNT": "3",
            "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_STEP": "5",
        },
    ],
)
def test_auto_without_a_scheduler_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--shard auto") as refused:
        parse_shard("auto", environment)
    assert "literal" not in str(refused.value) and "K/N" in str(refused.value)


def test_two_processes_are_not_given_one_shard_at_once(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with open_journal(out, "journal-1-of-2.jsonl"):
        assert dse("images", pictures, "--out", out, *OPTIONS, "--shard", "1/2") == 6
        assert "another run, of 1-of-2, is writing here" in capsys.readouterr().err
        assert dse("images", pictures, "--out", out, *OPTIONS, "--shard", "2/2") == 0


def test_runs_with_other_options_do_not_mix_in_one_folder(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert dse("images", pictures, "--out", out, *OPTIONS, "--shard", "1/2") == 0
    before = outputs(out)
    other = ("--no-align", "--edit", "age=3", "--batch", "2", "-q", "--shard", "2/2")
    capsys.readouterr()
    assert dse("images", pictures, "--out", out, *other) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "1-of-2 was done here with another edits" in line and "--overwrite" in line
    assert outputs(out) == before
    assert dse("images", pictures, "--out", out, *other, "--overwrite") == 0


def test_edits_with_other_options_do_not_mix_in_one_folder(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents, out = tmp_path / "latents", tmp_path / "out"
    assert dse("images", pictures, "--out", latents, *OPTIONS) == 0
    words = ("edit", latents, "--out", out, "-q")
    assert dse(*words, "--edit", "smile=1", "--shard", "1/2") == 0
    before = outputs(out)
    capsys.readouterr()
    assert dse(*words, "--edit", "smile=2", "--shard", "2/2") == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "1-of-2 was done here with another edits (choose another --out)" in line
    assert outputs(out) == before


def test_clips_with_other_options_are_made_anew_where_that_is_asked_for(
    dse: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources, out = tmp_path / "clips", tmp_path / "out"
    sources.mkdir()
    clip(sources / "a.mp4", 2)
    words = ("video", sources, "--out", out, "-q")
    number = next(n for n in (1, 2) if Shard(n, 2).has("a"))
    assert dse(*words, "--edit", "age=1", "--shard", f"{number}/2") == 0
    other = (*words, "--edit", "age=2", "--shard", f"{3 - number}/2")
    capsys.readouterr()
    assert dse(*other) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "was done here with another" in line and "--overwrite" in line
    assert dse(*other, "--overwrite") == 0


def test_settings_are_compared_as_the_notes_keep_them() -> None:
    assert differing({"a": [1]}, {"a": (1,)}) == ""
    assert differing({"a": 1, "generator": "x"}, {"a": 1, "generator": "y"}) == "generator"


def test_a_shard_cut_short_at_any_byte_is_done_again(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 0
    for number in (1, 2):
        dse("images", pictures, "--out", out, *OPTIONS, "--shard", f"{number}/2")
    journal = out / "journal-1-of-2.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[: len(data) // 2])
    (victim, *_) = sorted(out.glob("*.recon.png"))
    victim.unlink()
    for number in (1, 2):
        assert dse("images", pictures, "--out", out, *OPTIONS, "--shard", f"{number}/2") == 0
    assert dse("report", out) == 0
    assert outputs(out) == outputs(whole)


def test_edits_of_latents_have_shards(dse: Run, pictures: Path, tmp_path: Path) -> None:
    assert dse("images", pictures, "--out", tmp_path / "latents", *OPTIONS) == 0
    options = (tmp_path / "latents", "--edit", "smile=1", "--batch", "2", "-q")
    assert dse("edit", *options, "--out", tmp_path / "whole") == 0
    out = tmp_path / "out"
    for number in (1, 2):
        assert dse("edit", *options, "--out", out, "--shard", f"{number}/2") == 0
    assert outputs(out) == outputs(tmp_path / "whole")
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert dse("edit", *options, "--out", out, "--shard", "1/1", "--retry-failed") == 0
    for number in (1, 2, 3):
        assert dse("edit", *options, "--out", out, "--shard", f"{number}/3") == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.png")} == times
    assert dse("report", out) == 0


def test_status_says_what_is_done_failed_and_left(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    for number in (1, 2):
        dse("images", pictures, "--out", out, *OPTIONS, "--shard", f"{number}/2")
    notes = notes_path(out / "journal-2-of-2.jsonl")
    (run,) = read_notes(notes)
    lines = notes.read_bytes().splitlines(keepends=True)
    notes.write_bytes(b"".join(line for line in lines if b'"end"' not in line)[:-5])  # killed
    capsys.readouterr()
    assert dse("status", out, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    first, second = told["shards"]
    assert (first["name"], first["state"], first["left"]) == ("1-of-2", "ended", 0)
    assert (second["state"], second["left"]) == ("died", 1)
    assert first["done"] + first["failed"] + second["done"] + second["failed"] == 7
    assert dse("status", out) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["shard", "state", "done", "failed"] and len(rows) == 2
    assert "1 left" in last and run.number("total") == len(read(out / "journal-2-of-2.jsonl"))


def test_all_gpus_are_used_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    crew = crew_of(SpreadOptions(), "cuda")
    assert crew is not None
    assert crew.devices == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert [part.shard for part in crew.parts] == [Shard(k, 4) for k in (1, 2, 3, 4)]
    for device, spread in [
        ("cuda:1", SpreadOptions()),
        ("cuda", SpreadOptions(workers="1")),
        ("cpu", SpreadOptions()),
        ("cuda", SpreadOptions(shard="1/2")),
    ]:
        assert crew_of(spread, device) is None
    two = crew_of(SpreadOptions(), "cuda", lambda: 2)
    assert two is not None and len(two.parts) == 2
    assert crew_of(SpreadOptions(), "cuda", lambda: 1) is None
    six = crew_of(SpreadOptions(workers="6"), "cuda")
    assert six is not None and six.devices[4:] == ("cuda:0", "cuda:1")


def test_a_folder_of_shards_is_not_taken_for_photos(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--shard", "1/2") == 0
    capsys.readouterr()
    assert dse("images", tmp_path / "out", "--out", tmp_path / "more") == 2
    assert "dseinvert wrote this folder" in capsys.readouterr().err


def test_a_folder_without_a_journal_has_no_status(dse: Run, tmp_path: Path) -> None:
    assert dse("status", tmp_path) == dse("report", tmp_path) == 3
    assert dse("status", tmp_path / "none") == 3


def test_a_lock_that_is_only_looked_at_refuses_nobody(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(OutputError, match="another run"):
        open_journal(tmp_path).__enter__()
    open_journal(tmp_path).__enter__()


def test_videos_have_shards_clip_by_clip(
    dse: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources, whole, out = (tmp_path / name for name in ("sources", "whole", "out"))
    sources.mkdir()
    for name in ("clip0", "clip1"):  # of shards 2 and 1
        clip(sources / f"{name}.mp4", 6)
    (sources / "d.mp4").write_bytes(b"no video")
    options = (sources, "--edit", "age=1", "-q")
    assert dse("video", *options, "--out", whole) == 1
    assert dse("video", *options, "--out", out, "--shard", "1/2") == 0
    assert not any(out.glob("clip0*"))
    assert dse("video", *options, "--out", out, "--shard", "2/2") == 1
    assert dse("report", out) == 1
    made = outputs(out)
    (_, failed) = made.pop("failed.csv").decode().splitlines()
    assert failed.startswith(f"{sources}/d.mp4,d,refused,")
    assert made == outputs(whole)
    times = {path: path.stat().st_mtime_ns for path in out.glob("clip*")}
    assert dse("video", *options, "--out", out, "--shard", "2/2", "--retry-failed") == 3
    for number in (1, 2, 3):
        dse("video", *options, "--out", out, "--shard", f"{number}/3")
    assert {path: path.stat().st_mtime_ns for path in out.glob("clip*")} == times
    assert dse("video", *options, "--out", tmp_path / "one.mp4", "--shard", "1/2") == 2
    assert "name a folder" in capsys.readouterr().err


def test_a_long_page_has_parts_that_a_browser_opens_at_once(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dseinvert.run.images.page.ONE_PAGE", 5)
    monkeypatch.setattr("dseinvert.run.images.page._A_PAGE", 3)
    out = tmp_path / "out"
    assert dse("images", pictures, "--out", out, *OPTIONS) == 0
    pages = [out / name for name in ("index.html", "index-2.html", "index-3.html")]
    shown = [re.findall(r'<article id="(\w+)"', page.read_text()) for page in pages]
    assert shown == [["p0", "p1", "p2"], ["p3", "p4", "p5"], ["p6"]]
    assert 'href="index-3.html"' in pages[0].read_text()
    monkeypatch.setattr("dseinvert.run.images.page.ONE_PAGE", 100)
    assert dse("report", out) == 0
    assert sorted(out.glob("index*")) == pages[:1]
    assert "index-2" not in pages[0].read_text()


def test_status_counts_what_was_done_again_once(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        assert dse("images", pictures, "--out", out, *OPTIONS) == 0
        (out / "p3.recon.png").unlink()
    capsys.readouterr()
    assert dse("status", out) == 0
    assert "7 done, 0 failed" in capsys.readouterr().out
