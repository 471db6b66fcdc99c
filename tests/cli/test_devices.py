"""A GPU that is not there is told before PyTorch is loaded, by every verb that takes one."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dseinvert.cli import devices
from dseinvert.cli.main import options_of_verbs
from dseinvert.errors import DeviceError, UsageError
from dseinvert.models import pick_device
from tests.cli.test_mistakes import place, typed

LINES = {
    "images": "images photo.jpg --out new",
    "edit": "edit latents --out new",
    "video": "video clip.mp4",
    "sample": "sample --out new",
    "mix": "mix latents latents --layers 1 --out new",
    "morph": "morph latents --out new.mp4",
    "evaluate": "evaluate photos",
    "train": "train --gan default --out new",
    "finetune": "finetune --on photos --out new",
    "export": "export default --out new",
    "directions learn": "directions learn --method sefa",
    "directions editor": "directions editor",
    "directions preview": "directions preview --out new",
}


def test_every_verb_with_a_device_tells_before_torch_is_there(tmp_path: Path) -> None:
    assert {verb for verb, known in options_of_verbs().items() if "--device" in known} == {*LINES}
    words = [f"dseinvert {line} --device cuda:99" for line in LINES.values()]
    told, heavy = typed(words, place(tmp_path))
    assert [(code, err) for err, _, code in told] == [
        (5, "dseinvert: --device cuda:99: 0 CUDA devices here (--device cpu)\n")
    ] * len(LINES)
    assert not heavy


def test_what_is_told_early_is_what_pytorch_says_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    told = []
    for check in (devices.check_device, pick_device):
        with pytest.raises(DeviceError) as error:
            check("cuda:3")
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("built", "count"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None", 0),
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None", 2),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4'", None),
        ("", 2),
    ],
)
def test_the_driver_is_asked_where_pytorch_can_use_it(
    built: str, count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_build", lambda: built)
    monkeypatch.setattr(devices, "driver_devices", lambda: 2)
    assert devices.cuda_devices() == count
    devices.check_device("cpu")
    devices.check_device("auto")
    if count:
        devices.check_device("cuda:1")
    if count is not None:
        with pytest.raises(DeviceError, match="cuda:2"):
            devices.check_device("cuda:2")
    with pytest.raises(UsageError):
        devices.check_device("gpu")


def test_the_build_of_pytorch_is_read_and_not_run() -> None:
    assert (torch.version.cuda is None) == bool(devices._NO_CUDA.search(devices._build()))
    assert (torch.version.hip is not None) == bool(devices._HIP.search(devices._build()))


def test_a_driver_that_is_missing_or_fails_has_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert devices.driver_devices() == 0
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(cuInit=lambda flags: 100))
    assert devices.driver_devices() == 0


def test_a_backend_that_is_not_installed_is_told_early(monkeypatch: pytest.MonkeyPatch) -> None:
    from dseinvert.errors import MissingError

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="openvino needs the package"):
        devices.check_backend("openvino", "auto")
    devices.check_backend("auto", "auto")
    devices.check_backend("torch", "cpu")
