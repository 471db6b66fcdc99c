from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators import ops, stylegan2
from dseinvert.generators.ops import Blur, ModulatedConv, StyledConv, Upsample, fir_kernel
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.latent import Latent, concat

CONFIG = StyleGAN2Config(32, {4: 12, 8: 10, 16: 8, 32: 6}, w_dim=16, z_dim=16, mapping_layers=2)
CONVS = range(1, 8)  # a generator of 32 px has seven styled convolutions


VARIANTS = {
    "skip": CONFIG,
    "orig": replace(CONFIG, architecture="orig"),
    "resnet": replace(CONFIG, architecture="resnet"),
    "bounded": replace(CONFIG, clamp=0.4),
    "bounded resnet": replace(CONFIG, architecture="resnet", clamp=0.4),
    "grey": replace(CONFIG, image_channels=1),
    "classes": replace(CONFIG, classes=5, embed_dim=3, mapping_width=11),
}


def lively(config: StyleGAN2Config) -> StyleGAN2:
    """Random weights, with noise and biases that matter."""
    torch.manual_seed(0)
    generator = StyleGAN2(config).eval().requires_grad_(False)
    generator.mapping.w_avg.copy_(torch.randn(16))
    for conv in generator.synthesis.convs:
        conv.noise_strength.fill_(0.3)
        conv.bias.normal_(std=0.1)
    return generator


@pytest.fixture(scope="module")
def gan() -> StyleGAN2:
    return lively(CONFIG)


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS)
def variant(request) -> StyleGAN2:
    return lively(request.param)


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


@pytest.mark.parametrize(("field", "value"), [("architecture", "none"), ("image_channels", 4)])
def test_what_cannot_be_built_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        replace(CONFIG, **{field: value})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("noise", ["const", "none"])
def test_plain_inference_gives_the_images_of_training(variant, batch, noise):
    latent = variant.sample(range(batch))
    recorded = variant.synthesize(latent, noise)
    with torch.no_grad():
        close(variant.synthesize(latent, noise), recorded)


def test_large_features_may_be_doubled_in_parts(monkeypatch):
    torch.manual_seed(0)
    conv = StyledConv(6, 70, 16, 16, up=True)
    x, w = torch.randn(1, 6, 8, 8), torch.randn(1, 16)
    recorded = conv(x, w)
    monkeypatch.setattr(ops, "AT_ONCE", 1)
    with torch.no_grad():
        close(conv(x, w), recorded)


@pytest.mark.parametrize("at_once", [1, 2 * 12 * 32 * 32])
def test_a_batch_may_be_computed_in_pieces(variant, monkeypatch, at_once):
    latent = variant.sample(range(5))
    noise = [conv.noise for conv in variant.synthesis.convs]
    noise[2] = torch.randn(5, *noise[2].shape[1:])
    recorded = variant.synthesize(latent, noise)
    monkeypatch.setattr(stylegan2, "AT_ONCE", at_once)
    with torch.no_grad():
        images = variant.synthesize(latent, noise)
    assert images.is_contiguous()
    close(images, recorded)


def test_features_enter_a_batch_in_pieces_and_stay_as_they_are(variant, monkeypatch):
    monkeypatch.setattr(stylegan2, "AT_ONCE", 1)
    latent = variant.sample([0, 1, 2])
    with torch.no_grad():
        feature = variant.features(latent, 5)
        kept = feature.clone()
        again = replace(latent, feature=feature, layer=5)
        close(variant.synthesize(again), variant.synthesize(latent))
    assert torch.equal(feature, kept)


def test_the_numbers_of_a_file_stay_where_they_were(gan):
    weight = gan.synthesis.convs[1].conv.weight
    assert not weight.is_contiguous()  # else this test says nothing
    copy = StyleGAN2(CONFIG)
    copy.load_state_dict({n: t.contiguous() for n, t in gan.state_dict().items()})
    assert torch.equal(copy.synthesis.convs[1].conv.weight, weight)
    assert copy.synthesis.convs[1].conv.weight.stride() == weight.stride()


@pytest.mark.parametrize("name", ["skip", "resnet", "classes"])
def test_an_exported_graph_takes_any_batch(name):
    generator = lively(VARIANTS[name])
    rows = generator.sample(range(4)).code.contiguous()
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=1, max=64)
        graph = torch.export.export(
            generator.synthesis, (rows[:2],), dynamic_shapes={"ws": {0: batch}}, strict=False
        ).module()
        for size in (1, 4):
            close(graph(rows[:size]), generator.synthesis(rows[:size]))


def test_gradients_reach_every_weight(variant):
    generator = StyleGAN2(variant.config)
    code = generator.sample([0, 1]).code
    generator.synthesize(Latent(code, "w+")).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


def test_no_noise_is_noise_of_no_strength(gan):
    latent = gan.sample([0, 1])
    quiet = lively(CONFIG)
    for conv in quiet.synthesis.convs:
        conv.noise_strength.zero_()
    close(gan.synthesize(latent, "none"), quiet.synthesize(latent))
    assert (gan.synthesize(latent, "none") - gan.synthesize(latent)).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["bounded", "bounded resnet"])
def test_features_stay_within_their_bound(name):
    generator = lively(VARIANTS[name])
    latent = generator.sample(range(4))
    feature = generator.features(latent, 1)
    assert feature.abs().max() == pytest.approx(0.4)
    last = generator.features(latent, 7).abs().max()
    assert last <= 0.4 or name == "bounded resnet"  # there a bypass adds to it
    assert generator.synthesize(latent).abs().max() > 0.4 or name != "bounded"


