from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from dseinvert.errors import MissingError
from dseinvert.training.checkpoints import (
    DAMAGE,
    FILE,
    State,
    dumps,
    load,
    restore,
    resume,
    save_checkpoint,
    states,
)


def test_parts_are_brought_back_by_their_names() -> None:
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    adam = torch.optim.Adam(first.parameters())
    content = load(io.BytesIO(dumps({"step": 7, **states({"net": first, "adam": adam})})))
    restore({"net": second}, content)
    assert content["step"] == 7
    assert torch.equal(first.weight, second.weight)


def test_what_is_no_checkpoint_raises_what_is_called_damage() -> None:
    for data in (b"", b"no checkpoint", dumps({"step": 7})[:-40]):
        with pytest.raises(DAMAGE):
            load(io.BytesIO(data))


def test_a_file_that_claims_memory_is_damage() -> None:
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    calls = b"(" + b"h\x00h\x01\x85R" * 300_000 + b"l."
    bomb = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01" + calls
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", bomb)
        archive.writestr("archive/version", b"3\n")
    with pytest.raises(DAMAGE, match="far more memory"):
        load(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("kind", ["list", "text", "words", "shape", "betas", "pipe"])
def test_a_checkpoint_of_a_stranger_is_refused_in_a_line(kind: str, tmp_path: Path) -> None:
    net = nn.Linear(2, 3)
    state = State(net, net, torch.optim.Adam(net.parameters()))
    net(torch.ones(1, 2)).sum().backward()
    state.optimiser.step()
    save_checkpoint(tmp_path, state, {})
    content = load((tmp_path / FILE).open("rb"))
    moments = content["optimiser"]["state"][0]
    changed = {
        "list": [content],
        "text": {**content, "step": "7"},
        "words": {**content, "encoder": {"weight": "a", "bias": None}},
        "shape": moments | {"exp_avg": torch.ones(5)},
        "betas": content["optimiser"]["param_groups"][0] | {"betas": "ab"},
    }
    if kind == "shape":
        content["optimiser"]["state"][0] = changed[kind]
    if kind == "betas":
        content["optimiser"]["param_groups"][0] = changed[kind]
    (tmp_path / FILE).unlink()
    if kind == "pipe":
        os.mkfifo(tmp_path / FILE)
    else:
        found = changed[kind] if kind in ("list", "text", "words") else content
        (tmp_path / FILE).write_bytes(dumps(found))
    with pytest.raises(MissingError, match="damaged checkpoint"):
        resume(tmp_path, state, {})
