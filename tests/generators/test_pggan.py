from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators import families
from dseinvert.generators.pggan import PGGAN, PGGANConfig, doubling_kernel
from dseinvert.latent import Latent, concat

CONFIG = PGGANConfig(32, {4: 12, 8: 10, 16: 8, 32: 6}, z_dim=16)
LAYERS = range(1, 9)


def made(config: PGGANConfig) -> PGGAN:
    torch.manual_seed(0)
    generator = PGGAN(config).eval().requires_grad_(False)
    for layer in generator.convs:
        layer.bias.normal_(std=0.1)
    return generator


@pytest.fixture(scope="module")
def gan() -> PGGAN:
    return made(CONFIG)


@pytest.fixture(scope="module")
def classy() -> PGGAN:
    return made(PGGANConfig(16, {4: 8, 8: 8, 16: 6}, z_dim=12, classes=3))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_doubling_kernel_is_nearest_neighbour_and_the_plain_one():
    kernel, x = torch.randn(5, 4, 3, 3), torch.randn(2, 4, 7, 7)
    big = F.interpolate(x, scale_factor=2, mode="nearest")
    doubling = doubling_kernel(kernel.flip(2, 3).transpose(0, 1))
    ours = F.conv_transpose2d(x, doubling, stride=2, padding=1)
    close(ours, F.conv2d(big, kernel, padding=1))


def test_images_have_the_models_size(gan):
    assert gan.synthesize(gan.sample([0, 1])).shape == (2, 3, 32, 32)


def test_fresh_weights_keep_the_variance(gan):
    image = gan.synthesize(gan.sample(range(8)))
    assert 0.3 < image.std() < 3


def test_samples_lie_on_the_sphere(gan):
    code = gan.sample(range(4)).code
    assert code.shape == (4, 1, 16)
    close(code.square().mean(dim=2), torch.ones(4, 1))


def test_the_length_of_z_does_not_matter(gan):
    latent = gan.sample([0])
    close(gan.synthesize(Latent(latent.code * 7, "z")), gan.synthesize(latent))


def test_a_seed_is_the_same_sample_in_every_batch(gan):
    together, alone = gan.sample([5, 6, 7]), concat([gan.sample([seed]) for seed in (5, 6, 7)])
    assert torch.equal(together.code, alone.code)
    images = torch.cat([gan.synthesize(gan.sample([seed])) for seed in (5, 6, 7)])
    close(gan.synthesize(together), images)
    assert not torch.equal(together.code[0], together.code[1])


def test_any_truncation_is_refused(gan):
    assert not gan.truncates
    with pytest.raises(ValueError, match="no truncation"):
        gan.sample([0], psi=0.7)


def test_the_centre_gives_an_image_too(gan):
    mean = gan.mean_latent()
    assert mean.code.shape == (1, gan.spec.layers, gan.spec.dim)
    assert gan.synthesize(mean).isfinite().all()


@pytest.mark.parametrize("layer", LAYERS)
def test_entering_at_a_feature_gives_the_same_image(gan, layer):
    latent = gan.sample([0, 1])
    feature = gan.features(latent, layer)
    assert feature.shape[2] == 2 ** ((layer + 3) // 2)
    for skip in ("keep", "drop"):
        again = Latent(latent.code, "z", feature=feature, layer=layer, skip=skip)
        close(gan.synthesize(again), gan.synthesize(latent))


@pytest.mark.parametrize("layer", LAYERS)
def test_another_feature_gives_another_image(gan, layer):
    latent, other = gan.sample([0]), gan.features(gan.sample([1]), layer)
    changed = gan.synthesize(Latent(latent.code, "z", feature=other, layer=layer))
    assert (changed - gan.synthesize(latent)).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [0, 9])
def test_a_layer_that_does_not_exist_is_refused(gan, layer):
    latent = gan.sample([0])
    with pytest.raises(ValueError, match=r"1\.\.8"):
        gan.features(latent, layer)
    with pytest.raises(ValueError, match=r"1\.\.8"):
        gan.synthesize(Latent(latent.code, "z", torch.zeros(1, 8, 4, 4), layer))


@pytest.mark.parametrize(
    "latent",
    [Latent(torch.zeros(1, 1, 16), "w"), Latent(torch.zeros(1, 2, 16), "z")],
    ids=["w", "two rows"],
)
def test_a_code_of_another_generator_is_refused(gan, latent):
    with pytest.raises(ValueError, match=r"takes z \[B, 1, 16\]"):
        gan.synthesize(latent)


def test_a_class_changes_the_image(classy):
    images = classy.synthesize(classy.sample([0, 0, 0], labels=[0, 1, 2]))
    assert (images[0] - images[1]).abs().max() > 1e-2
    assert (images[1] - images[2]).abs().max() > 1e-2
    assert classy.spec.classes == 3


def test_a_class_is_drawn_from_the_seed(classy):
    labels = classy.sample(range(20)).label
    assert labels.shape == (20, 3)
    assert (labels.sum(dim=1) == 1).all()
    assert (labels.sum(dim=0) > 0).all()
    assert torch.equal(labels[7:8], classy.sample([7]).label)


def test_without_a_label_a_generator_of_classes_says_so(classy):
    with pytest.raises(ValueError, match=r"a label \[B, 3\], got none"):
        classy.synthesize(Latent(torch.zeros(1, 1, 12), "z"))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_class_that_does_not_exist_is_refused(classy, label):
    with pytest.raises(ValueError, match=r"labels must be 0\.\.2"):
        classy.sample([0], labels=[label])


def test_the_mean_of_all_classes_is_an_image(classy):
    assert classy.synthesize(classy.mean_latent()).shape == (1, 3, 16, 16)


def test_a_config_survives_json(classy):
    for config in (CONFIG, classy.config):
        numbers = json.loads(json.dumps({"family": "pggan", **config.asdict()}))
        assert families.build(numbers).config == config


@pytest.mark.parametrize("resolution", [0, 4, 48])
def test_an_impossible_resolution_is_refused(resolution):
    with pytest.raises(ValueError, match="power of two"):
        PGGANConfig(resolution, {4: 2, 8: 2, 16: 2, 32: 2, 64: 2})


def test_a_missing_width_is_refused():
    with pytest.raises(ValueError, match="lacks resolution 8"):
        PGGANConfig(16, {4: 2, 16: 2})
