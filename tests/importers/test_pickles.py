"""Checkpoint files come out as the numbers they hold, and nothing in them is ever run."""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dseinvert.errors import InputError
from dseinvert.pickled import pickles
from dseinvert.pickled.pickles import Foreign, load, module

DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def numbers(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(3, 4).mul(9).to(dtype)


def test_every_type_of_number_survives_both_formats_of_pytorch(file: Path) -> None:
    state = {str(dtype): numbers(dtype) for dtype in DTYPES}
    for zipped in (True, False):
        torch.save(state, file, _use_new_zipfile_serialization=zipped)
        read = load(file)
        assert all(torch.equal(read[name], tensor) for name, tensor in state.items())
        assert all(read[name].dtype == tensor.dtype for name, tensor in state.items())


def test_numbers_newer_than_typed_storages_survive(file: Path) -> None:
    state = {"a": torch.arange(5).to(torch.uint16), "b": torch.randn(4).to(torch.float8_e4m3fn)}
    torch.save(state, file)
    read = load(file)
    assert torch.equal(read["a"].int(), state["a"].int())
    assert torch.equal(read["b"].float(), state["b"].float())


@pytest.mark.parametrize("zipped", [True, False])
def test_views_scalars_and_empty_tensors_keep_their_shape(file: Path, zipped: bool) -> None:
    whole = torch.randn(4, 6)
    state = {
        "view": whole[1:3, ::2],
        "turned": whole.T,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    read = load(file)
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_tensors_of_one_storage_still_share_it(file: Path) -> None:
    whole = torch.zeros(4)
    torch.save([whole, whole[:2]], file)
    first, second = load(file)
    first[0] = 7
    assert second[0] == 7


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read(file: Path, protocol: int) -> None:
    content = {
        "array": np.random.default_rng(0).normal(size=(3, 4)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">i2"),
        "half": np.ones(3, np.float16),
        "number": np.float32(3.5),
        "bytes": b"abc\xff",
        "text": "h\u00e9",
        "set": {1, 2},
        "tuple": (1, -(2**70), None, True),
        "tensor": torch.ones(2, 3),
        "ordered": collections.OrderedDict(a=1, b=[2]),
    }
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    read = load(file)
    for name in ("array", "fortran", "big", "half"):
        assert np.array_equal(read[name], content[name]), name
    assert torch.equal(read.pop("tensor"), content["tensor"])
    for name in ("number", "bytes", "text", "set", "tuple", "ordered"):
        assert read[name] == content[name], name


def test_a_python_2_pickle_holds_its_bytes_as_text(file: Path) -> None:
    data = np.float32([1, -2]).tobytes()
    text = b"U" + bytes([len(data)]) + data
    file.write_bytes(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        + text
        + b"tb."
    )
    assert np.array_equal(load(file), np.float32([1, -2]))


def test_npy_npz_and_safetensors_are_read(file: Path) -> None:
    from safetensors.torch import save_file

    np.save(file.with_suffix(".npy"), np.eye(3))
    assert np.array_equal(load(file.with_suffix(".npy")), np.eye(3))
    np.savez_compressed(file.with_suffix(".npz"), a=np.eye(2), b=np.zeros(3))
    assert np.array_equal(load(file.with_suffix(".npz"))["a"], np.eye(2))
    save_file({"w": torch.ones(3)}, file)
    assert torch.equal(load(file)["w"], torch.ones(3))


def test_the_objects_of_an_npy_are_read_without_running_them(file: Path) -> None:
    path = file.with_suffix(".npy")
    np.save(path, {"a.jpg": [np.ones((2, 3), np.float32), np.zeros(2)], "b": np.float32(2)})
    read = load(path)
    assert [*read] == ["a.jpg", "b"] and np.array_equal(read["a.jpg"][0], np.ones((2, 3)))
    several = np.empty(3, object)
    several[:] = [None, np.ones(2), types.SimpleNamespace(a=1)]
    np.save(path, several)
    nothing, ones, inert = load(path)
    assert nothing is None and np.array_equal(ones, np.ones(2)) and isinstance(inert, Foreign)


def test_objects_in_an_npy_that_are_not_what_it_says_are_refused(file: Path) -> None:
    path = file.with_suffix(".npy")
    inner = np.empty(2, object)
    for content in ({"a": inner}, np.empty((2, 2), object)):
        np.save(path, content)
        with pytest.raises(InputError):
            load(path)
    np.save(path, {"a": 1})
    whole = path.read_bytes()
    for damaged in (whole + b"x", whole[:-9], whole.replace(b"'shape': ()", b"'shape': (3,)")):
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            load(path)


def test_a_class_comes_out_inert(file: Path) -> None:
    thing = types.SimpleNamespace(a=1)
    file.write_bytes(pickle.dumps({"x": thing, "y": np.random.RandomState}))
    read = load(file)
    assert isinstance(read["x"], Foreign) and read["x"].called
    assert repr(read["x"]) == "<types.SimpleNamespace>" and read["x"].state == {"a": 1}
    assert read["y"].name == "RandomState" and not read["y"].called


def test_state_for_a_class_never_reaches_the_class(file: Path) -> None:
    """BUILD on a class that is only named would set attributes on the class itself."""
    file.write_bytes(b"\x80\x02ctorch.nn\nLinear\n}U\x06canaryI1\nsb.")
    read = load(file)
    assert read.state == {"canary": 1}
    assert not hasattr(nn.Linear, "canary")


def test_a_network_of_pytorch_is_taken_apart(file: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4)))
    for zipped in (True, False):
        torch.save(network, file, _use_new_zipfile_serialization=zipped)
        found = module(load(file))
        assert found.name == "Sequential" and [*found.modules] == ["0", "1"]
        assert found.tensors.keys() == network.state_dict().keys()
        assert module(found.modules["0"]).attributes["in_features"] == 3


