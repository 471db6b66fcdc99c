from __future__ import annotations

import copy
import inspect
from dataclasses import replace

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.blocks import ConditionalNorm
from dseinvert.encoders.dse_biggan import DSEBigGANConfig, DSEBigGANEncoder, published_config
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.latent import Latent
from dseinvert.models import open_model, save_model
from dseinvert.training.optimiser import build_optimiser

# Table II: the convolutions of each size from the image down; the last block has only one.
TABLE_II = {
    128: "128-128 128-256 256-256 256-512" + 7 * " 512-512",
    256: "64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
    512: "32-32 32-64 64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
}
CONFIG = DSEBigGANConfig(16, z_dim=16, class_dim=12, widths=(12, 24, 24), truncation=1.0)


@pytest.fixture(scope="module")
def gan() -> BigGAN:
    torch.manual_seed(0)
    config = BigGANConfig(
        (32, 32, 16, 16, 8), attention=2, z_dim=16, class_dim=12, classes=6, statistics=6
    )
    return BigGAN(config).eval().requires_grad_(False)


def fresh(gan: BigGAN, seed: int = 0) -> DSEBigGANEncoder:
    """An encoder that heeds the class, as a trained one does."""
    torch.manual_seed(seed)
    encoder = DSEBigGANEncoder(CONFIG)
    for module in encoder.modules():
        if isinstance(module, ConditionalNorm):
            torch.nn.init.normal_(module.scale.weight, std=0.2)
            torch.nn.init.normal_(module.offset.weight, std=0.2)
    encoder.attach(gan)
    return encoder.eval()


def pictures(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("resolution", TABLE_II)
def test_channels_and_layers_are_those_of_table_2(resolution):
    with torch.device("meta"):
        encoder = DSEBigGANEncoder(published_config(resolution))
        encoder.embeddings = torch.empty(1000, 128)
        z, c = encoder(torch.empty(2, 3, resolution, resolution), torch.empty(2, 1000))
    halves = [half for b in encoder.blocks for half in (b.first, b.second) if half is not None]
    convs = " ".join(f"{half.weight.shape[1]}-{half.weight.shape[0]}" for half in halves)
    assert convs == TABLE_II[resolution]
    assert (encoder.fc_c.in_features, encoder.fc_c.out_features) == (512 * 4 * 4, 256)
    assert (encoder.fc_z.in_features, encoder.fc_z.out_features) == (256, 128)
    assert (z.shape, c.shape) == ((2, 1, 128), (2, 256))
    assert not any("tap" in name or "noise" in name for name in encoder.state_dict())


def test_it_cannot_see_the_z_of_an_image(gan):
    """The norms know the class alone, so that of two ways to one image the code is the same."""
    encoder = fresh(gan)
    norms = [module for module in encoder.modules() if isinstance(module, ConditionalNorm)]
    assert len(norms) == 5
    for norm in norms:
        assert norm.scale.in_features == norm.offset.in_features == gan.config.class_dim
    assert list(inspect.signature(encoder.forward).parameters) == ["images", "label"]

    latent = gan.sample([0, 1], labels=[2, 2])
    z = latent.code.clone().requires_grad_()
    images = gan.synthesize(replace(latent, code=z))
    code = encoder.encode(images.detach(), latent.label).code
    assert torch.autograd.grad(code.sum(), z, allow_unused=True)[0] is None
    code = encoder.encode(images, latent.label).code  # only through the image
    assert torch.autograd.grad(code.sum(), z)[0].abs().max() > 0


def test_the_code_depends_on_image_and_class(gan):
    encoder, label = fresh(gan), torch.eye(6)
    code = encoder.encode(pictures(), label[:3]).code
    assert (code - encoder.encode(pictures(), label[3:]).code).abs().max() > 1e-3
    assert (code - encoder.encode(-pictures(), label[:3]).code).abs().max() > 1e-3


def test_a_code_does_not_depend_on_its_batch(gan):
    encoder, label = fresh(gan), torch.eye(6)[:3]
    together = encoder.encode(pictures(), label).code
    torch.testing.assert_close(together[1:2], encoder.encode(pictures()[1:2], label[1:2]).code)
    assert torch.equal(together, encoder.encode(pictures(), label).code)


def test_a_latent_names_its_class_and_its_truncation(gan):
    label = torch.eye(6)[:3]
    latent = fresh(gan).encode(pictures(), label)
    assert (latent.space, latent.code.shape) == ("z", (3, 1, 16))
    assert torch.equal(latent.label, label)
    assert float(latent.origin["truncation"]) == 1.0
    assert gan.synthesize(latent).shape == (3, 3, 16, 16)


def test_training_measures_the_statistics_that_inference_uses(gan):
    encoder, label = fresh(gan).train(), torch.eye(6)[:3]
    norm = encoder.blocks[0].first.norm
    for _ in range(500):
        encoder(pictures(), label)
    x = torch.nn.functional.leaky_relu(encoder.from_rgb(pictures()), 0.2)
    torch.testing.assert_close(norm.mean, x.mean((0, 2, 3)), rtol=0.02, atol=0.01)
    torch.testing.assert_close(norm.variance, x.var((0, 2, 3)), rtol=0.02, atol=0.01)


def test_the_embeddings_are_no_weights_and_follow_the_encoder(gan):
    encoder = fresh(gan)
    assert not any("embeddings" in name for name in encoder.state_dict())
    assert sum(p.numel() for p in encoder.parameters()) == sum(
        p.numel() for p in DSEBigGANEncoder(CONFIG).parameters()
    )
    twin = copy.deepcopy(encoder)
    label = torch.eye(6)[:3]
    assert torch.equal(twin.encode(pictures(), label).code, encoder.encode(pictures(), label).code)


def test_without_a_class_or_a_generator_it_says_so(gan):
    with pytest.raises(ValueError, match="class of each image"):
        fresh(gan).encode(pictures())
    with pytest.raises(ValueError, match="attach its generator first"):
        DSEBigGANEncoder(CONFIG).encode(pictures(), torch.eye(6)[:3])
    with pytest.raises(ValueError, match="known are 6"):
        fresh(gan).encode(pictures(), torch.eye(7)[:3])


def test_another_generator_is_refused(gan):
    style = StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2))
    narrow = BigGAN(replace(gan.config, class_dim=8))
    for other in (style, narrow):
        with pytest.raises(ValueError, match="12-D"):
            DSEBigGANEncoder(CONFIG).attach(other)


