from __future__ import annotations

import importlib.util
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.checkpoints import read, stylegan3
from dseinvert.checkpoints.pickles import Foreign
from dseinvert.errors import InputError
from dseinvert.latent import Latent

REFERENCES = Path(__file__).parents[1] / "references"
NAMES = ("stylegan3-t", "stylegan3-r")
LAYER = "synthesis.L3_52_12"


def weights_module() -> Any:
    spec = importlib.util.spec_from_file_location("weights", REFERENCES / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = weights_module().fill


def reference(name: str) -> dict[str, Any]:
    return json.loads((REFERENCES / f"{name}.json").read_text("utf-8"))


def published(numbers: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict that the reference images were drawn with; the recipe is in the file."""
    arrays = fill(numbers["shapes"], numbers["seed"])
    for name, shape in numbers["shapes"].items():
        if name in numbers["filter_of"]:
            taps = numbers["filters"][numbers["filter_of"][name]]
            arrays[name] = np.array(taps, np.float32).reshape(shape)
        elif name.endswith("magnitude_ema"):
            arrays[name] = np.abs(arrays[name]) + np.float32(0.5)
        elif name.endswith("transform"):
            arrays[name] = np.array(numbers["transform"], np.float32)
        elif name.startswith("mapping.fc"):
            arrays[name] = arrays[name] * np.float32(100)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def persistent(name: str, state: dict[str, Any]) -> Foreign:
    """A class saved with its source, which must never run."""
    meta = {
        "type": "class",
        "version": 6,
        "module_src": "raise SystemExit('the source was run')",
        "class_name": name,
        "state": state,
    }
    return Foreign("torch_utils.persistence", "_reconstruct_persistent_obj", (meta,))


def module(name: str, tensors: dict[str, Any], kwargs: dict[str, Any]) -> Foreign:
    own = {part: tensor for part, tensor in tensors.items() if "." not in part}
    children: dict[str, dict[str, Any]] = {}
    for part, tensor in tensors.items():
        child, _, rest = part.partition(".")
        if rest:
            children.setdefault(child, {})[rest] = tensor
    state = {
        "training": False,
        "_parameters": {},
        "_buffers": own,
        "_modules": {
            child: module(child, inner, kwargs if child == "synthesis" else {})
            for child, inner in children.items()
        },
        "_init_args": (),
        "_init_kwargs": kwargs if name == "synthesis" else {},
    }
    if name.startswith("fc"):
        state["bias_gain"] = 0.01
    return persistent(name, state)


def content(name: str, drop: str = "", **changes: Any) -> dict[str, Any]:
    """What a pickle holds; `changes` go to the tensors, or else to the constructor's arguments."""
    numbers = reference(name)
    tensors, kwargs = published(numbers), dict(numbers["kwargs"])
    for key, value in changes.items():
        (tensors if key in tensors else kwargs)[key] = value
    tensors.pop(drop, None)
    networks = {"G": None, "D": None, "training_set_kwargs": {}, "augment_pipe": None}
    return networks | {"G_ema": module("Generator", tensors, kwargs)}


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Any]:
    return reference(request.param), stylegan3.convert(content(request.param))


def latent(numbers: dict[str, Any]) -> Latent:
    z = np.random.RandomState(3).standard_normal((2, 16)).astype(np.float32)
    label = None if numbers["labels"] is None else torch.eye(3)[numbers["labels"]]
    return Latent(torch.from_numpy(z)[:, None], "z", label=label)


def test_images_agree_with_the_published_code(case):
    numbers, found = case
    generator, pixels = found.generator, np.random.RandomState(5).randint(2 * 3 * 32**2, size=100)
    code = generator.rows(latent(numbers))
    for image in numbers["images"]:
        rows = code.clone()
        part = slice(0, image["cutoff"])
        rows[:, part] = generator.mapping.w_avg.lerp(rows[:, part], image["psi"])
        drawn = generator.synthesize(Latent(rows, "w+")).flatten().double().numpy()
        np.testing.assert_allclose(drawn[pixels], image["pixels"], rtol=0, atol=2e-6)
        measured = [drawn.mean(), drawn.std(), drawn.min(), drawn.max()]
        stored = [image["mean"], image["std"], image["min"], image["max"]]
        np.testing.assert_allclose(measured, stored, rtol=0, atol=2e-6)


def test_the_numbers_are_found_in_the_file(case):
    numbers, found = case
    config = found.generator.config
    assert found.format == "StyleGAN3 pickle of NVlabs"
    assert found.notes == ("took G_ema; left out G, D, training_set_kwargs, augment_pipe",)
    assert (config.resolution, config.num_layers, config.w_dim, config.z_dim) == (32, 6, 20, 16)
    radial = numbers["kwargs"].get("use_radial_filters", False)
    assert (config.use_radial_filters, config.conv_kernel) == (radial, 1 if radial else 3)
    assert config.classes == (3 if numbers["labels"] else 0)
    assert torch.equal(
        found.generator.synthesis.input.transform, torch.tensor(numbers["transform"]).float()
    )


def test_every_published_tensor_matters():
    """But for the filters, which follow from the numbers, each one missing is noticed."""
    names = [n for n in reference("stylegan3-t")["shapes"] if n != stylegan3.MARK]
    for name in names[:: len(names) // 12]:
        with pytest.raises(InputError, match=r"layer|expected"):
            stylegan3.convert(content("stylegan3-t", drop=name))


def test_other_networks_are_not_recognised():
    assert stylegan3.recognise(content("stylegan3-t"))
    assert stylegan3.recognise(content("stylegan3-t")["G_ema"])
    assert not stylegan3.recognise(content("stylegan3-t", drop=stylegan3.MARK))
    for other in (None, [], {}, {"G_ema": None}, {"G_ema": Foreign("a", "b", ())}, 3):
        assert not stylegan3.recognise(other)


def reconstruct(meta: dict[str, Any]) -> Any:
    raise AssertionError("a function of the file was run")


class Pickled:
    """Pickles as NVlabs' persistent classes do."""

    def __init__(self, foreign: Foreign) -> None:
        self.meta = dict(foreign.args[0])
        state = dict(self.meta["state"])
        state["_modules"] = {n: Pickled(child) for n, child in state["_modules"].items()}
        self.meta["state"] = state

    def __reduce__(self) -> tuple[Any, ...]:
        return reconstruct, (self.meta,)


def test_a_file_is_read_and_nothing_in_it_runs(tmp_path, monkeypatch):
    package, persistence = types.ModuleType("torch_utils"), types.ModuleType("persistence")
    monkeypatch.setattr(reconstruct, "__module__", "torch_utils.persistence")
    monkeypatch.setattr(reconstruct, "__qualname__", "_reconstruct_persistent_obj")
    monkeypatch.setattr(reconstruct, "__name__", "_reconstruct_persistent_obj")
    persistence._reconstruct_persistent_obj = reconstruct
    path = tmp_path / "stylegan3-r.pkl"
    saved = content("stylegan3-r")
    with monkeypatch.context() as importable:
        importable.setitem(sys.modules, "torch_utils", package)
        importable.setitem(sys.modules, "torch_utils.persistence", persistence)
        path.write_bytes(pickle.dumps({"G_ema": Pickled(saved["G_ema"])}))
    found = read.read(path)
    rows = found.generator.sample([1])
    same = stylegan3.convert(saved).generator.synthesize(rows)
    assert torch.equal(found.generator.synthesize(rows), same)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({f"{LAYER}.weight": torch.zeros(12, 12, 1, 1)}, r"expected \[12, 12, 3, 3\]"),
        ({f"{LAYER}.weight": torch.zeros(12, 12, 3, 3)}, "channel of zeros"),
        ({f"{LAYER}.bias": torch.full((12,), float("nan"))}, "NaN"),
        ({f"{LAYER}.magnitude_ema": torch.tensor(-1.0)}, "more than 0"),
        ({f"{LAYER}.up_filter": torch.full((12,), 1 / 12)}, "not the filter"),
        ({"first_stopband": 7.0}, "expected|filter"),
        ({"num_layers": 7}, "expected 8 synthesis layers, found 7"),
        ({"num_layers": 10**9}, "num_layers is"),
        ({"channel_max": 10**5, "channel_base": 10**6}, "expected"),
        ({"filter_size": 10**6}, "expected"),
        ({"margin_size": "10"}, "margin_size is '10'"),
        ({"first_cutoff": float("nan")}, "first_cutoff is nan"),
        ({"first_cutoff": 0}, "cannot be built"),
        ({"conv_kernel": None}, "conv_kernel is None"),
        ({"mapping.w_avg": torch.zeros(3)}, r"mapping.w_avg: expected \[20\]"),
    ],
)
def test_what_does_not_fit_is_named(changes, said):
    with pytest.raises(InputError, match=said):
        stylegan3.convert(content("stylegan3-t", **changes))
