from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dseinvert.editing.scorer import open_scorer, scaled
from dseinvert.errors import InputError, MissingError, UsageError

pytest.importorskip("onnxruntime")


class Brightness(nn.Module):
    """Two numbers: minus the mean, and the mean of all pixels."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


def export(file: Path, *, side: int = 8, batch: int = 1, free: bool = True) -> Path:
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}} if free else None
    torch.onnx.export(
        Brightness(),
        (torch.zeros(batch, 3, side, side),),
        str(file),
        input_names=["images"],
        output_names=["scores"],
        dynamic_axes=axes,
        dynamo=False,
    )
    return file


@pytest.mark.parametrize("free", [True, False], ids=["any batch", "batch of one"])
def test_a_score_is_the_chosen_output_for_each_image(tmp_path: Path, free: bool) -> None:
    score = open_scorer(export(tmp_path / "bright.onnx", free=free), output=1)
    images = torch.tensor([-1.0, 0, 0.5])[:, None, None, None].expand(3, 3, 16, 16)
    torch.testing.assert_close(score(images), torch.tensor([-1.0, 0, 0.5]))


def test_pixels_are_as_the_classifier_wants_them() -> None:
    white, black = torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2)
    assert scaled(white, "0..255").max() == 255 and scaled(black, "0..1").min() == 0
    torch.testing.assert_close(
        scaled(black, "imagenet")[0, :, 0, 0],
        -torch.tensor([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]),
    )
    assert scaled(white, "-1..1") is white


def test_what_is_no_classifier_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        open_scorer(tmp_path / "absent.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(InputError, match="not a readable ONNX file") as caught:
        open_scorer(tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)
    good = export(tmp_path / "good.onnx")
    for output in (2, -1):
        with pytest.raises(UsageError, match=f"no output {output}"):
            open_scorer(good, output=output)
    with pytest.raises(UsageError, match=r"0\.\.255"):
        open_scorer(good, pixels="bytes")
