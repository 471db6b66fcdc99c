from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dseinvert.errors import InputError, UsageError
from dseinvert.run.directions.labels import read_table


def table(folder: Path, text: str) -> Path:
    file = folder / "labels.csv"
    file.write_text(text, "utf-8")
    return file


def test_a_table_names_files_or_seeds(tmp_path: Path) -> None:
    files = read_table(table(tmp_path, "\ufefffile,smile, age\na.png,1,30\nb.png,-1,\n\n"))
    assert files.names == ("a.png", "b.png") and not files.of_seeds
    assert files.column("smile").tolist() == [1, -1] and np.isnan(files.column("age")[1])
    seeds = read_table(table(tmp_path, "Seed,smile\n7,0.5\n0,2\n"))
    assert seeds.of_seeds and seeds.seeds() == [7, 0]
    with pytest.raises(UsageError, match="it has: smile, age"):
        files.column("hat")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "head"),
        ("file,smile\n", "head"),
        ("file\na.png\n", "head"),
        ("file,smile,smile\na.png,1,1\n", "head"),
        ("file,smile\na.png,yes\n", "line 2"),
        ("file,smile\na.png,1\nb.png\n", "line 3"),
        ("file,smile\na.png,inf\n", "line 2"),
        ("file,smile\n,1\n", "line 2"),
        ("seed,smile\na.png,1\n", "not a seed"),
        ("file,smile\na.png,1\na.png,1\n", "twice"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_table(table(tmp_path, text))
    assert "labels.csv" in str(caught.value)


def test_an_absent_or_unreadable_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(InputError):
        read_table(tmp_path / "labels.csv")
