from __future__ import annotations

from typing import Any

import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import stylegan2_ada
from dseinvert.pickled.pickles import Foreign
from tests.references import progressive as published
from tests.references.contents import stylegan2_ada as content
from tests.references.contents import stylegan2_ada_network as pickled
from tests.references.contents import stylegan2_ada_state as tensors

NAMES = ["stylegan2-ada-skip", "stylegan2-ada-orig", "stylegan2-ada-resnet"]


def without(name: str, *parts: str) -> dict[str, Any]:
    numbers = published.reference(name)
    state = {n: t for n, t in tensors(numbers).items() if not n.endswith(parts)}
    return {"G_ema": pickled(state, numbers["clamp"])}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_images_are_those_of_the_published_code(name, recorded):
    assert stylegan2_ada.recognise(content(name))
    generator = stylegan2_ada.convert(content(name)).generator
    numbers = published.reference(name)
    assert generator.spec.classes == numbers["classes"]
    assert generator.config.architecture == numbers["architecture"]
    assert generator.config.clamp == numbers["clamp"]
    with torch.set_grad_enabled(recorded):
        assert published.largest_difference(numbers, generator) <= 1e-4


def test_what_was_left_out_is_told():
    found = stylegan2_ada.convert(content(NAMES[0]))
    assert found.notes == ("took G_ema; left out G, D, training_set_kwargs",)


def test_a_network_alone_is_enough():
    network = content(NAMES[0])["G_ema"]
    assert stylegan2_ada.recognise(network)
    assert stylegan2_ada.convert(network).notes == ()
    assert stylegan2_ada.recognise({"G": network})


def test_layers_without_noise_have_none():
    found = stylegan2_ada.convert(without(NAMES[0], "noise_const", "noise_strength"))
    latent = found.generator.sample([0])
    quiet, noisy = (found.generator.synthesize(latent, noise) for noise in ("none", "const"))
    assert torch.equal(quiet, noisy)


def test_a_missing_mean_is_measured():
    found = stylegan2_ada.convert(without(NAMES[2], "w_avg"))
    assert found.notes[-1] == "no mean of w in the file: measured"
    samples = found.generator.sample(range(10_000, 14_000)).code[:, 0]
    error = (found.generator.mean_latent().code[0, 0] - samples.mean(0)) / samples.std(0)
    assert error.abs().max() < 0.1


def test_the_learning_rate_of_the_mapping_network_is_taken_from_the_file():
    slow = stylegan2_ada.convert(content(NAMES[0])).generator.mapping
    fast = stylegan2_ada.convert(content(NAMES[0], bias_gain=0.1)).generator.mapping
    for a, b in zip(slow.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(10 * a, b)


def test_networks_of_another_kind_are_not_taken():
    other = {"G_ema": pickled({"synthesis.input.weight": torch.zeros(2)}, None)}
    hollow = {"G_ema": Foreign("a", "b")}
    odd = {"G_ema": Foreign("t", "_reconstruct_persistent_obj", ({"state": {"_modules": 3}},))}
    for content_ in (None, 3, [], {}, {"G_ema": 3}, other, hollow, odd):
        assert not stylegan2_ada.recognise(content_)


@pytest.mark.parametrize("name", sorted(published.reference(NAMES[2])["shapes"]))
def test_a_misshapen_tensor_is_refused(name):
    numbers = published.reference(NAMES[2])
    state = {**tensors(numbers), name: torch.zeros(2, 7, 1)}
    with pytest.raises(InputError, match=r"layer |cannot be built"):
        stylegan2_ada.convert({"G_ema": pickled(state, None)})


def test_a_missing_layer_is_named():
    with pytest.raises(InputError, match=r"layer synthesis.b8.conv1.bias: expected \[16\]"):
        stylegan2_ada.convert(without(NAMES[0], "b8.conv1.bias"))


@pytest.mark.parametrize("activation", ["relu", "linear", "swish"])
def test_another_activation_is_refused(activation):
    with pytest.raises(InputError, match=f"the activation lrelu, found {activation}"):
        stylegan2_ada.convert(content(NAMES[0], activation=activation))


def test_another_filter_is_refused():
    numbers = published.reference(NAMES[0])
    state = {**tensors(numbers), "synthesis.b8.resample_filter": torch.ones(4, 4) / 16}
    with pytest.raises(InputError, match=r"b8.resample_filter: expected the filter"):
        stylegan2_ada.convert({"G_ema": pickled(state, None)})


def test_images_of_four_channels_are_refused():
    numbers = published.reference(NAMES[0])
    state = tensors(numbers)
    for name in state:
        if name.endswith("torgb.bias"):
            state[name] = torch.zeros(4)
        elif name.endswith("torgb.weight"):
            state[name] = torch.zeros(4, *state[name].shape[1:])
    with pytest.raises(InputError, match="image_channels must be 1 or 3, not 4"):
        stylegan2_ada.convert({"G_ema": pickled(state, None)})
