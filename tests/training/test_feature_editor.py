"""A feature editor is taught, kept in a model's folder, and used wherever edits are made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.editing.apply import apply_edits, parse_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.feature_editor import FeatureEditor, attached
from dseinvert.encoders.dse import DSEConfig
from dseinvert.encoders.dse_feature import DSEFeatureConfig, DSEFeatureEncoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.latent import Latent
from dseinvert.media.images import encode_png
from dseinvert.models import Model, describe, open_model, save_model, verify
from dseinvert.models.attach import give_editor
from dseinvert.training import feature_editor
from dseinvert.training.edited_photos import Judged, judge
from dseinvert.training.feature_editor import Learned, Lessons, learn_editor
from tests.conftest import picture

FILE = "feature_editor.safetensors"


def build_model(folder: Path) -> Path:
    """A model of random weights, 16 px, whose encoder writes F at layer 3."""
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(16, {4: 16, 8: 16, 16: 8}, 16, 16, 2))
    trunk = DSEConfig(16, 6, 16, (8, 16, 16))
    encoder = DSEFeatureEncoder(DSEFeatureConfig(trunk, layer=3, side=8, channels=16, width=8))
    torch.nn.init.normal_(encoder.branch.leave.weight, std=0.1)
    save_model(folder, generator, encoder, name="tiny")
    age = Direction("age", torch.randn(6, 16), "w+", "one", open_model(str(folder)).sha256)
    save_model(folder, generator, encoder, {"age": age}, name="tiny", alignment="none")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_model(tmp_path / "tiny")


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    model = open_model(str(build_model(tmp_path_factory.mktemp("taught") / "tiny")))
    return learn_editor(model, 40, 8, 0)


def edited(model: Model) -> Latent:
    sample = model.generator.sample([5, 6])
    with torch.no_grad():
        latent = model.require_encoder().encode(model.generator.synthesize(sample))
        return apply_edits(latent, parse_edits("age=1", model.directions), model.generator)


def test_lessons_lower_the_loss_on_samples_that_were_held_out(learned: Learned) -> None:
    assert 0 < learned.by_editor < 0.97 * learned.by_rule


def test_the_same_seed_teaches_the_same_and_leaves_other_random_numbers_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_editor, "HELD_OUT", 4)
    model = open_model(str(folder))
    state = torch.get_rng_state()
    first, second = (learn_editor(model, 2, 2, 7).editor.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = learn_editor(model, 2, 2, 8).editor.state_dict()
    assert not torch.equal(first["enter.weight"], other["enter.weight"])


def test_a_pair_follows_from_its_seed_and_not_from_its_batch(folder: Path) -> None:
    model = open_model(str(folder))
    lessons = Lessons(model.generator, model.require_encoder(), [*model.directions.values()])
    whole, alone = lessons.pairs([11, 12, 13]), lessons.pairs([12])
    for name in ("code", "before", "after", "wanted"):
        assert (getattr(whole, name)[1:2] - getattr(alone, name)).abs().max() < 1e-4, name


def test_saved_and_loaded_it_edits_the_same(folder: Path, learned: Learned) -> None:
    model = open_model(str(folder))
    rule = edited(model).feature
    assert rule is not None
    give_editor(model, learned.editor)
    again = open_model(str(folder))
    kept = attached(again.generator)
    assert kept is not None
    for name, tensor in learned.editor.state_dict().items():
        assert torch.equal(kept.state_dict()[name], tensor)
    assert verify(folder)[FILE] == "ok"
    assert describe(again)["feature_editor"] and not describe(model)["feature_editor"]
    now, as_before = edited(again).feature, edited(again.moving_features("rule")).feature
    assert now is not None and as_before is not None
    assert not torch.equal(now, rule) and torch.equal(as_before, rule)
    assert again.moving_features("auto") is again


def test_a_copy_has_the_editor_and_keeps_directions(folder: Path, learned: Learned) -> None:
    model = open_model(str(folder))
    give_editor(model, learned.editor, "copied")
    assert not (folder / FILE).exists()
    copy = open_model("copied")
    assert copy.editor_sha256 and copy.directions.keys() == model.directions.keys()
    assert run(["directions", "rename", "age", "years", "--model", "copied", "--copy", "next"]) == 0
    assert open_model("next").editor_sha256 == copy.editor_sha256


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file, card: file.write_bytes(file.read_bytes()[:-40]), "damaged"),
        (lambda file, card: file.write_bytes(b"no safetensors"), "damaged"),
        (lambda file, card: file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1"), "not the weig"),
        (lambda file, card: file.unlink(), "no such file"),
        (lambda file, card: card.update(layer="many"), "a feature editor with layer many"),
        (lambda file, card: card.update(width=4096), "far more weights than the file holds"),
        (lambda file, card: card.update(channels=8), "does not fit model.json"),
        (lambda file, card: card.pop("channels"), "channels"),
    ],
)
def test_a_damaged_editor_is_refused_in_a_line(
    folder: Path, learned: Learned, harm: Callable[[Path, dict[str, Any]], object], said: str
) -> None:
    give_editor(open_model(str(folder)), learned.editor)
    card = json.loads((folder / "model.json").read_text())
    harm(folder / FILE, card["feature_editor"])
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(MissingError, match=said) as error:
        open_model(str(folder))
    assert "\n" not in str(error.value)


def test_an_encoder_without_f_cannot_have_one(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="writes no F"):
        learn_editor(open_model(str(tiny_model)), 1, 2, 0)


def test_the_verb_gives_a_model_an_editor_and_edits_can_go_back_to_the_rule(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_editor, "HELD_OUT", 8)
    words = ["directions", "editor", "--model", str(folder), "--steps", "20", "--batch", "4"]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"] and told["loss_by_editor"] < told["loss_by_rule"]
    model = open_model(str(folder))
    latent = edited(model).with_origin(generator_sha256=model.sha256)
    latent.save(tmp_path / "one.safetensors")
    shots = {}
    for how in ("auto", "rule"):
        out = tmp_path / how
        words = ["edit", str(tmp_path / "one.safetensors"), "--edit", "age=2", "--out", str(out)]
        assert run([*words, "--model", str(folder), "--feature-edit", how, "-q"]) == 0
        shots[how] = [np.fromfile(file, np.uint8) for file in sorted(out.glob("*.png"))]
    assert len(shots["auto"]) == 2
    assert any(not np.array_equal(a, b) for a, b in zip(*shots.values(), strict=True))


def test_an_editor_that_is_no_better_changes_nothing(
    folder: Path, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dseinvert.run.directions import editor

    worse = replace(learned, by_editor=learned.by_rule)
    monkeypatch.setattr(editor, "learn_editor", lambda *_: worse)
    before = (folder / "model.json").read_bytes()
    assert run(["directions", "editor", "--model", str(folder), "-q"]) == 0
    assert (folder / "model.json").read_bytes() == before and not (folder / FILE).exists()


def test_an_editor_that_makes_photos_soft_is_not_kept(
    folder: Path,
    learned: Learned,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dseinvert.run.directions import editor
    from dseinvert.training import edited_photos

    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(3):
        (photos / f"{seed}.png").write_bytes(encode_png(picture(seed, 32, 32)))
    monkeypatch.setattr(editor, "learn_editor", lambda *_: learned)
    words = ["directions", "editor", "--model", str(folder), "--json", "--real", str(photos)]
    before = (folder / "model.json").read_bytes()
    for softer, kept in ((-1.0, False), (1.0, True)):  # -1: it would have to be twice as sharp
        monkeypatch.setattr(edited_photos, "SOFTER", softer)
        assert run(words) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["kept"] is kept and (folder / FILE).exists() is kept
        assert ((folder / "model.json").read_bytes() == before) is not kept
        assert told["photos"]["pictures"] == 3 and told["photos"]["identity_by_rule"] is None


def test_photos_are_judged_as_the_rule_where_the_editor_is_the_rule(
    folder: Path, learned: Learned
) -> None:
    model = open_model(str(folder))
    images = model.generator.synthesize(model.generator.sample([1, 2, 3])).clamp(-1, 1)
    untaught = FeatureEditor(learned.editor.config)
    same = judge(model, untaught, images)
    assert same.sharpness_by_rule == same.sharpness_by_editor and same.good
    other = judge(model, learned.editor, images)
    assert other.sharpness_by_rule == same.sharpness_by_rule != other.sharpness_by_editor
    assert attached(model.generator) is None


@pytest.mark.parametrize(
    ("rule", "editor", "good"),
    [
        ((0.9, 0.7), (0.9, 0.7), True),
        ((0.9, 0.7), (0.8, 0.9), False),
        ((0.9, 0.7), (0.9, 0.6), False),
        ((0.9, None), (0.9, None), True),
        ((0.9, None), (0.8, None), False),
    ],
)
def test_either_of_sharpness_and_identity_decides(
    rule: tuple[float, float | None], editor: tuple[float, float | None], good: bool
) -> None:
    assert Judged(1, rule[0], editor[0], rule[1], editor[1]).good is good


def test_identity_without_pictures_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["directions", "editor", "--model", str(folder), "--identity", "net.onnx"]
    assert run(words) == 2 and "--real" in capsys.readouterr().err


def test_the_bundled_model_is_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["directions", "editor", "--steps", "1"]) == 2
    assert "is part of the program (--copy N" in capsys.readouterr().err
