"""What is typed after bin/train-bundled reaches the recipe that it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipe import __main__ as command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """What each recipe was asked, by its name; none is begun."""
    found: dict[str, tuple[Any, ...]] = {}
    for name in ("make_bundle", "branch_bundle", "directions_for"):
        monkeypatch.setattr(command, name, lambda *given, name=name: found.update({name: given}))
    return found


def test_numbers_and_folders_reach_the_joint_recipe(asked: dict[str, tuple[Any, ...]]) -> None:
    words = "--data tars --work w --out o --name me --images-half 7 --lr 0.5"
    command.joint(words.split())
    options, branch, order = asked["make_bundle"]
    assert (options.images_half, options.lr, options.resolution) == (7, 0.5, 64)
    assert branch.layer == 5
    assert (order.work, order.out, order.name) == (Path("w"), Path("o"), "me")
    assert order.sources.faces == Path("tars/synthetic-faces-256.tar")
    assert order.effort.pictures == 64


@pytest.mark.parametrize(
    ("option", "recipe"),
    [("--branch-for", "branch_bundle"), ("--directions-for", "directions_for")],
)
def test_a_finished_model_gets_only_what_is_asked_for(
    asked: dict[str, tuple[Any, ...]], tiny_model: Path, option: str, recipe: str
) -> None:
    command.joint(["--data", "tars", option, str(tiny_model)])
    assert set(asked) == {recipe}
    assert asked[recipe][0].name == "tiny"


def test_a_recipe_without_data_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.joint([])
    assert "--data is required" in capsys.readouterr().err