def test_a_grey_generator_gives_three_equal_channels():
    image = lively(VARIANTS["grey"]).synthesize(lively(VARIANTS["grey"]).sample([0]))
    assert image.shape == (1, 3, 32, 32)
    assert torch.equal(image[:, 0], image[:, 1]) and torch.equal(image[:, 0], image[:, 2])


def residual(generator: StyleGAN2, code: torch.Tensor) -> torch.Tensor:
    """A "resnet" generator as published (Karras et al., 2020, Figure 7c), block by block."""
    nets = generator.synthesis
    x = nets.convs[0](nets.const.expand(len(code), -1, -1, -1), code[:, 0])
    for block, bypass in enumerate(nets.bypasses):
        first, second = nets.convs[2 * block + 1], nets.convs[2 * block + 2]
        y = first(x, code[:, 2 * block + 1])
        y = second.conv(y, code[:, 2 * block + 2]) + second.noise_strength * second.noise
        y = F.leaky_relu(y + second.bias[:, None, None], 0.2) * 2**0.5
        straight = nets.upsample(F.conv2d(x, bypass.weight * 2**0.5))
        x = (y + straight) / 2**0.5
    return nets.to_rgbs[-1](x, code[:, -1])


def test_residual_blocks_add_their_bypass():
    generator = lively(VARIANTS["resnet"])
    latent = generator.sample([0, 1])
    close(generator.synthesize(latent), residual(generator, latent.code))


def test_one_image_is_drawn_where_there_is_no_skip():
    for name in ("orig", "resnet"):
        assert len(lively(VARIANTS[name]).synthesis.to_rgbs) == 1


@pytest.mark.parametrize("layer", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("skip", ["keep", "drop"])
def test_a_feature_enters_a_generator_without_skips(layer, skip):
    generator = lively(VARIANTS["orig"])
    latent = generator.sample([0, 1])
    feature = generator.features(latent, layer)
    again = replace(latent, feature=feature, layer=layer, skip=skip)
    close(generator.synthesize(again), generator.synthesize(latent))


@pytest.mark.parametrize(("layer", "skip"), [(1, "keep"), (3, "drop"), (5, "keep"), (7, "drop")])
def test_a_feature_enters_between_residual_blocks(layer, skip):
    generator = lively(VARIANTS["resnet"])
    latent = generator.sample([0, 1])
    feature = generator.features(latent, layer)
    again = replace(latent, feature=feature, layer=layer, skip=skip)
    close(generator.synthesize(again), generator.synthesize(latent))


def test_within_residual_blocks_there_is_no_feature():
    generator = lively(VARIANTS["resnet"])
    latent = generator.sample([0])
    with pytest.raises(ValueError, match="1, 3, 5"):
        generator.features(latent, 2)
    with pytest.raises(ValueError, match="1, 3, 5"):
        generator.synthesize(replace(latent, feature=torch.zeros(1, 10, 8, 8), layer=2))


def test_the_class_changes_the_sample_and_comes_with_it():
    generator = lively(VARIANTS["classes"])
    assert generator.spec.classes == 5
    first, second = generator.sample([3, 3], labels=[0, 4])[0:1], generator.sample([3], labels=[4])
    assert first.label.argmax().item() == 0 and second.label.argmax().item() == 4
    assert (first.code - second.code).abs().max() > 1e-2


def test_a_class_is_drawn_from_the_seed():
    generator = lively(VARIANTS["classes"])
    together = generator.sample(range(20))
    assert len(set(together.label.argmax(1).tolist())) > 1
    alone = concat([generator.sample([seed]) for seed in range(20)])
    assert torch.equal(together.label, alone.label)
    close(together.code, alone.code)
    picks = together.label.argmax(1).tolist()
    close(generator.sample(range(20), labels=picks).code, together.code)


def test_z_with_a_label_is_mapped_as_samples_are():
    generator = lively(VARIANTS["classes"])
    latent = generator.sample([0], labels=[2])
    z = torch.randn(16, generator=torch.Generator().manual_seed(0)).view(1, 1, 16)
    close(generator.rows(Latent(z, "z", label=latent.label)), latent.code)
    close(generator.rows(Latent(z.expand(-1, 8, -1), "z+", label=latent.label)), latent.code)


def test_z_of_a_generator_with_classes_needs_a_label():
    generator = lively(VARIANTS["classes"])
    with pytest.raises(ValueError, match=r"label \[B, 5\]"):
        generator.synthesize(Latent(torch.zeros(1, 1, 16), "z"))
    with pytest.raises(ValueError, match=r"0\.\.4"):
        generator.sample([0], labels=[5])


def test_the_mean_stands_for_all_classes():
    generator = lively(VARIANTS["classes"])
    assert generator.mean_latent().label.tolist() == [pytest.approx([0.2] * 5)]


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_mapping_network_may_be_as_short_as_one_likes(layers):
    generator = StyleGAN2(replace(CONFIG, mapping_layers=layers, mapping_width=7))
    assert len(generator.mapping.layers) == layers
    assert generator.sample([0]).code.shape == (1, 8, 16)


@pytest.mark.parametrize("pad", [(1, 1), (2, 1)])
def test_a_blur_pads_with_zeros(pad):
    x = torch.randn(2, 3, 9, 9)
    close(Blur(pad, gain=4)(x), filtered(x, *pad))
