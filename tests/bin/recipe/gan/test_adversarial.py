from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.errors import DseInvertError, MissingError, UsageError
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from recipe.gan import adversarial
from recipe.gan.adversarial import codes, descend, fast, train
from recipe.gan.gan_state import (
    FILE,
    AdversarialOptions,
    State,
    box_blurs,
    new_state,
    rate_factor,
)

CPU = torch.device("cpu")
TINY = AdversarialOptions(
    resolution=8,
    channels=(12, 8),
    w_dim=8,
    mapping_layers=2,
    images=32,
    batch=8,
    r1_every=3,
    ada_images=400,
    log_every=1,
    watch_every=2,
    checkpoint_every=2,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Blue:
    """Real images: blue, some brighter than others."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.device = device

    def at(self, step: int) -> Tensor:
        source = torch.Generator().manual_seed(step)
        blue = torch.tensor([-0.8, -0.8, 0.6])[:, None, None].expand(8, 3, 8, 8)
        return (blue + 0.1 * torch.randn(8, 1, 1, 1, generator=source)).to(self.device)


def watch(smooth: StyleGAN2) -> tuple[dict[str, float], list[Tensor]]:
    with torch.no_grad():
        images = smooth.synthesize(smooth.sample(range(4)))
    return {"blue": float(images[:, 2].mean())}, [images]


def run(options: AdversarialOptions, folder: Path, ends: float = float("inf")) -> State:
    return train(options, Blue(), folder, CPU, watch, ends=ends)


def weights(state: State) -> list[Tensor]:
    nets = (state.generator, state.discriminator, state.smooth)
    return [value.clone() for net in nets for value in net.state_dict().values()]


def column(file: Path, name: str) -> list[float]:
    with file.open() as table:
        return [float(row[name]) for row in csv.DictReader(table)]


def test_a_run_that_goes_on_ends_with_the_same_weights(tmp_path):
    whole = weights(run(TINY, tmp_path / "whole"))
    run(replace(TINY, images=16), tmp_path / "parts")
    parts = weights(run(TINY, tmp_path / "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert column(tmp_path / "parts" / "adversarial.csv", "step") == [1, 2, 3, 4]


def test_drawn_images_move_towards_the_real_ones(tmp_path):
    run(replace(TINY, images=1200, ema_images=64), tmp_path)
    blue = column(tmp_path / "watch.csv", "blue")
    assert abs(blue[-1] - 0.6) < 0.6 * abs(blue[0] - 0.6)


def test_the_critic_learns_to_tell(tmp_path):
    run(replace(TINY, images=320), tmp_path)
    losses = column(tmp_path / "adversarial.csv", "critic")
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_a_spent_budget_begins_no_step(tmp_path):
    assert run(TINY, tmp_path, ends=time.monotonic() - 1).step == 0
    assert not (tmp_path / FILE).exists()


def test_a_budget_that_runs_out_leaves_a_checkpoint(tmp_path, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(adversarial.time, "monotonic", lambda: next(ticks))
    state = run(replace(TINY, images=8000, log_every=1000), tmp_path, ends=4)
    assert state.step == 3
    monkeypatch.undo()
    assert run(replace(TINY, images=32), tmp_path).step == 4


def test_another_run_in_the_folder_is_refused(tmp_path):
    run(replace(TINY, images=8), tmp_path)
    with pytest.raises(UsageError, match="other options"):
        run(replace(TINY, r1=3.0), tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(MissingError, match="damaged checkpoint"):
        run(TINY, tmp_path)


def test_a_diverged_run_ends(tmp_path):
    with pytest.raises(DseInvertError, match="not finite"):
        run(replace(TINY, lr=1e30), tmp_path)


def test_weights_learn_at_their_initial_deviation_and_the_mapping_slowly():
    state = new_state(replace(TINY, channels=(64, 48), w_dim=64), CPU)
    for net in (state.generator, state.discriminator):
        for name, parameter in net.named_parameters():
            slow = 0.01 if name.startswith("mapping") else 1
            if not name.endswith("weight"):
                assert rate_factor(name, parameter) == slow, name
            elif parameter.numel() > 1000:
                deviation = parameter.std().item()
                assert rate_factor(name, parameter) == pytest.approx(slow * deviation, rel=0.15), (
                    name
                )


def test_box_blurs_change_neither_images_nor_weights():
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 4}, 8, 8, 2))
    latent = generator.sample([1, 2])
    before, names = generator.synthesize(latent), list(generator.state_dict())
    box_blurs(generator)
    assert torch.allclose(generator.synthesize(latent), before, atol=1e-5)
    assert list(generator.state_dict()) == names


def test_a_share_of_the_samples_mixes_two_styles():
    torch.manual_seed(0)
    generator = new_state(TINY, CPU).generator
    for share in (0.0, 0.5, 1.0):
        rows = codes(generator, 400, share)
        mixed = (rows[:, 0] != rows[:, -1]).any(1).float().mean().item()
        assert mixed == pytest.approx(share, abs=0.08)


def test_augmentation_grows_while_real_images_are_known_by_heart():
    state = new_state(TINY, CPU)
    nets = fast(state, CPU, compiled=False)
    state.signs.fill_(1)
    descend(nets, state, TINY, Blue().at(0))
    assert state.probability.item() == pytest.approx(8 / 400)
    state.signs.fill_(-1)
    descend(nets, state, TINY, Blue().at(1))
    assert state.probability.item() == 0


def test_the_average_leans_on_new_weights_at_first():
    state = new_state(TINY, CPU)
    descend(fast(state, CPU, compiled=False), state, TINY, Blue().at(0))
    pairs = zip(state.smooth.parameters(), state.generator.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


def test_path_lengths_are_regularised_where_wanted(tmp_path):
    state = run(replace(TINY, path_length=2.0, path_every=2), tmp_path / "with")
    assert state.path > 0
    assert run(TINY, tmp_path / "without").path == 0


def test_half_precision_changes_little():
    figures = []
    for half in (False, True):
        state = new_state(TINY, CPU)
        nets = replace(fast(state, CPU, compiled=False), half=half)
        for step in range(3):
            last = descend(nets, state, TINY, Blue().at(step))
        figures.append(last)
        assert all(p.dtype == torch.float32 for p in state.generator.parameters())
    for name, value in figures[0].items():
        assert figures[1][name].item() == pytest.approx(value.item(), abs=0.1), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_trains_and_goes_on(tmp_path, compiled):
    device = torch.device("cuda")
    for images in (64, 128):
        options = replace(TINY, images=images, path_length=2.0)
        state = train(options, Blue(device), tmp_path, device, watch, compiled=compiled)
    assert state.step == 16
    assert all(p.isfinite().all() for p in state.smooth.parameters())
    steps = [adam.state_dict()["state"][0]["step"] for adam in (state.g_optimiser,)]
    assert all(step.device.type == "cpu" for step in steps)
