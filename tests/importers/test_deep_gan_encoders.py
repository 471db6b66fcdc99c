from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.importers import deep_gan_encoders
from dseinvert.importers.read import read
from dseinvert.latent import Latent
from tests.references.contents import deep_gan_encoder as state
from tests.references.encoder_weights import pictures
from tests.references.progressive import reference

KINDS = {"deep-gan-e": "dse", "deep-gan-e-blur": "deep-gan", "deep-gan-e-big": "deep-gan-big"}


def generator(numbers: dict[str, Any]) -> Generator:
    torch.manual_seed(0)
    resolution = numbers["resolution"]
    if numbers["module"] != "E_BIG":
        channels = {2**k: 4 for k in range(2, resolution.bit_length())}
        return StyleGAN2(StyleGAN2Config(resolution, channels, 8, 8, 1))
    gan = BigGAN(BigGANConfig((8,) * 7, attention=2, z_dim=4, class_dim=6, classes=5))
    rows = np.random.RandomState(numbers["seed"] + 3).standard_normal((6, 5)).astype(np.float32)
    gan.embedding.weight.data.copy_(torch.from_numpy(rows))
    return gan


def encode(numbers: dict[str, Any]) -> Latent:
    found = deep_gan_encoders.convert(state(numbers), generator(numbers))
    images = pictures(numbers["seed"] + 2, numbers["images"], numbers["resolution"])
    label = torch.eye(5)[: len(images)] if numbers["module"] == "E_BIG" else None
    return found.encoder.encode(images, label)


@pytest.mark.parametrize("name", KINDS)
def test_codes_are_those_of_the_published_code_without_its_noise(name):
    numbers = reference(name)
    code = encode(numbers).code
    assert list(code.shape) == numbers["w"]["shape"]
    wanted = torch.tensor(numbers["w"]["values"])
    assert (code.flatten()[numbers["w"]["indices"]] - wanted).abs().max() < 1e-5
    assert code.std().item() == pytest.approx(numbers["w"]["std"], abs=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_recognised_and_becomes_an_encoder_alone(name):
    numbers = reference(name)
    weights = state(numbers)
    assert deep_gan_encoders.recognise(weights)
    found = deep_gan_encoders.convert(weights, generator(numbers))
    assert found.generator is None
    assert found.encoder.kind == KINDS[name]
    assert found.notes


def test_its_file_is_read_for_the_generator_that_is_named(tmp_path):
    numbers = reference("deep-gan-e")
    torch.save(state(numbers), tmp_path / "E_model.pth")
    found = read(tmp_path / "E_model.pth", generator(numbers))
    code = found.encoder.encode(pictures(numbers["seed"] + 2, 2, 32)).code
    torch.testing.assert_close(code, encode(numbers).code)
    with pytest.raises(InputError, match=r"E_model\.pth.*--gan"):
        read(tmp_path / "E_model.pth")


@pytest.mark.parametrize("content", [None, [], {}, {"state_dict": {}}, np.zeros(3)])
def test_other_content_is_not_recognised(content):
    assert not deep_gan_encoders.recognise(content)


def test_that_of_pggan_is_refused_for_it_was_never_trained():
    weights = {n: t for n, t in state(reference("deep-gan-e")).items() if "inver_mod" not in n}
    weights |= {"new_final.weight": torch.zeros(8, 256), "new_final.bias": torch.zeros(8)}
    assert deep_gan_encoders.recognise(weights)
    with pytest.raises(InputError, match="output is zero"):
        deep_gan_encoders.convert(weights)


def test_it_needs_a_generator_of_its_size_and_latents():
    numbers = reference("deep-gan-e")
    with pytest.raises(InputError, match="--gan"):
        deep_gan_encoders.convert(state(numbers))
    with pytest.raises(InputError, match="32 px, and a generator of 128"):
        deep_gan_encoders.convert(state(numbers), generator(numbers | {"resolution": 128}))
    wide = StyleGAN2(StyleGAN2Config(32, {4: 4, 8: 4, 16: 4, 32: 4}, 16, 16, 1))
    with pytest.raises(InputError, match=r"\[8, 8\].*\[8, 16\]"):
        deep_gan_encoders.convert(state(numbers), wide)
    big = reference("deep-gan-e-big")
    with pytest.raises(InputError, match="for BigGAN"):
        deep_gan_encoders.convert(state(big), generator(numbers))


def is_read(tensor: str, numbers: dict[str, Any]) -> bool:
    """Blurs are constants, only DSE has noise, and a last block has one convolution."""
    last = f"decode_block.{numbers['resolution'].bit_length() - 3}."
    dead = [f"{last}{part}_2" for part in ("bias", "noise_weight", "batch_norm")]
    dead += [] if numbers["module"] == "E" else ["noise_weight"]
    return "blur" not in tensor and not any(part in tensor for part in dead)


@pytest.mark.parametrize("name", KINDS)
def test_every_tensor_that_is_read_must_be_there_and_of_its_shape(name):
    numbers = reference(name)
    weights, gan = state(numbers), generator(numbers)
    for tensor in weights:
        if not is_read(tensor, numbers):
            continue
        without = {n: t for n, t in weights.items() if n != tensor}
        if deep_gan_encoders.recognise(without):
            with pytest.raises(InputError):
                deep_gan_encoders.convert(without, gan)
        with pytest.raises(InputError, match="layer "):
            deep_gan_encoders.convert(weights | {tensor: torch.zeros(1, 1, 7)}, gan)
