from __future__ import annotations

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.feature_style import FeatureStyleConfig, FeatureStyleEncoder

CONFIG = FeatureStyleConfig(
    layers=8, w_dim=16, layer=5, side=8, channels=12, widths=(8, 8, 16, 16), units=(1, 1, 2, 1),
    size=32,
)  # fmt: skip


@pytest.fixture
def encoder() -> FeatureStyleEncoder:
    torch.manual_seed(0)
    return FeatureStyleEncoder(CONFIG).eval()


def test_it_writes_rows_and_a_feature(encoder):
    latent = encoder.encode(torch.randn(3, 3, 32, 32))
    assert latent.code.shape == (3, 8, 16)
    assert latent.feature.shape == (3, 12, 8, 8)
    assert (latent.space, latent.layer, latent.skip) == ("w+", 5, "keep")


def test_batch_size_does_not_change_the_result(encoder):
    images = torch.randn(3, 3, 32, 32)
    together, alone = encoder.encode(images), encoder.encode(images[1:2])
    assert torch.allclose(together.code[1:2], alone.code, atol=1e-5)
    assert torch.allclose(together.feature[1:2], alone.feature, atol=1e-5)


def test_rows_are_offsets_from_the_mean_latent(encoder):
    images = torch.randn(2, 3, 32, 32)
    before = encoder.encode(images).code
    encoder.w_avg += 3
    assert torch.allclose(encoder.encode(images).code, before + 3, atol=1e-5)


def test_larger_images_are_shrunk(encoder):
    small = torch.randn(1, 3, 32, 32)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(encoder.encode(small).code, encoder.encode(large).code, atol=1e-5)


def test_it_is_rebuilt_from_its_description(encoder):
    numbers = {"kind": encoder.kind, **encoder.config.asdict()}
    again = kinds.build(numbers)
    again.load_state_dict(encoder.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval().encode(images).code, encoder.encode(images).code)


def test_published_numbers_read_f_from_the_stage_of_twice_its_size():
    config = FeatureStyleConfig(layers=18, w_dim=512, layer=5, side=16, channels=512)
    assert (config.stage, config.widths[config.stage]) == (2, 256)
    rows = FeatureStyleEncoder(config).rows
    assert rows.in_features == 8640


def test_a_feature_of_a_size_that_no_stage_has_is_refused():
    with pytest.raises(ValueError, match="no stage"):
        FeatureStyleConfig(layers=8, w_dim=16, layer=5, side=64, channels=12, size=32)
