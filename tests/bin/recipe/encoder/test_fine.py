"""An encoder for a finished generator: it begins as its trunk, learns alone, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.training.team import Team
from recipe.doubled import widened
from recipe.encoder.fine import FILE, FineOptions, Fitting, begin
from recipe.encoder.joint import JointOptions, build
from recipe.gan.course import Pace, follow
from recipe.gan.game import Rules

JOINT = JointOptions(
    resolution=16, channels=(8, 8, 8), encoder_channels=(8, 8, 8), w_dim=16, mapping_layers=2
)
OPTIONS = FineOptions(
    layer=3,
    width=8,
    depth=1,
    widths=(8, 8),
    rules=Rules(warm_up=1, ramp=2, r1_every=2, half=False),
    pace=Pace(images=24, batch=4, log_every=1, keep_every=3, watch_every=3),
)


class Apart(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))


def begun() -> Fitting:
    torch.manual_seed(1)
    pair = build(JOINT, 16)
    generator = pair.generator.eval().requires_grad_(False)

    def look(encoder):
        return {"close": 1.0}, [generator.synthesize(encoder.encode(next(real(0)))).clamp(-1, 1)]

    return begin(generator, pair.encoder.eval(), OPTIONS, Apart(), look)


def real(step: int) -> Iterator[Tensor]:
    while True:
        yield torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(step)) * 2 - 1
        step += 1


def run(folder: Path, pace: Pace = OPTIONS.pace) -> Fitting:
    stage = begun()
    follow(stage, pace, real, folder / FILE, Team())
    return stage


def test_encoder_and_critic_learn_and_the_generator_stays(tmp_path: Path) -> None:
    before, after = begun(), run(tmp_path)
    assert after.step == 6
    for name, changes in (
        ("encoder", True),
        ("critic", True),
        ("smooth", True),
        ("generator", False),
    ):
        old, new = (getattr(one, name).state_dict() for one in (before, after))
        assert any(not torch.equal(old[key], new[key]) for key in old) == changes, name
    assert (tmp_path / "grid-0000006.png").is_file()


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", replace(OPTIONS.pace, images=12))
    parts = run(tmp_path / "parts")
    for name, tensor in whole.smooth.state_dict().items():
        assert torch.equal(tensor, parts.smooth.state_dict()[name]), name


def test_a_wider_trunk_finds_in_large_pictures_what_it_found_in_small_ones() -> None:
    torch.manual_seed(0)
    trunk = build(JOINT, 16).encoder.eval().requires_grad_(False)
    with torch.no_grad():
        large = widened(trunk)
        small = F.interpolate(torch.rand(8, 3, 4, 4) * 2 - 1, (16, 16), mode="bilinear")
        again = F.interpolate(small, (32, 32), mode="nearest")
        old, new = trunk(small)[0], large(again)[0]
    assert new.shape == (8, 8, 16)
    apart = (new[:, :6] - old).square().mean() / old.var()
    assert apart < 0.3, float(apart)
