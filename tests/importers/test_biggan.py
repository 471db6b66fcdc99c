from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import biggan
from dseinvert.latent import Latent
from dseinvert.pickled import pickles
from tests.references import progressive as published
from tests.references.contents import biggan as published_state

BLOCK = "generator.layers.0"


def reference(resolution: int) -> dict[str, Any]:
    return published.reference(f"biggan-{resolution}")


@pytest.fixture(scope="module")
def small() -> dict[str, torch.Tensor]:
    return published_state(reference(128))


def changed(state: dict[str, torch.Tensor], **entries: torch.Tensor | None) -> dict[str, Any]:
    merged = {**state, **entries}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize("resolution", [128, 256, 512])
def test_images_are_those_of_the_published_code(resolution):
    numbers = reference(resolution)
    content = {"pytorch_model.bin": published_state(numbers), "config.json": numbers["config"]}
    generator = biggan.convert(content).generator
    z = torch.from_numpy(published.fill({"z": (2, 32)}, numbers["seed"] + 1)["z"]).clamp(-2, 2)
    label = torch.eye(12)[numbers["labels"]]
    for image in numbers["images"]:
        truncation = image["truncation"]
        origin = {"truncation": str(truncation)}
        drawn = generator.synthesize(
            Latent(truncation * z[:, None], "z", label=label, origin=origin)
        )
        flat = drawn.flatten()
        at = np.random.RandomState(numbers["seed"]).randint(len(flat), size=100)
        torch.testing.assert_close(flat[at], torch.tensor(image["pixels"]), rtol=0, atol=1e-4)
        for name in ("mean", "std", "min", "max"):
            assert float(getattr(flat, name)()) == pytest.approx(image[name], abs=1e-4)


def test_numbers_follow_from_the_shapes(small):
    assert biggan.recognise(small)
    found = biggan.convert(small)
    numbers = found.generator.config
    assert numbers.resolution == 128
    assert numbers.channels == (64, 64, 64, 64, 32, 32, 16, 16, 8, 8, 4)
    assert (numbers.attention, numbers.classes, numbers.statistics) == (8, 12, 51)
    assert "128" in found.format
    assert not found.generator.training


@pytest.mark.parametrize("legacy", [False, True])
def test_it_is_read_from_the_file_that_torch_saves(small, tmp_path, legacy):
    file = tmp_path / "pytorch_model.bin"
    torch.save(small, file, _use_new_zipfile_serialization=not legacy)
    content = pickles.load(file)
    assert biggan.recognise(content)
    read, direct = biggan.convert(content).generator, biggan.convert(small).generator
    for name, tensor in direct.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor), name


def test_a_file_without_the_right_singular_vectors_is_read_too(small):
    older = {name: value for name, value in small.items() if not name.endswith("weight_v")}
    new, old = (biggan.convert(state).generator.state_dict() for state in (small, older))
    name = "to_rgb.weight"
    ratio = (old[name] / new[name]).mean()
    assert ratio == pytest.approx(1, abs=0.1)  # one more half of a power iteration
    torch.testing.assert_close(old[name], ratio * new[name])


@pytest.mark.parametrize("content", [None, [], {}, {"embeddings.weight": 1}, {"config.json": {}}])
def test_other_content_is_not_recognised(content):
    assert not biggan.recognise(content)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (f"{BLOCK}.conv_1.weight_orig", None, r"expected \[16, 16, 3, 3\], found none"),
        (f"{BLOCK}.conv_1.bias", torch.zeros(15), r"expected \[16\], found \[15\]"),
        (f"{BLOCK}.bn_2.offset.weight_u", None, "found none"),
        (f"{BLOCK}.bn_0.running_vars", -torch.ones(51, 64), "negative"),
        ("generator.bn.weight", torch.full((4,), float("nan")), "NaN"),
        ("generator.gen_z.weight_u", torch.zeros(1024), "spectral norm is 0"),
        ("generator.layers.8.snconv1x1_theta.weight_orig", None, "snconv1x1_theta"),
        ("embeddings.weight", torch.zeros(32), "expected 2 dimensions"),
        ("generator.layers.4.conv_0.weight_orig", torch.zeros(8, 30, 1, 1), "make no generator"),
    ],
)
def test_a_broken_file_is_refused_by_the_name_of_its_tensor(small, name, value, says):
    with pytest.raises(InputError, match=says) as caught:
        biggan.convert(changed(small, **{name: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("num_classes", 1000),
        ("attention_layer_position", 4),
        ("channel_width", 128),
        ("channel_width", 0),
        ("eps", None),
        ("eps", float("nan")),
        ("layers", [[True, 16, 16]]),
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused(small, entry, value):
    config = reference(128)["config"] | {entry: value}
    with pytest.raises(InputError):
        biggan.convert({"pytorch_model.bin": small, "config.json": config})
