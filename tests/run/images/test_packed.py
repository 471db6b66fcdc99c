"""`--pack N`: shards that other tools read, with the bytes of the run that packs nothing."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import fsspec
import pytest

from dseinvert.cli.main import run
from dseinvert.config import ImagesOptions, SpreadOptions
from dseinvert.latent import Latent, dumps, dumps_member
from dseinvert.latent.packed import member, names_in
from dseinvert.media.images import encode_png
from dseinvert.progress import SILENT
from dseinvert.run.images import packing
from dseinvert.run.images.journal import NAME, read, read_all
from dseinvert.run.spread.desk import open_desk
from dseinvert.run.spread.hands import Hands
from tests.faults.test_disk import check, mounts, shell
from tests.faults.test_kill import many
from tests.forked import KILLS, Forked
from tests.run.spread.test_stores import bucket as bucket

parquet = pytest.importorskip("pyarrow.parquet")
Run = Callable[..., int]
Start = Callable[..., Forked]
OPTIONS = ("--no-align", "--edit", "age=2", "--batch", "2", "-q")
SUFFIXES = (".parquet", ".safetensors", ".tar")


def shards(out: Path) -> list[str]:
    """The names of whole shards; no other files are there, but for those of every run."""
    found: dict[str, set[str]] = {}
    for path in out.iterdir():
        if path.suffix in SUFFIXES:
            found.setdefault(path.stem, set()).add(path.suffix)
    assert all(suffixes == {*SUFFIXES} for suffixes in found.values()), found
    return sorted(found)


def samples(tar: Path) -> dict[str, dict[str, bytes]]:
    """As readers of WebDataset group a tar: what has one key follows one another."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(tar) as file:
        for one in file:
            key, _, ending = one.name.partition(".")
            assert key not in found or key == [*found][-1], "a key comes back"
            inside = file.extractfile(one)
            assert inside is not None and ending not in found.get(key, {})
            found.setdefault(key, {})[ending] = inside.read()
    return found


def unpacked(out: Path) -> dict[str, bytes]:
    """The files that the run without shards would have written, by name."""
    files: dict[str, bytes] = {}
    for shard in shards(out):
        for key, parts in samples(out / f"{shard}.tar").items():
            added = {f"{key}.{end}": data for end, data in parts.items() if end != "json"}
            assert not {*added} & {*files}, "twice"
            files |= added
        latents = out / f"{shard}.safetensors"
        for name in names_in(latents) or ():
            file = f"{name}.safetensors"
            assert file not in files, "twice"
            files[file] = dumps(Latent.load(member(latents, name)))
    return files


def plain(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in (".png", ".safetensors")}


def rows(out: Path) -> list[dict[str, object]]:
    every = (parquet.read_table(out / f"{shard}.parquet").to_pylist() for shard in shards(out))
    return [row for some in every for row in some]


def check_once(out: Path, whole: Path) -> None:
    """Nothing is missing, nothing twice, in pictures, latents, table and journal."""
    assert unpacked(out) == plain(whole)
    done = Counter(row["key"] for row in rows(out) if row["status"] == "done")
    assert done == Counter({e.name: 1 for e in read_all(whole).values() if e.status == "done"})
    assert {e.pack for e in read_all(out).values() if e.status == "done"} == {*shards(out)}


def test_shards_hold_the_bytes_of_the_files(dse: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "p3.png").write_bytes(b"no picture")
    (pictures / "p4.png").rename(pictures / "a.b.png")
    assert dse("images", pictures, "--out", tmp_path / "whole", *OPTIONS) == 1
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--pack", 3) == 1
    assert shards(tmp_path / "out") == ["00000", "00001", "00002"]
    packed, whole = unpacked(tmp_path / "out"), plain(tmp_path / "whole")
    assert {name.replace("a_b.", "a.b.") for name in packed} == {*whole}
    assert packed["a_b.recon.png"] == whole["a.b.recon.png"]
    assert all(packed[name] == whole[name] for name in packed if name.startswith("p"))
    assert (tmp_path / "out" / "metrics.csv").read_bytes().replace(b"a_b", b"a.b") == (
        tmp_path / "whole" / "metrics.csv"
    ).read_bytes()


