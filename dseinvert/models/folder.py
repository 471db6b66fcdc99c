"""A model on disk: model.json, which is its card, and one safetensors file for each part."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from dseinvert.cards import (
    CARD,
    DIRECTIONS,
    ENCODER,
    FEATURE_EDITOR,
    FORMAT,
    GENERATOR,
    read_card,
)
from dseinvert.editing import feature_editor
from dseinvert.editing.directions import Direction, load_directions
from dseinvert.editing.directions import dumps as dump_directions
from dseinvert.encoders import Encoder, kinds
from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.generators import Generator, families
from dseinvert.generators.blank import Blank, Bounded
from dseinvert.media.atomic import within, write_bytes
from dseinvert.media.digest import file_sha256
from dseinvert.media.tensors import Head, read_head, read_tensors
from dseinvert.models.model import Model
from dseinvert.names import LONGEST, brief, number, printable, table, text

ALIGNMENTS = ("ffhq", "none")
_SLACK, _PARTS = 1 << 24, 10_000
_LARGEST = 2**20
_NO_NETWORK = (
    *(TypeError, ValueError, LookupError, AttributeError, RuntimeError, ArithmeticError),
    *(AssertionError, MemoryError),
)
"""What constructors of networks raise for numbers that make none: theirs, Python's and torch's."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ModelRow:
    """One line of `models list`."""

    name: str
    folder: Path
    description: str
    bytes: int


def open_folder(folder: Path, device: str | torch.device = "cpu") -> Model:
    """Load the model in a folder, ready for inference.

    Raises:
        MissingError: its files are absent, damaged or do not fit together.
    """
    card = read_card(folder)
    alignment = card.get("alignment", "ffhq")
    if alignment not in ALIGNMENTS:
        raise MissingError(f"{folder}/{CARD}: unknown alignment {brief(alignment)}")
    generator = _load(_built(families.build, card, folder / GENERATOR), folder / GENERATOR, device)
    encoder = None
    if "encoder" in card:
        encoder = _load(_built(kinds.build, card, folder / ENCODER), folder / ENCODER, device)
        try:
            encoder.attach(generator)
        except _NO_NETWORK as error:
            raise MissingError(f"{folder}/{CARD}: {_line(error)}") from error
    directions = folder / DIRECTIONS
    sha256 = _saved(folder / GENERATOR, card)
    editor_sha256 = ""
    if "feature_editor" in card:
        file = folder / FEATURE_EDITOR
        editor = _load(_built(feature_editor.build, card, file), file, device)
        editor_sha256 = _saved(file, card)
        feature_editor.attach(generator, editor)
    return Model(
        name=card["name"],
        folder=folder,
        generator=generator,
        encoder=encoder,
        directions=load_directions(directions) if directions.exists() else {},
        sha256=sha256,
        encoder_sha256=file_sha256(folder / ENCODER) if encoder else "",
        alignment=alignment,
        card=card,
        editor_sha256=editor_sha256,
    )


def _saved(file: Path, card: Mapping[str, Any]) -> str:
    """The sha256 of a file; MissingError where the card records another."""
    sha256 = file_sha256(file)
    if recorded(card).get(file.name, sha256) != sha256:
        raise MissingError(f"{file}: damaged: not the weights that were saved")
    return sha256


def describe(model: Model) -> dict[str, Any]:
    """What `models show` prints, ready for JSON."""
    spec = model.generator.spec
    return {
        "name": model.name,
        "folder": str(model.folder),
        "description": model.card.get("description", ""),
        "licence": model.card.get("licence", ""),
        "source": model.card.get("source", {}),
        "notes": model.card.get("notes", []),
        "family": model.generator.family,
        "resolution": model.generator.resolution,
        "space": spec.space,
        "layers": spec.layers,
        "dim": spec.dim,
        "classes": spec.classes,
        "alignment": model.alignment,
        "encoder": model.encoder is not None,
        "encoder_kind": model.encoder.kind if model.encoder is not None else "",
        "feature_editor": bool(model.editor_sha256),
        "directions": {name: d.unit for name, d in sorted(model.directions.items())},
        "generator_sha256": model.sha256,
        "bytes": row(model.folder).bytes,
    }


