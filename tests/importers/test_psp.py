from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dseinvert.encoders.psp import PSPEncoder
from dseinvert.errors import InputError
from dseinvert.importers import psp, psp_weights
from dseinvert.importers.read import read
from dseinvert.models import open_model, save_model
from tests.references import contents, progressive
from tests.references.encoder_weights import pictures

REFERENCES = Path(__file__).parents[1] / "references"
NAMES = ("psp", "psp-w", "psp-wplus", "e4e", "restyle-psp", "restyle-e4e")


reference = functools.cache(progressive.reference)
state = functools.cache(contents.psp_state)


def checkpoint(name: str, **opts: Any) -> dict[str, Any]:
    return contents.psp(name, state(name), **opts)


def images(name: str) -> torch.Tensor:
    numbers = reference(name)
    return pictures(numbers["seed"] + 2, numbers["images"], numbers["resolution"])


def difference(tensor: torch.Tensor, numbers: dict[str, Any]) -> float:
    values = tensor.flatten()[numbers["indices"]]
    return (values - torch.tensor(numbers["values"])).abs().max().item()


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_images_are_those_of_the_published_code(name):
    content = checkpoint(name)
    assert psp.recognise(content)
    found = psp.convert(content)
    latent = found.encoder.encode(images(name))
    drawn = found.generator.synthesize(latent)
    # Its encoder into w writes one row, which its generator repeats.
    single = len(reference(name)["w"]["shape"]) == 2
    code = latent.code[:, 0] if single else latent.code
    assert difference(code, reference(name)["w"]) < 1e-4
    assert difference(drawn, reference(name)["image"]) < 1e-4
    assert drawn.std().item() == pytest.approx(reference(name)["image"]["std"], abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_code_does_not_depend_on_its_batch(name):
    encoder = psp.convert(checkpoint(name)).encoder
    together = encoder.encode(images(name)).code
    torch.testing.assert_close(
        together[1:2], encoder.encode(images(name)[1:2]).code, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["psp-wplus", "restyle-e4e"])
def test_a_model_made_of_it_gives_the_same_codes(name, tmp_path):
    found = psp.convert(checkpoint(name))
    save_model(tmp_path, found.generator, found.encoder, name="found")
    again = open_model(str(tmp_path)).encoder
    codes = [encoder.encode(images(name)).code for encoder in (found.encoder, again)]
    torch.testing.assert_close(*codes)


def test_what_it_is_and_what_was_assumed_is_said():
    found = psp.convert(checkpoint("psp"))
    assert (found.format, found.alignment) == ("pSp checkpoint (GradualStyleEncoder)", "ffhq")
    assert "FFHQ" in found.notes[0]
    found = psp.convert(checkpoint("restyle-e4e"))
    assert found.format == "ReStyle checkpoint (ResNetProgressiveBackboneEncoder)"
    assert found.alignment == "none"
    assert "cars_encode" in found.notes[0]
    assert psp.convert(checkpoint("e4e")).format == "e4e checkpoint"


def test_its_file_is_read_also_with_options_in_a_namespace(tmp_path):
    content = checkpoint("e4e")
    path = tmp_path / "e4e.pt"
    torch.save({**content, "opts": argparse.Namespace(**content["opts"])}, path)
    codes = [
        found.encoder.encode(images("e4e")).code for found in (psp.convert(content), read(path))
    ]
    assert torch.equal(*codes)


def test_without_a_mean_latent_rows_are_taken_as_they_are():
    found = psp.convert(checkpoint("psp", start_from_latent_avg=False))
    assert not found.encoder.w_avg.any()


def test_a_missing_mean_latent_is_the_generators():
    content = checkpoint("psp")
    del content["latent_avg"]
    found = psp.convert(content)
    assert "latent_avg" in found.notes[1]
    wanted = found.generator.mean_latent().code[0]
    torch.testing.assert_close(found.encoder.w_avg, wanted.contiguous())


def test_how_often_it_iterates_is_in_the_options():
    found = psp.convert(checkpoint("restyle-psp", n_iters_per_batch=2))
    assert found.encoder.config.iterations == 2


def test_without_a_decoder_it_needs_its_generator():
    content = checkpoint("psp")
    whole = psp.convert(content)
    content["state_dict"] = {
        n: t for n, t in content["state_dict"].items() if n.startswith("encoder.")
    }
    with pytest.raises(InputError, match="--gan"):
        psp.convert(content)
    found = psp.convert(content, whole.generator)
    assert found.generator is None
    code = found.encoder.encode(images("psp")).code
    assert torch.equal(code, whole.encoder.encode(images("psp")).code)


def test_an_encoder_of_label_maps_is_left_out():
    content = checkpoint("psp")
    content["state_dict"]["encoder.input_layer.0.weight"] = torch.zeros(16, 19, 3, 3)
    found = psp.convert(content)
    assert found.encoder is None
    assert found.generator is not None
    assert "19 channels" in found.notes[1]


def test_rows_that_the_generator_does_not_take_are_left_out():
    content = checkpoint("e4e")
    rows = {n: t for n, t in content["state_dict"].items() if n.startswith("encoder.styles.9.")}
    extra = {name.replace("styles.9", "styles.10"): tensor for name, tensor in rows.items()}
    content["state_dict"] |= extra
    content["latent_avg"] = content["latent_avg"][:1].repeat(11, 1)
    found = psp.convert(content)
    assert "last 1 rows" in found.notes[1]
    code = found.encoder.encode(images("e4e")).code
    assert difference(code, reference("e4e")["w"]) < 1e-4
    for name in rows:
        del content["state_dict"][name], content["state_dict"][name.replace(".9.", ".10.")]
    with pytest.raises(InputError, match="9 rows, its generator takes 10"):
        psp.convert(content)


@pytest.mark.parametrize(
    ("average", "said"),
    [
        (torch.zeros(3, 64), r"expected \[10, 64\], found \[3, 64\]"),
        (torch.full((10, 64), float("nan")), "NaN"),
        ([1, 2], r"expected a tensor"),
    ],
)
def test_a_mean_latent_that_does_not_fit_is_refused(average, said):
    with pytest.raises(InputError, match=said):
        psp.convert(checkpoint("e4e") | {"latent_avg": average})


def test_options_that_do_not_say_what_rows_mean_are_refused():
    content = checkpoint("e4e")
    del content["opts"]["encoder_type"]
    with pytest.raises(InputError, match="encoder_type"):
        psp.convert(content)


@pytest.mark.parametrize("name", ["psp", "psp-wplus", "restyle-e4e"])
def test_every_tensor_must_be_there_and_of_its_shape(name):
    content = checkpoint(name)
    weights = {n[8:]: t for n, t in content["state_dict"].items() if n.startswith("encoder.")}
    config = psp_weights.config(weights, 10, 64)
    counters = "num_batches_tracked"
    for tensor in [n for n in weights if not n.endswith(counters)]:
        for changed in ({}, {tensor: torch.zeros(1, 7)}):
            broken = {n: t for n, t in weights.items() if n != tensor} | changed
            with pytest.raises(InputError, match="layer "):
                psp_weights.convert(broken, config)


@pytest.mark.parametrize(
    ("kind", "units", "trunk", "channels"),
    [
        ("GradualStyleEncoder", (3, 4, 14, 3), "irse", 3),
        ("ResNetProgressiveBackboneEncoder", (3, 4, 6, 3), "resnet", 6),
    ],
)
def test_published_layers_make_an_encoder(kind, units, trunk, channels):
    shapes = json.loads((REFERENCES / "psp-layers.json").read_text())[kind]
    state = {name: torch.ones(()).expand(shape) for name, shape in shapes.items()}  # no memory
    config = psp_weights.config(state, 14, 512)
    assert (config.units, config.trunk, config.in_channels) == (units, trunk, channels)
    assert (config.widths, config.size) == ((64, 128, 256, 512), 256)
    given = {name: tensor.shape for name, tensor in psp_weights.convert(state, config).items()}
    with torch.device("meta"):
        wanted = PSPEncoder(config).state_dict()
    del wanted["w_avg"]
    assert given == {name: tensor.shape for name, tensor in wanted.items()}


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"state_dict": 3}, {"state_dict": {"decoder.input.input": torch.zeros(1)}}],
)
def test_other_content_is_not_recognised(content):
    assert not psp.recognise(content)
