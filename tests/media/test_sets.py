from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.errors import InputError, MissingError, NoInputError
from dseinvert.media.images import encode_png
from dseinvert.media.sets import check_set, kind_of, opened_set
from dseinvert.training.pictures import read_set
from tests.conftest import picture

PNGS = [encode_png(picture(seed)) for seed in range(20)]
NAMES = [f"00000/img{number:08}.png" for number in range(len(PNGS))]


def folder(place: Path) -> Path:
    (place / "faces" / "00000").mkdir(parents=True)
    for name, data in zip(NAMES, PNGS, strict=True):
        (place / "faces" / name).write_bytes(data)
    (place / "faces" / "notes.txt").write_text("mine")
    return place / "faces"


def zipped(place: Path) -> Path:
    """As NVlabs' dataset_tool writes it, in another order."""
    with zipfile.ZipFile(place / "faces.zip", "w") as archive:
        archive.writestr("dataset.json", '{"labels": null}')
        for name, data in [*zip(NAMES, PNGS, strict=True)][::-1]:
            archive.writestr(name, data)
    return place / "faces.zip"


def tarred(place: Path) -> Path:
    with tarfile.open(place / "faces.tar.gz", "w:gz") as tar:
        for name, data in zip(NAMES, PNGS, strict=True):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return place / "faces.tar.gz"


def lmdb_of(place: Path) -> Path:
    """As rosinality's prepare_data writes it: two sizes, and their number."""
    lmdb = pytest.importorskip("lmdb")
    small = encode_png(picture(0)[:8, :8])
    with (
        lmdb.open(str(place / "faces.lmdb"), map_size=1 << 22) as base,
        base.begin(write=True) as w,
    ):
        for number, data in enumerate(PNGS):
            w.put(f"16-{number:05}".encode(), data)
            w.put(f"8-{number:05}".encode(), small)
    return place / "faces.lmdb"


def parquet(place: Path) -> Path:
    """As the Hugging Face hub keeps it, in two files."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    (place / "hub" / "data").mkdir(parents=True)
    for part, rows in enumerate((PNGS[:11], PNGS[11:])):
        images = [{"bytes": data, "path": None} for data in rows]
        table = arrow.table({"label": [0] * len(rows), "image": images})
        files.write_table(table, place / "hub" / "data" / f"train-{part:05}.parquet", 4)
    return place / "hub"


SETS = [folder, zipped, tarred, lmdb_of, parquet]


@pytest.mark.parametrize("make", SETS)
def test_every_kind_of_set_gives_the_same_pictures(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    with opened_set(path) as members:
        assert [one.read() for one in members] == PNGS
        assert members[7].read() == PNGS[7]  # once more, out of order
        assert len({one.name for one in members}) == len(PNGS)
    pictures = np.stack([picture(seed) for seed in range(20)])
    assert np.array_equal(read_set(path, pictures.shape[1]), pictures)


@pytest.mark.parametrize("make", SETS)
def test_a_damaged_set_is_one_line_with_its_name(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    file = max((f for f in [path, *path.rglob("*")] if f.is_file()), key=lambda f: f.stat().st_size)
    data = file.read_bytes()
    for left in (0, len(data) // 2):
        file.write_bytes(data[:left])
        with pytest.raises((InputError, NoInputError)) as caught:
            read_set(path, 16)
        assert path.name in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_zip_that_would_become_far_larger_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.bmp", bytes(60 << 20))
    with pytest.raises(InputError, match="far more than a file of its size"):
        read_set(tmp_path / "a.zip", 16)


def test_a_member_that_is_no_picture_in_size_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.bmp", bytes(70 << 20))
    with pytest.raises(InputError, match="too large for a picture"):
        read_set(tmp_path / "a.zip", 16)


def test_a_zip_with_a_password_is_a_line(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path).read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1  # "encrypted", in the directory
    (tmp_path / "faces.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"faces\.zip.*(encrypted|password)"):
        read_set(tmp_path / "faces.zip", 16)


@pytest.mark.parametrize(("make", "package"), [(parquet, "pyarrow")])
def test_without_its_package_a_set_names_the_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], Path],
    package: str,
) -> None:
    path = make(tmp_path)
    monkeypatch.setattr("dseinvert.media.sets.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=rf"{package}.*dseinvert\[parquet\]"):
        check_set(path)


def test_parquet_without_pictures_names_its_columns(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(arrow.table({"a": [1], "b": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="no column of pictures among a, b"):
        read_set(tmp_path / "t.parquet", 16)


def test_one_picture_of_many_that_is_repeated_without_end_is_refused(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(arrow.table({"image": [PNGS[0]] * 400_000}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="rows in"):
        read_set(tmp_path / "t.parquet", 16)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.parquet", "a.mdb"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="not a regular file"):
        read_set(tmp_path / name, 16)


def test_what_a_path_is_loads_nothing(tmp_path: Path) -> None:
    assert kind_of(zipped(tmp_path)) == "zip"
    assert kind_of(folder(tmp_path)) == kind_of(tmp_path / "none") == kind_of(Path("a\0")) == ""
    assert kind_of(Path("x/FACES.TAR.GZ")) == "tar"


def test_a_table_beside_pictures_does_not_hide_them(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "metadata.parquet").write_bytes(b"PAR1")
    with opened_set(path) as members:
        assert len(members) == len(PNGS)


@pytest.mark.parametrize("make", [zipped, tarred, lmdb_of])
def test_no_change_of_a_set_is_more_than_refused(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path, rng = make(tmp_path), np.random.default_rng(0)
    file = path / "data.mdb" if path.is_dir() else path
    good = file.read_bytes()
    for _ in range(150):
        data = bytearray(good)
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] = rng.integers(256)
        # Where an LMDB's tree is, and its pages begin.
        data[int(rng.integers(min(len(data), 8192)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
        try:
            with opened_set(path) as members:
                for member in members:
                    member.read()
        except (InputError, NoInputError) as error:
            assert str(error).isprintable()
