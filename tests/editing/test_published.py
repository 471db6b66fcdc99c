"""SeFa, GANSpace and InterFaceGAN against what their published code computes, of five families.

The sets and formulas are facts of genforce/sefa, harskish/ganspace and genforce/interfacegan; they
are computed here in numpy from state dicts under the names that those programs give their weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dseinvert.editing.ganspace import components_of_w, components_of_z
from dseinvert.editing.interfacegan import boundary, conditioned
from dseinvert.editing.sefa import sefa
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.importers import biggan, genforce, stylegan3
from tests.references import contents
from tests.references.progressive import reference

Array = NDArray[np.float64]
Weights = Mapping[str, torch.Tensor]
FAMILIES = ("pggan", "stylegan1", "stylegan2", "stylegan3", "biggan")


def state(family: str) -> Weights:
    if family == "stylegan3":
        return contents.stylegan3_state(reference("stylegan3-t"))
    if family == "biggan":
        return contents.biggan(reference("biggan-128"))
    return contents.genforce(f"{family}-genforce")


def opened(family: str) -> Generator:
    if family == "stylegan3":
        found = stylegan3.convert(contents.stylegan3("stylegan3-t"))
    elif family == "biggan":
        found = biggan.convert(dict(state(family)))
    else:
        found = genforce.convert(dict(state(family)))
    assert found.generator is not None
    return found.generator


def stacked(family: str, rows: range | None = None) -> Array:
    """What is factorised: [D, outputs]. For StyleGAN3 and BigGAN there is no published code: the
    rule of StyleGAN2, and the first layer of z as for PGGAN."""
    weights = state(family)
    if family == "pggan":
        first = weights["layer0.weight"].flip(2, 3).permute(1, 0, 2, 3).flatten(1)
        return first.double().numpy()
    if family == "biggan":
        return spectral(weights, "generator.gen_z")[:, : opened(family).z_dim].T
    if family == "stylegan3":
        names = [name for name in weights if name.endswith("affine.weight") and ".L" in name]
        names.sort(key=lambda name: int(name.split(".L")[1].split("_")[0]))
        return np.concatenate([weights[name].T.double().numpy() for name in names], 1)
    count = opened(family).spec.layers
    names = [f"layer{k}" for k in range(count)]
    if family == "stylegan2":
        names[-1] = f"output{(count - 1) // 2}"
    names = names if rows is None else [names[k] for k in rows]
    found = [weights[f"synthesis.{name}.style.weight"].T.double().numpy() for name in names]
    return np.concatenate(found, 1)


def spectral(weights: Weights, name: str) -> Array:
    matrix = weights[f"{name}.weight_orig"].double().numpy()
    return matrix / (
        weights[f"{name}.weight_u"].numpy() @ matrix @ weights[f"{name}.weight_v"].numpy()
    )


def factorised(weight: Array, count: int) -> Array:
    weight = weight / np.linalg.norm(weight, axis=0, keepdims=True)
    values, vectors = np.linalg.eig(weight @ weight.T)
    return vectors.T[np.argsort(-values)][:count]


def cosines(found: torch.Tensor, wanted: Array) -> Array:
    ours = found.flatten(1).double().numpy()
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(wanted, axis=1)
    return np.abs((ours * wanted).sum(1)) / lengths


@pytest.mark.parametrize("family", FAMILIES)
def test_sefa_factorises_the_published_set(family: str) -> None:
    vectors, _ = sefa(opened(family), 5)
    np.testing.assert_allclose(cosines(vectors, factorised(stacked(family), 5)), 1, atol=1e-4)


@pytest.mark.parametrize("family", ["stylegan1", "stylegan2"])
@pytest.mark.parametrize("rows", [range(2, 4), range(6, 8)], ids=["middle", "last"])
def test_sefa_of_some_rows_takes_the_published_layers(family: str, rows: range) -> None:
    vectors, _ = sefa(opened(family), 3, (rows[0], rows[-1]))
    wanted = factorised(stacked(family, rows), 3)
    np.testing.assert_allclose(cosines(vectors, wanted), 1, atol=1e-4)


def test_sefa_of_a_row_without_styles_is_refused() -> None:
    with pytest.raises(UsageError, match="rows 0-0 have no styles"):
        sefa(opened("stylegan3"), 1, (0, 0))


@pytest.mark.parametrize("family", ["stylegan1", "stylegan2", "stylegan3"])
def test_ganspace_finds_the_published_components_of_w(family: str) -> None:
    codes = opened(family).sample(range(400)).code
    found = components_of_w(codes, 3)
    w = codes[:, 0].double().numpy()
    _, values, vectors = np.linalg.svd(w - w.mean(0), full_matrices=False)
    np.testing.assert_allclose(cosines(found[:, 0], vectors[:3]), 1, atol=1e-4)
    steps = found[:, 0].norm(dim=1).numpy()
    np.testing.assert_allclose(steps, values[:3] / np.sqrt(len(w) - 1), rtol=1e-3)


@pytest.mark.parametrize("family", ["pggan", "biggan"])
def test_ganspace_regresses_z_on_components_as_published(family: str) -> None:
    gan, seeds = opened(family), range(300)
    label = 1 if gan.spec.classes else None
    found = components_of_z(gan, seeds, 3, label)
    latent = gan.sample(seeds, labels=None if label is None else [label] * len(seeds))
    x = gan.features(latent, 1).flatten(1).double().numpy()
    centred = x - x.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    coordinates = centred @ vectors[:3].T / (values[:3] / np.sqrt(len(x) - 1))
    z = latent.code[:, 0].double().numpy()
    wanted = np.linalg.lstsq(coordinates, z, rcond=None)[0]
    np.testing.assert_allclose(cosines(found, wanted), 1, atol=1e-4)


def test_interfacegan_finds_the_plane_of_the_published_machine() -> None:
    """A linear SVC, C 1, on the ends of the scores; ours picks C, and holds a fifth back."""
    svm = pytest.importorskip("sklearn.svm")
    source = torch.Generator().manual_seed(0)
    codes, step = torch.randn(2000, 1, 16, generator=source), torch.randn(16, generator=source)
    scores = (codes[:, 0] @ step + 2 * torch.randn(2000, generator=source)).numpy()
    order = np.argsort(scores)
    ends, sides = np.r_[order[:200], order[-200:]], np.repeat([-1, 1], 200)
    machine = svm.SVC(kernel="linear").fit(codes[ends, 0].double().numpy(), sides)
    found = boundary(codes[ends], sides)
    assert cosines(found.normal, machine.coef_)[0] > 0.97
    assert float(found.normal[0].double().numpy() @ machine.coef_[0]) > 0


def test_interfacegan_is_conditioned_as_published() -> None:
    source = torch.Generator().manual_seed(1)
    primal, one, two = torch.nn.functional.normalize(torch.randn(3, 1, 16, generator=source), dim=2)
    a, b, c = (float((x * y).sum()) for x, y in ((primal, one), (primal, two), (one, two)))
    first, second = (a - b * c) / (1 - c**2), (b - a * c) / (1 - c**2)
    both = primal - first * one - second * two
    torch.testing.assert_close(conditioned(primal, [one, two]), both / both.norm())
    alone = primal - a * one
    torch.testing.assert_close(conditioned(primal, [one]), alone / alone.norm())
