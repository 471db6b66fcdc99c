"""Small files that would take the machine, and a process that measures what they take.

`python -m tests.faults.bombs FOLDER` reads each of them in a fork of its own and prints, as JSON,
what it took: seconds of a core, bytes above what the process had, and what was said.
"""

from __future__ import annotations

import ctypes
import gc
import gzip
import io
import json
import os
import resource
import signal
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import torch

from dseinvert.cli.main import options_of_verbs, run
from dseinvert.cli.told import code_of, told
from dseinvert.editing.directions import load_directions
from dseinvert.importers.read import readers
from dseinvert.latent import load_latent
from dseinvert.latent.clip import ClipLatents
from dseinvert.media.frame_files import probe_frames
from dseinvert.models import open_model
from dseinvert.models.registry import rows
from dseinvert.run.directions.labels import read_table
from dseinvert.run.images import journal
from dseinvert.run.play.sample import run_sample
from dseinvert.run.video.records import read_records
from dseinvert.run.video.unfinished import intended
from dseinvert.training.pictures import read_tar
from tests.conftest import build_tiny_model
from tests.faults import bombs_of_many

MB = 1 << 20
SECONDS, MEMORY = 30, 1200 * MB  # at which a bomb that went off is stopped
Read = Callable[[Path], Any]


def text(length: int) -> bytes:
    return b"X" + struct.pack("<I", length) + b"a" * length


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def again(name: bytes, argument: bytes, times: int) -> bytes:
    """A pickle that calls a function of one argument again and again."""
    kept = name + b"q\x00" + argument + b"q\x01"
    return b"\x80\x02" + kept + b"(" + b"h\x00h\x01\x85R" * times + b"l."


LONG = b"\x8b" + struct.pack("<I", 4 * MB) + b"\x7f" * (4 * MB) + b"q\x00"


