"""`sample`, `mix` and `morph` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dseinvert.cli.main import run
from dseinvert.latent import load_latent
from dseinvert.media.clip import probe
from dseinvert.media.images import read_image
from dseinvert.media.video_read import read_frames


@pytest.fixture
def samples(tmp_path: Path, tiny_model: Path) -> Path:
    out = tmp_path / "samples"
    assert run(["sample", "--seeds", "0-2,7", "--out", str(out), "--model", str(tiny_model)]) == 0
    return out


def test_samples_are_pictures_latents_and_a_sheet(samples: Path) -> None:
    names = {f"seed0000{n}{suffix}" for n in (0, 1, 2, 7) for suffix in (".png", ".safetensors")}
    assert {path.name for path in samples.iterdir()} == names | {"samples.png"}
    assert read_image(samples / "samples.png").shape == (132, 132, 3)


def test_a_sample_does_not_depend_on_the_others(samples: Path, tiny_model: Path) -> None:
    alone = samples.parent / "alone"
    run(["sample", "--seeds", "7", "--out", str(alone), "--model", str(tiny_model)])
    for name in ("seed00007.png", "seed00007.safetensors"):
        assert (alone / name).read_bytes() == (samples / name).read_bytes()


def test_a_psi_that_is_no_number_is_refused_before_anything_is_written(
    tmp_path: Path, tiny_model: Path
) -> None:
    words = ["sample", "--out", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert run([*words, "--psi", "nan"]) == run([*words, "--psi", "inf"]) == 2
    assert not [*tmp_path.iterdir()]


def test_saved_samples_can_be_edited(samples: Path, tiny_model: Path) -> None:
    out = samples.parent / "edited"
    line = ["edit", str(samples / "seed00001.safetensors"), "--edit", "age=+1"]
    assert run([*line, "--out", str(out), "--model", str(tiny_model)]) == 0
    assert (out / "seed00001.age+1.png").exists()


def test_every_first_latent_is_mixed_with_every_second(samples: Path, tiny_model: Path) -> None:
    out = samples.parent / "mixes"
    first, second = (
        str(samples / "seed0000[01].safetensors"),
        str(samples / "seed00007.safetensors"),
    )
    line = ["mix", first, second, "--layers", "3-5", "--out", str(out), "--model", str(tiny_model)]
    assert run(line) == 0
    a, b, found = (
        load_latent(path).code
        for path in (
            samples / "seed00000.safetensors",
            samples / "seed00007.safetensors",
            out / "seed00000.mix-seed00007.safetensors",
        )
    )
    assert np.array_equal(found[:, :3], a[:, :3]) and np.array_equal(found[:, 3:], b[:, 3:])
    assert (out / "seed00001.mix-seed00007.png").exists() and (out / "mix.png").exists()


def test_a_morph_begins_at_the_first_and_ends_at_the_last(samples: Path, tiny_model: Path) -> None:
    out = samples.parent / "way" / "morph.mp4"
    files = [str(samples / f"seed0000{n}.safetensors") for n in (0, 1, 7)]
    line = ["morph", *files, "--frames", "5", "--out", str(out), "--model", str(tiny_model)]
    assert run(line) == 0
    frames = [frame.pixels.astype(int) for frame in read_frames(probe(out))]
    assert len(frames) == 11
    for place, n in ((0, 0), (5, 1), (10, 7)):
        wanted = read_image(samples / f"seed0000{n}.png").astype(int)
        # Half of the chroma is lost in video; brightness tells.
        away = [np.abs((frame - wanted).mean(2)).mean() for frame in frames]
        assert away[place] < min(away) + 0.5 and away[place] < 8


def test_a_loop_ends_before_its_beginning(samples: Path, tiny_model: Path, capfd) -> None:  # type: ignore[no-untyped-def]
    out = samples.parent / "loop.gif"
    line = ["morph", str(samples), "--frames", "3", "--loop", "--out", str(out), "--json"]
    assert run([*line, "--model", str(tiny_model)]) == 0
    assert json.loads(capfd.readouterr().out)["frames"] == 12


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["sample", "--seeds", "5-2", "--out", "x"], "not seeds"),
        (["sample", "--seeds", "0-200000", "--out", "x"], "too many"),
        (["sample", "--label", "3", "--out", "x"], "no classes"),
        (["mix", "{0}", "{0}", "--layers", "4-9", "--out", "x"], "rows 0 to 5"),
        (["morph", "{0}", "--out", "x.mp4"], "needs two latents"),
        (["morph", "{0}", "{1}", "--out", "x.txt"], "not the name of a video"),
        (["morph", "{0}", "{1}", "--fps", "0", "--out", "x.mp4"], "--fps 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    samples: Path, tiny_model: Path, monkeypatch, capfd, line: list[str], message: str
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(samples.parent)
    names = [str(samples / f"seed0000{n}.safetensors") for n in (0, 1)]
    capfd.readouterr()
    assert run([*(word.format(*names) for word in line), "--model", str(tiny_model)]) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and message in said[0]
    assert not (samples.parent / "x").exists()


def test_an_edit_of_nothing_usable_leaves_no_folder(
    tmp_path: Path, tiny_model: Path, capfd
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.safetensors").write_bytes(b"no latents")
    line = ["edit", str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "out")]
    assert run([*line, "--model", str(tiny_model)]) == 3
    assert not (tmp_path / "out").exists()
    assert "0 pictures from 0 latent files, 1 failed; nothing was written" in capfd.readouterr().err


def test_a_file_that_was_there_with_other_contents_is_not_replaced_without_a_word(
    samples: Path, tiny_model: Path, capfd
) -> None:  # type: ignore[no-untyped-def]
    line = ["sample", "--seeds", "7", "--out", str(samples), "--model", str(tiny_model)]
    (samples / "samples.png").unlink()
    capfd.readouterr()
    assert run(line) == 0
    said = capfd.readouterr().err
    assert "replaced" not in said and said.startswith("1 sample; ")
    (samples / "seed00007.png").write_bytes(b"a painting of mine")
    assert run(line) == 0
    assert f"1 file in {samples} replaced: seed00007.png" in capfd.readouterr().err
    edit = ["edit", str(samples / "seed00001.safetensors"), "--edit", "age=+1"]
    edit += ["--out", str(samples), "--model", str(tiny_model)]
    (samples / "seed00001.age+1.png").write_bytes(b"another")
    assert run(edit) == 0
    told = capfd.readouterr().err
    assert "seed00001.age+1.png" in told and "1 picture from 1 latent file" in told
