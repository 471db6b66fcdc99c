"""What each verb can be asked to do: one dataclass a verb; the field docstrings are its help."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ImagesOptions:
    """What `dseinvert images` is asked to do."""

    out: Path
    """Folder for the latents, pictures, page and tables; made when absent."""
    edits: tuple[str, ...] = ()
    """NAME=STRENGTH[,NAME=STRENGTH]...: one more picture of each face; may be repeated."""
    model: str = "default"
    """Name or folder of a model, or a checkpoint file."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    backend: str = "auto"
    """Who runs the model: auto, torch, onnx, openvino or tensorrt."""
    batch: int | None = None
    """Faces computed at once: auto or a number. None = auto."""
    label: int | None = None
    """Class of the images, from 0, for a model that has classes: auto or a number. None = auto."""
    align: bool = True
    """Find and crop the faces; without it, images are taken as they are."""
    paste: bool = False
    """Also blend the edited faces back into the whole photo."""
    overwrite: bool = False
    """Do again what the journal says is done."""
    dry_run: bool = False
    """Say what would be done and under which names; write nothing."""


@dataclass(frozen=True)
class EditOptions:
    """What `dseinvert edit` is asked to do."""

    out: Path
    """Folder for the pictures; made when absent."""
    edits: tuple[str, ...] = ()
    """NAME=STRENGTH[,NAME=STRENGTH]...: one picture of each latent; may be repeated."""
    model: str = "default"
    """Name or folder of the model whose generator the latents belong to."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    backend: str = "auto"
    """Who runs the model: auto, torch, onnx, openvino or tensorrt."""
    batch: int | None = None
    """Latents rendered at once: auto or a number. None = auto."""


@dataclass(frozen=True)
class VideoOptions:
    """What `dseinvert video` is asked to do."""

    out: Path | None = None
    """Video file to write, or folder for all that is written. None = the current folder."""
    edits: tuple[str, ...] = ()
    """NAME=STRENGTH[,NAME=STRENGTH]...: one video each; may be repeated. Without: the
    reconstruction."""
    faces: Literal["largest", "all"] | int = "largest"
    """largest (the person who takes most of the clip), all, or how many people."""
    smooth: float | Literal["auto"] = "auto"
    """Smoothing in time: auto, or from 0 (each frame by itself) to 1."""
    start: Fraction | None = None
    """Where to begin: seconds, or H:MM:SS. None = at the first frame."""
    end: Fraction | None = None
    """Where to end: seconds, or H:MM:SS. None = after the last frame."""
    fps: Fraction | None = None
    """Frames a second of a folder of frames, such as 25 or 30000/1001. None = as its times.csv
    says."""
    codec: str | None = None
    """h264, h265, av1, prores or ffv1, and with _nvenc on a GPU. None = h264."""
    crf: float | None = None
    """Quality, less is better and larger. None = looks like the source."""
    preview: bool = False
    """A small, quickly encoded video for a first look."""
    side_by_side: bool = False
    """Show the source beside the result."""
    frames: bool = False
    """Write a folder of pictures and times.csv in place of a video."""
    paste: Literal["difference", "replace"] | None = None
    """difference adds what the edit changed, and the frame keeps its detail; replace puts the
    generated face in its place. None = difference; replace for the reconstruction."""
    model: str = "default"
    """Name or folder of a model, or a checkpoint file."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch: int | None = None
    """Faces computed at once: auto or a number. None = auto."""
    segment: int = 250
    """Frames that a killed run loses at most; each segment begins with a key frame."""
    overwrite: bool = False
    """Do again what is done, and replace files of other runs."""
    dry_run: bool = False
    """Say what would be done and under which names; write nothing."""


def field_docs(options: type) -> dict[str, str]:
    """The docstring under each field of an options class."""
    tree = ast.parse(inspect.getsource(options)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, doc in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(doc.value, ast.Constant)
            docs[field.target.id] = str(doc.value.value)
    return docs
