"""A method of --refine is a row of one table: options, help, messages and runs follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.cli.options import offered
from dseinvert.config import ImagesOptions, VideoOptions
from dseinvert.errors import UsageError
from dseinvert.inversion.asked import Stage, clip_refining, parse_refining
from dseinvert.inversion.clip_stages import ClipTask, Fitted
from dseinvert.inversion.methods import METHODS, Given, Method, filled, method_of
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.inversion.tune_clip import tune_clip
from dseinvert.latent import Latent, load_latent
from tests.export.models_of_every_kind import model_of

Run = Callable[..., int]


def darker(given: Given) -> Refine:
    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        moved = replace(start, code=start.code * 0)
        taken, losses = torch.full((len(images),), budget.steps), torch.zeros(len(images))
        return Refined(moved, images, taken, losses)

    return refine


TOY = Method(3, "toys", darker)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", TOY)


def test_a_row_is_all_that_images_need_for_a_method(
    toy: None, dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ("--out", out, "--no-align", "--refine", "toy,latent:2,toy:5")
    assert dse("images", pictures / "p0.png", *given[:-1], "toy") == 0
    latent = load_latent(out / "p0.safetensors")
    assert not latent.code.any()
    assert latent.origin["refined"] == "toy:3"
    assert dse("images", pictures / "p0.png", *given, "--overwrite") == 0
    assert load_latent(out / "p0.safetensors").origin["refined"] == "toy:3,latent:2,toy:5"


def test_video_refuses_a_method_without_a_part_for_clips_in_one_line(
    toy: None, dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    out = tmp_path / "out"
    assert dse("video", tmp_path / "clip.mp4", "--out", out, "--refine", "encoder,toy") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "--refine encoder,toy: toys refined frame by frame flicker" in line
    assert "encoder or generator, which all frames share" in line
    assert not out.exists()


def test_a_row_is_all_that_clips_need_for_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def clip(task: ClipTask, fitted: Fitted, steps: int) -> Fitted:
        seen.append((len(task.images), steps))
        return replace(fitted, encoder={"toy": torch.ones(1)})

    monkeypatch.setitem(METHODS, "toy", replace(TOY, clip=clip))
    asked = clip_refining("toy")
    model = model_of("stylegan2, dse")
    images = torch.zeros(5, 3, 16, 16)
    assert [*tune_clip(model.generator, model.encoder, images, asked.stages).encoder] == ["toy"]
    assert seen == [(5, 3)]


@pytest.mark.parametrize("name", ["magic", "latent", "toy"])
@pytest.mark.parametrize("count", [2, 5])
def test_an_unknown_method_cannot_fall_into_another_branch(
    toy: None, name: str, count: int
) -> None:
    model, images = model_of("stylegan2, dse"), torch.zeros(count, 3, 16, 16)
    with pytest.raises(UsageError) as caught:
        tune_clip(model.generator, model.encoder, images, [Stage(name, 1)])
    assert name.rstrip("s") in str(caught.value)
    with pytest.raises(UsageError):
        method_of("magic")


def test_what_leads_is_refused_behind_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", replace(TOY, leads=True))
    assert parse_refining("toy,latent").stages[0] == Stage("toy", 3)
    with pytest.raises(UsageError, match="the toy comes first"):
        parse_refining("latent,toy")


def test_the_space_is_about_methods_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", TOY)
    with pytest.raises(UsageError, match="no latent is optimised"):
        parse_refining("toy", space="w+")
    monkeypatch.setitem(METHODS, "toy", replace(TOY, in_space=True))
    assert parse_refining("toy", space="w+").space == "w+"


def test_messages_name_the_methods_that_there_are() -> None:
    def advice(read: Callable[[str], object], text: str) -> str | None:
        with pytest.raises(UsageError) as caught:
            read(text)
        return caught.value.advice

    known = "none, or encoder, latent, sam or generator[:STEPS], several with commas"
    assert advice(parse_refining, "magic") == advice(clip_refining, "magic") == known
    assert advice(clip_refining, "latent") == "encoder or generator, which all frames share"
    twice = "encoder and generator once each, with more steps"
    assert advice(clip_refining, "encoder:3,generator:3,generator") == twice


def test_help_names_the_methods_that_there_are(toy: None) -> None:
    text = "{methods}|{clip_methods}|{clip_together}"
    assert filled(text) == (
        "encoder, latent, sam, generator or toy|encoder or generator|both with a comma"
    )
    METHODS["toy"] = replace(TOY, clip=lambda task, fitted, steps: fitted)
    assert filled(text).endswith("|encoder, generator or toy|several with commas")


def test_todays_help_is_as_it_was() -> None:
    helps = [{row.field.name: row.doc for row in offered(o)} for o in (ImagesOptions, VideoOptions)]
    found = [one["refine"] for one in helps]
    assert found == [
        "none, or encoder, latent, sam or generator[:STEPS]: improve each inversion; several in "
        "turn with commas, as latent:200,generator:100.",
        "none, or encoder or generator[:STEPS], or both with a comma: tuned to each person once, "
        "on frames of the whole clip.",
    ]
