"""One latent that cannot be drawn is told in one line; the others are drawn all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from dseinvert.cli.main import run
from dseinvert.latent import dumps, load_latent
from dseinvert.models import Model, open_model

Meta = dict[str, str]
Change = Callable[[Model, dict[str, Tensor], Meta], Any]
WEIGHT = "synthesis.convs.1.conv.weight"


def set_tensor(name: str, make: Callable[[Model], Tensor]) -> Change:
    return lambda model, tensors, _: tensors.update({name: make(model)})


def set_meta(**words: str) -> Change:
    return lambda _, __, meta: meta.update(words)


def feature(layer: str, *shape: int, skip: str = "keep") -> Change:
    def change(_: Model, tensors: dict[str, Tensor], meta: Meta) -> None:
        tensors["feature"] = torch.zeros(1, *shape)
        meta.update(layer=layer, skip=skip)

    return change


def tuning(name: str, up: tuple[int, ...], down: tuple[int, ...]) -> Change:
    def change(_: Model, tensors: dict[str, Tensor], __: Meta) -> None:
        tensors[f"tuning/{name}.up"] = torch.zeros(up)
        tensors[f"tuning/{name}.down"] = torch.zeros(down)

    return change


BAD: dict[str, Change] = {
    "float8": lambda _, t, __: t.update(code=t["code"].to(torch.float8_e4m3fn)),
    "empty": lambda _, t, __: t.update(code=t["code"][:0]),
    "nan": lambda _, t, __: t.update(code=t["code"] * torch.nan),
    "flat": lambda _, t, __: t.update(code=t["code"][0]),
    "wide": set_tensor("code", lambda _: torch.zeros(1, 6, 17)),
    "space": set_meta(space="q"),
    "layer99": feature("99", 16, 8, 8),
    "layer0": feature("0", 16, 8, 8),
    "layer-word": feature("two", 16, 8, 8),
    "feature": feature("2", 16, 9, 8),
    "channels": feature("2", 17, 8, 8),
    "rows": lambda _, t, meta: (t.update(feature=torch.zeros(2, 16, 8, 8)), meta.update(layer="2")),
    "skip": feature("2", 16, 8, 8, skip="x"),
    "no-feature": set_meta(layer="2"),
    "label": set_tensor("label", lambda _: torch.zeros(1, 3)),
    "label-row": set_tensor("label", lambda _: torch.zeros(3)),
    "style": set_tensor("style", lambda _: torch.zeros(1, 5)),
    "tuned-other": tuning("no.such.weight", (1, 16, 1), (1, 1, 144)),
    "tuned-out": tuning(WEIGHT, (1, 15, 1), (1, 1, 144)),
    "tuned-rank": tuning(WEIGHT, (1, 16, 2), (1, 1, 144)),
    "tuned-half": set_tensor(f"tuning/{WEIGHT}.up", lambda _: torch.zeros(1, 16, 1)),
    "tuned-odd": set_tensor("tuning/a/b/c", lambda _: torch.zeros(1)),
    "origin": set_meta(origin="["),
}


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """Three latents of the tiny model, and one of each bad kind beside them."""
    out = tmp_path / "latents"
    words = ["sample", "--seeds", "0-2", "--out", str(out), "--model", str(tiny_model)]
    assert run(words) == 0
    model, good = open_model(str(tiny_model)), load_latent(out / "seed00000.safetensors")
    meta = {"format": "dseinvert-latent-1", "space": "w+", "origin": json.dumps(dict(good.origin))}
    for name, change in BAD.items():
        (out / "tensors.tmp").write_bytes(dumps(good))
        tensors, told = load_file(out / "tensors.tmp"), dict(meta)
        change(model, tensors, told)
        (out / f"bad-{name}.safetensors").write_bytes(save(tensors, metadata=told))
    (out / "tensors.tmp").unlink()
    return out


def check_told(capfd: pytest.CaptureFixture[str]) -> None:
    """One line for each bad file, and none is our mistake."""
    told = capfd.readouterr().err.splitlines()
    for name in BAD:
        lines = [line for line in told if f"/bad-{name}.safetensors" in line]
        assert len(lines) == 1, (name, lines)
    assert not [line for line in told if "a bug" in line or "Traceback" in line]


def test_edit_draws_the_others(
    folder: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["edit", str(folder), "--edit", "age=1", "--out", str(tmp_path / "out")]
    assert run([*words, "--model", str(tiny_model)]) == 1
    check_told(capfd)
    assert len([*(tmp_path / "out").iterdir()]) == 3


def test_mix_mixes_the_others(
    folder: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["mix", str(folder / "seed0000[01].safetensors"), str(folder), "--layers", "3-5"]
    assert run([*words, "--out", str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    check_told(capfd)
    assert len([*(tmp_path / "out").glob("*.safetensors")]) == 6


def test_morph_goes_by_the_others(
    folder: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "way.gif"
    words = ["morph", str(folder), "--frames", "2", "--out", str(out), "--json"]
    assert run([*words, "--model", str(tiny_model)]) == 1
    captured = capfd.readouterr()
    told = json.loads(captured.out)
    assert (told["exit_code"], told["frames"], len(told["problems"])) == (1, 5, len(BAD))
    assert out.is_file()


def test_a_preview_shows_the_others(
    folder: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["directions", "preview", "age", "--latents", str(folder), "--strengths", "-1:1:3"]
    assert run([*words, "--out", str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    check_told(capfd)
    assert (tmp_path / "out" / "age.png").is_file()


def test_a_direction_is_learned_from_the_others(
    folder: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    rows = [f"{name},{k % 2}" for k, name in enumerate(names)]
    (tmp_path / "l.csv").write_text("\n".join(["file,smile", *rows]))
    words = ["directions", "learn", "--method", "interfacegan", "--name", "new", "--copy", "own"]
    words += ["--labels", str(tmp_path / "l.csv"), "--images", str(folder), "--attribute", "smile"]
    run([*words, "--model", str(tiny_model)])
    check_told(capfd)


def test_where_all_are_bad_each_is_told_in_one_line(
    folder: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["morph", str(folder / "bad-*.safetensors"), "--out", str(tmp_path / "a.gif")]
    assert run([*words, "--model", str(tiny_model)]) == 1
    check_told(capfd)
    assert not (tmp_path / "a.gif").exists()
