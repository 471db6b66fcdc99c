from __future__ import annotations

from typing import Any

import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import genforce
from dseinvert.pickled import pickles
from tests.references import progressive as published
from tests.references.contents import genforce as state_of

FAMILIES = {
    "pggan-genforce": "pggan",
    "pggan-interfacegan": "pggan",
    "stylegan1-genforce": "stylegan1",
    "stylegan1-interfacegan": "stylegan1",
    "stylegan1-idinvert": "stylegan1",
    "stylegan2-genforce": "stylegan2",
}


def zeros_of(name: str) -> dict[str, torch.Tensor]:
    return {key: value * 0 for key, value in state_of(name).items()}


def difference(name: str, content: Any) -> float:
    generator = genforce.convert(content).generator
    if name == "stylegan1-idinvert":  # these numbers are of its network without the last tanh
        generator.synthesis.tanh = False
    with torch.no_grad():
        return published.largest_difference(published.reference(name), generator)


@pytest.mark.parametrize("name", FAMILIES)
def test_images_are_those_of_the_original(name):
    content = state_of(name)
    assert genforce.recognise(content)
    assert genforce.convert(content).generator.family == FAMILIES[name]
    assert difference(name, content) < 1e-4


@pytest.mark.parametrize("name", ["pggan-genforce", "stylegan1-genforce"])
def test_the_averaged_generator_of_a_model_zoo_file_is_taken(name, tmp_path):
    models = {
        "generator": zeros_of(name),
        "discriminator": {"layer0.weight": torch.zeros(3)},
        "generator_smooth": state_of(name),
    }
    torch.save(models, tmp_path / "model.pth")
    content = pickles.load(tmp_path / "model.pth")
    assert genforce.recognise(content)
    assert difference(name, content) < 1e-4
    (note,) = genforce.convert(content).notes
    assert note == "took generator_smooth; left out generator, discriminator"


def test_a_training_checkpoint_of_several_devices_is_read():
    name = "stylegan1-genforce"
    smooth = {f"module.{key}": value for key, value in state_of(name).items()}
    content = {"models": {"generator": zeros_of(name), "generator_smooth": smooth}, "optimizers": 1}
    assert genforce.recognise(content)
    assert difference(name, content) < 1e-4


def test_without_an_averaged_generator_the_trained_one_is_taken():
    name = "stylegan1-genforce"
    assert difference(name, {"generator": state_of(name)}) < 1e-4


def test_fused_doubling_of_a_pggan_shows_in_its_shapes():
    name = "pggan-genforce"
    plain = state_of(name)
    # Where the width changes, [I, O] differs from [O, I]: the last two of this network.
    fused = {
        key: value.flip(2, 3).transpose(0, 1).contiguous() if _doubles(key) else value
        for key, value in plain.items()
    }
    assert fused["layer6.weight"].shape != plain["layer6.weight"].shape
    assert difference(name, fused) < 1e-4


def _doubles(key: str) -> bool:
    return key in ("layer2.weight", "layer4.weight", "layer6.weight")


def test_the_image_of_in_domain_inversion_passes_through_tanh():
    generator = genforce.convert(state_of("stylegan1-idinvert")).generator
    latent = generator.sample([0, 1])
    drawn = generator.synthesize(latent)
    generator.synthesis.tanh = False
    assert torch.equal(drawn, generator.synthesize(latent).tanh())


def test_a_stylegan2_with_classes_is_read():
    plain = state_of("stylegan2-genforce")
    width, inputs = plain["mapping.dense0.weight"].shape
    label = torch.randn(4, inputs)
    wide = torch.cat([plain["mapping.dense0.weight"], torch.randn(width, inputs) * 100], dim=1)
    content = plain | {"mapping.label_weight": label, "mapping.dense0.weight": wide}
    generator = genforce.convert(content).generator
    assert generator.spec.classes == 4 and generator.config.normed_together
    assert torch.equal(generator.mapping.embed.weight, label.t())


def test_rows_of_their_own_are_kept():
    generator = genforce.convert(state_of("stylegan1-idinvert")).generator
    assert generator.config.own_rows
    latent = generator.sample([0])
    assert (latent.code[:, 0] - latent.code[:, 1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("pggan-genforce", "layer4.weight"),
        ("pggan-genforce", "output3.bias"),
        ("stylegan1-genforce", "mapping.dense0.weight"),
        ("stylegan1-idinvert", "synthesis.layer5.epilogue.bias"),
        ("stylegan2-genforce", "synthesis.layer4.bias"),
        ("pggan-interfacegan", "layer2.weight"),
        ("pggan-interfacegan", "layer3.conv.weight"),
        ("stylegan1-genforce", "synthesis.layer3.style.weight"),
        ("stylegan1-genforce", "mapping.dense1.bias"),
        ("stylegan1-interfacegan", "synthesis.layer4.weight"),
        ("stylegan1-idinvert", "truncation.w_avg"),
        ("stylegan1-idinvert", "synthesis.layer2.epilogue.style_mod.dense.fc.weight"),
        ("stylegan2-genforce", "synthesis.output1.style.bias"),
        ("stylegan2-genforce", "synthesis.layer3.noise"),
    ],
)
def test_a_tensor_that_is_missing_misshapen_or_not_a_number_is_named(name, layer):
    found = state_of(name)
    # A fused kernel of InterFaceGAN that is missing leaves a plain one to be missed.
    plain = layer.replace(".weight", "(.conv)?.weight")
    missing = {key: value for key, value in found.items() if key != layer}
    with pytest.raises(InputError, match=plain):
        genforce.convert(missing)
    for damaged in (torch.zeros(1, 2, 3), found[layer] * float("nan")):
        with pytest.raises(InputError, match=layer):
            genforce.convert(found | {layer: damaged})


def test_a_network_that_is_still_growing_is_refused():
    with pytest.raises(InputError, match="level of detail is 2"):
        genforce.convert(state_of("stylegan1-genforce") | {"synthesis.lod": torch.tensor(2.0)})


@pytest.mark.parametrize(
    "content",
    [None, 3, {}, [], {"generator": 1}, {"generator": {}}, {"models": 3}, {1: 2}, torch.zeros(2)],
)
def test_other_content_is_not_recognised(content):
    assert not genforce.recognise(content)
