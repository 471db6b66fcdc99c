from __future__ import annotations

import copy
import json

import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators import families
from dseinvert.generators.biggan import BigGAN, BigGANConfig, Statistics, published_config
from dseinvert.latent import Latent, concat, dumps, load_latent

CONFIG = BigGANConfig(
    (32, 32, 16, 16, 8), attention=2, z_dim=16, class_dim=12, classes=6, statistics=6
)


@pytest.fixture(scope="module")
def gan() -> BigGAN:
    torch.manual_seed(0)
    generator = BigGAN(CONFIG).eval().requires_grad_(False)
    generator.attention.gamma.fill_(0.5)
    for module in generator.modules():
        if isinstance(module, Statistics):
            module.means.normal_(std=0.3)
            module.variances.uniform_(0.5, 1.5)
    return generator


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_images_have_the_models_size_and_stay_in_range(gan):
    images = gan.synthesize(gan.sample([0, 1]))
    assert images.shape == (2, 3, 16, 16)
    assert 0.05 < images.std() < 0.9
    assert images.abs().max() <= 1


@pytest.mark.parametrize(
    ("resolution", "blocks", "millions"), [(128, 10, 50.4), (256, 12, 55.9), (512, 14, 56.2)]
)
def test_published_sizes_have_the_published_parameters(resolution, blocks, millions):
    config = published_config(resolution)
    with torch.device("meta"):
        generator = BigGAN(config)
    assert (config.resolution, config.blocks) == (resolution, blocks)
    # The published counts include the 125 channels of the last convolution that are not shown.
    hidden = 125 * (128 * 9 + 1)
    count = sum(p.numel() for p in generator.parameters()) + hidden
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


def test_an_unpublished_size_is_refused():
    with pytest.raises(ValueError, match="128, 256, 512"):
        published_config(64)


def test_a_seed_is_the_same_sample_in_every_batch(gan):
    together, alone = gan.sample([5, 6, 7]), concat([gan.sample([seed]) for seed in (5, 6, 7)])
    assert torch.equal(together.code, alone.code)
    assert torch.equal(together.label, alone.label)
    close(
        gan.synthesize(together), torch.cat([gan.synthesize(together[i : i + 1]) for i in range(3)])
    )


def test_z_is_normal_within_two_deviations(gan):
    z = gan.sample(range(400)).code
    assert z.abs().max() <= 2
    assert z.mean().abs() < 0.05
    assert z.std() == pytest.approx(0.88, abs=0.02)  # of a normal cut at +-2


def test_truncation_multiplies_z_and_chooses_the_statistics(gan):
    full, part = gan.sample([1]), gan.sample([1], psi=0.4)
    close(part.code, 0.4 * full.code)
    assert torch.equal(part.label, full.label)
    same_z = Latent(part.code, "z", label=part.label, origin=full.origin)
    assert (gan.synthesize(same_z) - gan.synthesize(part)).abs().max() > 1e-3


def test_a_cutoff_of_none_of_the_rows_does_not_truncate(gan):
    assert torch.equal(gan.sample([1], psi=0.4, cutoff=0).code, gan.sample([1]).code)
    assert torch.equal(gan.sample([1], psi=0.4, cutoff=8).code, gan.sample([1], psi=0.4).code)


def test_a_saved_latent_draws_the_same_image(gan, tmp_path):
    latent = gan.sample([1, 2], psi=0.8)
    file = tmp_path / "latent.safetensors"
    file.write_bytes(dumps(latent))
    assert torch.equal(gan.synthesize(load_latent(file)), gan.synthesize(latent))


def test_a_latent_that_names_no_truncation_has_the_configs(gan):
    named = gan.sample([1], psi=CONFIG.truncation)
    unnamed = Latent(named.code, "z", label=named.label)
    assert torch.equal(gan.synthesize(unnamed), gan.synthesize(named))


@pytest.mark.parametrize("psi", [-0.1, 1.1])
def test_a_truncation_outside_its_range_is_refused(gan, psi):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        gan.sample([0], psi=psi)


def test_statistics_of_a_measured_truncation_are_its_row_and_others_lie_between():
    statistics = Statistics(4, 5)
    statistics.means.normal_()
    for row in range(5):
        assert torch.equal(statistics(row / 4)[0], statistics.means[row])
    between = statistics(0.3)[0]
    assert ((between - statistics.means[1]) * (between - statistics.means[2]) <= 0).all()


