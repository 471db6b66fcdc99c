from __future__ import annotations

import pytest
import torch

from dseinvert.encoders.blocks import channel_stats
from dseinvert.encoders.dse import DSEConfig, DSEEncoder, published_config

# Table I: the convolutions of each size from the image down; the last block has only one.
TABLE_I = {
    256: "64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
    512: "32-32 32-64 64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
    1024: "16-16 16-32 32-32 32-64 64-64 64-128 128-128 128-256 256-256 256-512" + 7 * " 512-512",
}
SMALL = DSEConfig(16, 6, 8, (4, 6, 8))


def small(seed: int = 0, **changes) -> DSEEncoder:
    torch.manual_seed(seed)
    return DSEEncoder(SMALL, **changes).eval()


def faces(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("resolution", TABLE_I)
def test_channels_and_layers_are_those_of_table_1(resolution):
    with torch.device("meta"):
        encoder = DSEEncoder(published_config(resolution))
        rows, z_c = encoder(torch.empty(2, 3, resolution, resolution))
    halves = [half for b in encoder.blocks for half in (b.first, b.second) if half is not None]
    convs = " ".join(f"{half.weight.shape[1]}-{half.weight.shape[0]}" for half in halves)
    assert convs == TABLE_I[resolution]
    assert {half.weight.shape[2:] for half in halves} == {(3, 3)}
    layers = {256: 14, 512: 16, 1024: 18}[resolution]
    assert rows.shape == (2, layers, 512)
    assert z_c.shape == (2, 512, 4, 4)
    last = encoder.blocks[-1].tap_b.fc
    assert (last.in_features, last.out_features) == (1024, 512)  # FC(1024, 512)


def test_row_0_comes_from_the_4x4_end_and_the_last_row_from_the_image():
    encoder = small()
    taps = [tap for block in encoder.blocks for tap in (block.tap_a, block.tap_b)]
    for number, tap in enumerate(taps):
        torch.nn.init.zeros_(tap.fc.weight)
        torch.nn.init.constant_(tap.fc.bias, number)
    rows, _ = encoder(faces(1))
    assert rows[0, :, 0].tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("layers", "places"),
    [(6, [0, 1, 2, 3, 4, 5]), (8, [0, 1, 1, 2, 3, 4, 4, 5]), (4, [0, 2, 3, 5]), (1, [0])],
)
def test_any_number_of_rows_is_spread_from_the_4x4_end_to_the_image(layers, places):
    config = DSEConfig(16, layers, 8, (4, 6, 8))
    assert config.places == places
    encoder = DSEEncoder(config).eval()
    taps = [tap for block in encoder.blocks[::-1] for tap in (block.tap_b, block.tap_a)]
    for number, tap in enumerate(taps):
        torch.nn.init.zeros_(tap.fc.weight)
        torch.nn.init.constant_(tap.fc.bias, number)
    assert encoder(faces(1))[0][0, :, 0].tolist() == places


def test_rows_at_the_same_tap_are_told_apart():
    torch.manual_seed(0)
    rows, _ = DSEEncoder(DSEConfig(16, 8, 8, (4, 6, 8))).eval()(faces(1))
    assert not torch.isclose(rows[0, 1], rows[0, 2]).any()


def test_rows_are_offsets_from_the_mean_latent():
    mean = torch.arange(8.0)
    with_mean, without = small(w_avg=mean), small()
    torch.testing.assert_close(with_mean(faces())[0], without(faces())[0] + mean)


def test_inference_is_deterministic_and_training_draws_noise():
    encoder = small()
    for block in encoder.blocks:
        torch.nn.init.ones_(block.first.noise_scale)
    assert torch.equal(encoder.encode(faces()).code, encoder.encode(faces()).code)
    encoder.train()
    assert not torch.equal(encoder.encode(faces()).code, encoder.encode(faces()).code)


def test_a_code_does_not_depend_on_its_batch():
    encoder = small()
    together = encoder.encode(faces()).code
    torch.testing.assert_close(together[1:2], encoder.encode(faces()[1:2]).code)


def test_a_tap_reads_mean_and_population_deviation_of_each_channel():
    x = torch.randn(2, 3, 4, 4)
    wanted = torch.cat([x.mean((2, 3)), x.std((2, 3), correction=0)], 1)
    torch.testing.assert_close(channel_stats(x), wanted)


def test_a_black_image_has_a_finite_code_and_gradient():
    encoder = small().train()
    rows, _ = encoder(torch.zeros(1, 3, 16, 16))
    rows.square().sum().backward()
    assert rows.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


def test_the_base_head_adds_the_same_to_every_row():
    config = DSEConfig(16, 6, 8, (4, 6, 8), head="base")
    torch.manual_seed(0)
    encoder = DSEEncoder(config).eval()
    added = encoder(faces())[0] - encoder.taps(faces())[0]
    torch.testing.assert_close(added, added[:, :1].expand(-1, 6, -1))
    assert added.abs().max() > 0


@pytest.mark.parametrize("change", [{"widths": (4, 6)}, {"layers": 0}, {"head": "other"}])
def test_numbers_that_do_not_fit_are_refused(change):
    numbers = {"resolution": 16, "layers": 6, "w_dim": 8, "widths": (4, 6, 8)} | change
    with pytest.raises(ValueError):
        DSEConfig(**numbers)


def test_a_config_survives_json():
    assert DSEConfig(**{**SMALL.asdict(), "widths": [4, 6, 8]}) == SMALL
