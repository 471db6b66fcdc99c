from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from dseinvert.errors import InputError
from dseinvert.media.rows import Rows, join_rows, write_rows


def chunk(folder: Path, name: str, rows: int, seed: int) -> tuple[Path, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    arrays = {
        "code": rng.normal(size=(rows, 3, 5)).astype(np.float32),
        "feature": rng.normal(size=(rows, 7)).astype(np.float16),
        "frame": np.arange(rows),
        "quad": rng.normal(size=(rows, 4, 2)),
    }
    write_rows(folder / name, arrays, {"format": "test"})
    return folder / name, arrays


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, arrays = chunk(tmp_path, "a.safetensors", 9, 0)
    with Rows(path) as rows:
        assert rows.header == {"format": "test"}
        for name, array in arrays.items():
            assert np.array_equal(rows.read(name), array)
            assert np.array_equal(rows.read(name, 2, 5), array[2:5])
        assert len(rows.read("code", 8, 20)) == 1


def test_joined_chunks_are_one_safetensors_file(tmp_path: Path) -> None:
    parts = [chunk(tmp_path, f"{k}.safetensors", rows, k) for k, rows in enumerate((4, 0, 6))]
    joined = tmp_path / "joined.safetensors"
    more = {"clip_pts": np.arange(33)}
    join_rows(joined, [path for path, _ in parts], more, {"origin": json.dumps({"a": "b"})})
    with safe_open(joined, "np") as file:
        assert file.metadata() == {"origin": '{"a": "b"}'}
        for name in parts[0][1]:
            whole = np.concatenate([arrays[name] for _, arrays in parts])
            assert np.array_equal(file.get_tensor(name), whole)
        assert len(file.get_tensor("clip_pts")) == 33


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, _ = chunk(tmp_path, "a.safetensors", 3, 0)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            Rows(path)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, _ = chunk(tmp_path, "a.safetensors", 3, 0)
    second, _ = chunk(tmp_path, "b.safetensors", 3, 0)
    assert first.read_bytes() == second.read_bytes()
