from __future__ import annotations

import json

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.dse import DSEConfig
from dseinvert.encoders.dse_feature import DSEFeatureConfig, DSEFeatureEncoder
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config

CHANNELS = {4: 8, 8: 10, 16: 12, 32: 6}
CONFIG = DSEFeatureConfig(DSEConfig(32, 8, 8, (4, 6, 8, 8)), 3, 8, 10, width=16)


@pytest.fixture
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(StyleGAN2Config(32, CHANNELS, 8, 8, 2)).eval().requires_grad_(False)


@pytest.fixture
def encoder(generator: StyleGAN2) -> DSEFeatureEncoder:
    torch.manual_seed(1)
    encoder = DSEFeatureEncoder(CONFIG).eval()
    encoder.attach(generator)
    return encoder


def faces(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_it_starts_as_its_trunk(generator: StyleGAN2, encoder: DSEFeatureEncoder) -> None:
    found = encoder.encode(faces())
    plain = encoder.trunk.encode(faces())
    assert torch.equal(found.code, plain.code)
    assert found.layer == 3
    torch.testing.assert_close(found.feature, generator.features(plain, 3))
    torch.testing.assert_close(generator.synthesize(found), generator.synthesize(plain))


def loud(encoder: DSEFeatureEncoder) -> DSEFeatureEncoder:
    torch.manual_seed(2)
    torch.nn.init.normal_(encoder.branch.leave.weight, std=0.1)
    return encoder


def test_the_branch_changes_the_picture_where_the_image_changes(
    generator: StyleGAN2, encoder: DSEFeatureEncoder
) -> None:
    latent = loud(encoder).encode(faces())
    assert latent.feature is not None and latent.feature.shape == (3, 10, 8, 8)
    assert not torch.allclose(
        generator.synthesize(latent), generator.synthesize(encoder.trunk.encode(faces()))
    )


def test_the_batch_does_not_matter(encoder: DSEFeatureEncoder) -> None:
    together = loud(encoder).encode(faces(3))
    alone = encoder.encode(faces(3)[1:2])
    torch.testing.assert_close(together.code[1:2], alone.code, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.feature[1:2], alone.feature, atol=1e-5, rtol=1e-5)


def test_gradients_of_the_picture_reach_the_branch_and_leave_the_generator(
    generator: StyleGAN2, encoder: DSEFeatureEncoder
) -> None:
    generator.synthesize(encoder.encode(faces())).square().mean().backward()
    grads = [p.grad for p in encoder.branch.leave.parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(p.grad is None for p in generator.parameters())


def test_it_is_rebuilt_from_its_description_and_does_not_save_the_generator(
    encoder: DSEFeatureEncoder,
) -> None:
    numbers = json.loads(json.dumps({"kind": encoder.kind, **encoder.config.asdict()}))
    again = kinds.build(numbers)
    assert again.config == encoder.config
    again.load_state_dict(encoder.state_dict())
    assert all(name.startswith(("trunk.", "branch.")) for name in encoder.state_dict())


def test_a_feature_of_a_size_the_trunk_has_no_map_of_is_refused() -> None:
    with pytest.raises(ValueError, match="64 px"):
        DSEFeatureConfig(CONFIG.trunk, 3, 64, 10)
