from __future__ import annotations

import csv
import json
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dseinvert.errors import (
    DeviceError,
    DseInvertError,
    ExitCode,
    InputError,
    MissingError,
    OutputError,
    UsageError,
)
from dseinvert.inversion.inverter import Inverter
from dseinvert.media.images import read_image
from dseinvert.models import open_model
from dseinvert.progress import Silent
from dseinvert.similarity.gradcam import GradCAM
from dseinvert.training import loop, prepare
from dseinvert.training.checkpoints import FILE
from dseinvert.training.loop import train


def column(file: Path, name: str) -> list[float]:
    with file.open() as table:
        return [float(row[name]) for row in csv.DictReader(table)]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Raise SIGINT in the middle of a step."""
    descend = loop.descend

    def interrupted(run, state, batch, *, measure):
        if state.step == step:
            signal.raise_signal(signal.SIGINT)
        return descend(run, state, batch, measure=measure)

    monkeypatch.setattr(loop, "descend", interrupted)


@pytest.mark.parametrize("strategy", [1, 2])
def test_training_lowers_the_held_out_loss(gan, options, tmp_path, strategy):
    longer = replace(options, strategy=strategy, iterations=60, eval_every=60, lr=0.005)
    outcome = train(gan, longer, tmp_path / "run")
    before, after = column(tmp_path / "run" / "evaluation.csv", "mse")
    assert after < 0.9 * before
    assert outcome.step == 60
    assert outcome.figures["mse"] == pytest.approx(after, rel=1e-4)


def test_the_result_is_a_model(gan, options, tmp_path):
    train(gan, options, tmp_path / "run 1")
    model = open_model(str(tmp_path / "run 1"))
    assert model.name == "run-1"
    assert model.encoder is not None
    assert model.sha256 == gan.sha256
    assert (model.alignment, model.card["licence"]) == ("none", "MIT")
    assert model.directions["smile"].generator == model.sha256
    images = model.generator.synthesize(model.generator.sample([1, 2]))
    assert Inverter(model.generator, model.encoder).invert(images).images.shape == images.shape


def files(folder: Path) -> dict[str, bytes]:
    """What a run leaves that does not carry the time of day."""
    names = ("encoder.safetensors", "training.csv", "evaluation.csv", "model.json")
    state = torch.load(folder / FILE, weights_only=True)
    return {name: (folder / name).read_bytes() for name in names} | bits(state, FILE)


def bits(value: object, name: str) -> dict[str, bytes]:
    """Every tensor and number in a nest of containers, by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in items for k, v in bits(item, f"{name}/{key}").items()}
    if isinstance(value, torch.Tensor):
        return {name: value.contiguous().numpy().tobytes()}
    return {name: repr(value).encode()}


@pytest.mark.parametrize("step", [0, 2, 3])
def test_an_interrupted_run_goes_on_bit_for_bit(gan, options, tmp_path, monkeypatch, step):
    train(gan, options, tmp_path / "whole" / "run")
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        outcome = train(gan, options, tmp_path / "parts" / "run")
    assert (outcome.step, outcome.stopped) == (step + 1, ExitCode.INTERRUPTED)
    assert open_model(str(tmp_path / "parts" / "run")).encoder is not None
    assert train(gan, options, tmp_path / "parts" / "run").stopped is None
    assert files(tmp_path / "parts" / "run") == files(tmp_path / "whole" / "run")


def test_a_run_killed_between_checkpoints_goes_on_bit_for_bit(gan, options, tmp_path, monkeypatch):
    train(gan, options, tmp_path / "whole" / "run")

    def killed(run, state, batch, *, measure):
        if state.step == 4:
            raise SystemExit
        return descend(run, state, batch, measure=measure)

    descend = loop.descend
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop, "descend", killed)
        train(gan, options, tmp_path / "parts" / "run")
    train(gan, options, tmp_path / "parts" / "run")
    assert files(tmp_path / "parts" / "run") == files(tmp_path / "whole" / "run")


def test_with_real_images_a_run_goes_on_bit_for_bit(gan, options, real_tar, tmp_path):
    options = replace(options, real=real_tar, real_share=0.5)
    train(gan, options, tmp_path / "whole" / "run")
    train(gan, replace(options, iterations=3), tmp_path / "parts" / "run")
    train(gan, options, tmp_path / "parts" / "run")
    whole, parts = files(tmp_path / "whole" / "run"), files(tmp_path / "parts" / "run")
    assert parts["encoder.safetensors"] == whole["encoder.safetensors"]


def test_a_finished_run_can_be_made_longer(gan, options, tmp_path):
    train(gan, options, tmp_path / "run")
    assert train(gan, replace(options, iterations=8), tmp_path / "run").step == 8
    assert column(tmp_path / "run" / "training.csv", "step") == [2, 4, 6, 8]