def test_the_table_tells_of_every_input_and_the_tar_of_every_face(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "p3.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert dse("images", pictures, "--out", out, *OPTIONS, "--pack", 4) == 1
    table = {row["key"]: row for row in rows(out)}
    assert [*table] == [f"p{number}" for number in range(7)]
    assert table["p3"]["status"] == "refused" and "not an image" in str(table["p3"]["error"])
    assert table["p2"]["source"] == str(pictures / "p2.png") and table["p2"]["error"] is None
    (face,) = table["p2"]["faces"]
    told = samples(out / "00000.tar")["p2"]
    about = json.loads(told.pop("json"))
    assert {f"p2.{ending}" for ending in told} == {file for _, file in face["pictures"]}
    assert (
        about["metrics"] == dict(face["metrics"])
        and about["metrics"]["psnr"] == table["p2"]["psnr"]
    )
    assert about["matrix"] == face["matrix"] and len(face["matrix"]) == 6
    assert about["sha256"] == hashlib.sha256((pictures / "p2.png").read_bytes()).hexdigest()


def test_whole_photos_and_all_faces_of_each_are_in_the_tar(
    dse: Run, faces_folder: Path, tmp_path: Path
) -> None:
    photo = sorted(faces_folder.glob("*.*g"))[0]
    words = ("images", photo, "--edit", "age=2", "--paste", "--format", "jpg", "-q", "--out")
    assert dse(*words, tmp_path / "whole") == 0
    assert dse(*words, tmp_path / "out", "--pack", 5) == 0
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("*.*g")}
    packed = unpacked(tmp_path / "out")
    assert {name: packed[name] for name in whole} == whole
    assert any(name.endswith(".photo.jpg") for name in packed)


