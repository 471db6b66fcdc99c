from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators.families import build
from dseinvert.generators.stylegan3 import StyleGAN3, StyleGAN3Config
from dseinvert.latent import Latent, concat

SMALL = {"channel_base": 128, "channel_max": 8, "w_dim": 12, "z_dim": 10, "num_layers": 5}
T = StyleGAN3Config(32, **SMALL)
R = StyleGAN3Config(32, **SMALL, conv_kernel=1, use_radial_filters=True)
LAYERS = range(1, 6)
PUBLISHED_T_256 = (
    "L0_36_512 L1_36_512 L2_36_512 L3_52_512 L4_52_512 L5_84_512 L6_84_512 L7_148_512 L8_148_512 "
    "L9_148_362 L10_276_256 L11_276_181 L12_276_128 L13_256_128 L14_256_3"
)
PUBLISHED_T_1024 = (
    "L0_36_512 L1_36_512 L2_52_512 L3_52_512 L4_84_512 L5_148_512 L6_148_512 L7_276_323 "
    "L8_276_203 L9_532_128 L10_1044_81 L11_1044_51 L12_1044_32 L13_1024_32 L14_1024_3"
)


def fresh(config: StyleGAN3Config) -> StyleGAN3:
    torch.manual_seed(0)
    generator = StyleGAN3(config).eval().requires_grad_(False)
    generator.mapping.w_avg.normal_()
    generator.synthesis.input.affine.weight.normal_(std=0.1)
    for layer in generator.synthesis.layers:
        layer.bias.normal_(std=0.2)
        layer.gain.fill_(0.8)
    return generator


@pytest.fixture(scope="module")
def gan() -> StyleGAN3:
    return fresh(T)


@pytest.fixture(scope="module")
def turning() -> StyleGAN3:
    return fresh(R)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def names(config: StyleGAN3Config) -> str:
    return " ".join(f"L{i}_{s.size}_{s.channels}" for i, s in enumerate(config.signals))


@pytest.mark.parametrize(
    ("resolution", "listed"), [(256, PUBLISHED_T_256), (1024, PUBLISHED_T_1024)]
)
def test_sizes_and_widths_are_those_of_the_published_layers(resolution, listed):
    assert names(StyleGAN3Config(resolution)) == listed
    assert StyleGAN3Config(resolution).layers == 16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resolution": 48}, "power of two"),
        ({"resolution": 8}, "power of two"),
        ({"num_layers": 2, "num_critical": 2}, "critically"),
        ({"conv_kernel": 2}, "odd"),
    ],
)
def test_numbers_that_make_no_network_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        StyleGAN3Config(**{"resolution": 32, **changes})


def test_a_generator_is_rebuilt_from_json(turning):
    numbers = json.loads(json.dumps({"family": "stylegan3", **turning.config.asdict()}))
    other = build(numbers)
    assert other.config == turning.config
    other.load_state_dict(turning.state_dict())
    latent = turning.sample([1])
    assert torch.equal(other.synthesize(latent), turning.synthesize(latent))


@pytest.mark.parametrize("config", [T, R])
def test_batch_size_does_not_change_the_result(config):
    generator = fresh(config)
    batch = generator.sample([3, 4, 5])
    alone = concat([generator.sample([seed]) for seed in (3, 4, 5)])
    close(batch.code, alone.code)
    images = generator.synthesize(batch)
    assert images.shape == (3, 3, 32, 32)
    close(images[1:2], generator.synthesize(batch[1:2]))
    assert images.std() > 0.01 and (images[0] - images[1]).abs().mean() > 0.01


def test_gradients_are_of_the_same_image(gan):
    code = gan.sample([1, 2]).code.requires_grad_()
    image = gan.synthesize(Latent(code, "w+"))
    with torch.no_grad():
        close(image, gan.synthesize(Latent(code, "w+")))
    image.square().mean().backward()
    assert (code.grad.abs().amax(dim=(0, 2)) > 0).all(), "every row matters"


def test_truncation_moves_rows_towards_the_mean(gan):
    mean, full = gan.mean_latent().code, gan.sample([7]).code
    half = gan.sample([7], psi=0.5, cutoff=3).code
    close(half[:, :3], mean[:, :3].lerp(full[:, :3], 0.5))
    assert torch.equal(half[:, 3:], full[:, 3:])
    close(gan.sample([7], psi=0).code, mean)


