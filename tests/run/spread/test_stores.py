"""What is written into a store is what would lie in a folder, and a run goes on there as well."""

from __future__ import annotations

import io
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.torch import load as loads

from dseinvert.cli.main import run
from dseinvert.media import stores
from dseinvert.run.images.journal import read_all
from tests.forked import Forked
from tests.moving_face import clip
from tests.run.spread.test_shards import outputs

Run = Callable[..., int]
OPTIONS = ("--no-align", "--edit", "age=2", "--batch", "2", "-q")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """An empty bucket `faces` of a server on this machine, which children reach too."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    fsspec.filesystem("s3").clear_instance_cache()
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.makedirs("faces", exist_ok=True)
    yield files
    files.rm("faces", recursive=True)  # all servers of a process hold the same
    files.clear_instance_cache()
    server.stop()


def stored(files: fsspec.AbstractFileSystem, prefix: str) -> dict[str, bytes]:
    """All below a prefix, without what the processes wrote down of it."""
    paths = files.find(prefix)
    return {p.rpartition("/")[2]: files.cat_file(p) for p in paths if "/journal/" not in p}


def test_a_store_holds_the_bytes_that_a_folder_holds(
    dse: Run, pictures: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    for out in (tmp_path / "out", "memory://out"):
        assert dse("images", pictures, "--out", out, *OPTIONS) == 0
    assert stored(memory, "/out") == outputs(tmp_path / "out")
    assert len(read_all(Path("memory://out"))) == 7
    assert [p for p in memory.find("/out") if "part" in p] == []


def test_what_is_done_in_a_store_is_not_done_again(
    dse: Run,
    pictures: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dse("images", pictures, "--out", "memory://out", *OPTIONS) == 0
    memory.rm_file("/out/p3.recon.png")
    capsys.readouterr()
    assert dse("images", pictures, "--out", "memory://out", *OPTIONS, "--json") == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [one["name"] for one in items if not one["earlier"]] == ["p3"]
    assert memory.exists("/out/p3.recon.png")


def test_shards_into_a_store_are_reported_and_told_of(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS) == 0
    for number in (2, 1):
        words = ("--out", "memory://out", *OPTIONS, "--shard", f"{number}/2")
        assert dse("images", pictures, *words) == 0
    assert run(["report", "memory://out"]) == 0
    assert stored(memory, "/out") == outputs(tmp_path / "out")
    capsys.readouterr()
    assert run(["status", "memory://out", "--json"]) == 0
    (folder,) = json.loads(capsys.readouterr().out)
    assert folder["out"] == "memory://out" and folder["left"] == 0
    assert sum(row["done"] for row in folder["shards"]) == 7
    other = ("--no-align", "--edit", "age=3", "-q", "--shard", "2/2")
    assert dse("images", pictures, "--out", "memory://out", *other) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory://out: 1-of-2 was done here with another edits" in line


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["images", "memory://in", "--out", "memory://in/out"], 2, "lies in the input"),
        (["images", "{photos}", "--out", "gs://bucket/out"], 4, "pip install 'dseinvert[gcs]'"),
        (["images", "{photos}", "--out", "memory://o", "--keep-folders"], 2, "on a disk"),
        (["sample", "--out", "memory://out"], 2, "only `images`, `edit` and `video` write"),
        (["video", "{photos}", "--out", "memory://o/a.mp4"], 2, "is one file"),
        (["video", "{photos}", "--out", "memory://o", "--still", "0"], 2, "written to disks"),
        (["status", "memory://none"], 3, "no run has written here"),
        (["report", "memory://none"], 3, "no run has written here"),
    ],
)
def test_what_no_store_takes_is_one_line(
    words: list[str],
    code: int,
    said: str,
    pictures: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    memory.pipe_file("/in/p0.png", (pictures / "p0.png").read_bytes())
    assert run([word.format(photos=pictures) for word in words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_killed_run_goes_on_in_a_bucket_to_the_bytes_of_a_folder(
    dse: Run,
    dse_process: Callable[..., Forked],
    pictures: Path,
    tmp_path: Path,
    bucket: fsspec.AbstractFileSystem,
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", *OPTIONS) == 0
    for file in pictures.iterdir():
        bucket.pipe_file(f"faces/in/{file.name}", file.read_bytes())
    words = ("s3://faces/in", "--out", "s3://faces/out", *OPTIONS)
    process = dse_process("images", *words)
    while process.poll() is None and not bucket.find("faces/out/journal/journal"):
        if len(bucket.find("faces/out")) > 3:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    assert dse("images", *words) == 0
    made, local = stored(bucket, "faces/out"), outputs(tmp_path / "out")
    assert {*made} == {*local}
    assert all(made[name] == local[name] for name in local if name.endswith(".png"))


@pytest.mark.parametrize(
    ("words", "code"),
    [(("s3://absent/in", "--out", "{out}"), 3), (("{photos}", "--out", "s3://absent/out"), 6)],
)
def test_a_bucket_that_is_not_there_is_one_line_before_the_model_is_loaded(
    words: tuple[str, ...],
    code: int,
    pictures: Path,
    tmp_path: Path,
    bucket: fsspec.AbstractFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dseinvert.run.images.run.open_model", None)
    said = [word.format(photos=pictures, out=tmp_path / "out") for word in words]
    assert run(["images", *said, "-q"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert "s3://absent" in line and "no such bucket" in line


@pytest.fixture
def no_keys(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is there, and nothing says who asks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    bucket.clear_instance_cache()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["images", "s3://faces/in", "--out", "{out}"], 3),
        (["edit", "s3://faces/in", "--out", "{out}"], 3),
        (["evaluate", "s3://faces/in", "--out", "{out}"], 3),
        (["images", "{photos}", "--out", "s3://faces/out", "--no-align"], 6),
        (["images", "{photos}", "--out", "s3://faces/out", "--no-align", "--shard", "1/2"], 6),
        (["edit", "{latent}", "--out", "s3://faces/out"], 6),
        (["video", "{clip}", "--out", "s3://faces/out"], 6),
        (["report", "s3://faces/out"], 3),
        (["status", "s3://faces/out"], 3),
    ],
)
def test_missing_credentials_are_one_line(
    words: list[str],
    code: int,
    no_keys: None,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for place in ("images.run", "play.edit", "video.run"):
        monkeypatch.setattr(f"dseinvert.run.{place}.open_model", None)
    named = {"out": tmp_path / "out", "photos": pictures, "latent": tmp_path / "a.safetensors"}
    named["latent"].write_bytes(b"none")
    if "{clip}" in words:
        named["clip"] = clip(tmp_path / "clip.mp4", 2)
    assert run([word.format(**named) for word in words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert "s3://faces/" in line and "AWS_PROFILE" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["edit", "s3://absent/in", "--out", "{out}"], 3),
        (["edit", "{latent}", "--out", "s3://absent/out"], 6),
        (["report", "s3://absent/out"], 3),
        (["status", "s3://absent/out"], 3),
    ],
)
def test_an_absent_bucket_is_one_line(
    words: list[str],
    code: int,
    bucket: fsspec.AbstractFileSystem,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    latent = tmp_path / "a.safetensors"
    latent.write_bytes(b"none")
    assert run([word.format(out=tmp_path / "out", latent=latent) for word in words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert "s3://absent" in line and "no such bucket" in line


def test_two_runs_with_other_options_into_one_prefix_are_one_line(
    dse: Run,
    pictures: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("images", pictures, "--out", "memory://out", "--no-align", "-q")
    assert dse(*words, "--edit", "age=2") == 0
    before = stored(memory, "/out")
    told = json.loads(memory.cat_file("/out/journal/journal.run.json"))
    at_work = {**told, "ended": False, "last": time.time()}
    memory.pipe_file("/out/journal/journal.run.json", json.dumps(at_work).encode())
    capsys.readouterr()
    assert dse(*words, "--edit", "age=3", "--shard", "1/2") == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "is at work here with another edits" in line and "wait for it" in line
    assert stored(memory, "/out") == before


@pytest.mark.parametrize("words", [(), ("--shard", "1/1"), ("--sweep", "gif")])
def test_edits_in_a_store_are_those_in_a_folder(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "latents", *OPTIONS) == 0
    edit = (
        "edit",
        tmp_path / "latents",
        *words,
        "--edit",
        "smile" if words[1:] == ("gif",) else "smile=1",
        "-q",
    )
    assert dse(*edit, "--out", tmp_path / "out") == 0
    assert dse(*edit, "--out", "memory://out") == 0
    assert stored(memory, "/out") == outputs(tmp_path / "out")
    name = sorted(stored(memory, "/out"))[0]
    memory.rm_file(f"/out/{name}")
    capsys.readouterr()
    assert dse(*edit, "--out", "memory://out", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 1
    assert memory.exists(f"/out/{name}")


def test_pictures_of_other_options_in_a_store_are_replaced_with_a_word(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert dse("images", pictures / "p0.png", "--out", tmp_path / "latents", *OPTIONS) == 0
    edit = ("edit", tmp_path / "latents", "--out", "memory://out", "--edit", "smile=1")
    again = ["memory://out replaced: p0.smile+1.png"]
    lines = []
    for more in ((), ("--edit", "smile=2"), ("--region", "mouth"), ("--region", "mouth")):
        capfd.readouterr()
        assert dse(*edit, *more) == 0
        told = capfd.readouterr().err.splitlines()
        lines.append([line.partition(" in ")[2] for line in told if "replaced" in line])
    assert lines == [[], [], again, []]


def test_shards_of_edits_into_a_store_are_joined(
    dse: Run, pictures: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "latents", *OPTIONS) == 0
    edit = ("edit", tmp_path / "latents", "--edit", "smile=1", "-q", "--out")
    assert dse(*edit, tmp_path / "out") == 0
    for number in (1, 2):
        assert dse(*edit, "memory://out", "--shard", f"{number}/2") == 0
    assert run(["report", "memory://out"]) == 0
    assert stored(memory, "/out") == outputs(tmp_path / "out")


def test_a_video_in_a_store_is_that_in_a_folder(
    dse: Run,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = clip(tmp_path / "clip.mp4", 6)
    words = ("video", source, "--edit", "age=1", "-q", "--out")
    assert dse(*words, tmp_path / "out") == 0
    assert dse(*words, "memory://out") == 0
    local = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    made = {p.removeprefix("/out/") for p in memory.find("/out") if "/journal/" not in p}
    assert made == local
    video = "clip.age+1.mp4"
    assert memory.cat_file(f"/out/{video}") == (tmp_path / "out" / video).read_bytes()
    capsys.readouterr()
    assert dse(*words, "memory://out", "--json") == 0
    assert "clip.age" not in capsys.readouterr().out, "it is done"


def test_a_video_in_a_store_is_not_replaced_by_one_of_other_options(
    dse: Run,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = clip(tmp_path / "clip.mp4", 4)
    words = ("video", source, "--out", "memory://out", "-q", "--edit")
    assert dse(*words, "age=1") == 0
    assert dse(*words, "smile=1") == 0, "it only adds"
    before = memory.cat_file("/out/clip.age+1.mp4")
    rows = memory.cat_file("/out/clip.metrics.csv").decode().splitlines()
    assert [row.split(",")[0] for row in rows[-2:]] == ["clip.age+1.mp4", "clip.smile+1.mp4"]
    capsys.readouterr()
    assert dse(*words, "age=1", "--smooth", "0") == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory://out/clip.age+1.mp4: is there already, made with --smooth auto, now 0" in line
    assert memory.cat_file("/out/clip.age+1.mp4") == before
    assert dse(*words, "age=1", "--smooth", "0", "--overwrite") == 0


def upload(folder: Path, files: fsspec.AbstractFileSystem, prefix: str) -> None:
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith(("journal", ".")):
            files.pipe_file(f"{prefix}/{path.name}", path.read_bytes())


@pytest.mark.parametrize("words", [("--edit", "smile=1"), ("--edit", "smile=1", "--mask", "face")])
def test_latents_from_a_bucket_are_edited_as_those_from_a_folder(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    bucket: fsspec.AbstractFileSystem,
    words: tuple[str, ...],
) -> None:
    latents = tmp_path / "latents"
    assert dse("images", pictures, "--out", latents, *OPTIONS) == 0
    upload(latents, bucket, "faces/latents")
    assert dse("edit", latents, "--out", tmp_path / "out", *words, "-q") == 0
    assert dse("edit", "s3://faces/latents", "--out", "s3://faces/out", *words, "-q") == 0
    made = stored(bucket, "faces/out")
    assert len(made) == 7 and made == outputs(tmp_path / "out")


@pytest.fixture
def far_latents(
    dse: Run, pictures: Path, memory: fsspec.AbstractFileSystem
) -> fsspec.AbstractFileSystem:
    """A store with seven latents of an `images` run below memory://latents."""
    assert dse("images", pictures, "--out", "memory://latents", *OPTIONS) == 0
    return memory


