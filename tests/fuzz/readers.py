"""Every reader of files, with the good files that are mutated for it."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from dseinvert.editing.directions import Direction, load_directions
from dseinvert.editing.directions import dumps as dump_directions
from dseinvert.errors import InputError
from dseinvert.export.exporting import read_export
from dseinvert.generators.tuned import synthesize
from dseinvert.importers.read import read as read_foreign
from dseinvert.latent import Latent, dumps, same_every_time
from dseinvert.latent.clip import ClipLatents
from dseinvert.latent.header import Header
from dseinvert.media.digest import file_sha256
from dseinvert.media.frame_files import probe_frames
from dseinvert.media.images import open_image
from dseinvert.media.rows import write_rows
from dseinvert.models import open_model
from dseinvert.models.folder import open_folder
from dseinvert.models.registry import rows
from dseinvert.pickled.pickles import load
from dseinvert.run.directions.labels import read_table
from dseinvert.run.images import journal
from dseinvert.run.play.latents import read_latent
from dseinvert.run.video import faces, tune
from dseinvert.run.video.invert import latents_of
from dseinvert.run.video.records import Record, read_records, write_table
from dseinvert.run.video.unfinished import intended
from dseinvert.training.pictures import read_tar
from dseinvert.video.tracks import Track, pack
from tests.conftest import build_tiny_model
from tests.fuzz import mutators
from tests.fuzz.of_media import of_media
from tests.fuzz.of_published import of_published
from tests.fuzz.of_runs import of_runs
from tests.fuzz.reader import Reader


def readers(place: Path) -> dict[str, Reader]:
    """By name; `place` is an empty folder to work in."""
    torch.set_num_threads(1)
    model_folder = build_tiny_model(place / "model")
    return {
        **_of_latents(model_folder),
        **_of_models(place, model_folder),
        **_of_tables(place),
        **_of_checkpoints(),
        **_of_pictures(),
        **_of_clips(place),
        **of_runs(place / "runs"),
        **of_media(place / "media"),
        **of_published(place / "published", model_folder),
    }


def _of_latents(folder: Path) -> dict[str, Reader]:
    model = open_model(str(folder))
    origin = {"generator_sha256": model.sha256, "generator": "tiny"}
    code = torch.zeros(2, 6, 16)
    weight = "synthesis.convs.1.conv.weight"
    shape = dict(model.generator.plain.named_parameters())[weight].shape
    tuning = {
        f"{weight}.up": torch.zeros(2, shape[0], 1),
        f"{weight}.down": torch.zeros(2, 1, shape[1:].numel()),
    }
    styles = model.generator.style_layers[-1].columns.stop
    feature = model.generator.features(model.generator.mean_latent(), 2)
    latents = [
        Latent(code, "w+", origin=origin),
        Latent(code, "w+", feature.repeat(2, 1, 1, 1), 2, origin=origin),
        Latent(code, "w+", origin=origin, style=torch.zeros(2, styles), tuning=tuning),
    ]

    def draw(path: Path) -> None:
        latent = read_latent(path, model)
        with torch.inference_mode():
            synthesize(model.generator, latent[:2])

    directions = {n: Direction(n, torch.ones(6, 16), "w+", "one", "00") for n in ("age", "b c")}
    of_latents = Reader("a.safetensors", mutators.SAFETENSORS, [*map(dumps, latents)], draw)
    of_directions = Reader(
        "d.safetensors", mutators.SAFETENSORS, [dump_directions(directions)], load_directions
    )
    tables = [{"a.png": {"latent": code[0], "noise": [torch.zeros(1)]}}, [code[0, 0]], code]
    of_others = Reader(
        "a.pt", mutators.PICKLE, [_torch_file(one, zipped=True) for one in tables], draw
    )
    return {"latent": of_latents, "directions": of_directions, "others' latents": of_others}


def _of_models(place: Path, folder: Path) -> dict[str, Reader]:
    card = json.loads((folder / "model.json").read_text())
    del card["sha256"]
    weights = {name: (folder / f"{name}.safetensors").read_bytes() for name in PARTS}
    other = {
        **card,
        "generator": {"family": "stylegan3", "resolution": 16, "channel_base": 256, "w_dim": 16},
    }
    pggan = {**card, "generator": {"family": "pggan", "resolution": 8, "channels": {4: 4, 8: 4}}}
    biggan = {**card, "generator": {"family": "biggan", "channels": [8, 8, 4], "attention": 0}}
    psp = {**card, "encoder": {"kind": "psp", "layers": 6, "w_dim": 16, "widths": [8, 8, 8, 16]}}
    cards = [json.dumps(one).encode() for one in (card, other, pggan, biggan, psp)]

    def opened(name: str) -> Callable[[Path], Any]:
        def read(path: Path) -> None:
            whole = place / f"whole-{name}"
            whole.mkdir(exist_ok=True)
            for part, data in {**weights, "model": json.dumps(card).encode()}.items():
                file = whole / (f"{part}.safetensors" if part in weights else "model.json")
                if not file.exists():
                    file.write_bytes(data)
            path.replace(whole / path.name)
            open_folder(whole)

        return read

    registry = '[[model]]\nname = "a"\ndescription = "b"\nlicence = "c"\nspace = "w+"\n'
    registry += 'layers = 6\ndim = 16\nurl = "https://a/b.pkl"\nbytes = 3\n'
    return {
        "card": Reader("model.json", mutators.JSON, cards, opened("card")),
        "weights": Reader(
            "generator.safetensors",
            mutators.SAFETENSORS,
            [same_every_time(weights["generator"]), same_every_time(weights["encoder"])],
            opened("weights"),
        ),
        "registry": Reader("models.toml", mutators.TEXT, [registry.encode()], rows),
        "export": Reader(
            "export.json",
            mutators.JSON,
            [_exported(place / "exported")],
            partial(_read_export, place / "exported"),
        ),
    }


PARTS = ("generator", "encoder")


def _exported(folder: Path) -> bytes:
    """The sidecar of a folder whose one graph is there."""
    folder.mkdir()
    (folder / "g.onnx").write_bytes(b"a graph")
    sha256 = {"g.onnx": file_sha256(folder / "g.onnx")}
    tensor = {"images": {"type": "float32", "shape": ["batch", 3, 16, 16]}}
    graph = {"file": "g.onnx", "bytes": 7, "sha256": sha256, "inputs": tensor, "outputs": tensor}
    about = {"to": "onnx", "precision": "fp32", "generator_sha256": "a", "encoder_sha256": "b"}
    whole = {"format": "dseinvert-export-1", **about, "files": {"g": {**graph, "space": "w+"}}}
    return json.dumps(whole).encode()


def _read_export(folder: Path, path: Path) -> None:
    path.replace(folder / "export.json")
    _found(read_export(folder))


def _found(what: Any) -> None:
    """Nothing stands for a refusal, where what is damaged is made anew and nothing is said."""
    if not what:
        raise InputError("nothing that we wrote, or damaged")


def _of_tables(place: Path) -> dict[str, Reader]:
    face = journal.FaceEntry("a", [1.0] * 6, {"psnr": 20.0}, {"recon": "a.png"})
    entry = journal.Entry("a", "/p/a.jpg", "a.jpg", "ab", "key", "done", faces=[face])
    lines = journal.dumps(entry) * 2
    frames = place / "frames"
    frames.mkdir()
    for k in range(2):
        Image.new("RGB", (4, 4)).save(frames / f"f{k}.png")
    times = b"file,pts,time_base,seconds\nf0.png,0,1/25,0\nf1.png,1,1/25,0.04\n"

    def probe(path: Path) -> None:
        path.replace(frames / "times.csv")
        probe_frames(frames)

    labels = b"file,smile,age\na.png,1,0.5\nb.png,,2\nc.png,0,1\n"
    return {
        "journal": Reader(
            "journal.jsonl", mutators.JSON, [lines], lambda path: _found(journal.read(path))
        ),
        "labels": Reader(
            "l.csv", mutators.TEXT, [labels, b"seed,smile\n1,0\n2,1\n3,nan\n"], read_table
        ),
        "times": Reader("times.csv", mutators.TEXT, [times], probe),
    }


def _torch_file(content: Any, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _of_checkpoints() -> dict[str, Reader]:
    state = {"w": torch.ones(2, 3), "n": torch.arange(4), "s": {"a": [1, 2.5, None, "x"]}}
    network = {"generator_smooth": {"mapping.dense0.weight": torch.ones(4, 4)}, "step": 3}
    boundary = np.ones((1, 16), np.float32)

    def numpy_file(write: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
        buffer = io.BytesIO()
        write(buffer, *arrays, **named)
        return buffer.getvalue()

    plain = [{"a": [1, (2, b"x"), {3.5}], "b": boundary, "c": 10**20}, boundary, {"G": boundary}]
    pickles = [pickle.dumps(one, protocol) for one in plain for protocol in (0, 2, 4, 5)]
    files = {
        "pickle": (mutators.PICKLE, pickles),
        "zip": (mutators.PICKLE, [_torch_file(one, zipped=True) for one in (state, network)]),
        "legacy": (
            mutators.PICKLE,
            [_torch_file(one, zipped=False) for one in (state, network)],
        ),
        "npy": (mutators.TEXT, [numpy_file(np.save, boundary), numpy_file(np.save, np.eye(3))]),
        "npz": (
            mutators.PLAIN,
            [
                numpy_file(np.savez, lat_comp=np.ones((3, 1, 16)), lat_stdev=np.ones(3)),
                numpy_file(np.savez_compressed, comp=np.ones((3, 16)), std=np.ones(3)),
            ],
        ),
        "tensors": (
            mutators.SAFETENSORS,
            [same_every_time(save({"age": torch.ones(1, 16), "b": torch.ones(2, 16)}))],
        ),
    }
    return {
        name: Reader("a.pkl", changes, seeds, _foreign) for name, (changes, seeds) in files.items()
    }


def _foreign(path: Path) -> None:
    load(path)
    with suppress(InputError):  # whole, and of no known kind
        read_foreign(path)


def _of_pictures() -> dict[str, Reader]:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    seeds = {}
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        seeds[kind] = buffer.getvalue()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in (("a.png", "PNG"), ("b" * 120 + ".jpg", "JPEG")):
            member = tarfile.TarInfo(name)
            member.size = len(seeds[kind])
            tar.addfile(member, io.BytesIO(seeds[kind]))
    tars = [plain.getvalue(), gzip.compress(plain.getvalue(), mtime=0)]
    return {
        "picture": Reader("a.png", mutators.PLAIN, [*seeds.values()], open_image),
        "tar": Reader("a.tar", mutators.TEXT, tars, lambda path: read_tar(path, 8)),
    }


def _of_clips(place: Path) -> dict[str, Reader]:
    out = place / "out"
    kept = out / ".a.dse-work"
    kept.mkdir(parents=True)
    (out / "a.mp4").write_bytes(b"a")
    output: Any = SimpleNamespace(path=out / "a.mp4", key="k", label="age+2")
    task: Any = SimpleNamespace(
        folder=out,
        name="a",
        kept=kept,
        outputs=(output,),
        tracks_key="t",
        latents_key="l",
        latents=out / "a.latents.safetensors",
    )
    write_table(
        task, [Record("a.mp4", "age+2", "k", "s", "c", "00", 1, 0, 1, 0, "", {"psnr": 1.0})], {}
    )
    table = (out / "a.metrics.csv").read_bytes()
    notes = json.dumps({"a.mp4": {"key": "k", "before": [1, 2, 3]}}).encode()
    origin = {"key": "l", "shots": "[0]", "lost": "0", "problems": "[]", "partial": "0"}
    columns = {
        "code": np.zeros((2, 6, 16), np.float32),
        "track": np.zeros(2, np.int64),
        "clip_pts": np.arange(2),
        "tuning/0/w.up": np.zeros((4, 1), np.float16),
    }
    write_rows(place / "clip", columns, Header("w+", origin).text())
    n = 3
    track = Track(
        np.arange(n),
        np.arange(n) / 25,
        np.zeros((n, 5, 2)),
        np.ones(n),
        np.ones(n, bool),
        np.ones(4, np.float32),
        0,
        True,
        False,
    )
    stored = {name: faces._stored(array) for name, array in pack([track]).items()}
    write_rows(place / "tracks", {**stored, "clip_pts": np.arange(n)}, origin)
    stages = json.dumps(
        [{"method": "generator", "steps": 1, "kept": 1, "loss": [1, 2], "psnr": [1, 2]}]
    )
    write_rows(place / "tuned", {"encoder/a": np.zeros(4, np.float32)}, {"stages": stages})
    files = {name: (place / name).read_bytes() for name in ("clip", "tracks", "tuned")}

    def put(name: str, read: Callable[[], Any]) -> Callable[[Path], Any]:
        def reading(path: Path) -> None:
            path.replace(name if Path(name).is_absolute() else out / name)
            _found(read())

        return reading

    def clip() -> bool:
        if latents_of(task) is None:
            return False
        with ClipLatents(task.latents) as latents:
            latents.tunings()
        return True

    person: Any = SimpleNamespace(tracks=[0])
    seen = kept / "tracks.safetensors"
    tuned = kept / "latents-l.tuned-0.safetensors"
    return {
        "records": Reader(
            "r.csv", mutators.TEXT, [table], put("a.metrics.csv", lambda: read_records(task))
        ),
        "intent": Reader(
            "o.json",
            mutators.JSON,
            [notes],
            put(str(kept / "outputs.json"), lambda: intended(task)),
        ),
        "clip": Reader("c.st", mutators.SAFETENSORS, [files["clip"]], put(task.latents.name, clip)),
        "tracks": Reader(
            "t.st",
            mutators.SAFETENSORS,
            [files["tracks"]],
            put(str(seen), lambda: faces.known(seen)),
        ),
        "tuned": Reader(
            "u.st",
            mutators.SAFETENSORS,
            [files["tuned"]],
            put(str(tuned), lambda: tune._load(task, person)),
        ),
    }
