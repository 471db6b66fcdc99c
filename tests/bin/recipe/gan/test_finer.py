"""One more block: it begins in silence, learns alone, and goes on after a stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dseinvert.training.team import Team
from recipe.encoder.joint import JointOptions, build
from recipe.gan.course import Pace, follow
from recipe.gan.finer import (
    FILE,
    Block,
    FinerOptions,
    Refining,
    begin,
    below,
    cropped,
    doubled,
    spread_rows,
)
from recipe.gan.game import Rules

JOINT = JointOptions(
    resolution=16, channels=(8, 8, 8), encoder_channels=(8, 8, 8), w_dim=16, mapping_layers=2
)
OPTIONS = FinerOptions(
    width=8,
    widths=(8, 8, 8),
    rules=Rules(warm_up=1, ramp=2, r1_every=2, half=False),
    pace=Pace(images=24, batch=4, log_every=1, keep_every=3, watch_every=3),
)


class Apart(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))


def begun() -> Refining:
    torch.manual_seed(1)
    pair = build(JOINT, 16)

    def look(generator):
        return {"sharp": 1.0}, [generator.synthesize(generator.sample([1, 2])).clamp(-1, 1)]

    trunk = pair.encoder.eval().requires_grad_(False)
    return begin(doubled(pair.generator, OPTIONS.width), trunk, OPTIONS, Apart(), look)


def real(step: int) -> Iterator[Tensor]:
    while True:
        yield torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(step)) * 2 - 1
        step += 1


def run(folder: Path, pace: Pace = OPTIONS.pace) -> Refining:
    stage = begun()
    follow(stage, pace, real, folder / FILE, Team())
    return stage


def test_a_new_block_draws_what_was_drawn_before_enlarged() -> None:
    torch.manual_seed(0)
    small = build(JOINT, 16).generator.requires_grad_(False)
    large, rows = doubled(small, 8), torch.randn(2, 6, 16)
    wide = spread_rows(rows)
    expected = small.synthesis.upsample(small.synthesis(rows))
    assert torch.allclose(large.synthesis(wide), expected, atol=1e-5)
    assert torch.allclose(Block(large)(*below(large, wide), wide), expected, atol=1e-5)


def test_the_block_and_its_critic_learn_and_nothing_else_does(tmp_path: Path) -> None:
    before, after = begun(), run(tmp_path)
    assert after.step == 6
    for name, changes in (("block", True), ("critic", True), ("trunk", False)):
        old, new = (getattr(one, name).state_dict() for one in (before, after))
        assert any(not torch.equal(old[key], new[key]) for key in old) == changes, name
    old, new = before.smooth.state_dict(), after.smooth.state_dict()
    moved = {key for key in old if not torch.equal(old[key], new[key])}
    assert moved and all(
        key.startswith(("synthesis.convs.5.", "synthesis.convs.6.", "synthesis.to_rgbs.3."))
        for key in moved
    )
    assert (tmp_path / "grid-0000006.png").is_file()


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", replace(OPTIONS.pace, images=12))
    parts = run(tmp_path / "parts")
    for name, tensor in whole.smooth.state_dict().items():
        assert torch.equal(tensor, parts.smooth.state_dict()[name]), name


def test_a_run_that_went_wrong_goes_back_to_one_of_its_last_two_looks(tmp_path: Path) -> None:
    often = replace(OPTIONS.pace, watch_every=2)
    whole = run(tmp_path, often)
    kept = sorted(path.name for path in tmp_path.glob("finer-*.pt"))
    assert kept == ["finer-0000004.pt", "finer-0000006.pt"]
    (tmp_path / kept[0]).replace(tmp_path / FILE)
    again = run(tmp_path, often)
    for name, tensor in whole.smooth.state_dict().items():
        assert torch.equal(tensor, again.smooth.state_dict()[name]), name


def test_a_crop_says_where_it_is() -> None:
    torch.manual_seed(0)
    line = torch.linspace(-1, 1, 16)
    across = line.expand(8, 1, 16, 16)
    images = torch.cat([across, across.mT, across], dim=1)
    parts = cropped(images)
    assert parts.shape == (8, 5, 8, 8)
    assert torch.equal(parts[:, :2], parts[:, 3:])
    assert len({tuple(part[:2, 0, 0].tolist()) for part in parts}) > 4
