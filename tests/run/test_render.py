from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.latent import concat, dumps, load_latent
from dseinvert.media.images import read_image

Run = Callable[..., int]


@pytest.fixture
def latents(dse: Run, pictures: Path, tmp_path: Path) -> Path:
    """A folder of seven latents p0 ... p6."""
    out = tmp_path / "latents"
    assert dse("images", pictures, "--out", out, "--no-align", "--edit", "smile=1.5", "-q") == 0
    return out


def test_an_edit_of_a_saved_latent_equals_the_edit_made_at_once(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    assert dse("edit", latents / "*.safetensors", "--edit", "smile=+1.5", "--out", tmp_path) == 0
    for number in range(7):
        name = f"p{number}.smile+1.5.png"
        assert np.array_equal(read_image(tmp_path / name), read_image(latents / name))


def test_without_an_edit_the_reconstruction_is_rendered(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    assert dse("edit", latents, "--out", tmp_path) == 0
    assert np.array_equal(
        read_image(tmp_path / "p3.recon.png"), read_image(latents / "p3.recon.png")
    )


def test_a_file_of_several_latents_gives_numbered_pictures(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    both = concat([load_latent(latents / f"p{n}.safetensors") for n in range(3)])
    (tmp_path / "three.safetensors").write_bytes(dumps(both))
    out = tmp_path / "out"
    assert dse("edit", tmp_path / "three.safetensors", "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("three-2.recon.png", "three-3.recon.png", "three.recon.png")
    ]


def test_what_cannot_be_rendered_is_refused_in_one_line_and_the_rest_is_done(
    dse: Run, latents: Path, other_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = load_latent(latents / "p0.safetensors")
    strange = {
        "other": good.with_origin(generator_sha256="00", generator="church"),
        "nameless": replace(good, origin={}),
        "nan": replace(good, code=good.code * torch.nan),
        "narrow": replace(good, code=good.code[..., :7]),
    }
    for name, latent in strange.items():
        (latents / f"{name}.safetensors").write_bytes(dumps(latent))
    (latents / "cut.safetensors").write_bytes(dumps(good)[:-5])
    (latents / "code.pt").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    out = tmp_path / "out"
    files = [*latents.glob("*.safetensors"), latents / "code.pt", latents / "gone.safetensors"]
    assert dse("edit", *files, "--edit", "age=1", "--out", out) == 1
    told = capfd.readouterr().err.splitlines()
    for name, reason in {
        "other": "another generator (church)",
        "nameless": "another generator (unnamed)",
        "nan": "NaN",
        "narrow": "[6, 7] in w+",
        "cut": "not a readable safetensors",
        "code.pt": ".safetensors files only",
        "gone": "no such file",
    }.items():
        lines = [line for line in told if f"/{name}" in line]
        assert len(lines) == 1 and reason in lines[0], name
    assert len(list(out.iterdir())) == 7
    assert not Path("owned").exists()


def test_only_refused_files_end_with_exit_3(dse: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")
    assert dse("edit", tmp_path / "a.pt", "--out", tmp_path / "out") == 3
    assert dse("edit", tmp_path / "nothing.safetensors", "--out", tmp_path / "out") == 3


def test_json_is_all_that_stdout_carries(
    dse: Run, latents: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("edit", latents / "p0.safetensors", "--out", tmp_path / "o", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["items"][0]["files"] == ["p0.recon.png"]
