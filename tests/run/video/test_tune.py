"""`video --refine` with the tiny model: what all frames of a person share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.clip_stages import Fitted
from dseinvert.latent import TUNING, load_latent
from dseinvert.latent.clip import ClipLatents
from dseinvert.media.rows import Rows
from dseinvert.models import open_model
from dseinvert.run.video import run as video
from dseinvert.run.video import tune as video_tune
from tests.moving_face import clip

Run = Callable[..., int]
BOTH = ("--refine", "encoder:12,generator:12", "-q")


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 16)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the frames are sampled."""
    monkeypatch.setattr(video_tune.Person.sample, "__defaults__", (8,))


@pytest.fixture(scope="module")
def refined(talking: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a clip after both."""
    from dseinvert.cli.main import run

    out = tmp_path_factory.mktemp("refined")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_tune.Person.sample, "__defaults__", (8,))
        words = ("video", talking, "--edit", "age=2", "--out", out, *BOTH, "--model", tiny_model)
        assert run([*map(str, words)]) == 0
    return out


def latents(out: Path) -> dict[str, np.ndarray]:
    with Rows(out / "talking.safetensors") as rows:
        return {name: rows.read(name) for name in rows.names}


def told(out: Path) -> list[dict[str, object]]:
    with Rows(out / "talking.safetensors") as rows:
        people = json.loads(json.loads(rows.header["origin"])["tuned"])
    assert isinstance(people, list)
    return people


def test_frames_that_were_not_sampled_are_reconstructed_better(
    dse: Run, talking: Path, refined: Path, tmp_path: Path
) -> None:
    assert dse("video", talking, "--out", tmp_path, "-q") == 0
    before, after = latents(tmp_path)["psnr"], latents(refined)["psnr"]
    assert (after > before + 1).all()
    (person,) = told(refined)
    assert (person["frames"], person["held_out"]) == (8, 2)


def test_a_further_edit_draws_with_what_was_tuned_and_tunes_nothing(
    dse: Run, talking: Path, refined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(refined, tmp_path / "again")
    monkeypatch.setattr(video_tune, "tune_clip", None)
    assert dse("video", talking, "--edit", "smile=-1", "--out", tmp_path / "again", *BOTH) == 0
    monkeypatch.undo()
    monkeypatch.setattr(video_tune.Person.sample, "__defaults__", (8,))
    assert dse("video", talking, "--edit", "smile=-1", "--out", tmp_path / "new", *BOTH) == 0
    for name in ("talking.smile-1.mp4", "talking.safetensors"):
        again, new = ((tmp_path / folder / name).read_bytes() for folder in ("again", "new"))
        assert again == new


def test_another_refinement_makes_other_latents(
    dse: Run, talking: Path, refined: Path, tmp_path: Path
) -> None:
    shutil.copytree(refined, tmp_path / "out")
    other = ("--refine", "encoder:3", "--overwrite", "-q")
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path / "out", *other) == 0
    assert (latents(tmp_path / "out")["code"] != latents(refined)["code"]).any()
    assert not [name for name in latents(tmp_path / "out") if name.startswith(TUNING)]


def test_batch_and_segment_do_not_change_what_is_found(
    dse: Run, talking: Path, refined: Path, tmp_path: Path
) -> None:
    arguments = ("--edit", "age=2", "--out", tmp_path, "--batch", "3", "--segment", "5")
    assert dse("video", talking, *arguments, *BOTH) == 0
    once, again = latents(refined), latents(tmp_path)
    for name, array in once.items():  # kernels of another batch round differently
        exactly = name.startswith(TUNING)
        np.testing.assert_allclose(again[name], array, rtol=0, atol=0 if exactly else 1e-4)


@pytest.mark.parametrize("at", ["tuning", "inverting"])
def test_a_run_that_broke_off_goes_on_to_the_same_bytes(
    dse: Run, talking: Path, refined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """While it tunes, and after that, when what was tuned is not tuned again."""
    where = video_tune if at == "tuning" else video
    name = "_save" if at == "tuning" else "invert_clip"
    with monkeypatch.context() as patch:
        patch.setattr(where, name, broken)
        assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, *BOTH) != 0
    if at == "inverting":
        monkeypatch.setattr(video_tune, "tune_clip", None)
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, *BOTH) == 0
    assert {p.name: p.read_bytes() for p in sorted(tmp_path.iterdir())} == {
        p.name: p.read_bytes() for p in sorted(refined.iterdir())
    }


def test_where_memory_runs_out_fewer_frames_are_computed_at_once(
    dse: Run, talking: Path, refined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, tune = [], video_tune.tune_clip

    def small(*given: Any) -> Fitted:
        tried.append(given[-1].at_once)
        if tried[-1] > 1:
            raise torch.OutOfMemoryError
        return tune(*given)

    monkeypatch.setattr(video_tune, "tune_clip", small)
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, *BOTH) == 0
    assert tried == [4, 2, 1]
    gain = [person["stages"][-1]["psnr"] for out in (refined, tmp_path) for person in told(out)]  # type: ignore[index]
    assert gain[0] == pytest.approx(gain[1], abs=0.2)


def test_a_single_frame_too_many_is_said(
    dse: Run,
    talking: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def never(*_: Any) -> Fitted:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(video_tune, "tune_clip", never)
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, *BOTH) == 5
    assert "out of memory with a single face" in capfd.readouterr().err


def broken(*arguments: object) -> None:
    raise RuntimeError


def test_two_faces_get_two_differences(dse: Run, tmp_path: Path) -> None:
    source = clip(tmp_path / "two.mp4", 8, size=(320, 144), faces=(1, 2))
    arguments = ("--faces", "all", "--refine", "generator:5", "--out", tmp_path, "-q")
    assert dse("video", source, *arguments) == 0
    with Rows(tmp_path / "two.safetensors") as rows:
        tuned = {name: rows.read(name) for name in rows.names if name.startswith(TUNING)}
        owners = rows.read("track").tolist()
    latent = load_latent(tmp_path / "two.safetensors")
    for name, factor in latent.tuning.items():
        assert all(
            np.array_equal(factor[row].numpy(), tuned[f"{TUNING}{track}/{name}"].astype("f4"))
            for row, track in enumerate(owners)
        )
    tracks = {name.split("/")[1] for name in tuned}
    assert len(tracks) == 2
    one, other = ({n: a for n, a in tuned.items() if f"/{t}/" in n} for t in sorted(tracks))
    assert len(one) == len(other)
    assert any((a != b).any() for a, b in zip(one.values(), other.values(), strict=True))


def test_every_row_of_the_file_draws_as_in_the_clip(
    dse: Run, refined: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """`edit` and its like read it as they read any latent."""
    latent, generator = load_latent(refined / "talking.safetensors"), open_model(str(tiny_model))
    with ClipLatents(refined / "talking.safetensors") as rows, torch.inference_mode():
        own = video_tune.tuned_generators(generator.generator, rows.tunings())[0]
        alone = synthesize(generator.generator, latent[3:4])
        plain = replace(latent[3:4], tuning={})
        torch.testing.assert_close(alone, own.synthesize(plain), rtol=1e-4, atol=1e-4)
        assert (alone - generator.generator.synthesize(plain)).abs().max() > 0.01
    assert dse("edit", refined / "talking.safetensors", "--out", tmp_path, "-q") == 0
    assert len([*tmp_path.glob("*.png")]) == 16


def test_the_page_says_what_was_done(refined: Path) -> None:
    page = (refined / "talking.html").read_text("utf-8")
    assert "encoder:12,generator:12: face 0: encoder kept at step" in page
    assert "on 2 frames held out of 8" in page


def test_what_would_flicker_is_refused(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("video", talking, "--refine", "latent", "--out", tmp_path / "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "flicker" in line and "encoder or generator" in line
    assert not (tmp_path / "out").exists()
