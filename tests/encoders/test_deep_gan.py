from __future__ import annotations

import json

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.deep_gan import (
    DeepGanBigConfig,
    DeepGanBigEncoder,
    DeepGanConfig,
    DeepGanEncoder,
)
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config

BLUR = DeepGanConfig((4, 6, 6), w_dim=8, strided=1)
BIG = DeepGanBigConfig((4, 6, 6), z_dim=4, class_dim=6)


@pytest.fixture(scope="module")
def gan() -> BigGAN:
    torch.manual_seed(0)
    return BigGAN(BigGANConfig((8, 8, 8, 8, 8), attention=1, z_dim=4, class_dim=6, classes=5))


def blur() -> DeepGanEncoder:
    torch.manual_seed(0)
    return DeepGanEncoder(BLUR).eval()


def big(gan: BigGAN) -> DeepGanBigEncoder:
    torch.manual_seed(0)
    encoder = DeepGanBigEncoder(BIG).eval()
    encoder.attach(gan)
    return encoder


def faces(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def labels(*classes: int) -> torch.Tensor:
    return torch.eye(5)[list(classes)]


def test_row_0_comes_from_the_4x4_end_and_the_last_row_from_the_image():
    encoder = blur()
    taps = [tap for block in encoder.blocks for tap in (block.tap_a, block.tap_b)]
    for number, tap in enumerate(taps):
        torch.nn.init.zeros_(tap.fc.weight)
        torch.nn.init.constant_(tap.fc.bias, number)
    assert encoder(faces(1))[0, :, 0].tolist() == [5, 4, 3, 2, 1, 0]


def test_strided_and_pooled_blocks_halve_the_map_alike():
    inputs = (torch.rand(1, width, 8, 8) for width in BLUR.widths)
    shapes = [block(x)[0].shape for block, x in zip(blur().blocks, inputs, strict=True)]
    assert shapes == [(1, 6, 4, 4), (1, 6, 4, 4), (1, 6, 8, 8)]


def test_a_code_does_not_depend_on_its_batch(gan):
    together = blur().encode(faces()).code
    torch.testing.assert_close(together[1:2], blur().encode(faces()[1:2]).code)
    together = big(gan).encode(faces(), labels(0, 1, 2)).code
    torch.testing.assert_close(together[1:2], big(gan).encode(faces()[1:2], labels(1)).code)


def test_the_class_changes_the_code(gan):
    latent = big(gan).encode(faces()[:1].expand(2, -1, -1, -1), labels(0, 1))
    assert latent.space == "z"
    assert latent.code.shape == (2, 1, 4)
    assert latent.origin["truncation"] == "0.4"
    assert not torch.allclose(latent.code[0], latent.code[1])
    assert gan.synthesize(latent).shape == (2, 3, 16, 16)


def test_without_class_or_generator_it_says_so(gan):
    with pytest.raises(ValueError, match="class"):
        big(gan).encode(faces())
    with pytest.raises(ValueError, match="attach"):
        DeepGanBigEncoder(BIG).encode(faces(), labels(0, 1, 2))
    with pytest.raises(ValueError, match="BigGAN"):
        big(gan).attach(StyleGAN2(StyleGAN2Config(8, {4: 8, 8: 8}, 8, 8, 1)))


@pytest.mark.parametrize("encoder", [DeepGanEncoder(BLUR), DeepGanBigEncoder(BIG)])
def test_a_config_survives_json(encoder):
    numbers = json.loads(json.dumps({"kind": encoder.kind, **encoder.config.asdict()}))
    again = kinds.build(numbers)
    assert again.config == encoder.config
    again.load_state_dict(encoder.state_dict())
