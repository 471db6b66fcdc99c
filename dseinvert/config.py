"""What each verb can be asked to do: one dataclass a verb; the field docstrings are its help."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path


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
    batch: int | None = None
    """Latents rendered at once: auto or a number. None = auto."""


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
