from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import deep_gan_generators
from dseinvert.importers.read import read

REFERENCES = Path(__file__).parents[1] / "references"
NAME = "stylegan1-deep-gan-encoders"
SYNTHESIS, MAPPING, CENTRE = deep_gan_generators.FILES


def published_module() -> Any:
    spec = importlib.util.spec_from_file_location("progressive", REFERENCES / "progressive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published = published_module()


def files() -> dict[str, Any]:
    """The content of its three files; the recipe is in the reference."""
    numbers = published.reference(NAME)
    content: dict[str, Any] = {SYNTHESIS: {}, MAPPING: {}}
    for name, array in published.fill(numbers["shapes"], numbers["seed"]).items():
        tensor = torch.tensor(array)
        if name.endswith(".weight"):
            gain = 2 if "conv_" in name or "fc" in name else 1
            tensor = tensor * math.sqrt(gain / math.prod(tensor.shape[1:]))
        if name == "center":
            content[CENTRE] = tensor.expand(12, -1).clone()
        else:
            which, _, rest = name.partition("/")
            content[SYNTHESIS if which == "Gs" else MAPPING][rest] = tensor
    return content


def saved(folder: Path, *names: str) -> Path:
    for name, content in files().items():
        if name in names:
            torch.save(content, folder / name)
    return folder


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return files()


def test_images_are_those_of_the_original(content):
    assert deep_gan_generators.recognise(content)
    generator = deep_gan_generators.convert(content).generator
    assert (generator.resolution, generator.spec.layers) == (128, 12)
    with torch.no_grad():
        assert published.largest_difference(published.reference(NAME), generator) < 1e-4


@pytest.mark.parametrize("given", [".", *deep_gan_generators.FILES])
def test_a_folder_or_any_of_its_three_files_will_do(given, tmp_path):
    saved(tmp_path, *deep_gan_generators.FILES)
    assert read(tmp_path / given).generator.resolution == 128


def test_noise_is_the_same_each_time(content):
    one, two = (deep_gan_generators.convert(content).generator for _ in range(2))
    with torch.no_grad():
        images = [generator.synthesize(generator.mean_latent()) for generator in (one, two)]
    assert torch.equal(*images)
    assert (images[0] - one.synthesize(one.mean_latent(), "none")).abs().max() > 1e-2


def test_a_synthesis_network_alone_asks_for_the_rest(tmp_path):
    saved(tmp_path, SYNTHESIS)
    with pytest.raises(InputError, match=f"without its {MAPPING} and {CENTRE}"):
        read(tmp_path / SYNTHESIS)


@pytest.mark.parametrize(
    ("file", "layer"),
    [
        (SYNTHESIS, "decode_block.2.conv_1.weight"),
        (SYNTHESIS, "decode_block.5.noise_weight_2"),
        (SYNTHESIS, "decode_block.0.bias_1"),
        (SYNTHESIS, "to_rgb.5.to_rgb.bias"),
        (MAPPING, "block_2.fc.bias"),
    ],
)
def test_a_tensor_that_is_missing_misshapen_or_not_a_number_is_named(content, file, layer):
    found = content[file]
    missing = {key: value for key, value in found.items() if key != layer}
    for damaged in (
        missing,
        found | {layer: torch.zeros(1, 2, 3)},
        found | {layer: found[layer] * float("nan")},
    ):
        with pytest.raises(InputError, match=layer):
            deep_gan_generators.convert(content | {file: damaged})


@pytest.mark.parametrize("centre", [3, torch.zeros(12, 20, 1), torch.randn(12, 20)])
def test_a_centre_that_is_no_mean_is_refused(content, centre):
    with pytest.raises(InputError, match=CENTRE):
        deep_gan_generators.convert(content | {CENTRE: centre})


@pytest.mark.parametrize("other", [None, {}, {SYNTHESIS: 3}, {"const": 1}, [1]])
def test_other_content_is_not_recognised(other):
    assert not deep_gan_generators.recognise(other)
