"""What `dseinvert export` can be asked; the field docstrings are its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dseinvert.errors import UsageError
from dseinvert.export.runtimes import PRECISIONS, RUNTIMES, WHAT
from dseinvert.names import suggested


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how."""

    to: str = "onnx"
    """onnx, openvino or tensorrt."""
    out: Path | None = None
    """Folder for the files, made when absent; None = exports/MODEL-TO."""
    precision: str = "fp32"
    """fp32, fp16, bf16 or int8."""
    batch: str = "1..8"
    """Batch sizes the files take: a range as 1..8, or one number."""
    what: str = "both"
    """encoder, generator or both."""
    pixels: bool = False
    """Images are bytes [B, R, R, 3], not float32 [B, 3, R, R] in [-1, 1]."""
    layer: int | None = None
    """Generator layer at which a feature enters, for one more file; None = as the encoder says."""
    edit: str = ""
    """Directions, as age,smile, for one more file that takes their strengths; empty = none."""
    images: Path | None = None
    """Folder of photos that the encoder is compared on as well; None = samples only."""
    triton: bool = False
    """Also write a model folder for Triton Inference Server."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("to", self.to, RUNTIMES),
            ("precision", self.precision, PRECISIONS),
            ("what", self.what, WHAT),
        ):
            if value not in known:
                advice = suggested(value, known, f"one of {', '.join(known)}")
                raise UsageError(f"--{name} {value!r}", advice)
