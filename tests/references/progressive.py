"""State dicts and image numbers of published PGGAN, StyleGAN and StyleGAN2 generators."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dseinvert.latent import Latent

HERE = Path(__file__).parent


def _fill() -> Any:
    spec = importlib.util.spec_from_file_location("weights", HERE / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill


fill = _fill()


def reference(name: str) -> dict[str, Any]:
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))


def state(numbers: dict[str, Any]) -> dict[str, Any]:
    """The arrays that the reference images were drawn with; the recipe is in the file."""
    arrays = fill(numbers["shapes"], numbers["seed"])
    for name in arrays:
        if name.split("/")[-1] == "lod":
            arrays[name] = np.float32(0)
        if name.startswith(("mapping/Dense", "mapping.dense")):
            arrays[name] = arrays[name] * np.float32(100)
    return arrays


def latent(numbers: dict[str, Any], generator: Any) -> Latent:
    """The two z of the reference, with their classes."""
    z = np.random.RandomState(3).standard_normal((2, numbers["z_dim"])).astype(np.float32)
    label = None
    if numbers["labels"] is not None:
        label = torch.eye(generator.spec.classes)[numbers["labels"]]
    return Latent(torch.from_numpy(z)[:, None], "z", label=label)


def largest_difference(numbers: dict[str, Any], generator: Any) -> float:
    """Between our pixels and w, and theirs; in units of the image's deviation where above 1."""
    at = np.random.RandomState(5)
    pixels = at.randint(2 * 3 * generator.resolution**2, size=100)
    differences = [
        _difference(_image(generator, latent(numbers, generator), case), case, pixels)
        for case in numbers["images"]
    ]
    if "w" in numbers:
        rows = generator.rows(latent(numbers, generator)).flatten().numpy()
        at = np.random.RandomState(5).randint(rows.size, size=50)
        differences.append(float(np.abs(rows[at] - numbers["w"]).max()))
    return max(differences)


def _image(generator: Any, latent: Latent, case: dict[str, Any]) -> torch.Tensor:
    if not generator.truncates:
        return generator.synthesize(latent)
    w = generator.rows(latent)
    rows = w.shape[1] if case["cutoff"] is None else case["cutoff"]
    w = torch.cat((generator.mapping.w_avg.lerp(w, case["psi"])[:, :rows], w[:, rows:]), dim=1)
    return generator.synthesize(Latent(w, "w+"), case["noise"])


def _difference(image: torch.Tensor, case: dict[str, Any], pixels: np.ndarray) -> float:
    numbers = [image.mean(), image.std(correction=0), image.min(), image.max()]
    said = [case[name] for name in ("mean", "std", "min", "max")]
    ours = np.concatenate((image.flatten().numpy()[pixels], [float(n) for n in numbers]))
    return float(np.abs(ours - np.array(case["values"] + said)).max()) / max(1.0, case["std"])
