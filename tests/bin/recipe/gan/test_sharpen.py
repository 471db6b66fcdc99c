"""A sharp auto-encoder: the critic sees detail, the step teaches all, a stop changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dseinvert.training.pictures import Variations
from dseinvert.training.team import Team
from recipe.cutouts import cut_out, mildly
from recipe.detail import detail, fine, share_kept
from recipe.encoder.joint import JointOptions, build
from recipe.gan.course import Pace, follow
from recipe.gan.critic import Critic
from recipe.gan.game import Rules
from recipe.gan.sharpen import FILE, Sharpening, SharpenOptions, begin

OPTIONS = SharpenOptions(
    widths=(8, 8, 8),
    rules=Rules(warm_up=1, ramp=2, r1_every=2, half=False),
    pace=Pace(images=24, batch=4, log_every=1, keep_every=3, watch_every=3),
)
JOINT = JointOptions(
    resolution=16, channels=(8, 8, 8), encoder_channels=(8, 8, 8), w_dim=16, mapping_layers=2
)


class Apart(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))


def begun() -> Sharpening:
    torch.manual_seed(1)
    pair = build(JOINT, 16)

    def look(generator, trunk):
        return {"sharp": 1.0}, [generator.synthesize(generator.sample([1, 2])).clamp(-1, 1)]

    return begin(pair.generator, pair.encoder, OPTIONS, Apart(), look)


def real(step: int) -> Iterator[Tensor]:
    while True:
        yield torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(step)) * 2 - 1
        step += 1


def run(folder: Path, pace: Pace = OPTIONS.pace) -> Sharpening:
    stage = begun()
    follow(stage, pace, real, folder / FILE, Team())
    return stage


def test_every_network_learns_and_the_averages_follow(tmp_path: Path) -> None:
    before, after = begun(), run(tmp_path)
    assert after.step == 6
    for name in ("generator", "trunk", "critic", "smooth", "smooth_trunk"):
        old, new = (getattr(one, name).state_dict() for one in (before, after))
        assert any(not torch.equal(old[key], new[key]) for key in old), name
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 7
    assert (tmp_path / "grid-0000006.png").is_file()


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", replace(OPTIONS.pace, images=12))
    parts = run(tmp_path / "parts")
    for name, tensor in whole.smooth.state_dict().items():
        assert torch.equal(tensor, parts.smooth.state_dict()[name]), name


def test_the_critic_tells_soft_from_sharp_in_half_precision() -> None:
    torch.manual_seed(0)
    critic = Critic(16, {4: 8, 8: 8, 16: 8})
    sharp = torch.full((1, 3, 16, 16), 0.7) + 0.002 * torch.randn(1, 3, 16, 16)
    soft = sharp - fine(sharp)
    with torch.autocast("cpu", torch.bfloat16):
        apart = (critic.net.from_rgb(torch.cat([sharp, 5 * fine(sharp)], 1))
                 - critic.net.from_rgb(torch.cat([soft, 5 * fine(soft)], 1)))  # fmt: skip
    assert apart.dtype == torch.float32 and apart.abs().max() > 1e-3


def test_detail_is_lost_by_a_mean_and_kept_by_a_copy() -> None:
    torch.manual_seed(0)
    images = torch.rand(5, 3, 16, 16)
    assert share_kept(images, images) == 1
    assert share_kept(images.mean(0, keepdim=True).expand(5, -1, -1, -1), images) < 0.35
    assert detail(torch.ones(2, 3, 8, 8)).tolist() == [0, 0]


@pytest.fixture
def portrait() -> np.ndarray:
    """A dark disc before a pale wall, with a soft edge between."""
    rows, columns = np.mgrid[0:96, 0:96]
    inside = np.clip((36 - np.hypot(rows - 52, columns - 48)) / 4 + 0.5, 0, 1)
    picture = 230 - 190 * inside[..., None] * np.array([1.0, 0.9, 0.8])
    return picture.astype(np.uint8)


def test_a_cut_out_brings_no_rim_of_its_old_background(portrait: np.ndarray) -> None:
    person, mask = cut_out(portrait)
    assert 0 < (mask > 127).mean() < 0.6
    shown = person[(mask > 20) & (mask < 235)].astype(int)
    assert shown.max() < 140, "the pale wall shines through"
    varied = Variations(portrait[None], mask[None], 64, 8, 0, vary=mildly(person[None], mask[None]))
    batch = varied.at(0)
    assert batch.shape == (8, 3, 64, 64) and batch.abs().max() <= 1
    assert torch.equal(batch, varied.at(0)) and not torch.equal(batch, varied.at(1))
