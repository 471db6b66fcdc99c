from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators.ops import ModulatedConv, StyledConv, Upsample, fir_kernel
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.latent import Latent, concat

CONFIG = StyleGAN2Config(32, {4: 12, 8: 10, 16: 8, 32: 6}, w_dim=16, z_dim=16, mapping_layers=2)
CONVS = range(1, 8)  # a generator of 32 px has seven styled convolutions


@pytest.fixture(scope="module")
def gan() -> StyleGAN2:
    torch.manual_seed(0)
    generator = StyleGAN2(CONFIG).eval().requires_grad_(False)
    generator.mapping.w_avg.copy_(torch.randn(16))
    for conv in generator.synthesis.convs:
        conv.noise_strength.fill_(0.3)
        conv.bias.normal_(std=0.1)
    return generator


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def per_sample_conv(conv: ModulatedConv, x: torch.Tensor, w: torch.Tensor, up: bool):
    """StyleGAN2, Equations 1-3, as printed: a weight for each sample."""
    outputs = []
    for sample, style in zip(x, conv.affine(w), strict=True):
        weight = conv.weight * style[None, :, None, None]  # Equation 1
        if conv.demodulate:
            energy = weight.square().sum((1, 2, 3), keepdim=True)
            weight = weight / (energy + 1e-8).sqrt()  # Equation 3
        if up:
            outputs.append(F.conv_transpose2d(sample[None], weight.transpose(0, 1), stride=2))
        else:
            outputs.append(F.conv2d(sample[None], weight, padding=weight.shape[-1] // 2))
    return torch.cat(outputs)


def filtered(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """StyleGAN2's FIR of gain 4 over a padded image, one channel at a time."""
    x = F.pad(x, (before, after, before, after))
    planes = [F.conv2d(plane, fir_kernel()[None, None] * 4) for plane in x.split(1, dim=1)]
    return torch.cat(planes, dim=1)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("kernel", "up"), [(3, False), (3, True), (1, False)])
def test_modulating_the_input_equals_modulating_the_weight(kernel, up, demodulate):
    torch.manual_seed(1)
    conv = ModulatedConv(5, 7, kernel, 16, demodulate=demodulate)
    x, w = torch.randn(3, 5, 8, 8), torch.randn(3, 16)
    close(conv(x, w, up=up), per_sample_conv(conv, x, w, up))


def test_an_upsampled_image_is_zero_insertion_and_the_fir():
    x = torch.randn(2, 3, 5, 5)
    sparse = torch.zeros(2, 3, 10, 10)
    sparse[:, :, ::2, ::2] = x
    close(Upsample()(x), filtered(sparse, 2, 1))


def test_an_upsampling_convolution_is_filtered_to_twice_the_size():
    torch.manual_seed(2)
    conv = StyledConv(4, 6, 16, 16, up=True)
    x, w = torch.randn(2, 4, 8, 8), torch.randn(2, 16)
    plain = filtered(per_sample_conv(conv.conv, x, w, up=True), 1, 1)
    close(conv(x, w), F.leaky_relu(plain, 0.2) * 2**0.5)


@pytest.mark.parametrize(
    ("resolution", "layers"), [(64, 10), (128, 12), (256, 14), (512, 16), (1024, 18)]
)
def test_layers_follow_from_the_resolution(resolution, layers):
    channels = {2**k: 2 for k in range(2, 11)}
    with torch.device("meta"):
        generator = StyleGAN2(StyleGAN2Config(resolution, channels, w_dim=8, z_dim=8))
    assert generator.spec.layers == layers
    assert len(generator.synthesis.convs) == layers - 1  # the last row styles the last ToRGB


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


def test_samples_are_drawn_again_from_the_same_seed(gan):
    assert torch.equal(gan.sample([3]).code, gan.sample([3]).code)
    assert not torch.equal(gan.sample([3]).code, gan.sample([4]).code)


def test_truncation_moves_towards_the_mean(gan):
    full, mean = gan.sample([1]).code, gan.mean_latent().code
    close(gan.sample([1], psi=0).code, mean)
    close(gan.sample([1], psi=0.7).code, mean + 0.7 * (full - mean))


def test_truncation_stops_at_the_cutoff(gan):
    full, part = gan.sample([1]).code, gan.sample([1], psi=0.5, cutoff=3).code
    assert torch.equal(part[:, 3:], full[:, 3:])
    close(part[:, :3], gan.sample([1], psi=0.5).code[:, :3])


@pytest.mark.parametrize("layer", CONVS[:-1])
def test_entering_at_a_feature_gives_the_same_image(gan, layer):
    latent = gan.sample([0, 1])
    feature = gan.features(latent, layer)
    again = Latent(latent.code, "w+", feature=feature, layer=layer)
    close(gan.synthesize(again), gan.synthesize(latent))


@pytest.mark.parametrize(("layer", "skip"), [(0, "keep"), (0, "drop"), (8, "drop"), (7, "keep")])
def test_a_feature_that_cannot_enter_is_refused(gan, layer, skip):
    latent = Latent(gan.sample([0]).code, "w+", torch.zeros(1, 8, 4, 4), layer, skip)
    with pytest.raises(ValueError, match="enters at layer"):
        gan.synthesize(latent)


@pytest.mark.parametrize("layer", CONVS)
def test_dropping_leaves_out_exactly_the_rgb_images_below_the_feature(layer):
    torch.manual_seed(0)
    generator = StyleGAN2(CONFIG).requires_grad_(False)
    for to_rgb in generator.synthesis.to_rgbs[: layer // 2]:
        to_rgb.conv.weight.zero_()
    latent = generator.sample([0, 1])
    feature = generator.features(latent, layer)
    again = Latent(latent.code, "w+", feature=feature, layer=layer, skip="drop")
    close(generator.synthesize(again), generator.synthesize(latent))


def test_dropping_at_the_first_convolution_loses_nothing(gan):
    latent = gan.sample([0])
    again = Latent(latent.code, "w+", feature=gan.features(latent, 1), layer=1, skip="drop")
    close(gan.synthesize(again), gan.synthesize(latent))


# Kept RGB images leave nothing for a feature at the last convolution to change.
@pytest.mark.parametrize(
    ("layer", "skip"), [(k, s) for k in CONVS for s in ("keep", "drop") if (k, s) != (7, "keep")]
)
def test_another_feature_gives_another_image(gan, layer, skip):
    latent, other = gan.sample([0]), gan.features(gan.sample([1]), layer)
    foreign = Latent(latent.code, "w+", feature=other, layer=layer, skip=skip)
    assert (gan.synthesize(foreign) - gan.synthesize(latent)).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [0, 8])
def test_a_layer_that_does_not_exist_is_refused(gan, layer):
    with pytest.raises(ValueError, match=r"1\.\.7"):
        gan.features(gan.sample([0]), layer)


def test_noise_is_fixed_unless_it_is_given(gan):
    latent = gan.sample([0, 1])
    stored = [conv.noise for conv in gan.synthesis.convs]
    assert torch.equal(gan.synthesize(latent), gan.synthesize(latent))
    assert torch.equal(gan.synthesize(latent, stored), gan.synthesize(latent))
    own = [torch.randn(2, *noise.shape[1:]) for noise in stored]
    changed = gan.synthesize(latent, own) - gan.synthesize(latent)
    assert changed.abs().amax((1, 2, 3)).min() > 1e-3


def test_w_and_z_are_taken_too(gan):
    latent = gan.sample([0])
    close(gan.synthesize(Latent(latent.code[:, :1], "w")), gan.synthesize(latent))
    z = torch.randn(16, generator=torch.Generator().manual_seed(0)).view(1, 1, 16)
    close(gan.synthesize(Latent(z, "z")), gan.synthesize(latent))
    close(gan.synthesize(Latent(z.expand(-1, 8, -1), "z+")), gan.synthesize(latent))


def test_a_code_of_another_generator_is_refused(gan):
    with pytest.raises(ValueError, match=r"\[B, 8, 16\]"):
        gan.synthesize(Latent(torch.zeros(1, 10, 16), "w+"))


def test_a_config_survives_json():
    assert StyleGAN2Config(**json.loads(json.dumps(CONFIG.asdict()))) == CONFIG


@pytest.mark.parametrize("resolution", [0, 4, 48])
def test_an_impossible_resolution_is_refused(resolution):
    with pytest.raises(ValueError):
        StyleGAN2Config(resolution, {4: 2, 8: 2, 16: 2, 32: 2})


def test_a_missing_width_is_refused():
    with pytest.raises(ValueError, match="lacks resolution 8"):
        StyleGAN2Config(16, {4: 2, 16: 2})
