from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.faces.detect import Face
from dseinvert.inversion.inverter import Inversion, Inverter
from dseinvert.latent import load_latent
from dseinvert.media.images import encode_png, read_image
from dseinvert.models import Model
from dseinvert.run.flow.keys import result_key
from dseinvert.run.images import run as batch
from dseinvert.run.images.journal import NAME, read

Run = Callable[..., int]
POINTS = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]], np.float32)


@dataclass
class Squares:
    """A detector that finds a face of 40 px at every 60th column, in all but black pictures."""

    name: str = "squares"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def detect(self, image: np.ndarray) -> list[Face]:
        self.seen.append(image.shape)
        columns = range(0, image.shape[1] - 40, 60) if image.any() else ()
        return [Face((x, 0, x + 40, 40), 0.9, POINTS * 40 + [x, 10]) for x in columns]


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> Squares:
    detector = Squares()
    monkeypatch.setattr(Model, "detector", lambda model, **asked: detector)
    return detector


def outputs(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def noise(seed: int, height: int, width: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return encode_png(pixels)


def test_one_picture_gives_a_latent_and_its_pictures(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    edits = ("--edit", "age=+2", "--edit", "smile=-1.5,age=1")
    assert dse("images", pictures / "p0.png", "--out", out, "--no-align", *edits) == 0
    assert outputs(out) == sorted(
        [
            "index.html",
            "journal.jsonl",
            "metrics.csv",
            "p0.age+2.png",
            "p0.input.png",
            "p0.recon.png",
            "p0.safetensors",
            "p0.smile-1.5,age+1.png",
        ]
    )
    assert read_image(out / "p0.recon.png").shape == (16, 16, 3)


def test_a_latent_knows_where_it_came_from(dse: Run, pictures: Path, tmp_path: Path) -> None:
    assert dse("images", pictures / "p0.png", "--out", tmp_path / "out", "--no-align") == 0
    origin = load_latent(tmp_path / "out" / "p0.safetensors").origin
    expected = {
        *("generator", "generator_sha256", "encoder_sha256", "source", "source_sha256"),
        *("source_size", "crop_matrix", "skip", "noise", "version"),
    }
    assert set(origin) == expected
    assert origin["source_size"] == "40x40"
    assert len(json.loads(origin["crop_matrix"])) == 6


@pytest.mark.parametrize("size", ["1", "3", "8"])
def test_batch_size_does_not_change_the_result(
    dse: Run, pictures: Path, tmp_path: Path, size: str
) -> None:
    reference, out = tmp_path / "reference", tmp_path / "out"
    for folder, batch_size in ((reference, "5"), (out, size)):
        arguments = ("--out", folder, "--no-align", "--edit", "age=2", "--batch", batch_size)
        assert dse("images", pictures, *arguments) == 0
    assert outputs(out) == outputs(reference)
    for name in outputs(out):
        if name.endswith(".safetensors"):
            codes = [load_latent(folder / name).code for folder in (reference, out)]
            torch.testing.assert_close(*codes, atol=1e-5, rtol=0)
        elif name.endswith(".png"):
            pixels = [read_image(folder / name).astype(int) for folder in (reference, out)]
            assert abs(pixels[0] - pixels[1]).max() <= 1


def test_what_else_is_in_the_run_does_not_change_a_byte(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for out, what in ((alone, pictures / "p5.png"), (together, pictures)):
        assert dse("images", what, "--out", out, "--no-align", "--batch", "4") == 0
    for name in ("p5.safetensors", "p5.recon.png"):
        assert (alone / name).read_bytes() == (together / name).read_bytes()


def test_running_out_of_memory_halves_the_batch_and_changes_nothing(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    invert = Inverter.invert

    def tight(self: Inverter, images: torch.Tensor) -> Inversion:
        sizes.append(len(images))
        if len(images) > 2 and len(sizes) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return invert(self, images)

    arguments = ("images", pictures, "--no-align", "-q", "--batch")
    assert dse(*arguments, "1", "--out", tmp_path / "reference") == 0
    monkeypatch.setattr(Inverter, "invert", tight)
    assert dse(*arguments, "4", "--out", tmp_path / "out") == 0
    assert sizes == [4, 4, 2, 2]
    for name in (f"p{n}.safetensors" for n in range(7)):
        codes = [load_latent(tmp_path / folder / name).code for folder in ("reference", "out")]
        torch.testing.assert_close(*codes, atol=1e-5, rtol=0)


def test_no_memory_for_a_single_face_ends_with_exit_5(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> Inversion:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Inverter, "invert", full)
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align") == 5
    assert capfd.readouterr().err.splitlines()[-1].startswith("dseinvert: out of memory")


def test_every_face_of_a_photo_is_inverted_and_the_largest_is_first(
    dse: Run, squares: Squares, tmp_path: Path
) -> None:
    (tmp_path / "group.png").write_bytes(noise(0, 80, 200))
    assert dse("images", tmp_path / "group.png", "--out", tmp_path / "out") == 0
    latents = [name for name in outputs(tmp_path / "out") if name.endswith(".safetensors")]
    assert latents == ["group-2.safetensors", "group-3.safetensors", "group.safetensors"]


def test_paste_puts_every_face_of_a_photo_back_into_it(
    dse: Run, squares: Squares, tmp_path: Path
) -> None:
    (tmp_path / "group.png").write_bytes(noise(0, 80, 200))
    arguments = ("--out", tmp_path / "out", "--edit", "age=3", "--paste")
    assert dse("images", tmp_path / "group.png", *arguments) == 0
    photo = read_image(tmp_path / "group.png").astype(int)
    pasted = read_image(tmp_path / "out" / "group.age+3.photo.png").astype(int)
    changed = np.abs(pasted - photo).max(axis=(0, 2)) > 0
    assert changed[[20, 80, 140]].all()


def test_a_photo_without_a_face_is_skipped_with_exit_1(
    dse: Run, squares: Squares, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "black.png").write_bytes(encode_png(np.zeros((80, 80, 3), np.uint8)))
    (tmp_path / "face.png").write_bytes(noise(0, 80, 80))
    for _ in range(2):
        upright = ("--rotate", "0")
        assert dse("images", tmp_path / "*.png", "--out", tmp_path / "out", *upright) == 1
        told = capfd.readouterr().err
        assert "black.png: no face found" in told or "1 without a face" in told
    assert len(squares.seen) == 2, "looked at once each"


@pytest.mark.parametrize(
    "option", [("--min-face", "16"), ("--min-score", "0.3"), ("--rotate", "90")]
)
def test_what_finds_faces_decides_whether_a_photo_without_one_is_looked_at_again(
    dse: Run, squares: Squares, tmp_path: Path, option: tuple[str, ...]
) -> None:
    (tmp_path / "black.png").write_bytes(encode_png(np.zeros((80, 80, 3), np.uint8)))
    upright, out = ("--rotate", "0"), tmp_path / "out"
    for words, looks in ((upright, 1), (upright, 1), ((*upright, *option), 2)):
        dse("images", tmp_path / "black.png", "--out", out, "-q", *words)
        entries = (out / "journal.jsonl").read_text().splitlines()
        assert len(entries) == looks


def test_images_taken_as_they_are_warn_when_not_square(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wide.png").write_bytes(noise(0, 20, 40))
    assert dse("images", tmp_path / "wide.png", "--out", tmp_path / "out", "--no-align") == 0
    assert "wide.png: not square (40x20)" in capfd.readouterr().err


def test_an_image_of_the_models_size_is_taken_bit_for_bit(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "exact.png").write_bytes(noise(0, 16, 16))
    assert dse("images", tmp_path / "exact.png", "--out", tmp_path / "out", "--no-align") == 0
    given, seen = (
        read_image(path) for path in (tmp_path / "exact.png", tmp_path / "out" / "exact.input.png")
    )
    assert np.array_equal(given, seen)


def test_a_second_run_computes_nothing(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert dse("images", pictures, "--out", out, "--no-align") == 0
    before = {name: (out / name).read_bytes() for name in outputs(out)}
    monkeypatch.setattr(Inverter, "invert", None)
    assert dse("images", pictures, "--out", out, "--no-align") == 0
    assert {name: (out / name).read_bytes() for name in outputs(out)} == before


def test_a_dry_run_writes_nothing_and_names_everything(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align", "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    lines = capfd.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["do", str(pictures / f"p{n}.png"), "->", f"p{n}"] for n in range(7)
    ]


def test_a_bug_in_one_input_does_not_stop_the_others(
    dse: Run,
    pictures: Path,
    squares: Squares,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(image: np.ndarray) -> list[Any]:
        raise IndexError("list index out of range")

    real, calls = squares.detect, iter(range(100))
    monkeypatch.setattr(
        squares, "detect", lambda image: (broken if next(calls) == 3 else real)(image)
    )
    for path in pictures.iterdir():
        path.write_bytes(noise(1, 60, 60))
    assert dse("images", pictures, "--out", tmp_path / "out") == 1
    told = capfd.readouterr().err
    assert "unexpected IndexError: list index out of range" in told
    assert "Traceback" not in told
    statuses = [entry.status for entry in read(tmp_path / "out" / NAME).values()]
    assert sorted(statuses) == ["done"] * 6 + ["failed"]


def test_no_more_photos_are_open_than_the_window_holds(
    dse: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number}.png").write_bytes(noise(number, 16, 16))
    begun, most = [0], [0]
    finished: list[int] = []
    preparer, write = batch.preparer, batch.Target.write

    def counting(side: int, *asked: object) -> Callable[..., Any]:
        prepare = preparer(side, None)

        def counted(item: Any) -> Any:
            begun[0] += 1
            most[0] = max(most[0], begun[0] - len(finished))
            return prepare(item)

        return counted

    def writing(self: batch.Target, work: Sequence[Any]) -> Any:
        finished.append(1)
        return write(self, work)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "preparer", counting)
    monkeypatch.setattr(batch.Target, "write", writing)
    assert dse("images", folder, "--out", tmp_path / "out", "--no-align", "--batch", "2") == 0
    assert most[0] <= 24


def test_a_photo_without_a_face_is_looked_at_again_where_more_are_found_than_once(
    dse: Run, squares: Squares, tmp_path: Path
) -> None:
    (tmp_path / "black.png").write_bytes(encode_png(np.zeros((80, 80, 3), np.uint8)))
    journal = tmp_path / "out" / NAME
    asked = ("images", tmp_path / "black.png", "--out", tmp_path / "out", "-q")
    assert dse(*asked) == 1
    (entry,) = read(journal).values()
    old = result_key(entry.sha256, entry.settings)  # as before other turns were tried
    journal.write_bytes(journal.read_bytes().replace(entry.key.encode(), old.encode()))
    for lines in (2, 2):
        assert dse(*asked) == 1
        assert len(journal.read_text().splitlines()) == lines


@pytest.mark.parametrize(
    ("option", "again"),
    [
        (("--min-face", "16"), False),
        (("--min-score", "0.3"), False),
        (("--faces", "largest"), False),
        (("--rotate", "90"), True),
    ],
)
def test_of_photos_taken_as_they_are_only_a_turn_makes_others(
    dse: Run, pictures: Path, tmp_path: Path, option: tuple[str, ...], again: bool
) -> None:
    asked = ("images", pictures / "p0.png", "--out", tmp_path / "out", "--no-align", "-q")
    assert dse(*asked) == 0 and dse(*asked, *option) == (6 if again else 0)
    assert not again or dse(*asked, *option, "--overwrite") == 0
    assert len((tmp_path / "out" / NAME).read_text().splitlines()) == 1 + again


def test_a_photo_that_changes_under_way_is_not_pasted_into(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = batch.Target.write

    def late(target: Any, work: Any) -> Any:
        work[0].item.source.write_bytes(noise(1, 40, 40))
        return write(target, work)

    monkeypatch.setattr(batch.Target, "write", late)
    asked = ("images", pictures / "p0.png", "--out", tmp_path / "out", "--no-align", "-q")
    assert dse(*asked, "--edit", "age=1", "--paste") == 1
    (entry,) = read(tmp_path / "out" / NAME).values()
    assert entry.status == "failed" and entry.reason.startswith("changed while it was worked on")
    assert not list((tmp_path / "out").glob("p0.*"))
    monkeypatch.setattr(batch.Target, "write", write)
    assert dse(*asked, "--edit", "age=1", "--paste") == 0