def persistent(network: nn.Module, source: str = "raise SystemExit") -> Any:
    """Pickled as NVlabs' persistent classes are: one call with a description."""

    class Reduced:
        def __reduce__(self) -> Any:
            state = {**network.__dict__, "_init_args": (1,), "_init_kwargs": {"z_dim": 2}}
            kind = {"type": "class", "version": 6, "module_src": source}
            return _function(), ({**kind, "class_name": "Generator", "state": state},)

    return Reduced()


def _function() -> Any:
    """A function that pickle writes as NVlabs' own."""

    def _reconstruct_persistent_obj(meta: Any) -> Any: ...

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    parent = sys.modules.setdefault("torch_utils", types.ModuleType("torch_utils"))
    made = types.ModuleType("torch_utils.persistence")
    made._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    sys.modules["torch_utils.persistence"] = parent.persistence = made  # type: ignore[attr-defined]
    return _reconstruct_persistent_obj


def test_a_persistent_class_is_taken_apart_and_its_source_not_run(file: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    try:
        file.write_bytes(pickle.dumps({"G_ema": persistent(network)}))
    finally:
        sys.modules.pop("torch_utils"), sys.modules.pop("torch_utils.persistence")
    found = module(load(file)["G_ema"])
    assert (found.name, found.args, found.kwargs) == ("Generator", (1,), {"z_dim": 2})
    assert torch.equal(found.tensors["0.weight"], network[0].weight)


def test_numbers_written_on_a_big_endian_machine_are_turned(file: Path) -> None:
    torch.save({"w": torch.arange(4).float()}, file)
    with zipfile.ZipFile(file) as old:
        records = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(file, "w") as new:
        for name, data in records.items():
            if name.endswith("byteorder"):
                data = b"big"
            if "/data/" in name:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            new.writestr(name, data)
    assert torch.equal(load(file)["w"], torch.arange(4).float())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_anywhere_is_refused(file: Path, zipped: bool) -> None:
    torch.save({"w": torch.randn(30), "n": [1, 2]}, file, _use_new_zipfile_serialization=zipped)
    data = file.read_bytes()
    for end in [*range(1, len(data), 37), len(data) - 1]:
        file.write_bytes(data[:end])
        with pytest.raises(InputError):
            load(file)


def test_a_flipped_bit_in_the_weights_of_a_zip_is_noticed(file: Path) -> None:
    weights = torch.arange(100).float()
    torch.save({"w": weights}, file)
    data = bytearray(file.read_bytes())
    data[data.index(weights.numpy().tobytes()) + 50] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        load(file)


def test_damage_of_any_byte_ends_in_an_input_error_or_a_value(file: Path) -> None:
    buffer = io.BytesIO()
    content = {"w": torch.ones(3), "a": np.ones(2), "l": [1, (2, 3)]}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    rng = np.random.default_rng(0)
    for _ in range(400):
        hurt = bytearray(data)
        hurt[rng.integers(len(hurt))] = rng.integers(256)
        file.write_bytes(hurt)
        try:
            load(file)
        except InputError as error:
            assert "\n" not in str(error)


def tensor_pickle(size: bytes, stride: bytes, offset: bytes = b"K\x00") -> bytes:
    """A pickle of a tensor of a storage of six numbers."""
    storage = io.BytesIO()
    torch.save(torch.zeros(6).untyped_storage(), storage, _use_new_zipfile_serialization=False)
    data = storage.getvalue()
    nested = b"ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(data)) + data
    rebuild = b"\x80\x03ctorch._utils\n_rebuild_tensor\n("
    return rebuild + nested + b"\x85R" + offset + b"(" + size + b"t(" + stride + b"ttR."


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        (b"J\xff\xff\xff\x7f", b"K\x01", b"K\x00"),  # too long
        (b"J\xff\xff\xff\x7f", b"K\x00", b"K\x00"),  # six numbers again and again
        (b"K\x02", b"K\x01", b"K\x20"),  # after the end
        (b"K\x02", b"J\xff\xff\xff\xff", b"K\x03"),  # backwards
        (b"J\xff\xff\xff\xff", b"K\x01", b"K\x00"),  # less than nothing
        (b"K\x02", b"K\x01K\x01", b"K\x00"),  # two strides for one side
    ],
)
def test_a_tensor_that_its_storage_cannot_hold_is_refused(
    file: Path, size: bytes, stride: bytes, offset: bytes
) -> None:
    file.write_bytes(tensor_pickle(b"K\x06", b"K\x01"))
    assert load(file).shape == (6,)  # the recipe itself is good
    file.write_bytes(tensor_pickle(size, stride, offset))
    with pytest.raises(InputError, match=r"tensor|shape"):
        load(file)