def test_a_finished_run_is_left_alone(gan, options, tmp_path):
    train(gan, options, tmp_path / "run")
    before = files(tmp_path / "run")
    assert train(gan, options, tmp_path / "run").step == 6
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.1}, {"seed": 1}, {"batch": 2}, {"strategy": 1}, {"psi": 1.0}, {"attention": "none"}],
)
def test_another_run_in_the_folder_is_refused_and_kept(gan, options, tmp_path, change):
    train(gan, options, tmp_path / "run")
    before = files(tmp_path / "run")
    with pytest.raises(UsageError, match=next(iter(change))):
        train(gan, replace(options, **change), tmp_path / "run")
    assert files(tmp_path / "run") == before


def test_a_damaged_checkpoint_is_named(gan, options, tmp_path):
    train(gan, options, tmp_path / "run")
    checkpoint = tmp_path / "run" / FILE
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(MissingError, match=r"checkpoint\.pt: damaged"):
        train(gan, options, tmp_path / "run")


def test_code_in_a_checkpoint_is_not_run(gan, options, tmp_path):
    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "attacked",)

    (tmp_path / "run").mkdir()
    torch.save({"run": Attack()}, tmp_path / "run" / FILE)
    with pytest.raises(MissingError):
        train(gan, options, tmp_path / "run")
    assert not (tmp_path / "attacked").exists()


def test_pictures_show_samples_and_real_images_over_their_inversions(
    gan, options, real_tar, tmp_path
):
    train(gan, replace(options, grid_every=6, real=real_tar), tmp_path / "run")
    sheets = list((tmp_path / "run").glob("*.png"))
    assert [sheet.name for sheet in sheets] == ["grid-0000006.png"]
    assert read_image(sheets[0]).shape == (4 * 16, 8 * 16, 3)


def test_the_run_says_what_it_was_told(gan, options, tmp_path):
    train(gan, options, tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "training.json").read_text())
    assert settings["psi"] == 0.7
    assert settings["weights"]["epsilon"] == 0.01
    assert "ssim" in settings["metrics"]


def test_a_run_that_diverges_stops_and_keeps_its_checkpoint(gan, options, tmp_path, monkeypatch):
    descend = loop.descend

    def diverged(run, state, batch, *, measure):
        terms = descend(run, state, batch, measure=measure)
        return {**terms, "loss": torch.tensor(float("nan"))} if state.step == 5 else terms

    monkeypatch.setattr(loop, "descend", diverged)
    with pytest.raises(DseInvertError, match="step 5: the loss is nan"):
        train(gan, replace(options, log_every=1), tmp_path / "run")
    assert torch.load(tmp_path / "run" / FILE, weights_only=True)["step"] == 3


