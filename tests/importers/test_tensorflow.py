from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import tensorflow
from dseinvert.latent import Latent
from dseinvert.pickled import pickles
from dseinvert.pickled.pickles import Foreign
from tests.references import progressive as published
from tests.references.contents import tensorflow as trained
from tests.references.files import write_nvlabs

FAMILIES = {
    "pggan": "pggan",
    "pggan-unfused": "pggan",
    "stylegan1": "stylegan1",
    "stylegan1-128": "stylegan1",
    "stylegan2-tensorflow": "stylegan2",
    "stylegan2-resnet": "stylegan2",
    "stylegan2-revised": "stylegan2",
}


def variables(net: Foreign, part: str | None = None) -> dict[str, Any]:
    return dict((net.state["components"][part] if part else net).state["variables"])


def with_variables(net: Foreign, part: str | None, changed: dict[str, Any]) -> Foreign:
    if part is None:
        return Foreign(net.module, "Network", state=net.state | {"variables": [*changed.items()]})
    inner = with_variables(net.state["components"][part], None, changed)
    parts = net.state["components"] | {part: inner}
    return Foreign(net.module, "Network", state=net.state | {"components": parts})


@pytest.mark.parametrize("name", FAMILIES)
def test_images_are_those_of_the_original(name):
    content = trained(name)
    assert tensorflow.recognise(content)
    generator = tensorflow.convert(content).generator
    assert generator.family == FAMILIES[name]
    assert generator.resolution == published.reference(name)["config"]["resolution"]
    with torch.no_grad():
        assert published.largest_difference(published.reference(name), generator) < 1e-4


@pytest.mark.parametrize("name", ["pggan", "stylegan1"])
def test_a_pickle_of_three_networks_is_read_from_disk(name, tmp_path):
    path = write_nvlabs(tmp_path / "network-final.pkl", trained(name))
    generator = tensorflow.convert(pickles.load(path)).generator
    with torch.no_grad():
        assert published.largest_difference(published.reference(name), generator) < 1e-4


def test_of_three_networks_the_averaged_one_is_taken_wherever_it_stands():
    g, d, gs = trained("stylegan1")
    for content in [(g, d, gs), [gs, g, d], {"G": g, "Gs": gs, "D": d}, gs]:
        generator = tensorflow.convert(content).generator
        assert generator.mapping.w_avg.abs().max() > 0
    assert tensorflow.convert((g, d)).generator.mapping.w_avg.abs().max() == 0


def test_labels_and_sizes_come_from_the_file():
    pggan = tensorflow.convert(trained("pggan")).generator
    assert (pggan.spec.space, pggan.spec.dim, pggan.spec.classes) == ("z", 16, 5)
    stylegan = tensorflow.convert(trained("stylegan1")).generator
    assert (stylegan.spec.layers, stylegan.spec.dim, stylegan.spec.classes) == (8, 20, 4)
    assert stylegan.config.mapping_layers == 3
    assert stylegan.config.mapping_width == 28


def labelled() -> tuple[Foreign, dict[str, Any]]:
    """A StyleGAN2 of before adaptive augmentation with four classes, and its mapping network."""
    _, _, network = trained("stylegan2-tensorflow", label_size=4)
    mapping = variables(network, "mapping")
    drawn = np.random.RandomState(9)
    mapping["LabelConcat/weight"] = drawn.standard_normal((4, 24)).astype(np.float32)
    wide = drawn.standard_normal((48, 20)).astype(np.float32) * 100
    mapping["Dense0/weight"] = wide
    return with_variables(network, "mapping", mapping), mapping


def test_a_stylegan2_with_classes_of_before_augmentation_maps_as_published():
    """z and the label's embedding, which has no scale of its own, are normalised as one."""
    network, mapping = labelled()
    generator = tensorflow.convert(network).generator
    assert (generator.spec.classes, generator.z_dim) == (4, 24)
    z, label = torch.randn(3, 1, 24), torch.eye(4)[[0, 3, 1]]
    x = label.numpy() @ mapping["LabelConcat/weight"]
    x = np.concatenate([z[:, 0].numpy(), x], axis=1)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)
    for index in range(3):
        weight, bias = (mapping[f"Dense{index}/{part}"] for part in ("weight", "bias"))
        x = x @ weight * (0.01 / np.sqrt(len(weight))) + bias * 0.01
        x = np.maximum(x, 0.2 * x) * np.sqrt(2)
    found = generator.rows(Latent(z, "z", label=label))[:, 0]
    assert x.std() > 0.3 and np.abs(found.numpy() - x).max() < 1e-4
    other = generator.rows(Latent(z, "z", label=label.flip(0)))[:, 0]
    assert (other - found).abs().max() > 0.1


@pytest.mark.parametrize("damage", ["LabelConcat/weight", "Dense0/weight"])
def test_a_label_that_does_not_fit_its_mapping_network_is_named(damage):
    network, mapping = labelled()
    damaged = with_variables(network, "mapping", mapping | {damage: np.zeros((3, 7), np.float32)})
    with pytest.raises(InputError, match=r"LabelConcat|Dense0"):
        tensorflow.convert(damaged)