CLAIMS = {
    "bytes longer than the file": b"\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "a stack of marks": b"(" * 1000 + b".",
    "an unknown memo": b"h\x05.",
    "a reference outside": b"K\x01Q.",
    "an extension code": b"\x82\x01.",
    "an unhashable key": b"}]K\x01s.",
    "a deep key": b"}" + b")" + b"\x85" * 100_000 + b"K\x01s.",
    "no value": b".",
    "appends to a number": b"K\x01K\x02a.",
    "state of a list": b"]}b.",
    "an object array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    b"(K\x01(K\x01tcnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNK\xffK\xffK?tb\x89]K\x01atb.",
    "an array with too few bytes": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n("
    b"K\x00tU\x01btR(K\x01(J\xff\xff\xff\x7ftcnumpy\ndtype\n(U\x02f4K\x00K\x01tR\x89U\x01xtb.",
    "a pickle in the pickle": b"ctorch.storage\n_load_from_bytes\n(U\x03K\x01.tR.",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_pickle_that_claims_too_much_is_refused(file: Path, claim: str) -> None:
    file.write_bytes(b"\x80\x02" + CLAIMS[claim])
    with pytest.raises(InputError):
        load(file)


def test_nesting_without_end_is_no_recursion(file: Path) -> None:
    file.write_bytes(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    assert isinstance(load(file), list)


def test_what_follows_the_pickle_is_refused(file: Path) -> None:
    file.write_bytes(pickle.dumps({"a": 1}) + b"more")
    with pytest.raises(InputError, match="4 bytes after the end"):
        load(file)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
        (b"<!DOCTYPE html><title>Quota exceeded</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"just some words", "neither a pickle"),
    ],
)
def test_what_is_no_checkpoint_is_named(file: Path, data: bytes, said: str) -> None:
    file.write_bytes(data)
    with pytest.raises(InputError, match=said):
        load(file)


def rezipped(file: Path, change: Any, **options: Any) -> None:
    with zipfile.ZipFile(file) as old:
        records = {info.filename: old.read(info) for info in old.infolist()}
    change(records)
    with zipfile.ZipFile(file, "w", **options) as new:
        for name, data in records.items():
            new.writestr(name, data)


def test_a_zip_that_inflates_is_refused(file: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, file)
    rezipped(file, lambda records: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="never does"):
        load(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        for i in range(3):
            bomb.writestr(f"{i}.npy", bytes(30 * 2**20))
    with pytest.raises(InputError, match="more than it holds"):
        load(file)


def test_a_storage_of_another_length_is_refused(file: Path) -> None:
    torch.save({"w": torch.zeros(10)}, file)
    name = next(n for n in zipfile.ZipFile(file).namelist() if "/data/" in n)
    rezipped(file, lambda records: records.update({name: bytes(12)}))
    with pytest.raises(InputError, match="12 bytes"):
        load(file)
    rezipped(file, lambda records: records.pop(name))
    with pytest.raises(InputError, match="is missing"):
        load(file)


def test_every_instruction_of_pickle_is_known_or_refused_on_purpose() -> None:
    from dseinvert.pickled import machine

    refused = {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER", "STOP"}
    known = {*machine._STEPS, *machine._LITERALS}
    assert {op.name for op in pickletools.opcodes} == known | refused
    assert not known & refused


def test_too_many_steps_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dseinvert.pickled import machine

    monkeypatch.setattr(machine, "MAX_STEPS", 50)
    file.write_bytes(b"\x80\x02" + b"K\x010" * 100 + b"K\x01.")
    with pytest.raises(InputError, match="steps"):
        pickles.load(file)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="regular"):
        load(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent")
