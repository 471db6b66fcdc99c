"""The feature branch of a fitted encoder, once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.training.team import Team
from recipe.encoder.branch import untrained
from recipe.encoder.joint import JointOptions, build
from recipe.encoder.keener import FILE, Keener, KeenerOptions, begin, deeper
from recipe.gan.course import Pace, follow
from recipe.gan.game import Rules

JOINT = JointOptions(
    resolution=16, channels=(8, 8, 8), encoder_channels=(8, 8, 8), w_dim=16, mapping_layers=2
)
OPTIONS = KeenerOptions(
    depth=3,
    rules=Rules(half=False),
    pace=Pace(images=24, batch=4, log_every=1, keep_every=3, watch_every=3),
)


class Apart(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))


def fitted() -> DSEFeatureEncoder:
    torch.manual_seed(1)
    pair = build(JOINT, 16)
    return untrained(pair.generator.eval().requires_grad_(False), pair.encoder.eval(), 3)


def begun() -> Keener:
    encoder = fitted()
    (generator,) = encoder._generator

    def look(keener):
        return {"close": 1.0}, [generator.synthesize(keener.encode(next(real(0)))).clamp(-1, 1)]

    return begin(generator, encoder, OPTIONS, Apart(), look)


def real(step: int) -> Iterator[Tensor]:
    while True:
        yield torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(step)) * 2 - 1
        step += 1


def run(folder: Path, pace: Pace = OPTIONS.pace) -> Keener:
    stage = begun()
    follow(stage, pace, real, folder / FILE, Team())
    return stage


def test_a_deeper_branch_begins_as_what_it_was() -> None:
    encoder = fitted()
    nn.init.normal_(encoder.branch.leave.weight)
    deep = deeper(encoder, 4)
    deep.attach(encoder._generator[0])
    images = next(real(0))
    old, new = encoder.encode(images), deep.encode(images)
    assert old.feature is not None and new.feature is not None
    assert len(deep.branch.body) == 4 > len(encoder.branch.body)
    assert torch.equal(old.feature, new.feature) and torch.equal(old.code, new.code)
    assert len(deeper(encoder, 1).branch.body) == len(encoder.branch.body)


def test_the_branch_learns_and_nothing_else_does(tmp_path: Path) -> None:
    before, after = begun(), run(tmp_path)
    assert after.step == 6
    for name in ("encoder", "smooth", "generator"):
        old, new = (getattr(one, name).state_dict() for one in (before, after))
        moved = {key for key in old if not torch.equal(old[key], new[key])}
        assert all(key.startswith("branch.") for key in moved)
        assert bool(moved) == (name != "generator"), name


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", replace(OPTIONS.pace, images=12, log_every=2))
    parts = run(tmp_path / "parts")
    for name, tensor in whole.smooth.state_dict().items():
        assert torch.equal(tensor, parts.smooth.state_dict()[name]), name