def test_the_layer_modulates_as_published(gan):
    layer = gan.synthesis.layers[2]
    layer.weight.mul_(torch.rand(len(layer.weight), 1, 1, 1) + 0.5)  # no channel of unit norm
    x, w = torch.randn(2, 8, 36, 36), torch.randn(2, 12)
    outputs = []
    for sample, style in zip(x, layer.affine(w), strict=True):
        weight = layer.weight * style[None, :, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt() * layer.gain
        outputs.append(F.conv2d(sample[None], weight, layer.bias, padding=2))
    close(layer(x, w), layer.activation(torch.cat(outputs)))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("skip", ["keep", "drop"])
def test_a_feature_put_back_gives_the_same_image(gan, layer, skip):
    latent, other = gan.sample([1, 2]), gan.sample([3, 4])
    feature = gan.features(latent, layer)
    signal = gan.config.signals[layer - 1]
    assert feature.shape == (2, signal.channels, signal.size, signal.size)
    close(gan.synthesize(Latent(latent.code, "w+", feature, layer, skip)), gan.synthesize(latent))
    mixed = other.code.clone()
    mixed[:, layer + 1 :] = latent.code[:, layer + 1 :]
    close(gan.synthesize(Latent(mixed, "w+", feature, layer, skip)), gan.synthesize(latent))


@pytest.mark.parametrize("layer", [0, 6])
def test_a_layer_that_is_not_there_is_refused(gan, layer):
    latent = gan.sample([1])
    with pytest.raises(ValueError, match=r"1\.\.5"):
        gan.features(latent, layer)
    with pytest.raises(ValueError, match=r"1\.\.5"):
        gan.synthesize(Latent(latent.code, "w+", torch.zeros(1, 8, 36, 36), layer))


def test_a_quarter_turn_turns_the_image_of_configuration_r(turning):
    latent = turning.sample([1])
    still = turning.synthesize(latent, torch.eye(3))
    free = turning.synthesis.input._learned(latent.code[:, 0])[0, :2, 2]
    assert free.abs().max() > 0.01, "the learned translation is not zero"
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    close(turning.synthesize(latent, turn), still.rot90(1, (2, 3)))


@pytest.mark.parametrize("config", [T, R])
def test_a_translation_moves_the_image(config):
    generator = fresh(config)
    latent = generator.sample([1])
    move = torch.eye(3)
    move[0, 2] = 1 / 16  # whole samples in every layer: 2 pixels of 32
    still, moved = generator.synthesize(latent), generator.synthesize(latent, move)
    inside = (still[..., 8:-8, 8:-8], moved[..., 8:-8, 6:-10])
    apart = (inside[0] - inside[1]).square().mean()
    assert apart < 1e-3 * (still - moved).square().mean()


def test_a_transform_may_be_stored_or_given_for_each_sample(turning):
    latent = turning.sample([1, 2])
    turn = torch.eye(3)
    turn[:2, :2] = torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    each = turning.synthesize(latent, torch.stack([turn, torch.eye(3)]))
    close(each[1:], turning.synthesize(latent[1:]))
    turning.synthesis.input.transform.copy_(turn)
    close(each[:1], turning.synthesize(latent[:1]))
    turning.synthesis.input.transform.copy_(torch.eye(3))


def test_a_transform_beyond_the_band_fades_waves_out(gan):
    shrink = torch.diag(torch.tensor([100.0, 100, 1]))
    waves = gan.synthesis.input(gan.sample([1]).code[:, 0], shrink)
    assert waves.abs().max() < 0.1 * gan.synthesis.input(gan.sample([1]).code[:, 0]).abs().max()


def test_classes_change_the_image_and_must_be_given():
    generator = fresh(StyleGAN3Config(16, **SMALL, classes=3))
    assert generator.spec.classes == 3
    one, two = (generator.sample([1], labels=[label]) for label in (0, 2))
    assert not torch.allclose(generator.synthesize(one), generator.synthesize(two))
    z = torch.randn(1, 1, 10)
    with pytest.raises(ValueError, match="label"):
        generator.synthesize(Latent(z, "z"))
    with pytest.raises(ValueError, match=r"0\.\.2"):
        generator.sample([1], labels=[3])


def test_half_precision_is_close(gan):
    latent = gan.sample([1])
    image = gan.synthesize(latent)
    with torch.autocast("cpu", torch.bfloat16):
        half = gan.synthesize(latent)
    assert (half.float() - image).square().mean() < 1e-3 * image.var()


@pytest.mark.slow
def test_the_graph_takes_any_batch():
    generator = fresh(StyleGAN3Config(16, channel_max=4, w_dim=8, num_layers=2, num_critical=1))
    ws = torch.randn(2, 4, 8)
    batch = torch.export.Dim("batch", min=1, max=64)
    graph = torch.export.export(generator.synthesis, (ws,), dynamic_shapes=({0: batch},))
    more = torch.randn(3, 4, 8)
    with torch.no_grad():
        close(graph.module()(more), generator.synthesis(more))
