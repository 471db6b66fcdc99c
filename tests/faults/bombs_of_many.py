"""Small files that would take the machine, for readers of many pictures, of runs and of options."""

from __future__ import annotations

import gzip
import io
import json
import math
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pyarrow
import torch
from pyarrow import parquet

from dseinvert.cli.told_by_file import read_config, weights_in
from dseinvert.editing.script import read_script
from dseinvert.errors import NoInputError
from dseinvert.importers.latents import read_foreign as read_latents
from dseinvert.importers.read import read as read_foreign
from dseinvert.media.images import encode_png
from dseinvert.media.segments import read_segment, segment_times
from dseinvert.media.sets import names_in, opened_set
from dseinvert.run.spread.ledger import Line, dumps
from dseinvert.run.spread.report import report
from dseinvert.run.spread.status import status
from dseinvert.run.video.cast import Sighting, Somebody, load_people, save_people
from tests.references import contents, inverters, weights

MB = 1 << 20
Read = Callable[[Path], Any]
Bomb = tuple[str, bytes, Read]
"""A file's name, its bytes, and who reads it."""
HARMLESS = {
    *("set: zip of many", "set: zip of a picture that is none", "set: tar of many"),
    *("set: tar of long names", "options: script of blocks", "options: script of keys"),
    *("options: config of values", "options: config of weights", "unfinished: segment of packets"),
    *(f"unfinished: people {how}" for how in ("by the many", "that are deep", "of lists")),
    *(f"share: notes {how}" for how in ("of runs", "of items", "that are deep")),
    *(f"share: notes of {what}" for what in ("a long fault", "statuses")),
    *(f"share: ledger of {what}" for what in ("many files", "many items", "one line")),
    "share: ledger that is deep",
}
"""What is read, or passed over as are lines of a crash."""
DOT = encode_png(np.zeros((1, 1, 3), np.uint8))


def _each(path: Path) -> None:
    with opened_set(path) as members:
        for member in members:
            member.read()


def sets() -> dict[str, Bomb]:
    """For whatever takes many pictures."""
    zips = {
        "zip of many": _zip({f"{k}.png": b"" for k in range(90_000)}),
        "zip of one again and again": _again(),
        "zip of a picture that is none": _zip({"a.png": bytes(60 * MB)}),
    }
    tars = {
        "tar of many": gzip.compress(tarfile.TarInfo("a.png").tobuf() * 60_000, 1),
        "tar of long names": gzip.compress(_long_names(), 1),
        "tar of holes": _holes(),
    }
    tables = {
        "parquet of one picture again and again": _parquet([_large()] * 300),
        "parquet of rows without end": _nothing(),
    }
    bases = {"LMDB of long keys": _lmdb(65_000), "LMDB of keys": _lmdb(0)}
    kinds = {"a.zip": zips, "a.tar": tars, "a.parquet": tables, "a.mdb": bases}
    return {
        **{
            name: (file, data, _each) for file, some in kinds.items() for name, data in some.items()
        },
        "parquet of one word again and again": (
            "a.parquet",
            _parquet(["x" * MB] * 4000, "word"),
            lambda path: names_in(Path(f"{path}:word")),
        ),
        "parquet of words without end": (
            "a.parquet",
            _parquet(["x" * 200] * 4_000_000, "word"),
            lambda path: names_in(Path(f"{path}:word")),
        ),
    }


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _again() -> bytes:
    """A directory whose entries all name the same packed bytes."""
    whole = _zip({"a.png": bytes(MB)})
    start = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry, times = whole[start:end], 60_000
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, times, times, len(entry) * times, start, 0)
    return whole[:start] + entry * times + tail


def _long_names() -> bytes:
    members = []
    for _ in range(30):
        member = tarfile.TarInfo("a/" * 500_000 + "a.png")
        members.append(member.tobuf(tarfile.GNU_FORMAT))
    return b"".join(members)


def _holes() -> bytes:
    """A member of many pieces and no bytes, that is a terabyte."""
    member = tarfile.TarInfo("a.png")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(10**12),
        "GNU.sparse.map": ",".join(f"{k},0" for k in range(0, 2_000_000, 2)),
        "GNU.sparse.realsize": str(10**12),
    }
    return member.tobuf(tarfile.PAX_FORMAT)


def _large() -> bytes:
    return DOT + np.random.default_rng(0).bytes(8 * MB)


