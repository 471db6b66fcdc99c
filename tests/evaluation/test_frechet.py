from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dseinvert.errors import InputError, MissingError
from dseinvert.evaluation.frechet import crowd_of, frechet, joined, open_features
from dseinvert.evaluation.inception import open_inception


def crowd(count: int, width: int, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=source, dtype=torch.double)
    return torch.randn(count, width, generator=source, dtype=torch.double) @ mixed


@pytest.mark.parametrize("count", [5, 60])
def test_it_is_the_formula_of_means_and_covariances(count: int) -> None:
    a, b = crowd(count, 12, 1), crowd(count + 2, 12, 2) + 0.5
    product = torch.linalg.eigvals(a.T.cov() @ b.T.cov()).real.clamp(min=0).sqrt().sum()
    moved = (a.mean(0) - b.mean(0)).square().sum()
    wanted = moved + a.T.cov().trace() + b.T.cov().trace() - 2 * product
    assert frechet(crowd_of(a), crowd_of(b)) == pytest.approx(float(wanted), rel=1e-5)


def test_a_set_is_nowhere_from_itself_and_a_shift_counts_squared() -> None:
    a = crowd(30, 8, 0)
    assert frechet(crowd_of(a), crowd_of(a)) == pytest.approx(0, abs=1e-6)
    assert frechet(crowd_of(a), crowd_of(a + 2)) == pytest.approx(8 * 4, rel=1e-6)


@pytest.mark.parametrize("cuts", [[1, 4, 5], [30, 30], [59, 1]])
def test_parts_of_a_set_are_joined_to_the_distance_of_the_whole(cuts: list[int]) -> None:
    a, b = crowd(sum(cuts), 12, 1), crowd(40, 12, 2) + 0.5
    whole, parts = crowd_of(a), joined([crowd_of(part) for part in a.split(cuts)])
    assert frechet(parts, crowd_of(b)) == pytest.approx(frechet(whole, crowd_of(b)), rel=1e-9)
    assert parts.count == len(a) and len(parts.root) <= 12


def test_fid_without_its_weights_is_one_line_that_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="FID needs the standard Inception weights"):
        open_features("fid", tmp_path / "nothing.pth")


def test_other_features_are_never_called_fid() -> None:
    found = open_features("features")
    assert found is not None and found.name == "Fréchet" and "not FID" in found.about


def test_what_is_no_inception_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(InputError, match="not the weights of FID's Inception"):
        open_inception(tmp_path / "other.pth")
    with pytest.raises(InputError, match="no weights"):
        open_inception(tmp_path / "text.pt")


class Program(nn.Module):
    """Takes what NVIDIA's TorchScript does."""

    def forward(self, pixels: Tensor, return_features: bool = False) -> Tensor:
        return pixels.float().mean((1, 2, 3))[:, None].expand(-1, 2048)


def test_a_torchscript_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.jit.script(Program()).save(str(tmp_path / "inception.pt"))

    def run(*_: object, **__: object) -> None:
        raise AssertionError("it was opened as a program")

    monkeypatch.setattr(torch.jit, "load", run)
    with pytest.raises(InputError, match="a TorchScript is a program, and is not run"):
        open_inception(tmp_path / "inception.pt")
