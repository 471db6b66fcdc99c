"""Processes that die, and those that work together: nothing is lost, and nothing differs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dseinvert.media.images import encode_png
from dseinvert.run.images.journal import read_all
from dseinvert.run.spread.shard import Shard
from tests.conftest import ROOT, child_environment
from tests.forked import KILLS, Forked
from tests.moving_face import clip
from tests.run.spread.test_shards import OPTIONS, outputs

Run = Callable[..., int]
Start = Callable[..., Forked]
TOLD = (".html", ".csv", ".safetensors")
"""In which times are told."""
CRASH = Path(__file__).parent / "crash"


@pytest.fixture
def start(tiny_model: Path) -> Iterator[Start]:
    """Start a command line with fatal files in the world; all end with the test."""
    started: list[Forked] = []
    environment = child_environment()
    # What it starts itself are fresh interpreters.
    environment["PYTHONPATH"] = os.pathsep.join((str(CRASH), environment["PYTHONPATH"]))
    environment["RAY_worker_niceness"] = "0"  # on a busy machine they would starve beside others

    def begin(*words: object) -> Forked:
        given = [*words, "--model", tiny_model]
        started.append(Forked("tests.run.spread.crash.fatal_run", given, ROOT, environment))
        return started[-1]

    yield begin
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


def ended(process: Forked) -> tuple[int, str]:
    _, told = process.communicate(timeout=300)
    return process.wait(), told


def many(folder: Path, count: int, blobs: Callable[..., object]) -> Path:
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        (folder / f"p{seed}.png").write_bytes(encode_png(blobs(seed)))  # type: ignore[arg-type]
    return folder


def test_an_input_that_kills_its_process_twice_is_put_aside(
    dse: Run, start: Start, pictures: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 0
    shutil.copy(pictures / "p0.png", pictures / "fatal.png")
    run = ("images", pictures, "--out", out, *OPTIONS)
    codes = [ended(start(*run))[0] for _ in range(2)]
    assert codes == [-signal.SIGSEGV] * 2
    code, told = ended(start(*run))
    assert code == 1 and "killed its worker 2 times: Segmentation fault" in told
    entries = read_all(out)
    assert len(entries) == 8 and entries["fatal"].status == "failed"
    assert [name for name, one in entries.items() if one.status != "done"] == ["fatal"]
    assert {p.name for p in out.iterdir() if p.name.startswith(".")} == set()
    assert outputs(out).keys() == outputs(whole).keys()
    assert ended(start(*run))[0] == 1, "it is not tried again"
    assert ended(start(*run, "--retry-failed"))[0] == -signal.SIGSEGV, "unless that is asked for"


def test_shards_put_aside_what_kills_them_twice_and_do_the_rest(
    dse: Run, start: Start, pictures: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 0
    shutil.copy(pictures / "p0.png", pictures / "fatal.png")
    run = ("images", pictures, "--out", out, *OPTIONS)
    mine, other = ("1/2", "2/2") if Shard(1, 2).has("fatal") else ("2/2", "1/2")
    codes = [ended(start(*run, "--shard", mine))[0] for _ in range(2)]
    assert codes == [-signal.SIGSEGV] * 2
    assert ended(start(*run, "--shard", other))[0] == 0, "the other share does not meet it"
    code, told = ended(start(*run, "--shard", mine))
    assert code == 1 and "killed its worker 2 times: Segmentation fault" in told
    assert dse("report", out) == 1
    failed = (out / "failed.csv").read_text().splitlines()
    assert len(failed) == 2 and "killed its worker 2 times" in failed[1]
    made, expected = outputs(out), outputs(whole)
    for own in ("failed.csv", "index.html"):
        made.pop(own), expected.pop(own, None)
    assert made == expected


def test_workers_give_the_bytes_of_one_process_though_one_is_killed_by_an_input(
    dse: Run, start: Start, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    sources = many(tmp_path / "sources", 12, blobs)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", sources, "--out", whole, *OPTIONS) == 0
    shutil.copy(sources / "p0.png", sources / "fatal.png")
    code, told = ended(start("images", sources, "--out", out, *OPTIONS, "--workers", "2"))
    assert code == 1 and "died of SIGSEGV" in told
    failed = (out / "failed.csv").read_text().splitlines()
    assert len(failed) == 2 and "killed its worker 2 times" in failed[1]
    made, expected = outputs(out), outputs(whole)
    for own in ("failed.csv", "index.html"):
        made.pop(own), expected.pop(own, None)
    assert made == expected


def test_ctrl_c_stops_all_workers_and_the_next_run_goes_on(
    dse: Run, start: Start, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    sources = many(tmp_path / "sources", 40, blobs)
    for path in [*sources.iterdir()]:
        path.rename(path.with_name(f"slow{path.name}"))
    whole, out = tmp_path / "whole", tmp_path / "out"
    run = ("images", sources, "--out", out, *OPTIONS, "--workers", "2")
    process = start(*run)
    while process.poll() is None and not read_all(out):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, told = ended(process)
    assert code == 130 and "Traceback" not in told
    assert 0 < len(read_all(out)) < 40
    assert dse("status", out) == 0
    assert dse("images", sources, "--out", out, *OPTIONS, "--shard", "1/2") == 0
    assert dse("images", sources, "--out", out, *OPTIONS, "--shard", "2/2") == 0
    assert dse("report", out) == 0
    assert dse("images", sources, "--out", whole, *OPTIONS) == 0
    assert outputs(out) == outputs(whole)


def killed(
    kills: int, dse: Run, start: Callable[..., Forked], tmp_path: Path, blobs: Callable[..., object]
) -> None:
    """Two processes with a shard each, killed at random moments, together or one of them."""
    random.seed(kills)
    sources = many(tmp_path / "sources", 24, blobs)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", sources, "--out", whole, *OPTIONS) == 0
    out.mkdir()
    for _ in range(kills):
        count = random.choice((1, 2, 3))
        shards = [random.randint(1, count) for _ in range(2)]  # both may get the same one
        run = ("images", sources, "--out", out, *OPTIONS)
        processes = [start(*run, "--shard", f"{k}/{count}") for k in shards]
        before = len(read_all(out))
        while len(read_all(out)) == before and any(p.poll() is None for p in processes):
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.2))
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
    for number in (1, 2):
        assert dse("images", sources, "--out", out, *OPTIONS, "--shard", f"{number}/2") == 0
    assert dse("report", out) == 0
    assert outputs(out) == outputs(whole)


def test_killed_shards_lose_nothing_and_make_nothing_twice(
    dse: Run, dse_process: Callable[..., Forked], tmp_path: Path, blobs: Callable[..., object]
) -> None:
    killed(2, dse, dse_process, tmp_path, blobs)


@pytest.mark.slow
def test_many_kills_lose_nothing(
    dse: Run, dse_process: Callable[..., Forked], tmp_path: Path, blobs: Callable[..., object]
) -> None:
    killed(KILLS, dse, dse_process, tmp_path, blobs)


def test_a_cluster_gives_the_bytes_of_one_process(
    dse: Run, start: Start, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    pytest.importorskip("ray")
    sources = many(tmp_path / "sources", 12, blobs)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", sources, "--out", whole, *OPTIONS) == 0
    shutil.copy(sources / "p0.png", sources / "fatal.png")
    run = ("images", sources, "--out", out, *OPTIONS, "--engine", "ray", "--workers", "2")
    code, told = ended(start(*run))
    assert code == 1 and "fatal.png: put aside: killed its worker 2 times" in told, told
    failed = (out / "failed.csv").read_text().splitlines()
    assert len(failed) == 2 and "killed its worker 2 times" in failed[1]
    made, expected = outputs(out), outputs(whole)
    for own in ("failed.csv", "index.html"):
        made.pop(own), expected.pop(own, None)
    assert made == expected


def test_no_such_cluster_is_told_in_a_line(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    words = ("--engine", "ray", "--address", "127.0.0.1:1")
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, *words) == 5
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "dseinvert" in one]
    assert "no Ray cluster there" in line


def test_what_stops_every_worker_is_one_line(
    dse: Run, pictures: Path, other_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS)
    assert dse(*words) == 0
    before = outputs(tmp_path / "out")
    capfd.readouterr()
    assert dse(*words, "--model", other_model, "--workers", "2") == 6
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("dseinvert: ") and "worker 1" not in line
    assert "holds results made with other weights of tiny (choose another --out" in line
    assert outputs(tmp_path / "out") == before


def test_json_of_workers_is_json(start: Start, pictures: Path, tmp_path: Path) -> None:
    run = ("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--workers", "2", "--json")
    process = start(*run)
    told, _ = process.communicate(timeout=300)
    assert process.wait() == 0
    assert json.loads(told)["folders"][0]["done"] == 7


def test_edits_and_videos_of_a_cluster_are_those_of_one_process(
    dse: Run, start: Start, pictures: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    latents, sources = tmp_path / "latents", tmp_path / "clips"
    sources.mkdir()
    for name in ("a", "b"):
        clip(sources / f"{name}.mp4", 4)
    assert dse("images", pictures, "--out", latents, *OPTIONS) == 0
    runs = [
        ("edit", latents, "--edit", "smile=1", "-q"),
        ("video", sources, "--edit", "age=1", "-q"),
    ]
    spread = ("--engine", "ray", "--workers", "2")
    for run in runs:
        whole, out = tmp_path / f"{run[0]}-whole", tmp_path / run[0]
        assert dse(*run, "--out", whole) == 0
        process = start(*run, "--out", out, *spread)
        code, told = ended(process)
        assert code == 0, told
        assert told == ""
        made, expected = outputs(out), outputs(whole)
        assert {*made} == {*expected}
        assert all(made[name] == expected[name] for name in made if not name.endswith(TOLD))
