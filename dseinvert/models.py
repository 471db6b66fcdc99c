"""What a user names with --model: a generator, its encoder, its directions, in one folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from dseinvert.editing.directions import Direction, load_directions
from dseinvert.editing.directions import dumps as dump_directions
from dseinvert.encoders import Encoder, kinds
from dseinvert.errors import DeviceError, MissingError, UsageError
from dseinvert.generators import Generator, families
from dseinvert.media.atomic import write_bytes

FORMAT = "dseinvert-model-1"
BUNDLED = Path(__file__).parent / "bundled"
DEFAULT = "default"


@dataclass(frozen=True)
class Model:
    """A generator with what belongs to it. `sha256` is that of the generator's weights file."""

    name: str
    folder: Path
    generator: Generator
    encoder: Encoder | None
    directions: dict[str, Direction]
    sha256: str
    encoder_sha256: str
    alignment: str
    """How its faces are cropped: "ffhq", or "none" where images are taken as they are."""
    card: dict[str, Any]


@dataclass(frozen=True)
class ModelRow:
    """One line of `models list`."""

    name: str
    folder: Path
    description: str
    bytes: int


def open_model(name_or_path: str = DEFAULT, device: str | torch.device = "cpu") -> Model:
    """Load a model by its name or folder, ready for inference.

    Raises:
        UsageError: neither a known name nor a folder.
        MissingError: a folder whose files are absent, damaged or do not fit together.
    """
    folder = find_model(name_or_path)
    card = _read_card(folder)
    try:
        network = families.build(card["generator"])
        generator = _load(network, folder / "generator.safetensors", device)
        encoder = None
        if "encoder" in card:
            network = kinds.build(card["encoder"])
            encoder = _load(network, folder / "encoder.safetensors", device)
            encoder.attach(generator)
    except (TypeError, ValueError, KeyError) as error:
        raise MissingError(f"{folder}/model.json: {error}") from error
    directions = folder / "directions.safetensors"
    return Model(
        name=card["name"],
        folder=folder,
        generator=generator,
        encoder=encoder,
        directions=load_directions(directions) if directions.exists() else {},
        sha256=_sha256(folder / "generator.safetensors"),
        encoder_sha256=_sha256(folder / "encoder.safetensors") if encoder else "",
        alignment=card.get("alignment", "ffhq"),
        card=card,
    )


def load_generator(path: Path, device: str | torch.device = "cpu") -> Generator:
    """The generator of a model folder, or of a generator.safetensors inside one."""
    return open_model(str(path.parent if path.is_file() else path), device).generator


def find_model(name_or_path: str) -> Path:
    """The folder of a model.

    Raises:
        UsageError: neither a known name nor a folder.
    """
    for row in list_models():
        if name_or_path in (row.name, DEFAULT):
            return row.folder
    folder = Path(name_or_path).expanduser()
    if (folder / "model.json").is_file():
        return folder
    names = ", ".join(row.name for row in list_models())
    if folder.is_dir():
        raise UsageError(f"{folder}: no model here: it has no model.json", f"known models: {names}")
    raise UsageError(f"no model or folder {name_or_path!r}", f"known models: {names}")


def list_models() -> list[ModelRow]:
    """The models that can be named, the default one first."""
    return [_row(folder) for folder in (BUNDLED,) if (folder / "model.json").is_file()]


def describe(model: Model) -> dict[str, Any]:
    """What `models show` prints, ready for JSON."""
    spec = model.generator.spec
    return {
        "name": model.name,
        "folder": str(model.folder),
        "description": model.card.get("description", ""),
        "licence": model.card.get("licence", ""),
        "family": model.generator.family,
        "resolution": model.generator.resolution,
        "space": spec.space,
        "layers": spec.layers,
        "dim": spec.dim,
        "classes": spec.classes,
        "alignment": model.alignment,
        "encoder": model.encoder is not None,
        "directions": {name: d.unit for name, d in sorted(model.directions.items())},
        "generator_sha256": model.sha256,
        "bytes": _row(model.folder).bytes,
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
) -> None:
    """Write a model folder that `open_model` reads; `half` stores weights as float16.

    model.json comes last, so that a folder that has one is whole.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"a model cannot be named {name!r}", "letters, digits, . _ -")
    folder.mkdir(parents=True, exist_ok=True)
    card: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "description": description,
        "licence": licence,
        "alignment": alignment,
        "generator": {"family": generator.family, **generator.config.asdict()},
    }
    write_bytes(folder / "generator.safetensors", _weights(generator, half))
    if encoder is not None:
        card["encoder"] = {"kind": encoder.kind, **encoder.config.asdict()}
        write_bytes(folder / "encoder.safetensors", _weights(encoder, half))
    if directions:
        write_bytes(folder / "directions.safetensors", dump_directions(directions))
    write_bytes(folder / "model.json", (json.dumps(card, indent=2) + "\n").encode())


def generator_sha256(generator: Generator, *, half: bool = False) -> str:
    """The hash its weights will have once saved: what directions and latents refer to."""
    return hashlib.sha256(_weights(generator, half)).hexdigest()


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` -> a device that is there.

    Raises:
        UsageError: another word. DeviceError: a GPU that is not there.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"--device {name!r}", "auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"--device {name}: {torch.cuda.device_count()} CUDA devices here", "--device cpu"
        )
    return device


def _load(module: Any, file: Path, device: str | torch.device) -> Any:
    try:
        state = {key: value.float() for key, value in load_file(file).items()}
        module.load_state_dict(state)
    except FileNotFoundError as error:
        raise MissingError(f"{file}: no such file") from error
    except (SafetensorError, OSError) as error:
        raise MissingError(f"{file}: damaged: {error}") from error
    except RuntimeError as error:  # load_state_dict: names or shapes differ
        first = str(error).splitlines()[1:2] or [str(error)]
        raise MissingError(f"{file}: does not fit model.json: {first[0].strip()}") from error
    return module.eval().requires_grad_(False).to(device)


def _weights(module: Generator | Encoder, half: bool) -> bytes:
    dtype = torch.float16 if half else torch.float32
    assert isinstance(module, nn.Module)
    state = module.state_dict()
    return save({k: v.detach().cpu().to(dtype).contiguous() for k, v in state.items()})


def _read_card(folder: Path) -> dict[str, Any]:
    file = folder / "model.json"
    try:
        card = json.loads(file.read_bytes())
        if card.get("format") != FORMAT or not isinstance(card["name"], str):
            raise ValueError(f"its format is not {FORMAT}")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise MissingError(f"{file}: not a model description: {error}") from error
    return card


def _row(folder: Path) -> ModelRow:
    card = _read_card(folder)
    size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    return ModelRow(card["name"], folder, card.get("description", ""), size)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
