from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from dseinvert.export.graphs import Graph, graphs
from dseinvert.export.parity import TOLERANCES, ParityError, check, compare, report
from dseinvert.models import Model


class Off:
    """A runner that is off by a little in every number of an output."""

    def __init__(self, graph: Graph, by: float) -> None:
        self.graph, self.by = graph, by

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: one + self.by for name, one in self.graph.run(inputs).items()}


@pytest.fixture(scope="module")
def both(tiny: Model) -> dict[str, Graph]:
    return {graph.name: graph for graph in graphs(tiny)}


@pytest.mark.parametrize("name", ["encoder", "generator"])
def test_equal_numbers_pass(tiny: Model, both: dict[str, Graph], name: str) -> None:
    found = compare(both[name], Off(both[name], 0), tiny, None, [1, 3])
    check(found, TOLERANCES["fp32"], "fp32")
    assert max(one.largest for one in found) == 0


@pytest.mark.parametrize("name", ["encoder", "generator"])
def test_numbers_over_the_tolerance_fail(tiny: Model, both: dict[str, Graph], name: str) -> None:
    found = compare(both[name], Off(both[name], 0.05), tiny, None, [1])
    with pytest.raises(ParityError, match=f"{name} in fp32"):
        check(found, TOLERANCES["fp32"], "fp32")


def test_not_a_number_fails_at_every_precision(tiny: Model, both: dict[str, Graph]) -> None:
    found = compare(both["encoder"], Off(both["encoder"], float("nan")), tiny, None, [1])
    for precision, tolerance in TOLERANCES.items():
        with pytest.raises(ParityError, match="not a number"):
            check(found, tolerance, precision)


def test_a_wrong_shape_fails(tiny: Model, both: dict[str, Graph]) -> None:
    def halved(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"images": both["generator"].run(inputs)["images"][:, :, ::2]}

    with pytest.raises(ParityError, match="images is"):
        compare(both["generator"], halved, tiny, None, [1])


def test_an_encoder_is_compared_on_pictures_and_by_what_is_drawn(
    tiny: Model, both: dict[str, Graph]
) -> None:
    pictures = torch.zeros(2, 3, 16, 16)
    pictures[:, :, ::3] = 1
    found = compare(both["encoder"], Off(both["encoder"], 1e-3), tiny, pictures, [1])
    assert {one.on for one in found} == {"samples", "noisy samples", "pictures"}
    assert {one.output for one in found} == {"code", "redrawn"}
    assert all(one.psnr is not None for one in found if one.output == "redrawn")


def test_every_row_of_a_latent_is_tried(tiny: Model, both: dict[str, Graph]) -> None:
    class Deaf:
        """Ignores the last row."""

        def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            code = inputs["code"].clone()
            code[:, -1] = code[:, 0]
            return both["generator"].run({"code": code})

    found = compare(both["generator"], Deaf(), tiny, None, [3])
    assert {one.on: one.largest > 0.01 for one in found} == {"samples": False, "mixed rows": True}


def test_the_report_is_json_without_infinities(tiny: Model, both: dict[str, Graph]) -> None:
    found = compare(both["generator"], Off(both["generator"], 0), tiny, None, [1])
    told = json.loads(json.dumps(report(found, TOLERANCES["fp32"]), allow_nan=False))
    assert told["differences"][0]["psnr"] == 200
    assert told["tolerance"]["latent"] == 1e-4
