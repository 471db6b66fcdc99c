from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dseinvert.generators import Generator
from dseinvert.generators.families import build
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.styles import styles
from dseinvert.latent import Latent

WIDTHS = {"4": 12, "8": 10, "16": 8, "32": 6}
SMALL = {"z_dim": 16, "w_dim": 16, "mapping_layers": 2}
KINDS = {
    "stylegan1": {"family": "stylegan1", "resolution": 32, "channels": WIDTHS, **SMALL},
    "stylegan2": {"family": "stylegan2", "resolution": 32, "channels": WIDTHS, **SMALL},
    "stylegan2 orig": {
        "family": "stylegan2",
        "resolution": 32,
        "channels": WIDTHS,
        "architecture": "orig",
        **SMALL,
    },
    "stylegan2 resnet": {
        "family": "stylegan2",
        "resolution": 32,
        "channels": WIDTHS,
        "architecture": "resnet",
        **SMALL,
    },
    "stylegan3": {
        "family": "stylegan3",
        "resolution": 16,
        "channel_base": 128,
        "channel_max": 12,
        "num_layers": 6,
        **SMALL,
    },
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def gan(request: pytest.FixtureRequest) -> Generator:
    torch.manual_seed(0)
    return build(request.param).eval().requires_grad_(False)


def offsets(gan: Generator, count: int = 3, size: float = 0.4) -> Tensor:
    torch.manual_seed(1)
    return size * torch.randn(count, gan.style_layers[-1].columns.stop)


def test_styles_are_the_affine_outputs_one_after_the_other(gan: Generator) -> None:
    latent = gan.sample([1, 2])
    made = styles(gan, latent)
    seen = []
    hooks = [
        layer.affine.register_forward_hook(lambda *call: seen.append(call[2]))
        for layer in gan.style_layers
    ]
    with torch.enable_grad():  # the path that fuses nothing
        gan.synthesize(latent)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(torch.cat(seen, dim=1), made)  # in the order in which they are used


def test_an_offset_is_the_same_as_a_change_of_the_affine_bias(gan: Generator) -> None:
    latent, offset = gan.sample([1, 2]), offsets(gan, 1)
    moved = gan.synthesize(replace(latent, style=offset.expand(2, -1)))
    plain = gan.synthesize(latent)
    for layer in gan.style_layers:
        layer.affine.bias += offset[0, layer.columns]
    by_hand = gan.synthesize(latent)
    for layer in gan.style_layers:
        layer.affine.bias -= offset[0, layer.columns]
    torch.testing.assert_close(moved, by_hand, rtol=1e-4, atol=1e-5)
    assert (moved - plain).abs().max() > 0.01


@pytest.mark.parametrize("count", [1, 3])
def test_no_offset_and_an_offset_of_zero_draw_the_same_bits(gan: Generator, count: int) -> None:
    latent = gan.sample(range(count))
    still = replace(latent, style=torch.zeros(count, gan.style_layers[-1].columns.stop))
    with torch.inference_mode():
        assert torch.equal(gan.synthesize(latent), gan.synthesize(still))
        assert torch.equal(gan.features(latent, 3), gan.features(still, 3))
    with torch.enable_grad():
        assert torch.equal(gan.synthesize(latent), gan.synthesize(still))


def test_the_fast_path_and_the_plain_one_agree_on_offsets(gan: Generator) -> None:
    latent = replace(gan.sample([1, 2, 3]), style=offsets(gan))
    with torch.enable_grad():
        plain, feature = gan.synthesize(latent), gan.features(latent, 3)
    with torch.inference_mode():
        single = [gan.synthesize(latent[i : i + 1]) for i in range(3)]
        one = [gan.features(latent[i : i + 1], 3) for i in range(3)]
        together = gan.synthesize(latent)
    torch.testing.assert_close(torch.cat(single), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat(one), feature, rtol=1e-4, atol=1e-5)


def test_an_offset_counts_in_the_styles(gan: Generator) -> None:
    latent, offset = gan.sample([1, 2, 3]), offsets(gan)
    moved = styles(gan, replace(latent, style=offset))
    torch.testing.assert_close(moved, styles(gan, latent) + offset)


def test_the_columns_of_a_layer_move_nothing_before_it(gan: Generator) -> None:
    latent = gan.sample([1])
    layer = next(layer for layer in gan.style_layers if layer.name == "conv5")
    style = torch.zeros(1, gan.style_layers[-1].columns.stop)
    style[:, layer.columns] = 0.5
    moved = replace(latent, style=style)
    assert torch.equal(gan.features(moved, 3), gan.features(latent, 3))
    assert not torch.equal(gan.features(moved, 5), gan.features(latent, 5))


def test_an_offset_of_another_width_is_refused(gan: Generator) -> None:
    latent = gan.sample([1])
    with pytest.raises(ValueError, match=r"styles \[B, "):
        gan.synthesize(replace(latent, style=torch.zeros(1, 3)))


def test_the_colours_of_every_size_have_styles_where_they_are_summed() -> None:
    names = [layer.name for layer in build(KINDS["stylegan2"]).style_layers]
    assert names[:5] == ["conv1", "rgb1", "conv2", "conv3", "rgb2"]
    assert [name for name in names if name.startswith("rgb")] == ["rgb1", "rgb2", "rgb3", "rgb4"]
    only = [layer.name for layer in build(KINDS["stylegan2 orig"]).style_layers]
    assert only == [*(f"conv{i}" for i in range(1, 8)), "rgb1"]


def test_a_family_without_styles_has_no_style_layers() -> None:
    assert PGGAN(PGGANConfig(8, {4: 4, 8: 4}, z_dim=4)).style_layers == ()


def test_a_feature_enters_beside_offsets(gan: Generator) -> None:
    latent = replace(gan.sample([1, 2]), style=offsets(gan, 2))
    feature = gan.features(latent, 3)
    again = gan.synthesize(replace(latent, feature=feature, layer=3))
    torch.testing.assert_close(again, gan.synthesize(latent), rtol=1e-4, atol=1e-5)
    assert isinstance(again, Tensor) and isinstance(latent, Latent)
