"""The file of a clip's latents: its bytes, its rows, and what stands once for a track."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.latent import Header, Latent, load_latent
from dseinvert.latent.clip import Chunks, ClipLatents, Row, latent_of, rows_of

EVERY = 3
TUNING = {
    "a.up": np.arange(3, dtype=np.float16).reshape(3, 1),
    "a.down": np.arange(5, dtype=np.float16).reshape(1, 5),
}
HEADER = Header("w+", {"shots": "[0]", "key": "k", "source": "ä.mp4"}, 2, "drop")
# Of what the program wrote when the format was laid down.
CHUNKS = ("3fe7f818", "ee1beab3", "3f00effa")
WHOLE = "3404a2186f197d749a6621245817c829043cc2adad29ed552f2c623d048899b4"


def rows(first: int, count: int) -> list[Row]:
    """Of the frames from `first` on, a face each."""
    places = np.arange(first, first + count)
    columns: Row = {
        "code": np.arange(count * 12, dtype=np.float32).reshape(count, 3, 4) + np.float32(first),
        "feature": np.arange(count * 8, dtype=np.float16).reshape(count, 2, 2, 2),
        "frame": places.astype(np.int64),
        "pts": (places * 512).astype(np.int64),
        "track": np.zeros(count, np.int64),
        "quad": np.arange(count * 8, dtype=np.float64).reshape(count, 4, 2),
        "points": np.arange(count * 10, dtype=np.float64).reshape(count, 5, 2),
        "presence": np.ones(count, np.float32),
        "rim": np.zeros((count, 8, 8, 3), np.float32),
        "psnr": np.full(count, 20, np.float32),
        "ssim": np.full(count, 0.5, np.float32),
    }
    return [{name: array[k] for name, array in columns.items()} for k in range(count)]


def filled(folder: Path) -> Chunks:
    chunks = Chunks(folder, EVERY)
    for some in (rows(0, 3), [], rows(3, 2))[chunks.done // EVERY :]:
        chunks.append(some)
    return chunks


def joined(folder: Path) -> Path:
    path = folder / "clip.safetensors"
    filled(folder / "chunks").join(path, HEADER, np.arange(9) * 512, {0: TUNING})
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bytes_of_a_clip_are_those_of_every_version(tmp_path: Path) -> None:
    filled(tmp_path / "kept")
    files = sorted((tmp_path / "kept").iterdir())
    assert [file.name for file in files] == [f"{k:06d}.safetensors" for k in range(3)]
    assert tuple(sha256(file)[:8] for file in files) == CHUNKS
    assert sha256(joined(tmp_path)) == WHOLE
    assert not (tmp_path / "chunks").exists()


def test_a_clip_is_a_latent_file(tmp_path: Path) -> None:
    latent = load_latent(joined(tmp_path))
    assert latent.code.shape == (5, 3, 4) and latent.code[3, 0, 0] == 3
    assert (latent.space, latent.layer, latent.skip) == ("w+", 2, "drop")
    assert latent.origin == HEADER.origin
    assert latent.tuning["a.up"].shape == (5, 3, 1) and latent.tuning["a.down"].shape == (5, 1, 5)


def test_it_tells_what_it_was_given(tmp_path: Path) -> None:
    with ClipLatents(joined(tmp_path)) as latents:
        assert latents.header == HEADER and latents.layers == 3
        assert latents.clip_pts.tolist() == [512 * k for k in range(9)]
        assert latents.read("frame").tolist() == [0, 1, 2, 3, 4]
        assert latents.value("pts", 4) == 4 * 512
        assert {*latents.latent(3)} == {"code", "feature"}
        (track, tuning), *none = latents.tunings().items()
    assert track == 0 and not none
    assert all(np.array_equal(tuning[name], array) for name, array in TUNING.items())


def test_a_row_of_a_track_that_was_not_tuned_is_not_tuned(tmp_path: Path) -> None:
    chunks = Chunks(tmp_path / "chunks", EVERY)
    chunks.append([row | {"track": np.int64(k)} for k, row in enumerate(rows(0, 3))])
    chunks.join(tmp_path / "a.safetensors", HEADER, np.arange(3), {1: TUNING, 2: {}})
    up = load_latent(tmp_path / "a.safetensors").tuning["a.up"]
    assert up[:, :, 0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 0, 0]]


def test_a_batch_becomes_rows_and_rows_a_batch() -> None:
    latent = Latent(torch.randn(3, 6, 16), "w+", torch.randn(3, 8, 4, 4), 5, "drop", torch.eye(3))
    again = latent_of(
        rows_of(latent), Header(latent.space, latent.origin, latent.layer, latent.skip)
    )
    assert torch.equal(again.code, latent.code)
    assert again.feature is not None and latent.feature is not None
    assert torch.equal(again.feature, latent.feature.half().float())  # at half the disk
    assert again.label is not None and torch.equal(again.label, torch.eye(3))
    assert (again.layer, again.skip) == (5, "drop")


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_chunks_go_on_behind_those_that_are_whole(tmp_path: Path, damaged: int) -> None:
    filled(tmp_path / "chunks")
    chunk = tmp_path / "chunks" / f"{damaged:06d}.safetensors"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert Chunks(tmp_path / "chunks", EVERY).done == EVERY * damaged
    assert len([*(tmp_path / "chunks").iterdir()]) == damaged
    assert sha256(joined(tmp_path)) == WHOLE


def test_a_clip_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = joined(tmp_path)
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            ClipLatents(path)
