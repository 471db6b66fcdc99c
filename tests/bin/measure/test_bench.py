"""Every measurement runs on a tiny model, prints tables and writes its numbers; none is judged."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dseinvert.media.images import encode_png, read_image
from tests.conftest import ROOT, SHARED, child_environment, picture
from tests.forked import run
from tests.moving_face import clip

needs_scorers = pytest.mark.skipif(
    not (SHARED / "data" / "models" / "identity").is_dir(), reason="no scorers beside the checkout"
)


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    return run("measure", words, ROOT, child_environment())


def rows(file: Path) -> list[list[dict[str, Any]]]:
    return [table["rows"] for table in json.loads(file.read_text())["tables"]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    file = tmp_path / "photos.tar"
    with tarfile.open(file, "w") as tar:
        for seed in range(3):
            data = encode_png(picture(seed))
            member = tarfile.TarInfo(f"{seed}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def test_inversion_is_compared_without_any_data(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("inversion", "--model", tiny_model, "--data", tmp_path, "--count", 2),
        *("--steps", 2, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert [row["method"].split(",")[0] for row in table] == [
        "mean latent",
        "encoder",
        "2 steps in w+",
    ]
    assert all(np.isfinite(row["PSNR, dB"]) for row in table)
    assert "| encoder" in done.stdout
    assert "choosing the rate of 2 steps" in done.stderr


def test_inversion_takes_photos(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("inversion", "--model", tiny_model, "--real", photos, "--data", tmp_path, "--count", 2),
        *("--steps", 2, "--lr", 0.1, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    assert [len(table) for table in rows(out)] == [3, 3]
    assert "2 real photos" in done.stdout


@needs_scorers
def test_the_numbers_of_a_model_card(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    done = bench(
        *("card", "--model", tiny_model, "--real", photos, "--synthetic", photos, "--size", 16),
        *("--held-out", 2, "--samples", 12, "--edit", "age=+2", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    likeness, samples, edits = rows(out)
    assert [(row["set"], row["by"]) for row in likeness] == [
        ("photos", "w+"),
        ("held-out synthetic", "w+"),
    ]
    assert all(np.isfinite(row["detail"]) and row["detail"] > 0 for row in likeness)
    assert samples[0]["Fréchet, varied"] > 0 and edits[0]["outside, of 255"] > 0
    assert read_image(tmp_path / "card.png").shape == (3 * 16, 12 * 16, 3)


@needs_scorers
def test_edits_are_scored_and_shown(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("edits", "--model", tiny_model, "--real", photos, "--count", 2),
        *("--edit", "age=+2", "--edit", "smile=1,age=-1", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert [row["edit"] for row in table] == ["reconstruction", "age+2", "smile+1,age-1"]
    assert set(table[1]["years"]) == {"mean", "deviation"}
    assert -1 <= table[1]["identity to reconstruction"] <= 1
    assert read_image(tmp_path / "numbers.png").shape == (2 * 128, 4 * 128, 3)


@pytest.mark.slow
def test_speed_is_measured_beside_the_bare_networks(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("speed", "--model", tiny_model, "--count", 2, "--rounds", 1, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert len(table) == 3
    assert table[0]["% of the bare networks"] == pytest.approx(100)


def test_synthesis_is_measured_at_any_size(tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("synthesis", "--resolution", 16, "--channel-base", 64, "--batch", 1, "--batch", 2),
        *("--rounds", 1, "--device", "cpu", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert [row["batch"] for row in table] == ["1"] * 3 + ["2"] * 3
    assert all(row["images/s"] > 0 and row["% of the matrix peak"] > 0 for row in table)


def test_a_mistake_is_one_line_and_the_exit_code_of_the_error(tmp_path: Path) -> None:
    done = bench("inversion", "--model", tmp_path / "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("bin/bench: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_backends_are_timed_beside_torch(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    words = ("--way", "onnx-fp32", "--rounds", 1, "--batch", 2, "--without-compile")
    out = tmp_path / "numbers.json"
    done = bench("backends", "--model", tiny_model, *words, "--out", out)
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert [row["backend"] for row in table] == ["torch", "onnx fp32"]
    assert table[0]["x torch"] == 1
    assert table[1]["PSNR, dB"] > 70


@pytest.mark.slow
def test_parity_has_a_row_for_each_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "numbers.json"
    done = bench("parity", "--model", "pggan, dse-pggan", "--out", out)
    assert done.returncode == 0, done.stderr
    assert [row["graph"] for row in rows(out)[0]] == ["encoder", "generator"]


@needs_scorers
def test_spaces_are_compared_from_both_starts_and_edited(
    tiny_model: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("spaces", "--model", tiny_model, "--real", photos, "--count", 2, "--steps", 2),
        *("--space", "w+", "--space", "f/z+", "--also", "f/w:hold=0.5,skip=drop", "--out", out),
        *("--strength", 2),
    )
    assert done.returncode == 0, done.stderr
    drawn, edited, equal = rows(out)
    assert len({row["age: years"] for row in equal}) == 1
    assert [row["space"] for row in drawn] == [
        *("encoder alone", "w+", "f/z+", "w+, start=mean", "f/z+, start=mean"),
        "f/w, hold=0.5,skip=drop",
    ]
    assert [row["edited"] for row in edited if row["space"] == "f/z+"] == [
        *("±2 in w", "±2 in w, F as it is", "±2 in z", "±2 in z, F as it is")
    ]


def test_an_unknown_way_of_refining_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    done = bench("spaces", "--model", tiny_model, "--data", tmp_path, "--also", "f/w:colour=red")
    assert done.returncode == 2
    assert "f/w:colour=red" in done.stderr


def test_trainings_are_ablated_seed_by_seed(tiny_model: Path, tmp_path: Path) -> None:
    short = ("--iterations", 1, "--batch", 2, "--seeds", 2, "--widths", "8,8,8", "--count", 2)
    out = tmp_path / "numbers.json"
    done = bench("ablating", "--model", tiny_model, "--data", tmp_path, *short, "--out", out)
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert [row["variant"] for row in table] == [
        *("as published", "without AT", "without SSIM"),
        *("without AT: difference", "without SSIM: difference"),
    ]


@pytest.mark.parametrize(("words", "titles"), [((), 2), (("--ablate",), 2)])
def test_refining_is_compared_and_ablated(
    tiny_model: Path, photos: Path, tmp_path: Path, words: tuple[str, ...], titles: int
) -> None:
    short = ["--steps", "2", "--optimise", "2", "--batch", "2", "--data", tmp_path, *words]
    result = bench("refining", "--model", tiny_model, "--real", photos, *short)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("###") == titles
    for name in (
        ("without AT", "with SSIM")
        if words
        else ("encoder:2, all weights", "images/min", "latent, w+")
    ):
        assert name in result.stdout


@needs_scorers
def test_videos_are_measured_both_ways(tiny_model: Path, tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "numbers.json"
    clips.mkdir()
    clip(clips / "walk.mp4", 6)
    done = bench(
        *("video", "--model", tiny_model, "--data", SHARED / "data", "--clips", clips),
        *("--edit", "age=2", "--strips", tmp_path / "strips", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    edit, recon, faithful = rows(out)
    for table in (edit, recon):
        assert [row["clip"] for row in table] == ["walk", "median"]
        assert all(np.isfinite(row["warp naive"]) for row in table)
    assert [row["way"] for row in faithful] == ["naive"] * 2 + ["steady"] * 2
    assert read_image(tmp_path / "strips" / "walk.png").shape[1] % 6 == 0


@needs_scorers
def test_clips_of_a_folder_are_measured_once_one_by_one(tiny_model: Path, tmp_path: Path) -> None:
    clips, work, out = (tmp_path / name for name in ("clips", "work", "numbers.json"))
    clips.mkdir()
    clip(clips / "walk.mp4", 4)
    words = ("video", "--model", tiny_model, "--data", SHARED / "data", "--edit", "age=2")
    words = (*words, "--beside", "difference", "--work", work, "--out", out)
    done = bench(*words, "--clips", clips / "walk.mp4")
    assert done.returncode == 0, done.stderr
    (kept,) = work.glob("walk.*.json")
    kept.write_text(json.dumps({"edit": {"clip": "walk", "warp steady": 123.0}}))
    done = bench(*words, "--clips", clips)
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    assert [row["warp steady"] for row in table] == [123.0, 123.0]


def test_parts_of_video_are_timed_alone_and_beside_each_other(
    tiny_model: Path, tmp_path: Path
) -> None:
    clips, out = tmp_path / "clips", tmp_path / "numbers.json"
    clips.mkdir()
    clip(clips / "walk.mp4", 3)
    done = bench(
        *("overlap", "--model", tiny_model, "--clips", clips, "--edit", "age=2"),
        *("--rounds", 1, "--device", "cpu", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    ((row,),) = rows(out)
    assert (row["clip"], row["frames"]) == ("walk", 3)
    assert row["times alone"] == pytest.approx(row["alone, s"] / row["beside, s"])
    assert row["cores"] > 0


def test_tuning_the_generator_is_measured_in_file_and_edit(
    tiny_model: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "numbers.json"
    done = bench(
        *("pivotal", "--model", tiny_model, "--real", photos, "--data", tmp_path, "--count", 2),
        *("--refine", "none", "--refine", "generator:2", "--edit", "age=1"),
        *("--all-weights", "all", "--all-weights", "late", "--steps", 2, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    (table,) = rows(out)
    plain, tuned, *whole = table
    assert [row["--refine"] for row in whole] == ["all weights, 2 steps", "late weights, 2 steps"]
    assert tuned["KB"] > plain["KB"] > 0
    assert all(row["PSNR, dB"] > plain["PSNR, dB"] for row in (tuned, whole[0]))
    assert "years added" not in plain  # there are no scorers in --data


def test_trust_without_scorers_says_where_to_name_them(tmp_path: Path) -> None:
    done = bench("scorers", "--data", tmp_path)
    assert done.returncode == 4
    assert "no scorers here (name their folder with --data)" in done.stderr


@pytest.mark.slow
def test_runs_of_several_processes_are_measured_part_by_part(
    tiny_model: Path, tmp_path: Path
) -> None:
    words = ("scale", "--model", tiny_model, "--photos", 60, "--early", 1, "--no-align")
    kept = ("--scratch", tmp_path / "kept", "--out", tmp_path / "numbers.json")
    for way in ("process", "shards", "process"):  # the last one is told, not run
        done = bench(*words, *kept, "--ways", way)
        assert done.returncode == 0, done.stderr
    runs, memory = rows(tmp_path / "numbers.json")
    assert [row["run"] for row in runs] == ["one process", "2 shards"]
    assert all(
        row["missing"] == row["twice"] == row["files unlike one process"] == 0 for row in runs
    )
    assert len({row["sha256 of all outputs"] for row in runs}) == 1
    assert sum(row["photos"] for row in memory) == 120


@pytest.mark.slow
def test_a_measure_that_was_cut_short_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    words = ("scale", "--model", tiny_model, "--photos", 2, "--early", 1, "--no-align")
    folder = tmp_path / "kept"
    given = (*words, "--scratch", folder, "--ways", "process", "--out", tmp_path / "numbers.json")
    assert bench(*given).returncode == 0
    (folder / "one-process.json").rename(folder / "one-process.begun.json")
    (folder / "photos" / "p00001.png").unlink()
    assert bench(*given).returncode == 0
    (row,) = rows(tmp_path / "numbers.json")[0]
    assert row["gone on with"] == 1 and row["missing"] == 0
