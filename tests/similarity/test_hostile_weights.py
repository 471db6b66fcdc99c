"""Weights of judges pass the same bounded reader as checkpoints: they run nothing, take little."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch

from dseinvert.errors import DseInvertError
from dseinvert.evaluation.inception import open_inception
from dseinvert.similarity.gradcam import open_gradcam
from dseinvert.similarity.identity import open_identity

ROOT = Path(__file__).parents[2]
RAN: list[str] = []


class Evil:
    """Runs when it is read by Python's own reader."""

    def __reduce__(self) -> tuple[object, ...]:
        return RAN.append, ("ran",)


def bomb(path: Path) -> None:
    """PyTorch's file with a storage of 400 MB of zeros, packed to a thousandth."""
    torch.save({"w": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as whole:
        members = {one.filename: whole.read(one) for one in whole.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, bytes(400 << 20) if name.endswith("data/0") else data)


@pytest.mark.parametrize("opened", [open_inception, open_gradcam, open_identity])
@pytest.mark.parametrize("kind", ["code", "bomb", "list", "arrays", "text"])
def test_hostile_weights_of_a_judge_are_refused_in_a_line(
    opened: object, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    if kind == "bomb":
        bomb(path)
    elif kind == "code":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "text":
        path.write_bytes(b"it is no weights")
    else:
        torch.save([1, 2] if kind == "list" else {"input_layer.0.weight": 3, 4: None}, path)
    with pytest.raises(DseInvertError) as error:
        opened(path)  # type: ignore[operator]
    assert str(error.value).isprintable() and not RAN


def test_no_file_is_read_by_the_reader_of_pytorch() -> None:
    files = [*(ROOT / "dseinvert").rglob("*.py"), *(ROOT / "export").rglob("*.py")]
    assert not [path for path in files if re.search(r"\btorch\.load\(", path.read_text("utf-8"))]