def test_the_same_inputs_give_the_same_shards(dse: Run, pictures: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert dse("images", pictures, "--out", tmp_path / name, *OPTIONS, "--pack", 3) == 0
        time.sleep(0.01)
    for shard in shards(tmp_path / "a"):
        for suffix in SUFFIXES:
            one, other = (tmp_path / name / f"{shard}{suffix}" for name in ("a", "b"))
            assert one.read_bytes() == other.read_bytes(), one.name


def test_what_is_in_shards_is_done_and_more_goes_on_behind_it(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    blobs: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--pack", 3, "--json")
    assert dse(*words) == 0
    assert all(one["pack"] for one in json.loads(capsys.readouterr().out)["items"])
    (pictures / "q.png").write_bytes(encode_png(blobs(9)))  # type: ignore[arg-type]
    before = (tmp_path / "out" / "00002.tar").read_bytes()
    assert dse(*words) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [one["name"] for one in items if not one["earlier"]] == ["q"]
    assert (tmp_path / "out" / "00002.tar").read_bytes() == before
    assert {*samples(tmp_path / "out" / "00003.tar")} == {"q"}


@pytest.mark.parametrize(
    ("file", "cut", "again"),
    [
        ("00001.tar", True, ["p3", "p4", "p5"]),
        ("00001.safetensors", True, ["p3", "p4", "p5"]),
        ("00001.parquet", False, ["p3", "p4", "p5"]),
        ("00002.parquet", True, ["p6"]),
    ],
)
def test_what_was_in_a_shard_that_is_damaged_is_done_again_and_that_is_told(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    cut: bool,
    again: list[str],
) -> None:
    out = tmp_path / "out"
    words = ("images", pictures, "--out", out, *OPTIONS[:-1], "--pack", 3)
    assert dse(*words) == 0
    data = (out / file).read_bytes()
    (out / file).unlink()
    if cut:
        (out / file).write_bytes(data[: len(data) // 3])
    capsys.readouterr()
    assert dse(*words) == 0
    assert f"shards are not whole: {file[:5]}" in capsys.readouterr().err
    assert [*samples(out / "00003.tar")] == again


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (("--pack", 3), ("--pack", 4), "holds shards of --pack 3 (add --pack 3"),
        (("--pack", 3), (), "holds shards of --pack 3 (add --pack 3"),
        ((), ("--pack", 3), "holds files of an earlier run"),
        (("--pack", 3), ("--pack", 3, "--overwrite"), "shards are not overwritten"),
        (("--pack", 3), ("--pack", 3, "--edit", "smile=1"), "packed with other options (edits)"),
        (("--pack", 3), ("--pack", 3, "--format", "jpg", "--dry-run"), "with other options (form)"),
    ],
)
def test_what_does_not_go_into_a_folder_with_what_is_there_is_one_line(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first: tuple[object, ...],
    second: tuple[object, ...],
    said: str,
) -> None:
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS)
    assert dse(*words, *first) == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    capsys.readouterr()
    assert dse(*words, *second) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and "choose another --out" in line
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("other", [("--pack", 4), (), ("--pack", 3, "--refine", "latent:2")])
def test_shards_of_other_options_are_met_before_a_model_is_loaded(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: tuple[object, ...],
) -> None:
    words = ("images", pictures, "--out", tmp_path / "out", *OPTIONS)
    assert dse(*words, "--pack", 3) == 0
    opened = mock.Mock(side_effect=AssertionError("a model was loaded"))
    monkeypatch.setattr("dseinvert.run.images.run.open_model", opened)
    assert dse(*words, *other) == 6


@pytest.mark.parametrize("name", ["00000.tar", "00004.parquet", "00000.safetensors"])
def test_files_of_others_with_the_names_of_shards_are_not_touched(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"mine")
    assert dse("images", pictures, "--out", out, *OPTIONS, "--pack", 3) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}: is of no run with --pack" in line
    assert (out / name).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--pack", 0), 2, "--pack"),
        (("--pack", 3, "--name-template", "{stem}_{edit}"), 2, "leave out --name-template"),
    ],
)
def test_what_no_shard_can_be_is_one_line(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    code: int,
    said: str,
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, *words) == code
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_without_pyarrow_the_extra_is_named(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dseinvert.cli.checks.find_spec", lambda name: None)
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--pack", 3) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'dseinvert[parquet]'" in line


def test_latents_in_shards_are_edited_as_those_in_files(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    for out, pack in ((tmp_path / "whole", ()), (tmp_path / "out", ("--pack", 3))):
        assert dse("images", pictures, "--out", out, *OPTIONS, *pack) == 0
    edit = ("--edit", "smile=1", "-q", "--out")
    for name in ("whole", "out"):
        made = tmp_path / f"{name}-edited"
        assert dse("edit", tmp_path / name, *edit, made, "--shard", "1/1") == 0
    assert plain(tmp_path / "out-edited") == plain(tmp_path / "whole-edited") != {}
    one = f"{tmp_path / 'out' / '00001.safetensors'}:p4"
    assert dse("edit", one, "--mask", "auto", *edit, tmp_path / "one") == 0
    masked = ("edit", tmp_path / "whole" / "p4.safetensors", "--mask", "auto", *edit)
    assert dse(*masked, tmp_path / "same") == 0
    assert [*plain(tmp_path / "one")] == ["p4.smile+1.png"]
    assert plain(tmp_path / "one") == plain(tmp_path / "same")


def test_a_latent_that_is_not_in_a_shard_is_one_line(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--pack", 7) == 0
    pack = tmp_path / "out" / "00000.safetensors"
    capsys.readouterr()
    assert dse("edit", f"{pack}:nobody", "--out", tmp_path / "edited", "-q") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no latent 'nobody'" in line
    with pytest.raises(Exception, match="holds many latents by name"):
        Latent.load(pack)
    assert len(Latent.load(pack / "p2.safetensors")) == 1


def test_the_pictures_of_a_shard_are_inputs_and_its_folder_says_what_to_do(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS, "--pack", 7) == 0
    again = ("--out", tmp_path / "again", "--no-align", "-q")
    assert dse("images", tmp_path / "out" / "00000.tar", *again) == 0
    assert len(read(tmp_path / "again" / NAME)) == 3 * 7
    capsys.readouterr()
    assert dse("images", tmp_path / "out", *again) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "dseinvert wrote this folder" in line and "dseinvert edit" in line


def test_page_and_status_are_of_what_is_in_the_shards(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dseinvert.cli.main import run

    for out, pack in ((tmp_path / "whole", ()), (tmp_path / "out", ("--pack", 3))):
        for number in (1, 2):
            share = ("--shard", f"{number}/2")
            assert dse("images", pictures, "--out", out, *OPTIONS, *pack, *share) == 0
        assert run(["report", str(out)]) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count('src="data:image/png') == 3 * 7 and "missing" not in page
    assert (tmp_path / "out" / "metrics.csv").read_bytes() == (
        tmp_path / "whole" / "metrics.csv"
    ).read_bytes()
    capsys.readouterr()
    assert run(["status", str(tmp_path / "out"), "--json"]) == 0
    (folder,) = json.loads(capsys.readouterr().out)
    assert folder["left"] == 0 and sum(row["done"] for row in folder["shards"]) == 7
    monkeypatch.setattr("dseinvert.run.images.page.EMBEDDED_FACES", 3)
    assert run(["report", str(tmp_path / "out")]) == 0
    assert "in 1-of-2-00000.tar" in (tmp_path / "out" / "index.html").read_text()


def test_processes_have_shards_of_their_own_and_another_number_of_them_goes_on(
    dse: Run, pictures: Path, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    packed = ("images", pictures, "--out", out, *OPTIONS, "--pack", 2)
    for number in (1, 2):
        assert dse(*packed, "--shard", f"{number}/2") == 0
    assert {name.rpartition("-")[0] for name in shards(out)} == {"1-of-2", "2-of-2"}
    (pictures / "q.png").write_bytes(encode_png(blobs(9)))  # type: ignore[arg-type]
    assert dse(*packed) == 0
    assert "00000" in shards(out)
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 0
    check_once(out, whole)


def test_workers_that_are_handed_a_shard_each_lose_none_of_it_at_a_death(
    dse: Run, tiny_model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 0
    options = ImagesOptions(
        out, edits=("age=2",), model=str(tiny_model), align=False, batch=2, pack=3
    )
    with open_desk([str(pictures)], options, SpreadOptions(), SILENT) as desk:
        assert desk.size == 3
        first, second = Hands(), Hands()
        assert first.open(1, desk.handed) is None and second.open(2, desk.handed) is None
        assert len(first.do(desk.items[:3], alone=False)) == 3
        with monkeypatch.context() as patch:  # dies when its shard is whole, in no journal yet
            patch.setattr(first._books.journal, "write", dies)
            with pytest.raises(Dies):
                first.do(desk.items[3:6], alone=False)
        first.close()
        assert len(read_all(out)) == 3
        kept = desk.kept(1, desk.items[3:6])
        assert [one.name for one in kept] == ["p3", "p4", "p5"]
        assert desk.kept(2, desk.items[6:]) == []
        assert len(second.do(desk.items[6:], alone=False)) == 1
        second.close()
    assert shards(out) == ["worker-1-00000", "worker-1-00001", "worker-2-00000"]
    check_once(out, whole)


class Dies(BaseException):
    """Not an Exception: nothing may handle it."""


def dies(*_: object) -> None:
    raise Dies


@pytest.mark.parametrize("stop_at", range(10))
def test_a_death_at_any_step_of_a_shard_costs_that_shard_at_most(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Steps: a file gets its name, or the journal is written."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dse("images", pictures, "--out", whole, *OPTIONS) == 0
    left = iter(range(stop_at))
    with monkeypatch.context() as patch:

        def stops(real: Callable[..., object]) -> Callable[..., object]:
            def step(*given: object) -> object:
                if next(left, None) is None:
                    # As SIGKILL does, leave behind what is there.
                    patch.setattr(packing, "remove", lambda path: None)
                    patch.setattr(packing.Growing, "remove", lambda self: None)
                    raise Dies
                return real(*given)

            return step

        patch.setattr(packing, "settle", stops(packing.settle))
        journal = "dseinvert.run.images.journal.Journal.write"
        patch.setattr(journal, stops(__import__("dseinvert").run.images.journal.Journal.write))
        with pytest.raises(Dies):
            dse("images", pictures, "--out", out, *OPTIONS, "--pack", 3)
    begun = len(read(out / NAME))
    assert begun in (0, 3, 6)
    assert dse("images", pictures, "--out", out, *OPTIONS, "--pack", 3) == 0
    check_once(out, whole)
    assert shards(out) == ["00000", "00001", "00002"]


def kills(
    count: int, dse: Run, start: Start, tmp_path: Path, picture: Callable[..., object]
) -> None:
    items = 40
    random.seed(count)
    sources = many(tmp_path / "sources", items, picture)
    assert dse("images", sources, "--out", tmp_path / "whole", *OPTIONS) == 0
    for number in range(count):
        out = tmp_path / f"out{number // 3}"  # three kills in a row for each folder
        words = ("--out", out, *OPTIONS, "--pack", 4)
        process = start("images", sources, *words)
        while not (out / NAME).exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if number % 3 == 2 or number == count - 1:
            assert dse("images", sources, *words) == 0
            check_once(out, tmp_path / "whole")
            assert not list(out.glob(".*"))


def test_kills_at_any_moment_lose_nothing_and_make_nothing_twice(
    dse: Run, dse_process: Start, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    kills(KILLS, dse, dse_process, tmp_path, blobs)


def download(files: fsspec.AbstractFileSystem, prefix: str, folder: Path) -> Path:
    folder.mkdir()
    for path in files.find(prefix):
        if "/journal/" not in path:
            (folder / path.rpartition("/")[2]).write_bytes(files.cat_file(path))
    return folder


def test_shards_in_a_store_are_those_in_a_folder(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("images", pictures, *OPTIONS, "--pack", 3, "--out")
    for out in (tmp_path / "out", "memory://out"):
        assert dse(*words, out) == 0
    copy = download(memory, "/out", tmp_path / "copy")
    assert unpacked(copy) == unpacked(tmp_path / "out") != {}
    for path in copy.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name
    memory.rm_file("/out/00001.tar")
    memory.rm_file("/out/00001.safetensors")
    capsys.readouterr()
    assert dse(*words, "memory://out", "--json") == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [one["name"] for one in items if not one["earlier"]] == ["p3", "p4", "p5"]
    assert memory.exists("/out/00003.tar")


@pytest.fixture
def packed_there(
    dse: Run, pictures: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> fsspec.AbstractFileSystem:
    """The same seven photos in shards of three, below memory://out and in a folder `out`."""
    for out in (tmp_path / "out", "memory://out"):
        assert dse("images", pictures, "--out", out, *OPTIONS, "--pack", 3) == 0
    return memory


@pytest.mark.parametrize("words", [(), ("--mask", "face"), ("--shard", "1/2")])
def test_shards_in_a_store_are_edited_as_those_in_a_folder(
    dse: Run,
    tmp_path: Path,
    packed_there: fsspec.AbstractFileSystem,
    words: tuple[str, ...],
) -> None:
    edit = ("--edit", "smile=1", "-q", *words)
    for source, out in ((tmp_path / "out", "near"), ("memory://out", "far")):
        assert dse("edit", source, "--out", tmp_path / out, *edit) == 0
    near, far = (
        {path.name: path.read_bytes() for path in (tmp_path / out).glob("*.png")}
        for out in ("near", "far")
    )
    assert near == far != {}
    assert len(near) == 7 or words == ("--shard", "1/2")


def test_a_second_edit_of_shards_in_a_store_does_what_is_new(
    dse: Run,
    packed_there: fsspec.AbstractFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit = ("edit", "memory://out", "--edit", "smile=1", "--out", "memory://edited", "-q")
    assert dse(*edit) == 0
    packed_there.rm_file("/edited/p4.smile+1.png")
    read: list[str] = []
    monkeypatch.setattr(
        "dseinvert.run.play.packs.dumps_member",
        lambda path, stamp: read.append(path.name) or dumps_member(path, stamp),
    )
    capsys.readouterr()
    assert dse(*edit, "--json") == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["source"] == "memory://out/00001.safetensors/p4.safetensors"
    assert read == ["p4.safetensors"]


def test_latents_in_shards_of_a_store_are_named_and_kept_apart_from_others(
    dse: Run,
    tmp_path: Path,
    packed_there: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit = ("--edit", "smile=1", "-q", "--out")
    one = "memory://out/00001.safetensors:p4"
    assert dse("edit", one, *edit, tmp_path / "one") == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["p4.smile+1.png"]
    assert dse("edit", "memory://out/*.safetensors", *edit, tmp_path / "all") == 0
    assert len([*(tmp_path / "all").iterdir()]) == 7
    # Single latents that happen to be called as shards are: those of FFHQ are.
    data = dumps(Latent.load(tmp_path / "out" / "00000.safetensors" / "p0.safetensors"))
    for number in (0, 1):
        packed_there.pipe_file(f"/ffhq/{number:05d}.safetensors", data)
    assert dse("edit", "memory://ffhq", *edit, tmp_path / "ffhq") == 0
    names = sorted(path.name for path in (tmp_path / "ffhq").iterdir())
    assert names == ["00000.smile+1.png", "00001.smile+1.png"]
    capsys.readouterr()
    assert dse("edit", f"{one}0", *edit, tmp_path / "none") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory://out/00001.safetensors: holds no latent 'p40'" in line


def test_a_killed_run_goes_on_in_a_bucket_with_nothing_twice(
    dse: Run,
    dse_process: Start,
    pictures: Path,
    tmp_path: Path,
    bucket: fsspec.AbstractFileSystem,
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "whole", *OPTIONS) == 0
    words = ("images", pictures, "--out", "s3://faces/out", *OPTIONS, "--pack", 2)
    for least in (1, 4):
        process = dse_process(*words)
        while process.poll() is None:
            there = [path for path in bucket.find("faces/out") if "/journal/" not in path]
            if len(there) >= least:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.005)
        process.wait()
    assert dse(*words) == 0
    copy = download(bucket, "faces/out", tmp_path / "copy")
    assert unpacked(copy) == plain(tmp_path / "whole")
    assert len(read_all(Path("s3://faces/out"))) == 7
    assert shards(copy) == ["00000", "00001", "00002", "00003"]


@mounts
@pytest.mark.parametrize("size", ["24k", "72k"])
def test_a_full_disk_leaves_whole_shards_only(
    tiny_model: Path, pictures: Path, tmp_path: Path, size: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = (
        f"unshare -rm sh -c 'mount -t tmpfs -o size={size} none {out} && "
        f'"$0" -c "$@"; rc=$?; cp -r {out} {tmp_path}/left; exit $rc\' "$0" "$@"'
    )
    words = ("images", pictures, "--out", out, "--no-align", "-q", "--pack", 2)
    told, stderr = shell(script, tiny_model, *words)
    check(told, stderr)
    assert "no space left" in stderr
    names = shards(tmp_path / "left")
    assert {e.pack for e in read_all(tmp_path / "left").values()} == {*names}
    unpacked(tmp_path / "left")
    shutil.rmtree(tmp_path / "left")


@pytest.mark.parametrize("suffix", [".tar", ".safetensors"])
def test_an_edit_takes_what_was_done_again_once(
    dse: Run, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    out, edits = tmp_path / "out", tmp_path / "edits"
    words = ("images", pictures, "--out", out, *OPTIONS, "--pack", 3)
    assert dse(*words) == 0
    damaged = out / f"00001{suffix}"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert dse(*words) == 0
    assert dse("edit", out, "--edit", "age=1", "--out", edits) == 0
    made = [path.name for path in edits.glob("*.png")]
    assert len(made) == 7 and not any("safetensors" in name for name in made)


def test_an_edit_takes_nothing_of_an_input_that_is_no_picture_any_more(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out, edits = tmp_path / "out", tmp_path / "edits"
    words = ("images", pictures, "--out", out, *OPTIONS, "--pack", 3)
    assert dse(*words) == 0
    (pictures / "p1.png").write_bytes(b"no picture any more")
    assert dse(*words) == 1
    assert "p1" in (names_in(out / "00000.safetensors") or ())
    assert dse("edit", out, "--edit", "age=1", "--out", edits, "-q") == 0
    assert sorted(path.name[:2] for path in edits.glob("*.png")) == [
        f"p{n}" for n in (0, *range(2, 7))
    ]
    for path in pictures.iterdir():
        path.write_bytes(b"nor are the others")
    assert dse(*words) == 3
    assert dse("edit", out, "--edit", "age=1", "--out", tmp_path / "none", "-q") == 3
    assert dse("edit", out / "00000.safetensors:p1", "--edit", "age=1", "--out", edits, "-q") == 0


@pytest.mark.parametrize("where", ["folder", "store"])
def test_no_reader_counts_a_face_that_a_photo_shows_no_more(
    dse: Run,
    faces_folder: Path,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    where: str,
) -> None:
    out = {"folder": str(tmp_path / "out"), "store": "memory://bucket/out"}[where]
    photo, edits = tmp_path / "photo.jpg", tmp_path / "edits"
    words = ("images", photo, "--out", out, "--pack", 1, "-q")
    shutil.copy(faces_folder / "group.jpg", photo)
    assert dse(*words) == 0
    (before,) = read_all(Path(out)).values()
    assert len(before.faces) > 1
    alone = next(path for path in sorted(faces_folder.glob("*.jpg")) if path.name != "group.jpg")
    shutil.copy(alone, photo)
    assert dse(*words) == 0
    (entry,) = read_all(Path(out)).values()
    assert (before.pack, entry.pack) == ("00000", "00001")
    assert [face.name for face in entry.faces] == ["photo"]
    assert dse("edit", out, "--edit", "age=1", "--out", edits, "-q") == 0
    assert [path.name for path in edits.glob("*.png")] == ["photo.age+1.png"]
    for number in range(2):
        assert number == 0 or run(["report", out]) == 0
        place = Path(out)
        if where == "store":
            place = download(memory, "/bucket/out", tmp_path / f"got-{number}")
        rows = (place / "metrics.csv").read_text().splitlines()
        faces = [row.partition(",")[0] for row in rows if not row.startswith("#")]
        assert faces == ["name", "photo"]
        assert "photo-2" not in (place / "index.html").read_text()
