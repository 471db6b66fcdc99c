from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.errors import DeviceError
from dseinvert.inversion.inverter import Inversion, Inverter
from dseinvert.latent import load_latent
from dseinvert.media.images import encode_png, read_image
from dseinvert.run.flow.batchsize import BatchSize
from dseinvert.run.images.journal import NAME, read

Run = Callable[..., int]


@pytest.fixture
def two(tmp_path: Path, pictures: Path) -> list[Path]:
    return [pictures / "p0.png", pictures / "p1.png"]


def rows(out: Path) -> list[dict[str, str]]:
    lines = (out / "metrics.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("refine", ["latent:3", "encoder:3", "generator:3"])
def test_refined_pictures_are_nearer_and_say_what_it_took(
    dse: Run, two: list[Path], tmp_path: Path, refine: str
) -> None:
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert dse("images", *two, "--out", plain, "--no-align") == 0
    assert dse("images", *two, "--out", out, "--no-align", "--refine", refine) == 0
    for before, after in zip(rows(plain), rows(out), strict=True):
        assert float(after["mse"]) < float(before["mse"])
        assert after["steps"] == "3"
        assert float(after["seconds"]) > 0
    assert f"# refinement: {refine}" in (out / "metrics.csv").read_text()
    assert load_latent(out / "p0.safetensors").origin["refined"] == refine


def test_another_refinement_is_done_anew_and_the_same_is_not(
    dse: Run, two: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    lines = []
    for given in ("generator:2", "generator:2", "generator:3", "latent:3", "none"):
        words = ("images", *two, "--out", out, "--no-align", "--refine", given)
        other = bool(lines) and given != "generator:2"
        assert dse(*words) == (6 if other else 0)
        assert not other or dse(*words, "--overwrite") == 0
        lines.append(len((out / NAME).read_text().splitlines()))
    assert lines == [2, 2, 4, 6, 8]
    settings = [json.loads(line)["settings"] for line in (out / NAME).read_text().splitlines()]
    assert [one.get("refine") for one in settings[::2]] == [
        *("generator:2", "generator:3", "latent:3"),
        None,
    ]


def test_each_option_of_a_refinement_counts(dse: Run, two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("images", two[0], "--out", out, "--no-align", "--refine", "latent:2")
    for extra in ((), ("--space", "w"), ("--budget", "60s"), ("--until", "psnr=99")):
        assert dse(*given, *extra) == (6 if extra else 0)
        assert not extra or dse(*given, *extra, "--overwrite") == 0
    assert len((out / NAME).read_text().splitlines()) == 4


def test_batch_size_does_not_change_what_is_refined(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    given = ("images", pictures, "--no-align", "--edit", "age=2", "--refine", "generator:4")
    for size in ("1", "3"):
        assert dse(*given, "--out", tmp_path / size, "--batch", size) == 0
    for name in (f"p{k}.{role}.png" for k in range(7) for role in ("recon", "age+2")):
        one, three = (read_image(tmp_path / size / name).astype(int) for size in ("1", "3"))
        assert abs(one - three).max() <= 1


def test_running_out_of_memory_halves_the_batch_and_refines_alike(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invert = Inverter.invert

    def tight(self: Inverter, images: torch.Tensor, watch: object = None) -> Inversion:
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return invert(self, images, watch)  # type: ignore[arg-type]

    given = ("images", pictures, "--no-align", "-q", "--refine", "generator:4", "--batch")
    assert dse(*given, "2", "--out", tmp_path / "reference") == 0
    monkeypatch.setattr(Inverter, "invert", tight)
    assert dse(*given, "4", "--out", tmp_path / "out") == 0
    for name in (f"p{k}.recon.png" for k in range(7)):
        assert (tmp_path / "out" / name).read_bytes() == (
            tmp_path / "reference" / name
        ).read_bytes()


def test_two_threads_that_run_out_of_memory_at_once_halve_once() -> None:
    batch = BatchSize(2)
    for _ in range(2):
        batch.halve(MemoryError(), failed=2)
    assert batch.size == 1
    with pytest.raises(DeviceError):
        batch.halve(MemoryError(), failed=1)


def test_edits_of_saved_tuned_latents_are_those_of_the_run(
    dse: Run, two: list[Path], tmp_path: Path
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    given = ("--edit", "age=2")
    assert dse("images", *two, "--out", out, "--no-align", *given, "--refine", "generator:5") == 0
    assert dse("edit", out / "p0.safetensors", "--out", again, *given) == 0
    first, second = (read_image(place / "p0.age+2.png").astype(int) for place in (out, again))
    assert abs(first - second).max() <= 1
    assert load_latent(out / "p0.safetensors").tuning


def test_a_latent_keeps_its_tuning_in_half_the_bytes(
    dse: Run, two: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert dse("images", two[0], "--out", out, "--no-align", "--refine", "generator:2") == 0
    latent = load_latent(out / "p0.safetensors")
    numbers = sum(factor.numel() for factor in latent.tuning.values())
    rest = latent.code.numel() * 4 + 4000
    assert (out / "p0.safetensors").stat().st_size < 2 * numbers + rest


@pytest.mark.parametrize(
    "given",
    [
        ("--refine", "magic"),
        ("--space", "w+"),
        ("--refine", "latent", "--until", "beauty=1"),
        ("--refine", "latent", "--budget", "soon"),
    ],
)
def test_what_cannot_be_refined_so_is_refused_before_work(
    dse: Run,
    two: list[Path],
    tmp_path: Path,
    given: tuple[str, ...],
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert dse("images", *two, "--out", out, "--no-align", *given) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not out.exists()


def test_a_metric_that_is_not_here_ends_with_exit_4(
    dse: Run,
    two: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from dseinvert.errors import MissingError
    from dseinvert.inversion import refining

    def missing(*_: object) -> None:
        raise MissingError("LPIPS needs a file", "find it")

    monkeypatch.setattr(refining, "open_distance", missing)
    given = ("--refine", "latent:2", "--until", "lpips=0.1")
    assert dse("images", *two, "--out", tmp_path / "out", "--no-align", *given) == 4
    assert "--until lpips: LPIPS needs a file" in capfd.readouterr().err


def test_a_stopped_run_goes_on_where_it_was(dse: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--out", out, "--no-align", "--refine", "generator:2")
    (pictures / "black.png").write_bytes(encode_png(np.zeros((40, 40, 3), np.uint8)))
    assert dse("images", pictures / "p0.png", *given) == 0
    assert dse("images", pictures, *given) == 0
    assert len((out / NAME).read_text().splitlines()) == 8
    assert {entry.status for entry in read(out / NAME).values()} == {"done"}
