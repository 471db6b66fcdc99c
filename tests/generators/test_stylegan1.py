from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators import families
from dseinvert.generators.stylegan1 import Blur, StyledLayer, StyleGAN1, StyleGAN1Config
from dseinvert.latent import Latent, concat

SIZES = {"w_dim": 16, "z_dim": 12, "mapping_layers": 2, "mapping_width": 14}
CONFIG = StyleGAN1Config(32, {4: 12, 8: 10, 16: 8, 32: 6}, **SIZES)
LAYERS = range(1, 9)


def made(config: StyleGAN1Config) -> StyleGAN1:
    torch.manual_seed(0)
    generator = StyleGAN1(config).eval().requires_grad_(False)
    generator.mapping.w_avg.normal_()
    for layer in generator.synthesis.layers:
        layer.noise_strength.normal_(std=0.3)
        layer.bias.normal_(std=0.1)
    return generator


@pytest.fixture(scope="module")
def gan() -> StyleGAN1:
    return made(CONFIG)


@pytest.fixture(scope="module")
def classy() -> StyleGAN1:
    return made(StyleGAN1Config(8, {4: 8, 8: 8}, classes=3, **SIZES))


@pytest.fixture(scope="module")
def wide() -> StyleGAN1:
    return made(StyleGAN1Config(8, {4: 8, 8: 8}, own_rows=True, **SIZES))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_styled_layer_is_noise_bias_leaky_relu_and_adain():
    torch.manual_seed(1)
    layer = StyledLayer(torch.nn.Identity(), 4, 16, 8).requires_grad_(False)
    layer.noise_strength.normal_()
    layer.bias.normal_()
    x, w = torch.randn(2, 4, 8, 8), torch.randn(2, 16)
    scale, shift = (layer.style(w)[:, half, None, None] for half in (slice(4), slice(4, 8)))
    plain = x + layer.noise * layer.noise_strength[:, None, None] + layer.bias[:, None, None]
    normal = F.instance_norm(F.leaky_relu(plain, 0.2), eps=1e-8)
    close(layer(x, w), normal * scale + shift)


def test_the_blur_is_one_two_one_with_black_around():
    x = torch.randn(2, 3, 5, 5)
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None] / 16
    planes = [F.conv2d(plane, kernel, padding=1) for plane in x.split(1, dim=1)]
    close(Blur()(x), torch.cat(planes, dim=1))


@pytest.mark.parametrize(("resolution", "layers"), [(64, 10), (256, 14), (1024, 18)])
def test_layers_follow_from_the_resolution(resolution, layers):
    channels = {2**k: 2 for k in range(2, 11)}
    with torch.device("meta"):
        generator = StyleGAN1(StyleGAN1Config(resolution, channels, **SIZES))
    assert generator.spec.layers == layers == len(generator.synthesis.layers)


def test_images_have_the_models_size(gan):
    assert gan.synthesize(gan.sample([0, 1])).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("row", range(8))
def test_every_row_of_w_matters(gan, row):
    latent = gan.sample([0])
    code = latent.code.clone()
    code[:, row] += 1
    changed = gan.synthesize(Latent(code, "w+")) - gan.synthesize(latent)
    assert changed.abs().max() > 1e-3


def test_a_seed_is_the_same_sample_in_every_batch(gan):
    together, alone = gan.sample([5, 6, 7]), concat([gan.sample([seed]) for seed in (5, 6, 7)])
    close(together.code, alone.code)
    images = torch.cat([gan.synthesize(gan.sample([seed])) for seed in (5, 6, 7)])
    close(gan.synthesize(together), images)


def test_truncation_moves_towards_the_mean(gan):
    full, mean = gan.sample([1]).code, gan.mean_latent().code
    close(gan.sample([1], psi=0).code, mean)
    close(gan.sample([1], psi=0.7).code, mean + 0.7 * (full - mean))


def test_truncation_stops_at_the_cutoff(gan):
    full, part = gan.sample([1]).code, gan.sample([1], psi=0.5, cutoff=3).code
    assert torch.equal(part[:, 3:], full[:, 3:])
    close(part[:, :3], gan.sample([1], psi=0.5).code[:, :3])


@pytest.mark.parametrize("layer", LAYERS)
def test_entering_at_a_feature_gives_the_same_image(gan, layer):
    latent = gan.sample([0, 1])
    feature = gan.features(latent, layer)
    assert feature.shape[2] == 2 ** ((layer + 3) // 2)
    for skip in ("keep", "drop"):
        again = Latent(latent.code, "w+", feature=feature, layer=layer, skip=skip)
        close(gan.synthesize(again), gan.synthesize(latent))


@pytest.mark.parametrize("layer", LAYERS)
def test_another_feature_gives_another_image(gan, layer):
    latent, other = gan.sample([0]), gan.features(gan.sample([1]), layer)
    changed = gan.synthesize(Latent(latent.code, "w+", feature=other, layer=layer))
    assert (changed - gan.synthesize(latent)).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [0, 9])
