"""Every network that is built to be loaded is, once loaded, the one that was saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dseinvert.encoders import kinds
from dseinvert.generators import families
from dseinvert.generators.blank import Blank
from dseinvert.models import open_model, save_model

CHANNELS = {4: 8, 8: 8, 16: 4}
ROWS = dict(resolution=16, channels=CHANNELS, w_dim=8, z_dim=8, mapping_layers=2)
GENERATORS: dict[str, dict[str, Any]] = {
    "biggan": dict(channels=(16, 16, 8, 8, 4), attention=2, z_dim=4, class_dim=6, classes=5),
    "pggan": dict(resolution=16, channels=CHANNELS, z_dim=8, pixel_bias=True),
    "stylegan1": dict(**ROWS, mapping_width=8, classes=3),
    "stylegan2": dict(
        resolution=32,
        channels={**CHANNELS, 32: 4},
        w_dim=16,
        z_dim=8,
        mapping_layers=2,
        classes=3,
    ),
    "stylegan3": dict(
        resolution=16,
        channel_base=64,
        channel_max=8,
        w_dim=8,
        z_dim=8,
        num_layers=4,
        margin_size=4,
        use_radial_filters=True,
        conv_kernel=1,
    ),
}
TRUNK = dict(resolution=32, layers=8, w_dim=16, widths=(4, 6, 8, 8))
PSP = dict(layers=8, w_dim=16, widths=(16, 16, 16, 16), units=(1, 1, 1, 1), size=32)
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dse": ("stylegan2", TRUNK),
    "dse-biggan": ("biggan", dict(resolution=16, z_dim=4, class_dim=6, widths=(4, 8, 8))),
    "dse-feature": ("stylegan2", dict(trunk=TRUNK, layer=2, side=8, channels=8, width=8)),
    "dse-pggan": ("pggan", dict(resolution=16, z_dim=8, widths=(4, 8, 8))),
    "deep-gan": ("stylegan2", dict(widths=(4, 6, 6, 6), w_dim=16, strided=1)),
    "deep-gan-big": ("biggan", dict(widths=(4, 6, 6), z_dim=4, class_dim=6)),
    "feature-style": (
        "stylegan2",
        PSP | dict(layer=3, side=8, channels=8),
    ),
    "idinvert": ("stylegan1", dict(layers=6, w_dim=8, widths=(4, 6, 6))),
    "psp": ("stylegan2", PSP),
    "style-feature": ("stylegan2", PSP | dict(channels=8, depth=1, edits=True)),
    "restyle": ("stylegan2", dict(network=PSP | dict(relative=True, in_channels=6), iterations=2)),
}
"""The smallest of each kind, and the family it is for."""


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that nobody filled holds NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def whole(module: nn.Module) -> dict[str, Tensor]:
    """All its tensors, also the buffers that no file holds."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def assert_same(one: nn.Module, other: nn.Module) -> None:
    found, wanted = whole(one), whole(other)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("family", sorted(families.FAMILIES))
def test_a_generator_that_is_opened_is_the_one_that_was_saved(family: str, tmp_path: Path):
    torch.manual_seed(0)
    generator = families.build({"family": family, **GENERATORS[family]}).eval()
    save_model(tmp_path / "model", generator, name="model")
    opened = open_model(str(tmp_path / "model")).generator
    assert_same(opened, generator)
    with torch.no_grad():
        latent = generator.sample([1, 2])
        assert torch.equal(opened.synthesize(latent), generator.synthesize(latent))


# Those of importers/test_inverters.py are opened there.
@pytest.mark.parametrize("kind", sorted(kinds.KINDS.keys() & ENCODERS.keys()))
def test_an_encoder_that_is_opened_is_the_one_that_was_saved(kind: str, tmp_path: Path):
    torch.manual_seed(0)
    family, numbers = ENCODERS[kind]
    generator = families.build({"family": family, **GENERATORS[family]}).eval()
    encoder = kinds.build({"kind": kind, **numbers}).eval()
    encoder.attach(generator)
    save_model(tmp_path / "model", generator, encoder, name="model")
    opened = open_model(str(tmp_path / "model")).encoder
    assert isinstance(opened, nn.Module)
    assert_same(opened, encoder)
    side = generator.resolution
    images = torch.zeros(2, 3, side, side).uniform_(-1, 1)
    label = torch.eye(5)[:2] if family == "biggan" else None
    with torch.no_grad():
        assert torch.equal(opened.encode(images, label).code, encoder.encode(images, label).code)


def test_only_random_numbers_are_left_out():
    with Blank():
        blank = nn.Linear(3, 3)
        numbers = torch.arange(4.0) * 2 + torch.ones(4)
        empty = torch.randn(2, 3, dtype=torch.float64)
    assert blank.weight.isnan().all() and blank.weight.requires_grad
    assert empty.shape == (2, 3) and empty.dtype == torch.float64 and empty.isnan().all()
    assert numbers.tolist() == [1, 3, 5, 7]
    assert torch.randn(3).isfinite().all()
