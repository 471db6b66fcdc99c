from __future__ import annotations

import csv
import io

import pytest
import torch

from dseinvert.evaluation.compare import Result
from dseinvert.evaluation.curves import Curve
from dseinvert.evaluation.plots import plots
from dseinvert.evaluation.tables import as_csv, as_markdown, curve_rows, each, spread, summary
from dseinvert.latent import Latent


def result(name: str, psnr: list[float], mse: list[float]) -> Result:
    count = len(psnr)
    return Result(
        name=name,
        latent=Latent(torch.zeros(count, 1, 4), "w"),
        drawn=torch.zeros(count, 3, 8, 8),
        measures={"psnr": torch.tensor(psnr), "mse": torch.tensor(mse)},
        seconds=torch.full((count,), 0.5),
        peak=100.0,
    )


RESULTS = [result("one", [20, 22, 30], [0.3, 0.2, 0.1]), result("two", [10, 24, 25], [0.1, 0.4, 0])]


def test_a_spread_is_mean_median_deviation_and_quartiles() -> None:
    found = spread(torch.tensor([1.0, 2, 3, 10]))
    assert (found["mean"], found["median"]) == (4, 2.5)
    assert found["deviation"] == pytest.approx(4.0825, abs=1e-3)
    assert (found["lower"], found["upper"]) == (1.75, 4.75)


def test_the_best_of_each_measure_is_bold_whichever_way_is_better() -> None:
    text = as_markdown(RESULTS, [], "protocol").decode()
    one, two = (line for line in text.splitlines() if line.startswith(("| one", "| two")))
    assert "**24 ±" in two and "**" not in one.split("|")[2]
    assert "**0.1 ±" in two and text.rstrip().endswith("protocol")


def test_every_image_has_a_row_for_each_method() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(each(RESULTS, "abc"), "how").decode()[6:])))
    assert [(row["method"], row["image"]) for row in rows] == [
        (method, image) for method in ("one", "two") for image in "abc"
    ]
    assert float(rows[4]["psnr"]) == 24


def test_the_summary_names_its_protocol_in_the_first_line() -> None:
    lines = as_csv(summary(RESULTS), "how it was done").decode().splitlines()
    assert lines[0] == "# how it was done"
    assert lines[1] == "method,measure,mean,median,deviation,lower,upper"
    assert any(line.startswith("two,peak MiB,100") for line in lines)


def test_plots_are_the_same_bytes_each_time_and_name_the_methods() -> None:
    curves = [
        Curve(one.name, "age", (-1, 1), torch.tensor([[0.5] * 3, [0.7] * 3]), torch.zeros(2, 3))
        for one in RESULTS
    ]
    made, again = plots(RESULTS, curves), plots(RESULTS, curves)
    assert made == again
    assert {*made} == {"quality-seconds.svg", "fidelity-editability.svg", "identity-age.svg"}
    for svg in made.values():
        assert b">one<" in svg and b">two<" in svg
    assert [row["identity"] for row in curve_rows(curves)] == pytest.approx([0.5, 0.7, 0.5, 0.7])