@pytest.mark.parametrize("fused", [True, False])
def test_how_the_network_doubles_is_read_from_its_arguments(fused):
    plain = tensorflow.convert(trained("stylegan1-128")).generator
    other = tensorflow.convert(trained("stylegan1-128", fused_scale=fused)).generator
    with torch.no_grad():
        latent = plain.sample([0])
        # "auto" fuses from 128 px on: either choice changes some doubling.
        assert (plain.synthesize(latent) - other.synthesize(latent)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("name", "part", "layer"),
    [
        ("pggan", None, "16x16/Conv0_up/weight"),
        ("pggan", None, "ToRGB_lod0/bias"),
        ("stylegan1", "synthesis", "16x16/Conv1/bias"),
        ("stylegan1", "mapping", "Dense0/weight"),
        ("pggan", None, "4x4/Dense/bias"),
        ("stylegan1", "synthesis", "8x8/Conv1/StyleMod/bias"),
        ("stylegan1", "synthesis", "noise3"),
        ("stylegan1", "mapping", "Dense1/bias"),
        ("stylegan1", None, "dlatent_avg"),
        ("stylegan2-tensorflow", "synthesis", "16x16/ToRGB/mod_bias"),
        ("stylegan2-tensorflow", "synthesis", "8x8/Conv0_up/noise_strength"),
    ],
)
def test_a_variable_that_is_missing_misshapen_or_not_a_number_is_named(name, part, layer):
    *_, gs = trained(name)
    found = variables(gs, part)
    missing = {key: value for key, value in found.items() if key != layer}
    misshapen = found | {layer: np.zeros((2, 3, 2), np.float32)}
    not_a_number = found | {layer: found[layer] * np.float32("nan")}
    for changed in (missing, misshapen, not_a_number):
        with pytest.raises(InputError, match=layer):
            tensorflow.convert(with_variables(gs, part, changed))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("use_wscale", False), ("nonlinearity", "relu"), ("blur_filter", None), ("label_size", -1)],
)
def test_a_network_of_another_making_is_refused(argument, value):
    name = "pggan" if argument in ("use_wscale", "label_size") else "stylegan1"
    with pytest.raises(InputError, match=argument):
        tensorflow.convert(trained(name, **{argument: value}))


def test_a_network_that_is_still_growing_is_refused():
    *_, gs = trained("pggan")
    growing = with_variables(gs, None, variables(gs) | {"lod": np.float32(1.5)})
    with pytest.raises(InputError, match=r"level of detail is 1\.5"):
        tensorflow.convert(growing)


@pytest.mark.parametrize("name", ["pggan-unfused", "stylegan1-128"])
def test_grey_comes_out_as_three_equal_channels(name):
    *_, gs = trained(name)
    part = "synthesis" if name.startswith("stylegan") else None
    found = variables(gs, part)
    grey = {f"ToRGB_lod0/{n}": found[f"ToRGB_lod0/{n}"][..., :1] for n in ("weight", "bias")}
    generator = tensorflow.convert(with_variables(gs, part, found | grey)).generator
    with torch.no_grad():
        image = generator.synthesize(generator.sample([0]))
    assert image.shape[1] == 3
    assert torch.equal(image[:, 0], image[:, 2])


def test_training_in_half_precision_is_noted():
    assert tensorflow.convert(trained("pggan")).notes == ()
    (note,) = tensorflow.convert(trained("pggan", pixelnorm_epsilon=1e-4)).notes
    assert "0.0001" in note


def test_more_layers_than_any_network_has_are_refused():
    *_, gs = trained("pggan")
    more = {
        f"{2**k}x{2**k}/{part}/bias": np.zeros(4)
        for k in (6, 7, 8, 9, 10, 11, 12)
        for part in ("Conv0_up", "Conv1")
    }
    with pytest.raises(InputError, match="22 layers"):
        tensorflow.convert(with_variables(gs, None, variables(gs) | more))


def test_networks_without_a_generator_are_refused():
    with pytest.raises(InputError, match="networks D: none"):
        tensorflow.convert(trained("pggan")[1])


@pytest.mark.parametrize("content", [None, 3, {}, [], (1, 2), {"G": 1}, Foreign("m", "Network")])
def test_other_content_is_not_recognised(content):
    assert not tensorflow.recognise(content)


def test_damaged_variables_are_refused():
    damaged = Foreign("m", "Network", state={"name": "Gs", "variables": [("lod",), 3]})
    with pytest.raises(InputError, match="damaged variables"):
        tensorflow.convert(damaged)
    words = Foreign("m", "Network", state={"variables": [("ToRGB_lod0/weight", "text")]})
    with pytest.raises(InputError, match="expected numbers, found str"):
        tensorflow.convert(words)