def _parquet(rows: list[Any], column: str = "image") -> bytes:
    arrow: Any = pyarrow
    kind = arrow.string() if column == "word" else arrow.binary()
    buffer = io.BytesIO()
    indices = arrow.array(np.zeros(len(rows), np.int32))
    array = arrow.DictionaryArray.from_arrays(indices, arrow.array(rows[:1], kind))
    parquet.write_table(
        arrow.table({column: array}),
        buffer,
        compression="zstd",
        row_group_size=10**8,
        store_schema=False,
        dictionary_pagesize_limit=100 * MB,
    )
    return buffer.getvalue()


def _nothing() -> bytes:
    """Eight million rows without a picture, and as many bytes that say nothing."""
    arrow: Any = pyarrow
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({"image": arrow.nulls(8 * MB, arrow.binary())}), buffer)
    data = buffer.getvalue()
    foot = _foot(data)
    return data[:foot] + bytes(9 * MB) + data[foot:]


def _foot(data: bytes) -> int:
    """Where the directory begins."""
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def _lmdb(length: int) -> bytes:
    """Pages of 64 KiB whose every place names one node, a picture with a key of `length` bytes."""
    side, pages = 1 << 16, 1 if length else 60
    tree = struct.pack("<IHHQQQQQ", 0, 0, 2, 1, 1, 0, 1, 2)

    def head(age: int) -> bytes:
        free = struct.pack("<IHHQQQQQ", side, 0, 0, 0, 0, 0, 0, 2**64 - 1)
        meta = struct.pack("<IIQQ", 0xBEEFC0DE, 1, 0, 1 << 30) + free + tree
        meta += struct.pack("<QQ", 3 + pages, age)
        return (struct.pack("<QHHI", 0, 0, 8, 0) + meta).ljust(side, b"\0")

    count, value = (200, struct.pack("<Q", 3)) if length else (32_000, DOT)
    place = 16 + 2 * count
    length = min(length, side - place - 8 - len(value))
    node = struct.pack("<HHHH", 8 if length else len(DOT), 0, int(length > 0), length)
    leaf = bytearray(side)
    struct.pack_into("<QHHHH", leaf, 0, 2, 0, 2, 16 + 2 * count, place)
    for k in range(count):
        struct.pack_into("<H", leaf, 16 + 2 * k, place)
    leaf[place : place + 8] = node
    leaf[place + 8 + length : place + 8 + length + len(value)] = value
    overflow = (struct.pack("<QHHI", 3, 0, 4, 1) + DOT).ljust(side, b"\0")
    branch = bytearray(side)
    struct.pack_into("<QHHHH", branch, 0, 2, 0, 1, 16 + 2 * pages, 0)
    for k in range(pages):
        at = 4096 + 16 * k
        struct.pack_into("<H", branch, 16 + 2 * k, at)
        struct.pack_into("<HHHH", branch, at, 4 + k, 0, 0, 0)
    return head(1) + head(2) + bytes(branch) + overflow + bytes(leaf) * pages


def shares() -> dict[str, Bomb]:
    """For `status`, `report`, and runs that go on with others' folders."""
    line = dumps(Line("a", "/p/a", "key", "done", files={"a.png": "ab"}))
    run = {"run": {"version": "1", "at": 1.5, "pid": 3, "verb": "edit", "settings": {}, "total": 3}}
    first = json.dumps(run).encode() + b"\n"
    files = b",".join(b'"%d":"a"' % k for k in range(700_000))
    one = line.replace(b'"a.png":"ab"', files)
    many = b"".join(line.replace(b'"a"', b'"%d"' % k, 1) for k in range(70_000))

    def notes(path: Path) -> None:
        (path.parent / "journal-1-of-2.jsonl").write_bytes(line)
        path.replace(path.parent / ".journal-1-of-2.notes")
        for one in status(path.parent):
            one.lines()

    def ledger(path: Path) -> None:
        path.replace(path.parent / "journal.jsonl")
        with suppress(NoInputError):
            status(path.parent)
            report(path.parent)

    return {
        "notes of runs": ("a.notes", first * 60_000, notes),
        "notes of items": (
            "a.notes",
            first + b"".join(b'{"begun":"%d"}\n' % k for k in range(400_000)),
            notes,
        ),
        "notes that are deep": ("a.notes", first + b"[" * (8 * MB), notes),
        "notes of a long fault": (
            "a.notes",
            first + b"Fatal Python error: " + b"x" * (9 * MB),
            notes,
        ),
        "notes of statuses": (
            "a.notes",
            first + b"".join(b'{"done":"a","as":"%d"}\n' % k for k in range(300_000)),
            notes,
        ),
        "ledger of many files": ("a.jsonl", one, ledger),
        "ledger of many items": ("a.jsonl", many, ledger),
        "ledger that is deep": ("a.jsonl", line[:-2] + b',"x":' + b"[" * (7 * MB), ledger),
        "ledger of one line": ("a.jsonl", line * 80_000, ledger),
    }