EDIT = ("--edit", "smile=1", "-q")


def test_a_second_edit_from_a_store_fetches_what_is_new(
    dse: Run,
    far_latents: fsspec.AbstractFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_edit = ("edit", "memory://latents", "--out", "memory://out", *EDIT)
    assert dse(*run_edit) == 0
    far_latents.cp_file("/latents/p0.safetensors", "/latents/p3.safetensors")
    fetched: list[str] = []
    read = stores.read
    monkeypatch.setattr(stores, "read", lambda url, *at: fetched.append(url) or read(url, *at))
    capsys.readouterr()
    assert dse(*run_edit, "--json") == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["source"] == "memory://latents/p3.safetensors"
    assert {url for url in fetched if "/journal/" not in url} == {item["source"]}
    made = stored(far_latents, "/out")
    assert made["p3.smile+1.png"] == made["p0.smile+1.png"]


def test_shards_and_globs_of_latents_in_a_store(
    dse: Run, far_latents: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    words = ("edit", "memory://latents/*.safetensors", "--out")
    assert dse(*words, tmp_path / "whole", *EDIT) == 0
    for number in (1, 2):
        assert dse(*words, tmp_path / "out", *EDIT, "--shard", f"{number}/2") == 0
    pictures = {name: data for name, data in outputs(tmp_path / "out").items() if "png" in name}
    assert pictures == outputs(tmp_path / "whole") and len(pictures) == 7


def test_a_list_of_latents_may_name_files_and_objects(
    dse: Run, far_latents: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    here = tmp_path / "here.safetensors"
    here.write_bytes(far_latents.cat_file("/latents/p1.safetensors"))
    (tmp_path / "list.txt").write_text(f"memory://latents/p0.safetensors\n{here}\n")
    assert dse("edit", f"@{tmp_path / 'list.txt'}", "--out", tmp_path / "out", *EDIT) == 0
    assert {*outputs(tmp_path / "out")} == {"p0.smile+1.png", "here.smile+1.png"}


def test_latents_of_others_in_a_store_are_drawn(
    dse: Run, far_latents: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    file = io.BytesIO()
    code = loads(far_latents.cat_file("/latents/p0.safetensors"))["code"]
    np.savez(file, w=code.numpy())
    far_latents.pipe_file("/theirs/a.npz", file.getvalue())
    assert dse("edit", "memory://theirs", "--out", tmp_path / "theirs", *EDIT) == 0
    latent = "memory://latents/p0.safetensors"
    assert dse("edit", latent, "--out", tmp_path / "ours", *EDIT) == 0
    ours, theirs = (outputs(tmp_path / name) for name in ("ours", "theirs"))
    assert [*ours.values()] == [*theirs.values()]


def test_latents_are_mixed_and_morphed_from_a_store(
    far_latents: fsspec.AbstractFileSystem, tiny_model: Path, tmp_path: Path
) -> None:
    model, latents = ["--model", str(tiny_model)], tmp_path / "latents"
    latents.mkdir()
    for path in far_latents.glob("/latents/*.safetensors"):
        (latents / path.rpartition("/")[2]).write_bytes(far_latents.cat_file(path))
    for name, given in (("far", "memory://latents"), ("near", str(latents))):
        mix, morph = (str(tmp_path / name / verb) for verb in ("mix", "a.gif"))
        assert run(["mix", given, given, "--layers", "0-1", "--out", mix, *model]) == 0
        assert run(["morph", given, "--frames", "2", "--out", morph, *model]) == 0
    assert outputs(tmp_path / "far" / "mix") == outputs(tmp_path / "near" / "mix")
    assert (tmp_path / "far/a.gif").read_bytes() == (tmp_path / "near/a.gif").read_bytes()


def test_a_damaged_latent_in_a_store_is_one_line_and_the_others_are_drawn(
    dse: Run,
    far_latents: fsspec.AbstractFileSystem,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = far_latents.cat_file("/latents/p2.safetensors")
    far_latents.pipe_file("/latents/p2.safetensors", whole[: len(whole) // 2])
    capsys.readouterr()
    assert dse("edit", "memory://latents", "--out", tmp_path / "out", *EDIT) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dseinvert: memory://latents/p2.safetensors: not a readable")
    assert len(outputs(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["edit", "memory://none", "--out", "{out}"], 3, "memory://none: nothing there"),
        (["edit", "memory://pictures", "--out", "{out}"], 3, "no latent files found"),
        (["edit", "gs://bucket/latents", "--out", "{out}"], 4, "pip install 'dseinvert[gcs]'"),
        (["mix", "gs://a", "gs://a", "--layers", "0", "--out", "{out}"], 4, "dseinvert[gcs]"),
        (["morph", "memory://none", "--out", "{out}/a.mp4"], 3, "memory://none: nothing there"),
        (["edit", "memory://pictures", "--out", "memory://pictures/out"], 2, "lies in the input"),
    ],
)
def test_latents_that_no_store_has_are_one_line(
    words: list[str],
    code: int,
    said: str,
    tiny_model: Path,
    tmp_path: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    memory.pipe_file("/pictures/a.png", b"a picture")
    given = [word.format(out=tmp_path / "out") for word in words]
    assert run([*given, "--model", str(tiny_model)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()
