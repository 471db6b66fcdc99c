"""A family is its network, its importer and its row: all verbs then know what to do with it.

Here are all three, for a GAN that there is none like: its z is normal without a bound.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dseinvert.generators import Generator, families
from dseinvert.generators.families import ASKED, Family
from dseinvert.generators.ops import linear
from dseinvert.generators.pggan import conv, doubling_conv
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.sampling import draw
from dseinvert.importers.found import Found
from dseinvert.importers.read import Reader, readers
from dseinvert.latent import Latent, LatentSpec, load_latent
from dseinvert.models import open_model

# --- The network ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToyConfig:
    """The numbers of a toy."""

    width: int = 8
    z_dim: int = 12

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Toy(nn.Module):
    """z through three layers, of 4, 8 and 16 px."""

    family = "toy"
    resolution = 16
    truncates = True
    truncation = None
    z_limit = math.inf
    margin = 0
    class_vectors = None
    style_layers = ()
    mirror = "z"
    by = "torch"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.first = linear(config.z_dim, config.width * 16)
        self.layers = nn.ModuleList(doubling_conv(config.width, config.width) for _ in range(2))
        self.to_rgb = conv(config.width, 3, 1, gain=0.3)

    @property
    def spec(self) -> LatentSpec:
        return LatentSpec("z", 1, self.config.z_dim)

    @property
    def device(self) -> torch.device:
        return self.first.weight.device

    @property
    def z_dim(self) -> int:
        return self.config.z_dim

    @property
    def plain(self) -> nn.Module:
        return self

    def rows(self, latent: Latent) -> Tensor:
        return latent.code

    def first_weights(self, rows: tuple[int, int] | None = None) -> Tensor:
        return self.first.weight

    def mean_latent(self) -> Latent:
        return Latent(torch.zeros(1, 1, self.z_dim, device=self.device), "z")

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        return Latent(psi * draw(seeds, self.z_dim, 0).code, "z").to(self.device)

    def synthesize(self, latent: Latent) -> Tensor:
        return self.to_rgb(self._layer(latent, 3))

    def features(self, latent: Latent, layer: int) -> Tensor:
        if not 1 <= layer <= 3:
            raise ValueError(f"layer must be 1..3, not {layer}")
        return self._layer(latent, layer)

    def _layer(self, latent: Latent, last: int) -> Tensor:
        x = latent.feature
        if x is None:
            x = self.first(latent.code[:, 0]).unflatten(1, (-1, 4, 4)).relu()
        for layer in self.layers[(latent.layer or 1) - 1 : last - 1]:
            x = layer(x).relu()
        return x


# --- Its importer, which is this module ----------------------------------------------------------


def recognise(content: Any) -> bool:
    """Whether this is a toy's checkpoint."""
    return isinstance(content, Mapping) and "toy" in content


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The toy."""
    first = content["toy"]["first.weight"]
    network = Toy(ToyConfig(len(first) // 16, first.shape[1]))
    network.load_state_dict(content["toy"])
    return Found("checkpoint of toys", generator=network.eval().requires_grad_(False))


# --- Its row -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families.FAMILIES, "toy", Family(ToyConfig, Toy, (__name__,)))


# --- What that is enough for ---------------------------------------------------------------------


@pytest.fixture
def toy(dse: Callable[..., int], tmp_path: Path) -> str:
    """The name of a toy that was added."""
    torch.manual_seed(0)
    torch.save({"toy": Toy(ToyConfig()).state_dict()}, tmp_path / "checkpoint.pt")
    assert dse("models", "add", tmp_path / "checkpoint.pt", "--name", "toy") == 0
    return "toy"


@pytest.fixture
def trained(toy: str, dse: Callable[..., int], tmp_path: Path) -> Path:
    """The folder of a toy with an encoder that was trained for two steps."""
    options = "--iterations 2 --batch 2 --eval-samples 2 --perceptual none --widths 4,8,8 -q"
    assert dse("train", "--gan", toy, "--out", tmp_path / "run", *options.split()) == 0
    return tmp_path / "run"


def test_a_checkpoint_is_added_and_sampled(
    toy: str, dse: Callable[..., int], tmp_path: Path
) -> None:
    model = open_model(toy)
    assert model.generator.family == "toy" and model.card["source"]["format"].endswith("toys")
    assert dse("sample", "--model", toy, "--seeds", "0-1", "--out", tmp_path / "out", "-q") == 0
    assert len([*(tmp_path / "out").glob("*.png")]) >= 2


def test_an_encoder_is_trained_that_inverts_pictures(
    trained: Path, dse: Callable[..., int], pictures: Path, tmp_path: Path
) -> None:
    encoder = open_model(str(trained)).encoder
    assert encoder is not None and encoder.kind == "dse-pggan"
    common = ("--model", trained, "--no-align", "-q")
    assert dse("images", pictures, "--out", tmp_path / "out", *common) == 0
    latent = load_latent(tmp_path / "out" / "p0.safetensors")
    assert (latent.space, latent.code.shape) == ("z", (1, 1, 12))
    more = ("--refine", "latent:2", *common)
    assert dse("images", pictures / "p0.png", "--out", tmp_path / "more", *more) == 0


def test_sefa_finds_directions_that_edit(
    trained: Path, dse: Callable[..., int], tmp_path: Path
) -> None:
    learn = ("--method", "sefa", "--count", 1, "--samples", 16, "--model", trained, "-q")
    assert dse("directions", "learn", *learn, "--copy", "more") == 0
    direction = open_model("more").directions["sefa0"]
    assert direction.space == "z"
    sampled, edited = tmp_path / "sampled", tmp_path / "edited"
    assert dse("sample", "--model", "more", "--seeds", "0", "--out", sampled, "-q") == 0
    (file,) = sampled.glob("*.safetensors")
    edit = ("--edit", "sefa0=+3", "--model", "more", "-q")
    assert dse("edit", file, "--out", edited, *edit) == 0
    (picture,) = edited.glob("*.png")
    latent = load_latent(file)
    # Straight on: its z is on no sphere.
    straight = replace(latent, code=latent.code + 3 * direction.vector)
    (drawn,) = to_pixels(open_model("more").generator.synthesize(straight))
    assert np.array_equal(np.asarray(Image.open(picture)), drawn)


def test_it_is_exported(trained: Path, dse: Callable[..., int], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "onnx"
    assert dse("export", trained, "--out", out, "--batch", "1..2", "--device", "cpu", "-q") == 0
    assert {file.stem for file in out.glob("*.onnx")} == {"encoder", "generator"}


@pytest.mark.parametrize("name", ASKED)
def test_a_family_that_leaves_something_out_is_refused_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Less(nn.Module):
        def __init__(self, config: ToyConfig) -> None:
            super().__init__()
            own = Toy(config)
            for said in set(ASKED) - {name}:
                object.__setattr__(self, said, getattr(own, said))

    monkeypatch.setitem(families.FAMILIES, "toy", Family(ToyConfig, Less, ()))
    with pytest.raises(TypeError, match=f"^the generator family 'toy' leaves out {name}$"):
        families.build({"family": "toy"})


# --- The other rooms -----------------------------------------------------------------------------

KNOWING = ("generators", "importers")
PACKAGE = Path(families.__file__).parents[1]
NETWORKS = {f"dseinvert.generators.{family}" for family in families.FAMILIES}
ROOMS = [
    *(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in KNOWING),
    *(PACKAGE.parent / "export").glob("*.py"),
]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_other_room_tells_families_apart(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.module not in NETWORKS
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            assert not any(isinstance(one, ast.Attribute) and one.attr == "family" for one in sides)


def test_every_importer_in_the_table_reads() -> None:
    known: tuple[Reader, ...] = readers()
    assert {reader.__name__ for reader in known} > {__name__, "dseinvert.importers.rosinality"}
    for reader in known:
        assert callable(reader.recognise) and callable(reader.convert)