def options() -> dict[str, Bomb]:
    """For `--edits` and `--config`."""
    params = [SimpleNamespace(name=n, multiple=n == "real") for n in ("gan", "real", "weight")]
    context: Any = SimpleNamespace(
        command=SimpleNamespace(params=params), resilient_parsing=False, default_map=None
    )

    def config(path: Path) -> None:
        read_config(context, path)
        weights_in(path)

    block = b'[[edit]]\nedit = "age=+1"\n'
    keys = b",".join(b"[%d,0]" % k for k in range(90_000))
    scripts = {
        "deep": b"edit = " + b"[" * MB,
        "dots": (b"a" + b".a" * 999 + b" = 1\n") * 500,
        "other dots": b"".join(b"[a%d" % k + b".a" * 900 + b"]\n" for k in range(500)),
        "blocks": block * 40_000,
        "keys": b'[[edit]]\nedit = "age"\nkeys = [' + keys + b"]\n",
        "a number": b"edit = " + b"9" * (MB - 20),
        "one text": b'edit = "' + b"\\u00e9" * 170_000 + b'"',
        "parts": b'[[edit]]\nedit = "' + b",".join([b"age=+1"] * 140_000) + b'"\n',
        "too long": b"#" * (9 * MB),
    }
    files = {
        "deep": ("a.toml", b"gan = " + b"[" * MB),
        "dots": ("a.toml", b"".join(b"[a%d" % k + b".a" * 900 + b"]\n" for k in range(500))),
        "values": ("a.toml", b"real = [" + b"1," * 500_000 + b"]"),
        "weights": ("a.toml", b"[weights]\n" + b"".join(b"a%d=1\n" % k for k in range(90_000))),
        "deep JSON": ("a.json", b'{"gan":' * 100_000),
        "JSON of lists": ("a.json", b'{"real":[' + b"[]," * 300_000 + b"0]}"),
        "names": ("a.toml", b"".join(b"a%d=1\n" % k for k in range(100_000))),
    }
    return {
        **{f"script of {n}": ("a.toml", data, read_script) for n, data in scripts.items()},
        **{f"config of {n}": (file, data, config) for n, (file, data) in files.items()},
    }


def of_clips(place: Path) -> dict[str, Bomb]:
    """For unfinished work of a clip."""
    from fractions import Fraction

    from dseinvert.media.colour import Colours
    from dseinvert.media.encoding import Encoding
    from dseinvert.media.segments import Segments

    settings = Encoding(
        *("h264", 64, 64, "yuv420p", Fraction(1, 25), Fraction(25), Fraction(1)),
        *(Colours(1, 1), 23.0, None),
    )
    with Segments(place / "segments", settings, 1) as segments:
        segments.write(np.zeros((64, 64, 3), np.uint8), 0)
    (segment,) = (place / "segments").glob("0*")
    start = segment.read_bytes().partition(b"\n")[0] + b"\n"
    points = np.arange(10.0).reshape(5, 2)
    people = place / "people.json"
    save_people(people, [Somebody(1, (Sighting(0.5, points),), np.ones(4, np.float32))], "s", "n")
    told = json.loads(people.read_bytes())
    many = {**told, "people": told["people"] * 30_000}

    def packets(path: Path) -> None:
        segment_times(path, settings)
        for _ in read_segment(path, settings):
            pass

    def known(path: Path) -> None:
        load_people(path, "s", "n")

    return {
        "segment of packets": ("a.seg", start + bytes(13) * 700_000, packets),
        "segment of a long packet": (
            "a.seg",
            start + struct.pack("<qBI", 0, 0, 2**32 - 1) + bytes(MB),
            packets,
        ),
        "segment of alpha": (
            "a.seg",
            start + struct.pack("<qBII", 0, 2, MB, 2**32 - 1) + bytes(MB),
            packets,
        ),
        "people by the many": ("a.people.json", json.dumps(many).encode(), known),
        "people that are deep": ("a.people.json", b"[" * (8 * MB), known),
        "people of lists": (
            "a.people.json",
            b'{"people":[' + b"[]," * (2 * MB) + b"0]}",
            known,
        ),
    }


