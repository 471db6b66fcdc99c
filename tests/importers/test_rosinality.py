from __future__ import annotations

import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import rosinality
from dseinvert.pickled import pickles
from tests.references import progressive as published
from tests.references.contents import latent_avg
from tests.references.contents import rosinality as checkpoint
from tests.references.contents import rosinality_state as state

NUMBERS = published.reference("stylegan2-rosinality")


@pytest.mark.parametrize("recorded", [False, True])
def test_images_are_those_of_the_published_code(tmp_path, recorded):
    torch.save(checkpoint(), tmp_path / "g.pt")
    content = pickles.load(tmp_path / "g.pt")
    assert rosinality.recognise(content)
    generator = rosinality.convert(content).generator
    with torch.set_grad_enabled(recorded):
        assert published.largest_difference(NUMBERS, generator) <= 1e-4


def test_what_was_left_out_is_told():
    assert rosinality.convert(checkpoint()).notes == ("took g_ema; left out g, d, args",)


def test_a_state_dict_alone_is_enough():
    content = state()
    assert rosinality.recognise(content)
    found = rosinality.convert(content)
    assert found.notes == ("no latent_avg in the file: measured",)
    full = rosinality.convert(checkpoint()).generator
    latent = full.sample([0])
    assert torch.equal(found.generator.synthesize(latent), full.synthesize(latent))


def test_a_measured_mean_is_that_of_many_samples():
    generator = rosinality.state_to_generator(state(), None)
    samples = generator.sample(range(10_000, 14_000)).code[:, 0]
    error = (generator.mean_latent().code[0, 0] - samples.mean(0)) / samples.std(0)
    assert error.abs().max() < 0.1


@pytest.mark.parametrize("rows", [None, 1, 8])
def test_the_mean_may_stand_in_every_row(rows):
    average = latent_avg() if rows is None else latent_avg().expand(rows, -1)
    generator = rosinality.state_to_generator(state(), average)
    assert torch.equal(generator.mean_latent().code[0, 0], latent_avg())


def test_noise_that_no_file_holds_is_the_same_each_time():
    quiet = {n: t for n, t in checkpoint()["g_ema"].items() if not n.startswith("noises.")}
    first, second = (rosinality.convert({"g_ema": quiet}) for _ in range(2))
    assert "no noise maps" in first.notes[-1]
    for a, b in zip(*(f.generator.synthesis.convs for f in (first, second)), strict=True):
        assert torch.equal(a.noise, b.noise)


def test_a_pickle_of_another_kind_is_not_taken():
    others = (None, 3, [], {}, {"g_ema": {}}, {"state_dict": state()}, {"g_ema": torch.zeros(2)})
    assert not any(rosinality.recognise(other) for other in others)


@pytest.mark.parametrize("name", sorted(NUMBERS["shapes"]))
def test_a_tensor_that_is_missing_or_misshapen_is_named(name):
    misshapen = {**state(), name: torch.zeros(2, 7, 1)}
    with pytest.raises(InputError, match=name.split(".")[0]):
        rosinality.convert({"g_ema": misshapen, "latent_avg": latent_avg()})


def test_a_missing_layer_is_named():
    short = state()
    del short["convs.2.conv.weight"]
    with pytest.raises(InputError, match=r"layer convs.2.conv.weight: expected .* found none"):
        rosinality.convert({**checkpoint(), "g_ema": short})


def test_another_filter_is_refused():
    other = {**state(), "convs.0.conv.blur.kernel": torch.ones(4, 4)}
    with pytest.raises(InputError, match=r"convs.0.conv.blur.kernel: expected the filter"):
        rosinality.convert({**checkpoint(), "g_ema": other})


@pytest.mark.parametrize("average", [torch.zeros(23), torch.zeros(0, 24), torch.tensor(1.0), "x"])
def test_a_mean_of_another_size_is_refused(average):
    with pytest.raises(InputError, match="latent_avg"):
        rosinality.convert({**checkpoint(), "latent_avg": average})


def test_weights_that_are_no_numbers_are_refused():
    broken = state()
    broken["conv1.conv.weight"][0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"conv1.conv.weight: holds NaN"):
        rosinality.convert({**checkpoint(), "g_ema": broken})
