from __future__ import annotations

import json

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.psp import PSPConfig
from dseinvert.encoders.restyle import ReStyleConfig, ReStyleEncoder
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config

NETWORK = PSPConfig(
    *(6, 32, "resnet", (16, 16, 24, 32), (1, 1, 1, 1), "last"), size=16, in_channels=6
)


@pytest.fixture(scope="module")
def gan() -> StyleGAN2:
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 32, 32, 2))
    return generator.eval().requires_grad_(False)


def small(gan: StyleGAN2 | None, iterations: int = 3) -> ReStyleEncoder:
    torch.manual_seed(1)
    encoder = ReStyleEncoder(ReStyleConfig(NETWORK, iterations)).eval().requires_grad_(False)
    encoder.w_avg.normal_()
    if gan is not None:
        encoder.attach(gan)
    return encoder


def faces(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_each_iteration_corrects_what_the_last_one_drew(gan):
    once, twice = small(gan, 1), small(gan, 2)
    code = once.encode(faces())
    drawn = gan.synthesize(code)
    wanted = code.code + once.network(torch.cat([faces(), drawn], dim=1))
    torch.testing.assert_close(twice.encode(faces()).code, wanted)


def test_the_first_iteration_sees_the_image_of_the_mean_latent(gan):
    encoder = small(gan, 1)
    code = encoder.encode(faces()).code
    mean = gan.synthesis(encoder.w_avg[None]).expand(3, -1, -1, -1)
    wanted = encoder.w_avg + encoder.network(torch.cat([faces(), mean], dim=1))
    torch.testing.assert_close(code, wanted)


def test_a_code_does_not_depend_on_its_batch(gan):
    encoder = small(gan)
    together = encoder.encode(faces()).code
    torch.testing.assert_close(together[1:2], encoder.encode(faces()[1:2]).code)


def test_its_generator_is_not_part_of_its_weights(gan):
    assert small(gan).state_dict().keys() == small(None).state_dict().keys()


def test_gradients_reach_it_after_inference_mode(gan):
    encoder = small(gan)
    with torch.inference_mode():
        encoder.encode(faces())
    encoder.requires_grad_(True)
    encoder(faces()).square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_without_its_generator_it_says_so():
    with pytest.raises(ValueError, match="attach"):
        small(None).encode(faces())


def test_a_generator_of_other_latents_is_refused():
    with pytest.raises(ValueError, match=r"\[6, 32\], not \[4, 32\]"):
        small(StyleGAN2(StyleGAN2Config(8, {4: 8, 8: 8}, 32, 32, 2)))


def test_a_config_survives_json():
    config = ReStyleConfig(NETWORK, 4)
    numbers = json.loads(json.dumps({"kind": "restyle", **config.asdict()}))
    assert kinds.build(numbers).config == config


def test_an_encoder_of_images_alone_cannot_iterate():
    with pytest.raises(ValueError, match="6 channels"):
        ReStyleConfig(PSPConfig(6))