def save_model(
    folder: Path,
    generator: Generator,
    encoder: Encoder | None = None,
    directions: Mapping[str, Direction] | None = None,
    *,
    name: str,
    description: str = "",
    licence: str = "",
    alignment: str = "ffhq",
    half: bool = False,
    keep_generator: Path | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder that `open_model` reads; `half` stores weights as float16.

    model.json comes last, so that a folder that has one is whole.

    Args:
        keep_generator: the file of the generator's weights, to keep byte for byte; None = write
            the weights in memory.
        more: entries for model.json; None = nothing.
    """
    check_name(name)
    card: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "description": description,
        "licence": licence,
        "alignment": alignment,
        **(more or {}),
        "generator": {"family": generator.family, **generator.config.asdict()},
    }
    kept = None if keep_generator is None else keep_generator.read_bytes()
    parts = {GENERATOR: _weights(generator, half) if kept is None else kept}
    if encoder is not None:
        card["encoder"] = {"kind": encoder.kind, **encoder.config.asdict()}
        parts[ENCODER] = _weights(encoder, half)
    if directions:
        parts[DIRECTIONS] = dump_directions(directions)
    write_parts(folder, card, parts)


def write_parts(folder: Path, card: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
    """Write some of a model's files, then its card, which records the sha256 of each.

    A file that is there already, byte for byte, is left as it is.
    """
    sums = {file: hashlib.sha256(data).hexdigest() for file, data in parts.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror}") from error
    for file, data in parts.items():
        if not _is_there(folder / file, len(data), sums[file]):
            write_bytes(within(folder, file), data)
    whole = {**card, "sha256": {**recorded(card), **sums}}
    write_bytes(folder / CARD, (json.dumps(whole, indent=2) + "\n").encode())


def _is_there(file: Path, size: int, sha256: str) -> bool:
    return file.is_file() and file.stat().st_size == size and file_sha256(file) == sha256


def verify(folder: Path) -> dict[str, str]:
    """The weight files of a model: "ok", "damaged", "missing", or "unknown" = no sum recorded.

    Raises:
        MissingError: its card is absent or damaged.
    """
    known = recorded(read_card(folder))
    here = {file.name for file in folder.glob("*.safetensors")}
    return {file: _state(folder / file, known.get(file)) for file in sorted(here | {*known})}


def _state(file: Path, wanted: str | None) -> str:
    if not file.is_file():
        return "missing"
    if wanted is None:
        return "unknown"
    return "ok" if file_sha256(file) == wanted else "damaged"


def recorded(card: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of each weight file when it was written."""
    return {**card.get("sha256", {})}


def generator_sha256(generator: Generator, *, half: bool = False) -> str:
    """The hash its weights will have once saved: what directions and latents refer to."""
    return hashlib.sha256(_weights(generator, half)).hexdigest()


def check_name(name: str) -> None:
    """UsageError where a model cannot be called that."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise UsageError(f"a model cannot be named {name!r}", "letters, digits, . _ -")


def row(folder: Path) -> ModelRow:
    """The line of a model in a list."""
    card = read_card(folder)
    size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    return ModelRow(card["name"], folder, card.get("description", ""), size)


def _built(build: Callable[[Any], Any], card: Mapping[str, Any], file: Path) -> Any:
    """The network that the card describes, its weights as their memory was.

    Raises:
        MissingError: its numbers make none, or one of far more weights than there are in `file`.
    """
    told, head = f"{file.parent}/{CARD}", _head(file)
    try:
        numbers = table(card[file.stem], text, lambda value: value)
        _check_numbers(numbers)
        with Bounded(_SLACK + 4 * head.numbers, _PARTS + 8 * len(head.shapes)), Blank():
            return build(numbers)
    except KeyError as error:
        raise MissingError(f"{told}: {brief(error.args[0])} is missing") from error
    except _NO_NETWORK as error:
        raise MissingError(f"{told}: {_line(error)}") from error


def _head(file: Path) -> Head:
    try:
        return read_head(file)
    except FileNotFoundError as error:
        raise MissingError(f"{file}: no such file") from error
    except (ValueError, OSError) as error:
        raise MissingError(f"{file}: damaged: {error}", "copy the model again") from error


def _check_numbers(value: Any) -> None:
    """ValueError for a number that no network has."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check_numbers(one)
    elif isinstance(value, int | float) and not abs(number(float(value))) <= _LARGEST:
        raise ValueError(f"a network with a number of {value:g}")


def _line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])[:300]


def _load(module: Any, file: Path, device: str | torch.device) -> Any:
    try:
        _, tensors = read_tensors(file)
        module.load_state_dict({key: value.float() for key, value in tensors.items()})
    except FileNotFoundError as error:
        raise MissingError(f"{file}: no such file") from error
    except (ValueError, OSError) as error:
        raise MissingError(f"{file}: damaged: {error}", "copy the model again") from error
    except RuntimeError as error:  # load_state_dict: names or shapes differ
        first = str(error).splitlines()[1:2] or [str(error)]
        said = printable(first[0].strip())[:300]
        raise MissingError(f"{file}: does not fit model.json: {said}") from error
    return module.eval().requires_grad_(False).to(device)


def weights(module: nn.Module) -> bytes:
    """The weights of a network as they are kept in a model's folder, float32."""
    return _weights(module, half=False)


def _weights(module: Generator | Encoder | nn.Module, half: bool) -> bytes:
    dtype = torch.float16 if half else torch.float32
    assert isinstance(module, nn.Module)
    state = module.state_dict()
    return save({k: v.detach().cpu().to(dtype).contiguous() for k, v in state.items()})