def pickles() -> dict[str, bytes]:
    """For the reader of checkpoints."""
    ordered, encode = named("collections", "OrderedDict"), named("_codecs", "encode")
    many = b"(" + b"".join(b"M" + struct.pack("<H", k) + b"N" for k in range(60_000)) + b"d"
    inner = torch_file({"w": torch.zeros(MB // 4)})
    nested = b"B" + struct.pack("<I", len(inner)) + inner
    return {
        "OrderedDict": b"\x80\x02" + ordered + b"q\x00(" + b"h\x00)R" * (MB // 2) + b"l.",
        "copies of a dict": again(ordered, many, 500_000),
        "set": again(named("builtins", "set"), b"(" + b"K\x01" * 50_000 + b"l", 500_000),
        "bytearray": again(named("builtins", "bytearray"), text(2 * MB), 100_000),
        "torch.Size": again(named("torch", "Size"), b"(" + b"K\x01" * MB + b"t", 500_000),
        "_codecs.encode": again(encode, text(4 * MB), 100_000),
        "classes": b"\x80\x02" + b"(" + b"cA\nB\n" * (MB // 2) + b"l.",
        "lists of lists": b"\x80\x02" + b"]a" * MB + b".",
        "dicts": b"\x80\x02(" + b"}K\x00K\x00s" * (MB // 2) + b"l.",
        "marks": b"\x80\x02" + b"(" * (2 * MB) + b".",
        "steps": b"\x80\x02" + b"N0" * (2 * MB) + b"N.",
        "doubled": b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 300_000 + b".",
        "hash of a number": b"\x80\x02" + LONG + b"}(" + b"h\x00N" * (MB // 2) + b"u.",
        "shape of a number": b"\x80\x02" + named("torch._utils", "_rebuild_tensor_v2") + b"(NK\x00"
        b"(" + LONG + b"h\x00" * 15 + b"tNtR.",
        "hash of a text": b"\x80\x02" + text(4 * MB) + b"q\x00}(" + b"h\x00N" * (MB // 2) + b"u.",
        "files in it": again(named("torch.storage", "_load_from_bytes"), nested, 300_000),
        "views of a storage": views(),
        "legacy storage": legacy_claim(),
        ".npz of zeros": npz(np.zeros(20 * MB)),
        ".npz by LZMA": npz(np.zeros(10), zipfile.ZIP_LZMA),
        ".npy of 10**12": npy("(1000000000000,)"),
        ".npy of 10**9": npy("(1000000000,)"),
        ".npy of objects": npy("(100000000,)", "|O"),
        ".npy deep": npy("(" * 4000 + ")" * 4000),
        "tensors without end": head(b"{" + b",".join(entries(110_000)) + b"}"),
        "a deep head": head(b'{"a":' * MB),
    }


def torch_file(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def views() -> bytes:
    """Thousands of tensors over one storage."""
    storage = torch.zeros(MB)
    return torch_file({"generator_smooth": {f"w{k}": storage[k:] for k in range(2000)}})


def legacy_claim() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue().replace(b"K\x03N", b"J\xff\xff\xff\x7fN", 1)


def npz(array: Any, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer, plain = io.BytesIO(), io.BytesIO()
    np.save(plain, array)
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("comp.npy", plain.getvalue())
    return buffer.getvalue()


def npy(shape: str, dtype: str = "<f4") -> bytes:
    told = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(told)) + told.encode()


def head(told: bytes) -> bytes:
    return struct.pack("<Q", len(told)) + told


def entries(count: int) -> Iterator[bytes]:
    return (b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % k for k in range(count))


def tensors(shapes: dict[str, tuple[int, ...]], meta: dict[str, str]) -> bytes:
    from safetensors.numpy import save

    arrays = {name: np.full(shape, k, np.float32) for k, (name, shape) in enumerate(shapes.items())}
    if "track" in arrays:
        arrays["track"] = np.arange(len(arrays["track"]), dtype=np.float32) % 2
    return save(arrays, meta)


LATENT = {"format": "dseinvert-latent-1", "space": "w+"}


def latents() -> dict[str, bytes]:
    """For the reader of latents."""
    rows = 20_000
    tracks = {f"tuning/{k}/w.up": (500, 500) for k in range(2)}
    return {
        "a head without end": head(b'{"__metadata__":{"a":"' + b"x" * (9 * MB)),
        "a deep origin": tensors({"code": (1, 6, 16)}, {**LATENT, "origin": "[" * (4 * MB)}),
        "a long layer": tensors({"code": (1, 6, 16)}, {**LATENT, "layer": "9" * (4 * MB)}),
        "tuned for each row": tensors({"code": (rows, 1, 2), "track": (rows,), **tracks}, LATENT),
        "a shape without end": head(
            b'{"code":{"dtype":"F32","shape":[' + b"9," * MB + b'9],"data_offsets":[0,8]}}'
        ),
        "many tensors": head(b"{" + b",".join(entries(110_000)) + b"}"),
    }


def cards() -> dict[str, dict[str, Any]]:
    """What stands in place of some of a good card's numbers."""
    two = {"family": "stylegan2", "channels": {"4": 16, "8": 16, "16": 8}, "resolution": 16}
    three = {"family": "stylegan3", "resolution": 16, "channel_base": 64, "w_dim": 16}
    wide = {str(2**k): 64 for k in range(2, 31)}
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    return {
        "mapping_layers": {"generator": {**two, "w_dim": 1, "mapping_layers": 10**7}},
        "half a million layers": {"generator": {**two, "w_dim": 1, "mapping_layers": 500_000}},
        "w_dim": {"generator": {**two, "w_dim": 10**9}},
        "w_dim of a million": {"generator": {**two, "w_dim": 10**6}},
        "resolution": {"generator": {**two, "resolution": 2**30, "channels": wide}},
        "large pictures": {"generator": {**two, "resolution": 2**17, "channels": wide}},
        "filters": {"generator": {**three, "filter_size": 10**6}},
        "margin": {"generator": {**three, "margin_size": 10**6}},
        "num_layers": {"generator": {**three, "num_layers": 10**6}},
        "classes": {"generator": {**two, "classes": 10**6, "embed_dim": 10**6}},
        "rows": {"encoder": {"kind": "dse", "resolution": 16, "layers": 10**6, "w_dim": 16,
                             "widths": [8, 16, 16]}},
        "widths": {"encoder": {"kind": "dse", "resolution": 16, "layers": 6, "w_dim": 16,
                               "widths": [10**6] * 3}},
        "units": {"encoder": {"kind": "psp", "layers": 6, "w_dim": 16, "widths": [8, 8, 8, 16],
                              "units": [10**5] * 4}},
        "a deep card": {"generator": deep},
        "a long number": {"generator": {**two, "w_dim": 10**4000}},
    }  # fmt: skip


def tables() -> dict[str, tuple[bytes, Read]]:
    """What is read as text or in lines."""
    row = b"1,1\n"
    lines = b"".join(b"%d,1\n" % k for k in range(200_000))
    deep = b"[" * (8 * MB)
    records = b"a" + b",a" * (4 * MB) + b"\n" + row * 1000

    def of_a_clip(name: str, read: Callable[[Any], Any]) -> Read:
        def reading(path: Path) -> Any:
            task = SimpleNamespace(folder=path.parent, name="a", kept=path.parent)
            path.replace(path.parent / name)
            return read(task)

        return reading

    def frames(path: Path) -> Any:
        from dseinvert.media.images import encode_png

        path.replace(path.parent / "times.csv")
        (path.parent / "a.png").write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
        return probe_frames(path.parent)

    return {
        "a field without end": (b"file,smile\n" + b"x" * (8 * MB) + b",1\n", read_table),
        "columns without end": (b"file" + b",a" * (4 * MB) + b"\n", read_table),
        "other columns": (b"file," + lines.replace(b"\n", b",") + b"\n1", read_table),
        "rows": (b"seed,smile\n" + lines, read_table),
        "one row again and again": (b"seed,smile\n" + row * 2_000_000, read_table),
        "a label without end": (b"seed,smile\n1," + b"9" * 100_000 + b"\n", read_table),
        "journal of nothing": (b"1\n" * (2 * MB), journal.read),
        "journal of ends": (b"\n" * (4 * MB), journal.read),
        "journal of one line": (b'{"format": "dseinvert-journal-1"' + deep, journal.read),
        "deep journal": (b'{"format": "dseinvert-journal-1", "a": %s\n' % deep[:MB], journal.read),
        "records": (records, of_a_clip("a.metrics.csv", read_records)),
        "intent": (deep, of_a_clip("outputs.json", intended)),
        "intent of lists": (
            b'{"a":[' + b"[]," * (3 * MB) + b"0]}",
            of_a_clip("outputs.json", intended),
        ),
        "times": (b"file,pts,time_base\n" + b"b,1,1\n" * (MB // 2), frames),
        "registry deep": (b"a = " + deep[:MB], rows),
        "registry of dots": (b"a" + b".a" * 400_000 + b" = 1", rows),
        "registry without end": (b"#" * (8 * MB), rows),
        "registry of a number": (b"a = " + b"9" * MB, rows),
        "directions": (head(b"{" + b",".join(entries(110_000)) + b"}"), load_directions),
        "a clip": (head(b"{" + b",".join(entries(110_000)) + b"}"), ClipLatents),
    }


def tars() -> dict[str, bytes]:
    """For `--real`."""

    def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as file:
            for member, data in members:
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    def large(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
        member = tarfile.TarInfo(name)
        member.size, member.type = size, kind
        return member.tobuf() + bytes(70 * MB)

    side = 12_000
    line = zlib.compress(bytes((side + 1) * side), 9)
    size = struct.pack(">II", side, side) + b"\x08\x00\x00\x00\x00"
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", line) + chunk(b"IEND", b"")
    dot = encoded(np.zeros((1, 1, 3), np.uint8))
    return {
        "a picture of 144 million": tar((tarfile.TarInfo("a.png"), png)),
        "a member of 70 MiB": gzip.compress(large("a.png", 70 * MB), 1),
        "a name of 70 MiB": gzip.compress(large("a", 70 * MB, tarfile.GNUTYPE_LONGNAME), 1),
        "a member passed over": gzip.compress(large("a.txt", 70 * MB), 1),
        "members": gzip.compress(tarfile.TarInfo("a.png").tobuf() * 100_000, 1),
        "dots": tar(*((tarfile.TarInfo(f"{k}.png"), dot) for k in range(6_000))),
    }


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encoded(pixels: Any) -> bytes:
    from dseinvert.media.images import encode_png

    return encode_png(pixels)


def bombs(model: Path, place: Path) -> Iterator[tuple[str, str, bytes, Read]]:
    """Name, file name, its bytes, and who reads it."""

    def verb(*words: str) -> Read:
        return lambda path: run([*words, str(path)])

    def card(path: Path) -> Any:
        for part in ("generator", "encoder"):
            (path.parent / f"{part}.safetensors").symlink_to(model / f"{part}.safetensors")
        out = str(path.parent / "out")
        return run(["sample", "--seeds", "0", "--out", out, "--model", str(path.parent)])

    for name, data in pickles().items():
        yield f"checkpoint: {name}", "a.pkl", data, verb("models", "add")
    for name, data in latents().items():
        yield f"latent: {name}", "a.safetensors", data, load_latent
    own = json.loads((model / "model.json").read_text())
    own.pop("sha256")
    for name, other in cards().items():
        sys.set_int_max_str_digits(0)
        data = json.dumps(own | other).encode()
        sys.set_int_max_str_digits(4300)
        yield f"card: {name}", "model.json", data, card
    for name, (data, read) in tables().items():
        yield f"table: {name}", "a.csv", data, read
    for name, data in tars().items():
        yield f"tar: {name}", "a.tar", data, lambda path: read_tar(path, 1024)
    yield from bombs_of_many.bombs(place)


def measured(read: Read, path: Path) -> dict[str, Any]:
    """What reading took, in a fork: seconds, bytes, exit code and what was said."""
    came, to = os.pipe()
    child = os.fork()
    if not child:
        os.close(came)
        os.write(to, json.dumps(_read(read, path)).encode())
        os._exit(0)
    os.close(to)
    with os.fdopen(came, "rb") as file:
        told = file.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else {"code": -1, "said": "killed", "seconds": 0, "bytes": 0}


def _read(read: Read, path: Path) -> dict[str, Any]:
    said = path.with_name("said.txt")
    os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY), 2)
    signal.alarm(SECONDS)
    before = resident()
    taken = before[1] + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (taken, taken))
    began = time.process_time()
    try:
        code = read(path)
        code = code if isinstance(code, int) else 0
    except Exception as error:
        code = code_of(error)
        os.write(2, told(error, (), options_of_verbs).encode())
    seconds = time.process_time() - began
    return {
        "code": int(code),
        "said": said.read_text(),
        "seconds": seconds,
        "bytes": peak() - before[0],
    }


def resident() -> tuple[int, int]:
    """Bytes in memory, and of addresses."""
    size, inside, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return inside * resource.getpagesize(), size * resource.getpagesize()


def peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells it")


def _give_back() -> None:
    """What making bombs took: else it would stand in for what reading them takes."""
    gc.collect()
    pyarrow.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    place = Path(sys.argv[1])
    os.environ["DSEINVERT_HOME"] = str(place / "home")
    torch.set_num_threads(1)
    model = build_tiny_model(place / "tiny")
    readers(), open_model(str(model)), run_sample  # imported once, and not in each fork
    gc.collect()
    gc.freeze()  # what is imported stays, and need not be looked through again for every bomb
    (place / "work").mkdir()
    for number, (name, file, data, read) in enumerate(bombs(model, place / "work")):
        folder = place / str(number)
        folder.mkdir()
        (folder / file).write_bytes(data)
        size = len(data)
        del data
        _give_back()
        print(json.dumps({"name": name, "size": size, **measured(read, folder / file)}))


if __name__ == "__main__":
    main()