def test_too_little_gpu_memory_is_one_line_of_advice(gan, options, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    monkeypatch.setattr("dseinvert.training.objective.image_loss", full)
    with pytest.raises(DeviceError, match="--batch"):
        train(gan, options, tmp_path / "run")


def test_widths_that_do_not_fit_are_refused_before_anything_is_written(gan, options, tmp_path):
    with pytest.raises(UsageError, match="--widths 8,12"):
        train(gan, replace(options, widths=(8, 12)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_model_itself_cannot_be_the_output(gan, options, gan_folder):
    before = sorted(file.name for file in gan_folder.iterdir())
    with pytest.raises(UsageError, match="another folder"):
        train(gan, options, gan_folder)
    assert sorted(file.name for file in gan_folder.iterdir()) == before


def test_an_output_that_is_a_file_is_refused(gan, options, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError):
        train(gan, options, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_tar_without_images_is_refused(gan, options, tmp_path):
    (tmp_path / "real.tar").write_bytes(b"not a tar")
    with pytest.raises(InputError, match=r"real\.tar"):
        train(gan, replace(options, real=tmp_path / "real.tar"), tmp_path / "run")
    with pytest.raises(UsageError, match="no such file"):
        train(gan, replace(options, real=tmp_path / "none.tar"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_lpips_stops_the_run_before_it_starts(gan, options, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(MissingError, match="--without-lpips"):
        train(gan, replace(options, perceptual="lpips"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_can_start_from_the_encoder_of_the_model(gan, options, tmp_path):
    train(gan, options, tmp_path / "first")
    first = open_model(str(tmp_path / "first"))
    train(first, replace(options, start="model", widths=None), tmp_path / "second")
    before, after = (
        column(tmp_path / run / "evaluation.csv", "mse") for run in ("first", "second")
    )
    assert after[0] == before[-1]  # where one ended, the other begins
    assert after[-1] != after[0]
    second = open_model(str(tmp_path / "second"))
    assert second.encoder.config == first.encoder.config
    assert first.encoder_sha256 == open_model(str(tmp_path / "first")).encoder_sha256


def test_a_start_from_an_encoder_goes_on_bit_for_bit(gan, options, tmp_path):
    train(gan, options, tmp_path / "first")
    first, again = open_model(str(tmp_path / "first")), replace(options, start="model", seed=1)
    train(first, again, tmp_path / "whole" / "run")
    train(first, replace(again, iterations=3), tmp_path / "parts" / "run")
    train(first, again, tmp_path / "parts" / "run")
    whole, parts = files(tmp_path / "whole" / "run"), files(tmp_path / "parts" / "run")
    assert parts["encoder.safetensors"] == whole["encoder.safetensors"]


@pytest.mark.parametrize(
    ("change", "named"), [({}, "no encoder"), ({"widths": (8, 8, 8)}, "widths")]
)
def test_a_start_without_a_fitting_encoder_is_refused(gan, options, tmp_path, change, named):
    if change:
        train(gan, options, tmp_path / "first")
        gan = open_model(str(tmp_path / "first"))
    with pytest.raises(UsageError, match=f"--start model: .*{named}"):
        train(gan, replace(options, start="model", **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mixed_samples_go_on_bit_for_bit(gan, options, tmp_path):
    options = replace(options, mixing=0.5)
    train(gan, options, tmp_path / "whole" / "run")
    train(gan, replace(options, iterations=3), tmp_path / "parts" / "run")
    train(gan, options, tmp_path / "parts" / "run")
    whole, parts = files(tmp_path / "whole" / "run"), files(tmp_path / "parts" / "run")
    assert parts["encoder.safetensors"] == whole["encoder.safetensors"]


def untrained_gradcam(*_) -> GradCAM:
    """Heat maps of a classifier of random weights."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 5))
    return GradCAM(net, "1")


@pytest.mark.parametrize("gradients", ["maps", "images", "none"])
def test_attentions_of_grad_cam_go_on_bit_for_bit(gan, options, tmp_path, monkeypatch, gradients):
    monkeypatch.setattr(prepare, "open_gradcam", untrained_gradcam)
    options = replace(options, attention="gradcam", gradcam_gradients=gradients)
    train(gan, options, tmp_path / "whole" / "run")
    train(gan, replace(options, iterations=3), tmp_path / "parts" / "run")
    train(gan, options, tmp_path / "parts" / "run")
    whole, parts = files(tmp_path / "whole" / "run"), files(tmp_path / "parts" / "run")
    assert parts["encoder.safetensors"] == whole["encoder.safetensors"]


def test_each_attention_trains_another_encoder(gan, options, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "open_gradcam", untrained_gradcam)
    changes = [{"attention": word} for word in ("none", "crops", "gradcam")]
    changes += [{"attention": "gradcam", "gradcam_gradients": word} for word in ("images", "none")]
    results = []
    for number, change in enumerate(changes):
        out = tmp_path / str(number)
        train(gan, replace(options, iterations=2, **change), out)
        results.append((out / "encoder.safetensors").read_bytes())
    assert len({*results}) == 4
    assert results[0] == results[4]  # as published, the attentions train nothing


def test_grad_cam_without_its_weights_stops_the_run_before_it_starts(
    gan, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingError, match="VGG16"):
        train(gan, replace(options, attention="gradcam"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_from_before_an_option_was_there_goes_on(gan, options, tmp_path):
    train(gan, options, tmp_path / "run")
    checkpoint = tmp_path / "run" / FILE
    content = torch.load(checkpoint, weights_only=True)
    for name in ("mixing", "start", "attention", "gradcam_gradients", "gradcam_weights", "encoder"):
        del content["run"][name]
    torch.save(content, checkpoint)
    assert train(gan, replace(options, iterations=8), tmp_path / "run").step == 8
    with pytest.raises(UsageError, match="mixing"):
        train(gan, replace(options, iterations=8, mixing=0.5), tmp_path / "run")


def test_the_generator_is_written_once(gan, options, tmp_path, monkeypatch):
    train(gan, replace(options, iterations=3), tmp_path / "run")
    file = tmp_path / "run" / "generator.safetensors"
    assert file.read_bytes() == (gan.folder / file.name).read_bytes()
    before = file.stat().st_mtime_ns, file.stat().st_ino
    train(gan, options, tmp_path / "run")
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes, self.steps = [], []

    def note(self, line):
        self.notes.append(line)

    @contextmanager
    def within(self, what, total):
        yield lambda done, note="": self.steps.append((what, total, done, note))


def test_a_watcher_hears_of_every_step_and_of_what_was_measured(gan, options, tmp_path):
    heard, short = Heard(), replace(options, iterations=2, eval_every=2, log_every=1)
    train(gan, short, tmp_path / "run", heard)
    assert {step[:2] for step in heard.steps} == {("training", 2)}
    assert [done for _, _, done, note in heard.steps if not note] == [0, 1, 2]
    assert [note[:5] for *_, note in heard.steps if note] == ["loss "] * 2
    first, last = heard.notes
    assert first.startswith("step 0: held-out median psnr ") and last.startswith("step 2: ")


def test_the_random_numbers_of_the_caller_stay_where_they_are(gan, options, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(gan, replace(options, iterations=2), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
