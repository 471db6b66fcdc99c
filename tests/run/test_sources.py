"""Pictures in stores, sets and lists are read as those of a folder are, once each."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from dseinvert.cli.main import run
from dseinvert.media import stores
from dseinvert.media.address import address, column_of, far, numbered
from dseinvert.run.images.journal import read
from tests.run.spread.test_shards import outputs

Run = Callable[..., int]
OPTIONS = ("--no-align", "--edit", "age=2", "--batch", "2", "-q")


@pytest.fixture
def photos(memory: fsspec.AbstractFileSystem, pictures: Path) -> str:
    """The URL of what `pictures` holds."""
    for file in pictures.iterdir():
        memory.pipe_file(f"/photos/a/{file.name}", file.read_bytes())
    memory.pipe_file("/photos/readme.txt", b"none")
    return "memory://photos"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the bytes of each object are asked for."""
    counts: Counter[str] = Counter()
    plain = stores.read

    def counting(url: str, start: int | None = None, end: int | None = None) -> bytes:
        counts[f"{url}@{start}" if start else url] += 1
        return plain(url, start, end)

    monkeypatch.setattr(stores, "read", counting)
    return counts


def tarred(folder: Path, suffix: str = "") -> bytes:
    """Two files a sample, as WebDataset has them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{suffix}") as tar:
        for picture in sorted(folder.iterdir()):
            tar.add(picture, picture.name)
            about = tarfile.TarInfo(f"{picture.stem}.json")
            about.size = 2
            tar.addfile(about, io.BytesIO(b"{}"))
    return file.getvalue()


def pictures_and_latents(out: Path) -> dict[str, bytes]:
    """Without what holds the paths of the inputs."""
    return {name: data for name, data in outputs(out).items() if name.endswith(".png")}


@pytest.fixture
def local(dse: Run, pictures: Path, tmp_path: Path) -> dict[str, bytes]:
    """What comes of them as files."""
    assert dse("images", pictures, "--out", tmp_path / "local", *OPTIONS) == 0
    return pictures_and_latents(tmp_path / "local")


def test_pictures_in_a_store_give_the_bytes_of_those_in_a_folder(
    dse: Run, photos: str, local: dict[str, bytes], tmp_path: Path, fetched: Counter[str]
) -> None:
    out = tmp_path / "out"
    assert dse("images", photos, "--out", out, *OPTIONS) == 0
    assert pictures_and_latents(out) == local and len(local) == 21
    assert {entry.source for entry in read(out / "journal.jsonl").values()} == {
        f"memory://photos/a/p{k}.png" for k in range(7)
    }
    assert fetched == {f"memory://photos/a/p{k}.png": 1 for k in range(7)}
    assert "memory://photos/a/p0.png" in (out / "metrics.csv").read_text()


def test_what_a_store_says_is_unchanged_is_not_fetched_again(
    dse: Run,
    photos: str,
    tmp_path: Path,
    fetched: Counter[str],
    memory: fsspec.AbstractFileSystem,
) -> None:
    out = tmp_path / "out"
    assert dse("images", photos, "--out", out, *OPTIONS) == 0
    fetched.clear()
    before = outputs(out)
    assert dse("images", photos, "--out", out, *OPTIONS) == 0
    assert not fetched and outputs(out) == before
    memory.pipe_file("/photos/a/p3.png", memory.cat_file("/photos/a/p4.png"))
    assert dse("images", photos, "--out", out, *OPTIONS) == 0
    assert fetched == {"memory://photos/a/p3.png": 1}
    assert (out / "p3.recon.png").read_bytes() == before["p4.recon.png"]


def test_a_whole_photo_of_a_store_is_fetched_once_too(
    dse: Run, photos: str, tmp_path: Path, fetched: Counter[str]
) -> None:
    assert dse("images", photos, "--out", tmp_path / "out", *OPTIONS, "--paste") == 0
    assert len([*(tmp_path / "out").glob("*.photo.png")]) == 7
    assert set(fetched.values()) == {1}


def test_a_tar_gives_the_same_on_a_disk_and_in_a_store(
    dse: Run,
    pictures: Path,
    local: dict[str, bytes],
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    fetched: Counter[str],
) -> None:
    (tmp_path / "00.tar").write_bytes(tarred(pictures))
    memory.pipe_file("/sets/00.tar", (tmp_path / "00.tar").read_bytes())
    for number, where in enumerate((tmp_path, "memory://sets")):
        out = tmp_path / f"out{number}"
        assert dse("images", f"{where}/{{00..00}}.tar", "--out", out, *OPTIONS) == 0
        assert pictures_and_latents(out) == local
    assert max(fetched.values()) == 1  # headers and pictures lie apart


def test_a_packed_tar_is_read_from_a_disk_and_refused_in_a_store(
    dse: Run,
    pictures: Path,
    local: dict[str, bytes],
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.tgz").write_bytes(tarred(pictures, "gz"))
    assert dse("images", tmp_path / "a.tgz", "--out", tmp_path / "out", *OPTIONS) == 0
    assert pictures_and_latents(tmp_path / "out") == local
    memory.pipe_file("/a.tgz", (tmp_path / "a.tgz").read_bytes())
    capsys.readouterr()
    assert dse("images", "memory://a.tgz", "--out", tmp_path / "none", *OPTIONS) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory://a.tgz" in line and "compressed" in line


def table(folder: Path, *, words: bool) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    files = sorted(folder.iterdir())
    values = [str(f) if words else f.read_bytes() for f in files]
    file = io.BytesIO()
    parquet.write_table(arrow.table({"id": [*range(7)], "face": values}), file, row_group_size=3)
    return file.getvalue()


@pytest.mark.parametrize("words", [False, True], ids=["bytes", "paths"])
def test_a_column_of_a_table_is_a_set_or_a_list(
    dse: Run,
    pictures: Path,
    local: dict[str, bytes],
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    *,
    words: bool,
) -> None:
    (tmp_path / "t.parquet").write_bytes(table(pictures, words=words))
    memory.pipe_file("/t.parquet", (tmp_path / "t.parquet").read_bytes())
    for number, where in enumerate((f"{tmp_path}/t.parquet", "memory://t.parquet")):
        out = tmp_path / f"out{number}"
        assert dse("images", f"{where}:face", "--out", out, *OPTIONS) == 0
        assert [*pictures_and_latents(out).values()] == [*local.values()]


def test_a_list_holds_paths_and_urls(
    dse: Run, photos: str, pictures: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    lines = [f"{photos}/a/p{k}.png" for k in range(5)] + [
        str(pictures / f"p{k}.png") for k in (5, 6)
    ]
    (tmp_path / "list.txt").write_text("\n".join([*lines, "", lines[0]]))
    out = tmp_path / "out"
    assert dse("images", f"@{tmp_path}/list.txt", "--out", out, *OPTIONS) == 0
    assert pictures_and_latents(out) == local


def test_shards_of_a_store_give_what_one_process_gives(
    dse: Run, photos: str, local: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in (2, 1, 3):
        assert dse("images", photos, "--out", out, *OPTIONS, "--shard", f"{number}/3") == 0
    assert dse("report", out) == 0
    assert pictures_and_latents(out) == local


def test_names_of_another_prefix_do_not_take_those_that_are_done(
    dse: Run, photos: str, tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    out = tmp_path / "out"
    memory.pipe_file("/more/p0.png", memory.cat_file("/photos/a/p1.png"))
    assert dse("images", photos, "--out", out, *OPTIONS) == 0
    before = outputs(out)["p0.recon.png"]
    assert dse("images", "memory://more", "--out", out, *OPTIONS) == 0
    assert outputs(out)["p0.recon.png"] == before != outputs(out)["p0_png.recon.png"]


@pytest.mark.parametrize(
    ("inputs", "code", "said"),
    [
        (["memory://nowhere"], 3, "nothing there"),
        (["memory://nowhere/a.png"], 3, "nothing there"),
        (["memory://nowhere/a.tar"], 3, "nothing there"),
        (["memory://nowhere/*.png"], 3, "nothing there"),
        (["absent.tar"], 3, "absent.tar: no such file"),
        (["absent.parquet:image"], 3, "absent.parquet: no such file"),
        (["nothing://a/b"], 3, "no such kind of store"),
        (["gs://bucket/a"], 4, "pip install 'dseinvert[gcs]'"),
        (["@absent.txt"], 3, "no such list"),
        (["{1..99999999}.png"], 3, "more than 1,000,000"),
    ],
)
def test_what_cannot_be_had_is_one_line_before_the_model_is_loaded(
    inputs: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("dseinvert.run.images.run.open_model", loaded)
    assert run(["images", *inputs, "--out", str(tmp_path / "out"), "-q"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not (tmp_path / "out").exists()


def test_a_url_keeps_its_form_as_a_path() -> None:
    for url in ("s3://bucket/a/b.jpg", "hf://datasets/a/b", "memory://a"):
        assert far(Path(url)) == url == address(Path(url))
    assert far(Path("a:/b")) == far(Path("a/b:/c")) == far(Path("s3:")) == ""
    assert address(Path("a")) == str(Path.cwd() / "a")


def test_numbers_in_braces_are_those_of_shells() -> None:
    assert numbered("{08..11}.tar") == ["08.tar", "09.tar", "10.tar", "11.tar"]
    assert numbered("a{2..1}{0..1}") == ["a20", "a21", "a10", "a11"]
    assert numbered("{a,b}.tar") == ["{a,b}.tar"]
    assert column_of("a/t.parquet:x") == ("a/t.parquet", "x")
    assert column_of("memory://a:b/t.parquet") == ("memory://a:b/t.parquet", "")


def test_a_glob_of_a_store_that_matches_nothing_is_told_beside_other_inputs(
    dse: Run,
    photos: str,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (photos, "memory://photos/absent*.png")
    assert dse("images", *words, "--out", tmp_path / "out", *OPTIONS) == 1
    assert "memory://photos/absent*.png: nothing there" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["images", "evaluate"])
@pytest.mark.parametrize("where", ["", "memory://nowhere/"])
def test_numbered_tars_none_of_which_is_there_are_one_line(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str], verb: str, where: str
) -> None:
    named = f"{where or tmp_path}/{{000..150}}.tar"
    assert dse(verb, named, "--out", tmp_path / "out") == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert "000.tar: " in line and "; 150 more like it" in line


def test_missing_tars_beside_what_is_there_are_each_told(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "{000..002}.tar"
    assert dse("images", named, pictures, "--out", tmp_path / "out", "--no-align", "-q") == 1
    assert [
        f"{number:03d}.tar" in line
        for number, line in enumerate(capfd.readouterr().err.splitlines())
    ] == 3 * [True]