def test_a_saved_model_encodes_alike(gan, tmp_path):
    encoder = fresh(gan)
    save_model(tmp_path / "big", gan, encoder, name="big", alignment="none")
    model = open_model(str(tmp_path / "big"))
    label = torch.eye(6)[:3]
    assert kinds.build({"kind": "dse-biggan", **CONFIG.asdict()}).config == CONFIG
    mine, theirs = encoder.encode(pictures(), label), model.encoder.encode(pictures(), label)
    torch.testing.assert_close(theirs.code, mine.code)
    torch.testing.assert_close(model.generator.synthesize(theirs), gan.synthesize(mine))


@pytest.mark.parametrize("change", [{"widths": (4, 6)}, {"resolution": 32}, {"truncation": 2.0}])
def test_numbers_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError):
        DSEBigGANConfig(**{**CONFIG.asdict(), **change})


def test_training_beats_the_mean_of_each_class(gan):
    torch.manual_seed(0)
    encoder = DSEBigGANEncoder(CONFIG)
    encoder.attach(gan)
    adam = build_optimiser(encoder, 0.006)
    for step in range(160):
        latent = gan.sample(range(8 * step, 8 * step + 8))
        images = gan.synthesize(latent)
        found = encoder.encode(images, latent.label)
        loss = (gan.synthesize(found) - images).square().mean()
        loss = loss + 0.1 * (found.code - latent.code).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    encoder.eval()
    latent = gan.sample(range(10**6, 10**6 + 32))
    images = gan.synthesize(latent)
    centre = Latent(0 * latent.code, "z", label=latent.label, origin=latent.origin)
    means = (gan.synthesize(centre) - images).square().mean()
    with torch.no_grad():
        errors = (gan.synthesize(encoder.encode(images, latent.label)) - images).square().mean()
    assert errors < 0.7 * means
