"""Hostile and broken checkpoints: none is run, none raises a traceback, none leaves anything."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors

from dseinvert.cli.main import run
from dseinvert.media.images import encode_png

ROOT = Path(__file__).parents[2]


class Call:
    """Pickled as a call of any function, named as text."""

    def __init__(self, name: str, *args: Any, state: Any = None) -> None:
        self.name, self.args, self.state = name, args, state

    def __reduce__(self) -> Any:
        module, _, name = self.name.rpartition(".")
        function = types.FunctionType((lambda: 0).__code__, {}, name)
        function.__module__, function.__qualname__ = module, name
        return function, self.args, self.state


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes the names of functions without looking for them."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        name = name or obj.__qualname__
        self.write(b"c" + f"{obj.__module__}\n{name}\n".encode())

    dispatch = {**pickle._Pickler.dispatch, types.FunctionType: save_global}  # type: ignore[attr-defined]


def pickled(content: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(content)
    return buffer.getvalue()


def saved(content: Any, *, zipped: bool = True) -> bytes:
    """As torch.save writes it; calls in it keep their names."""
    plain = io.BytesIO()
    stand_in = {"w": torch.ones(3)}
    torch.save(stand_in, plain, _use_new_zipfile_serialization=zipped)
    data = plain.getvalue()
    if not zipped:
        head = data.index(b"\x80\x02}q\x00X\x01\x00\x00\x00w")
        tail = data.index(b".\x80\x02]", head) + 1
        return data[:head] + pickled(content) + data[tail:]
    return rezipped(data, lambda records: records.update({"file/data.pkl": pickled(content)}))


def rezipped(data: bytes, change: Callable[[dict[str, bytes]], Any], method: int = 0) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        top = old.namelist()[0].split("/")[0]
        records = {
            f"file/{info.filename.removeprefix(top + '/')}": old.read(info)
            for info in old.infolist()
        }
    change(records)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as new:
        for name, held in records.items():
            new.writestr(name, held)
    return buffer.getvalue()


def good(gan: Path) -> dict[str, Any]:
    return dict(torch.load(gan)["generator_smooth"])


def torch_bytes(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_tensor(gan: Path, change: Callable[[torch.Tensor], Any]) -> bytes:
    state = good(gan)
    name = next(name for name in state if name.endswith("weight") and state[name].ndim == 4)
    return torch_bytes({"generator_smooth": {**state, name: change(state[name])}})


def without_tensor(gan: Path) -> bytes:
    state = good(gan)
    del state["mapping.dense1.weight"]
    return torch_bytes({"generator_smooth": state})


def object_array(payload: Any) -> bytes:
    buffer = io.BytesIO()
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    buffer.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    buffer.write(pickled([payload]))
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.npy", "b.npy", "c.npy"):
            archive.writestr(name, bytes(30 * 2**20))
    return buffer.getvalue()


def huge_tensor() -> bytes:
    def claim(records: dict[str, bytes]) -> None:
        records["file/data.pkl"] = records["file/data.pkl"].replace(b"K\x03", b"J\xff\xff\xff\x7f")

    return rezipped(torch_bytes({"w": torch.ones(3)}), claim)


def shells(canary: Path) -> dict[str, Any]:
    """What an attacker would call, each leaving the canary."""
    touch, code = f"touch '{canary}'", f"open({str(canary)!r}, 'w')"
    return {
        "os.system": Call("os.system", touch),
        "posix.system": Call("posix.system", touch),
        "builtins.eval": Call("builtins.eval", code),
        "builtins.exec": Call("__builtin__.exec", code),
        "subprocess": Call("subprocess.check_output", ["touch", str(canary)]),
        "torch.load": Call("torch.serialization.load", Call("pathlib.Path", str(canary))),
        "setstate": Call("argparse.Namespace", state={"__setstate__": Call("os.system", touch)}),
        "getattr": Call("builtins.getattr", Call("importlib.import_module", "os"), "system"),
        "runpy": Call("runpy._run_code", code, {}),
        "hub": Call("torch.hub.load", str(canary.parent), "x", "y"),
        "partial": Call("functools.partial", Call("os.system", touch), 1),
        "numpy": Call("numpy.testing._private.utils.runstring", code, {}),
    }


def cases(gan: Path, canary: Path) -> dict[str, bytes]:
    shell = shells(canary)
    evil = shell["os.system"]
    whole = gan.read_bytes()
    meta = {"type": "class", "version": 6, "class_name": "Generator", "state": {}}
    source = {"module_src": f"open({str(canary)!r}, 'w')"}
    tf = Call("dnnlib.tflib.network.Network", state={"version": 4, "build_module_src": "1/0"})
    nested = Call("torch.storage._load_from_bytes", pickled(evil))
    rebuilt = Call("torch._utils._rebuild_tensor_v2", evil, 0, (1,), (1,), False, {})
    made = {f"{name} in a pickle": pickled({"G_ema": call}) for name, call in shell.items()}
    made |= {
        "os.system in a zip": saved({"g_ema": evil}),
        "os.system in an old file": saved({"g_ema": evil}, zipped=False),
        "eval among the weights": saved({"g_ema": {"w": shell["builtins.eval"]}}),
        "os.system as text": b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.",
        "os.system by INST": b"(S'touch " + str(canary).encode() + b"'\nios\nsystem\n.",
        "a pickle in a storage": pickled({"w": nested}),
        "a shell for a storage": pickled({"w": rebuilt}),
        "hostile source": pickled(
            {
                "G_ema": Call(
                    "torch_utils.persistence._reconstruct_persistent_obj", {**meta, **source}
                )
            }
        ),
        "hostile TensorFlow": pickled((tf, tf, tf)),
        "an object array": object_array(evil),
        "a zip bomb": bomb(),
        "compressed weights": rezipped(whole, lambda records: None, zipfile.ZIP_DEFLATED),
        "a huge tensor": huge_tensor(),
        "cut at the start": whole[:40],
        "cut in the middle": whole[: len(whole) // 2],
        "cut at the end": whole[:-1],
        "a cut pickle": pickled({"a": [1] * 100})[:-20],
        "empty": b"",
        "text": b"this is no checkpoint\n",
        "a picture": encode_png(np.zeros((8, 8, 3), np.uint8)),
        "a web page": b"<!DOCTYPE html><html>Too many users have viewed this file</html>",
        "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "a deep key": b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"K\x01s.",
        "a huge string": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc.",
        "a huge memo": b"\x80\x02K\x01r\xff\xff\xff\xff.",
        "a wrong shape": with_tensor(gan, lambda tensor: tensor[:, :1]),
        "NaN weights": with_tensor(gan, lambda tensor: tensor * torch.nan),
        "words for weights": with_tensor(gan, lambda tensor: "words"),
        "a shell for weights": saved({"generator_smooth": {**numbers(good(gan)), "w": evil}}),
        "a missing tensor": without_tensor(gan),
        "damaged safetensors": save_safetensors({"w": torch.ones(3)})[:-4],
        "an unknown network": torch_bytes({"net": {"w": torch.ones(2, 2, 2, 2)}}),
        "a wrong storage": rezipped(whole, lambda r: r.update({"file/data/3": b"12"})),
        "a missing storage": rezipped(whole, lambda r: r.pop("file/data/3")),
    }
    return made


def numbers(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.numpy().tolist() for name, tensor in state.items() if tensor.numel() < 9}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def models(cache: Path) -> list[Path]:
    return [*(cache / "models").iterdir()] if (cache / "models").is_dir() else []


def test_none_is_run_none_has_a_traceback_and_none_stays(
    foreign_gan: Path, canary: Path, tmp_path: Path, cache: Path, capfd: Any
) -> None:
    made = cases(foreign_gan, canary)
    assert len(made) >= 30
    for number, (name, data) in enumerate(made.items()):
        file = tmp_path / f"{number}.pkl"
        file.write_bytes(data)
        assert run(["models", "add", str(file)]) == 1, name
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("dseinvert: "), name
        assert "Traceback" not in err and "a bug" not in err, (name, err)
        assert not canary.exists(), name
        assert models(cache) == [], name


@pytest.mark.parametrize("shell", [*shells(Path("canary"))])
def test_each_of_these_pickles_would_do_harm_elsewhere(shell: str, canary: Path) -> None:
    """The test of the test: what is refused above names what it should."""
    call = shells(canary)[shell]
    assert f"c{call.name.rpartition('.')[0]}\n".encode() in pickled(call)


def test_the_shell_works_where_pickles_are_run(canary: Path) -> None:
    pickle.loads(pickled(shells(canary)["os.system"]))
    assert canary.exists()


def test_folders_links_and_locked_files_are_refused(
    tmp_path: Path, cache: Path, foreign_gan: Path, capfd: Any
) -> None:
    (tmp_path / "folder.pkl").mkdir()
    (tmp_path / "lost.pkl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.pkl").symlink_to(tmp_path / "round.pkl")
    os.mkfifo(tmp_path / "pipe.pkl")
    (tmp_path / "locked.pkl").write_bytes(foreign_gan.read_bytes())
    (tmp_path / "locked.pkl").chmod(0)
    expected = {"folder.pkl": 1, "lost.pkl": 2, "round.pkl": 2, "pipe.pkl": 1}
    if os.geteuid():  # root may read everything
        expected["locked.pkl"] = 1
    for name, code in expected.items():
        assert run(["models", "add", str(tmp_path / name)]) == code, name
        assert capfd.readouterr().err.count("\n") == 1
    assert models(cache) == []


def test_a_link_to_a_good_file_is_good(tmp_path: Path, foreign_gan: Path) -> None:
    (tmp_path / "link.pth").symlink_to(foreign_gan)
    assert run(["models", "add", str(tmp_path / "link.pth")]) == 0


def test_nor_in_a_process_of_its_own(
    foreign_gan: Path, canary: Path, tmp_path: Path, cache: Path
) -> None:
    made = cases(foreign_gan, canary)
    names = ("os.system in a pickle", "os.system in a zip", "hostile source", "a zip bomb")
    for name in names:
        (tmp_path / f"{name}.pkl").write_bytes(made[name])
    code = "import sys; from dseinvert.cli.main import run\nfor f in sys.argv[1:]:"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} print(run(['models', 'add', f]))"]
        + [f"{name}.pkl" for name in names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["1"] * len(names)
    assert done.stderr.count("\n") == len(names) and "Traceback" not in done.stderr
    assert not canary.exists() and models(cache) == []


@pytest.mark.parametrize("verb", [["train", "--gan"], ["models", "show"]])
def test_other_verbs_refuse_them_as_well(
    verb: list[str], foreign_gan: Path, canary: Path, tmp_path: Path, cache: Path
) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(cases(foreign_gan, canary)["hostile source"])
    more = ["--out", str(tmp_path / "run")] if verb[0] == "train" else []
    assert run([*verb, str(file), *more]) == 1
    assert not canary.exists() and models(cache) == [] and not (tmp_path / "run").exists()
