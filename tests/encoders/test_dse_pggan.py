from __future__ import annotations

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.dse_pggan import DSEPGGANConfig, DSEPGGANEncoder, published_config
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.training.optimiser import build_optimiser

# Table I: the convolutions of each size from the image down; the last block has only one.
TABLE_I = {
    256: "64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
    1024: "16-16 16-32 32-32 32-64 64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
}
CONFIG = DSEPGGANConfig(16, z_dim=16, widths=(12, 24, 24))


def fresh(seed: int = 0) -> DSEPGGANEncoder:
    torch.manual_seed(seed)
    return DSEPGGANEncoder(CONFIG).eval()


def pictures(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("resolution", TABLE_I)
def test_channels_are_those_of_table_1_and_the_end_is_one_fc(resolution):
    with torch.device("meta"):
        encoder = DSEPGGANEncoder(published_config(resolution))
        z, end = encoder(torch.empty(2, 3, resolution, resolution))
    halves = [half for b in encoder.blocks for half in (b.first, b.second) if half is not None]
    convs = " ".join(f"{half.weight.shape[1]}-{half.weight.shape[0]}" for half in halves)
    assert convs == TABLE_I[resolution]
    assert (encoder.fc.in_features, encoder.fc.out_features) == (512 * 4 * 4, 512)
    assert (z.shape, end.shape) == ((2, 1, 512), (2, 512, 4, 4))
    assert not any("tap" in name or "noise" in name for name in encoder.state_dict())


def test_a_code_is_deterministic_even_in_training_and_free_of_its_batch():
    encoder = fresh().train()
    together = encoder.encode(pictures())
    assert (together.space, together.code.shape) == ("z", (3, 1, 16))
    assert torch.equal(together.code, encoder.encode(pictures()).code)
    torch.testing.assert_close(together.code[1:2], encoder.encode(pictures()[1:2]).code)


def test_every_weight_gets_a_gradient():
    encoder = fresh().train()
    encoder.encode(pictures()).code.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())


def test_a_config_survives_json_and_builds():
    numbers = {"kind": "dse-pggan", **CONFIG.asdict(), "widths": [12, 24, 24]}
    assert kinds.build(numbers).config == CONFIG


@pytest.mark.parametrize("change", [{"widths": (4, 6)}, {"resolution": 24}])
def test_numbers_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match="px"):
        DSEPGGANConfig(**{**CONFIG.asdict(), **change})


def test_training_beats_the_mean_latent():
    torch.manual_seed(0)
    gan = PGGAN(PGGANConfig(16, {4: 32, 8: 16, 16: 16}, z_dim=16)).eval().requires_grad_(False)
    encoder = DSEPGGANEncoder(CONFIG)
    adam = build_optimiser(encoder, 0.003)
    for step in range(160):
        latent = gan.sample(range(8 * step, 8 * step + 8))
        images = gan.synthesize(latent)
        found = encoder.encode(images)
        loss = (gan.synthesize(found) - images).square().mean()
        loss = loss + 0.1 * (found.code - latent.code).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    images = gan.synthesize(gan.sample(range(10**6, 10**6 + 32)))
    means = (gan.synthesize(gan.mean_latent()) - images).square().mean()
    with torch.no_grad():
        errors = (gan.synthesize(encoder.eval().encode(images)) - images).square().mean()
    assert errors < 0.7 * means
