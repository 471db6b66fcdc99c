from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import read, stylegan3
from dseinvert.latent import Latent
from dseinvert.pickled.pickles import Foreign
from tests.references.contents import stylegan3 as content
from tests.references.files import write_nvlabs
from tests.references.progressive import reference

NAMES = ("stylegan3-t", "stylegan3-r")
LAYER = "synthesis.L3_52_12"
ROUNDED = 1e-5
"""Processors add up in different orders: 3.6e-6 apart where it was most."""


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Any]:
    return reference(request.param), stylegan3.convert(content(request.param))


def latent(numbers: dict[str, Any]) -> Latent:
    z = np.random.RandomState(3).standard_normal((2, 16)).astype(np.float32)
    label = None if numbers["labels"] is None else torch.eye(3)[numbers["labels"]]
    return Latent(torch.from_numpy(z)[:, None], "z", label=label)


def test_images_agree_with_the_published_code(case):
    numbers, found = case
    generator, pixels = found.generator, np.random.RandomState(5).randint(2 * 3 * 32**2, size=100)
    code = generator.rows(latent(numbers))
    for image in numbers["images"]:
        rows = code.clone()
        part = slice(0, image["cutoff"])
        rows[:, part] = generator.mapping.w_avg.lerp(rows[:, part], image["psi"])
        drawn = generator.synthesize(Latent(rows, "w+")).flatten().double().numpy()
        np.testing.assert_allclose(drawn[pixels], image["pixels"], rtol=0, atol=ROUNDED)
        measured = [drawn.mean(), drawn.std(), drawn.min(), drawn.max()]
        stored = [image["mean"], image["std"], image["min"], image["max"]]
        np.testing.assert_allclose(measured, stored, rtol=0, atol=ROUNDED)


def test_the_numbers_are_found_in_the_file(case):
    numbers, found = case
    config = found.generator.config
    assert found.format == "StyleGAN3 pickle of NVlabs"
    assert found.notes == ("took G_ema; left out G, D, training_set_kwargs, augment_pipe",)
    assert (config.resolution, config.num_layers, config.w_dim, config.z_dim) == (32, 6, 20, 16)
    radial = numbers["kwargs"].get("use_radial_filters", False)
    assert (config.use_radial_filters, config.conv_kernel) == (radial, 1 if radial else 3)
    assert config.classes == (3 if numbers["labels"] else 0)
    assert torch.equal(
        found.generator.synthesis.input.transform, torch.tensor(numbers["transform"]).float()
    )


def test_every_published_tensor_matters():
    """But for the filters, which follow from the numbers, each one missing is noticed."""
    names = [n for n in reference("stylegan3-t")["shapes"] if n != stylegan3.MARK]
    for name in names[:: len(names) // 12]:
        with pytest.raises(InputError, match=r"layer|expected"):
            stylegan3.convert(content("stylegan3-t", drop=name))


def test_other_networks_are_not_recognised():
    assert stylegan3.recognise(content("stylegan3-t"))
    assert stylegan3.recognise(content("stylegan3-t")["G_ema"])
    assert not stylegan3.recognise(content("stylegan3-t", drop=stylegan3.MARK))
    for other in (None, [], {}, {"G_ema": None}, {"G_ema": Foreign("a", "b", ())}, 3):
        assert not stylegan3.recognise(other)


def test_a_file_is_read_and_nothing_in_it_runs(tmp_path):
    saved = content("stylegan3-r")
    path = write_nvlabs(tmp_path / "stylegan3-r.pkl", {"G_ema": saved["G_ema"]})
    found = read.read(path)
    rows = found.generator.sample([1])
    same = stylegan3.convert(saved).generator.synthesize(rows)
    assert torch.equal(found.generator.synthesize(rows), same)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({f"{LAYER}.weight": torch.zeros(12, 12, 1, 1)}, r"expected \[12, 12, 3, 3\]"),
        ({f"{LAYER}.weight": torch.zeros(12, 12, 3, 3)}, "channel of zeros"),
        ({f"{LAYER}.bias": torch.full((12,), float("nan"))}, "NaN"),
        ({f"{LAYER}.magnitude_ema": torch.tensor(-1.0)}, "more than 0"),
        ({f"{LAYER}.up_filter": torch.full((12,), 1 / 12)}, "not the filter"),
        ({"first_stopband": 7.0}, "expected|filter"),
        ({"num_layers": 7}, "expected 8 synthesis layers, found 7"),
        ({"num_layers": 10**9}, "num_layers is"),
        ({"channel_max": 10**5, "channel_base": 10**6}, "expected"),
        ({"filter_size": 10**6}, "expected"),
        ({"margin_size": "10"}, "margin_size is '10'"),
        ({"first_cutoff": float("nan")}, "first_cutoff is nan"),
        ({"first_cutoff": 0}, "cannot be built"),
        ({"conv_kernel": None}, "conv_kernel is None"),
        ({"mapping.w_avg": torch.zeros(3)}, r"mapping.w_avg: expected \[20\]"),
    ],
)
def test_what_does_not_fit_is_named(changes, said):
    with pytest.raises(InputError, match=said):
        stylegan3.convert(content("stylegan3-t", **changes))