def checkpoints() -> dict[str, Bomb]:
    """For the readers of published encoders and generators: weights that all are one storage."""
    wide = torch.zeros(9 * MB, dtype=torch.uint8)

    def shaped(shapes: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, sides in shapes.items():
            count = math.prod(sides)
            one = wide[:count].view(tuple(sides)) if count <= len(wide) else None
            found[name] = wide.as_strided(sides, [0] * len(sides)) if one is None else one
        return found

    with mock.patch.object(inverters, "IDINVERT_WIDTHS", (6, 900, 900, 900)):
        idinvert = shaped(inverters.idinvert_shapes(20))
    idinvert["generator"] = contents.genforce("stylegan1-idinvert")
    rows, channels, w_dim = 12, 8, 16
    with mock.patch.object(inverters, "SFE_WIDTHS", (600, 700, 800, 900)):
        own = shaped(inverters.sfe_shapes(rows, channels, w_dim))
    decoder = weights.fill(inverters.decoder_shapes(128, channels, w_dim), 102)
    state = {f"decoder.{n}": torch.from_numpy(np.array(a)) for n, a in decoder.items()}
    state |= {f"encoder.{n}": t for n, t in own.items()}
    feature = {"state_dict": state, "latent_avg": torch.zeros(w_dim)}
    zoo = contents.gan_zoo(wrapped=False)
    shapes = {"formatLayer": [16 * 900, 512], "groupScale0.0": [900, 900, 3, 3]}
    shapes |= {f"scaleLayers.{k}.{i}": [900, 900, 3, 3] for k in range(4) for i in (0, 1)}
    shapes |= {"toRGBLayers.4": [3, 900, 1, 1]}
    named = {f"{n}.weight": s for n, s in shapes.items()}
    zoo["avgG"] = shaped(named | {f"{n}.bias": s[:1] for n, s in shapes.items()})
    zoo["config"], zoo["netG"] = {"categoryVectorDim": 0}, {}
    files = {"idinvert": idinvert, "style feature": feature, "gan zoo": zoo}
    return {name: ("a.pth", _saved(content), read_foreign) for name, content in files.items()}


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def objects() -> dict[str, Bomb]:
    """For the reader of other programs' latents: arrays of objects."""
    spec = SimpleNamespace(space="w+", layers=18, dim=512)
    generator: Any = SimpleNamespace(spec=spec, z_dim=512)
    array = np.ones((2000, 512), np.float16)
    many = [np.ones((2000, 512), np.float16)] * 16

    def npy(content: Any) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, np.array(content, object) if isinstance(content, dict) else content)
        return buffer.getvalue()

    def listed(content: list[Any]) -> bytes:
        whole = np.empty(len(content), object)
        whole[:] = content
        return npy(whole)

    steps = {f"{k}.jpg": [array] * 5 for k in range(16)}
    deep: Any = array
    for _ in range(90):
        deep = [deep]
    files = {
        "one array again and again": npy({str(k): array for k in range(16)}),
        "steps": npy(steps),
        "a list": listed(many),
        "deep": npy({"a": deep}),
        "names": npy({str(k): 0 for k in range(400_000)}),
        "lists": listed([[]] * 1_000_000),
    }
    return {n: ("a.npy", data, lambda p: read_latents(p, generator)) for n, data in files.items()}


def bombs(place: Path) -> Iterator[tuple[str, str, bytes, Read]]:
    """Name, file name, its bytes, and who reads it; `place` is an empty folder to work in."""
    groups: dict[str, Callable[[], dict[str, Bomb]]] = {
        "checkpoint": checkpoints,
        "latent": objects,
        "set": sets,
        "share": shares,
        "options": options,
        "unfinished": lambda: of_clips(place),
    }
    for group, made in groups.items():
        for name, (file, data, read) in made().items():
            yield f"{group}: {name}", file, data, read