def test_a_layer_that_does_not_exist_is_refused(gan, layer):
    latent = gan.sample([0])
    with pytest.raises(ValueError, match=r"1\.\.8"):
        gan.features(latent, layer)
    with pytest.raises(ValueError, match=r"1\.\.8"):
        gan.synthesize(Latent(latent.code, "w+", torch.zeros(1, 8, 4, 4), layer))


def test_noise_is_fixed_unless_it_is_given(gan):
    latent = gan.sample([0, 1])
    stored = [layer.noise for layer in gan.synthesis.layers]
    assert torch.equal(gan.synthesize(latent), gan.synthesize(latent))
    assert torch.equal(gan.synthesize(latent, stored), gan.synthesize(latent))
    own = [torch.randn(2, *noise.shape[1:]) for noise in stored]
    changed = gan.synthesize(latent, own) - gan.synthesize(latent)
    assert changed.abs().amax((1, 2, 3)).min() > 1e-3


def test_no_noise_is_noise_of_zero(gan):
    latent = gan.sample([0])
    zeros = [torch.zeros_like(layer.noise) for layer in gan.synthesis.layers]
    close(gan.synthesize(latent, "none"), gan.synthesize(latent, zeros))
    assert (gan.synthesize(latent, "none") - gan.synthesize(latent)).abs().max() > 1e-3


def test_w_and_z_are_taken_too(gan):
    latent = gan.sample([0])
    close(gan.synthesize(Latent(latent.code[:, :1], "w")), gan.synthesize(latent))
    z = torch.randn(12, generator=torch.Generator().manual_seed(0)).view(1, 1, 12)
    close(gan.synthesize(Latent(z, "z")), gan.synthesize(latent))
    close(gan.synthesize(Latent(z.expand(-1, 8, -1), "z+")), gan.synthesize(latent))


def test_rows_of_their_own_come_from_one_z(wide):
    latent = wide.sample([0])
    assert (latent.code[:, 0] - latent.code[:, 1]).abs().max() > 1e-2
    z = torch.randn(12, generator=torch.Generator().manual_seed(0)).view(1, 1, 12)
    close(wide.rows(Latent(z, "z")), latent.code)
    close(wide.rows(Latent(z.expand(-1, 4, -1), "z+")), latent.code)
    assert wide.mean_latent().code.shape == (1, 4, 16)


@pytest.mark.parametrize("rows", [3, 5])
def test_a_code_of_another_generator_is_refused(gan, wide, rows):
    with pytest.raises(ValueError, match=r"\[B, 8, 16\]"):
        gan.synthesize(Latent(torch.zeros(1, rows, 16), "w+"))
    with pytest.raises(ValueError, match=r"\[B, 4, 16\]"):
        wide.synthesize(Latent(torch.zeros(1, rows, 12), "z+"))


def test_a_class_changes_the_latent(classy):
    latent = classy.sample([0, 0, 0], labels=[0, 1, 2])
    assert (latent.code[0] - latent.code[1]).abs().max() > 1e-2
    assert torch.equal(latent.label, torch.eye(3))
    assert classy.spec.classes == 3


def test_a_class_is_drawn_from_the_seed(classy):
    labels = classy.sample(range(20)).label
    assert (labels.sum(dim=0) > 0).all()
    assert torch.equal(labels[7:8], classy.sample([7]).label)


def test_z_without_a_label_is_refused_where_there_are_classes(classy):
    with pytest.raises(ValueError, match=r"a label \[B, 3\], got none"):
        classy.synthesize(Latent(torch.zeros(1, 1, 12), "z"))
    assert classy.synthesize(classy.mean_latent()).shape == (1, 3, 8, 8)


def test_a_config_survives_json(classy, wide):
    for config in (CONFIG, classy.config, wide.config):
        numbers = json.loads(json.dumps({"family": "stylegan1", **config.asdict()}))
        assert families.build(numbers).config == config


@pytest.mark.parametrize("resolution", [0, 4, 48])
def test_an_impossible_resolution_is_refused(resolution):
    with pytest.raises(ValueError, match="power of two"):
        StyleGAN1Config(resolution, {4: 2, 8: 2, 16: 2, 32: 2, 64: 2})


def test_a_mapping_network_has_layers():
    with pytest.raises(ValueError, match="at least 1"):
        StyleGAN1Config(8, {4: 2, 8: 2}, mapping_layers=0)