def test_classes_are_drawn_from_the_seed_or_given(gan):
    drawn = gan.sample(range(100)).label.argmax(1)
    assert set(drawn.tolist()) == set(range(6))
    given = gan.sample([0, 1], labels=[4, 2])
    assert given.label.argmax(1).tolist() == [4, 2]
    assert torch.equal(given.code, gan.sample([0, 1]).code)


@pytest.mark.parametrize("labels", [[6], [-1], [1, 2]])
def test_classes_that_do_not_fit_are_refused(gan, labels):
    with pytest.raises(ValueError, match=r"0\.\.5"):
        gan.sample([0], labels=labels)


def test_the_class_and_z_change_the_image(gan):
    images = [
        gan.synthesize(gan.sample([seed], labels=[c])) for seed, c in ((0, 1), (0, 2), (1, 1))
    ]
    assert (images[0] - images[1]).abs().max() > 1e-2
    assert (images[0] - images[2]).abs().max() > 1e-2


def test_a_soft_label_embeds_as_the_mixture(gan):
    soft = torch.tensor([[0.25, 0.75, 0, 0, 0, 0]])
    one, two = gan.embed(torch.eye(6)[:1]), gan.embed(torch.eye(6)[1:2])
    close(gan.embed(soft), 0.25 * one + 0.75 * two)


def test_the_mean_latent_is_zero_of_all_classes_alike(gan):
    mean = gan.mean_latent()
    assert mean.code.shape == (1, 1, 16)
    assert not mean.code.any()
    close(gan.embed(mean.label), gan.embed(torch.eye(6)).mean(0, keepdim=True))
    assert gan.synthesize(mean).isfinite().all()


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_entering_at_a_feature_gives_the_same_image(gan, layer):
    latent = gan.sample([0, 1])
    feature = gan.features(latent, layer)
    again = Latent(latent.code, "z", feature, layer, label=latent.label, origin=latent.origin)
    close(gan.synthesize(again), gan.synthesize(latent))
    other = Latent(latent.code, "z", feature + 1, layer, label=latent.label, origin=latent.origin)
    assert (gan.synthesize(other) - gan.synthesize(latent)).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [0, 5])
def test_a_layer_that_does_not_exist_is_refused(gan, layer):
    latent = gan.sample([0])
    with pytest.raises(ValueError, match=r"1\.\.4"):
        gan.features(latent, layer)
    entering = Latent(latent.code, "z", torch.zeros(1, 32, 4, 4), layer, label=latent.label)
    with pytest.raises(ValueError, match=r"1\.\.4"):
        gan.synthesize(entering)


def test_a_latent_of_another_generator_or_without_its_class_is_refused(gan):
    label = torch.eye(6)[:1]
    for code, space in ((torch.zeros(1, 1, 8), "z"), (torch.zeros(1, 1, 16), "w")):
        with pytest.raises(ValueError, match=r"\[B, 1, 16\]"):
            gan.synthesize(Latent(code, space, label=label))
    for wrong in (None, torch.eye(7)[:1]):
        with pytest.raises(ValueError, match=r"label \[B, 6\]"):
            gan.synthesize(Latent(torch.zeros(1, 1, 16), "z", label=wrong))


def test_attention_is_a_softmax_over_a_half_size_map(gan):
    attention, x = gan.attention, torch.randn(2, 16, 8, 8)
    query = attention.query(x).flatten(2)
    key = F.max_pool2d(attention.key(x), 2).flatten(2)
    value = F.max_pool2d(attention.value(x), 2).flatten(2)
    weights = torch.einsum("bcq,bck->bqk", query, key).softmax(-1)
    seen = torch.einsum("bck,bqk->bcq", value, weights).view(2, 8, 8, 8)
    close(attention(x), x + 0.5 * attention.out(seen))


def test_a_block_drops_the_surplus_channels_of_its_shortcut(gan):
    block = copy.deepcopy(gan.blocks[1])
    block.convs[-1].weight.zero_()
    block.convs[-1].bias.zero_()
    x = torch.randn(2, 32, 4, 4)
    shortcut = block(x, torch.randn(2, 28), 0.4)
    assert torch.equal(shortcut, x[:, :16].repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_a_config_survives_json():
    numbers = json.loads(json.dumps({"family": "biggan", **CONFIG.asdict()}))
    assert families.build(numbers).config == CONFIG


@pytest.mark.parametrize(
    "change",
    [
        {"channels": (32, 32)},
        {"channels": (32, 32, 16, 16)},
        {"channels": (32, 32, 16, 16, 12)},
        {"channels": (30, 30, 15, 15, 15)},
        {"attention": 4},
        {"truncation": 1.5},
    ],
)
def test_numbers_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError):
        BigGANConfig(**{**CONFIG.asdict(), **change})
