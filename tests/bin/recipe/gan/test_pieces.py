from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from dseinvert.errors import MissingError
from recipe.gan.pieces import grow, grown, pack, shrink, shrunk, unpack

FILES = {"a/one.bin": bytes(range(256)) * 40, "two.csv": b"step,loss\n"}


def packed(folder: Path) -> list[Path]:
    pack(folder, "run", FILES, piece=4000)
    return sorted(folder.glob("run.[0-9]*"))


def test_files_come_back_from_their_pieces(tmp_path):
    pieces = packed(tmp_path)
    assert len(pieces) > 2
    assert all(piece.stat().st_size <= 4000 for piece in pieces)
    assert unpack(tmp_path, "run") == FILES


def test_the_same_files_give_the_same_pieces(tmp_path):
    packed(tmp_path / "a")
    packed(tmp_path / "b")
    for piece in (tmp_path / "a").iterdir():
        assert piece.read_bytes() == (tmp_path / "b" / piece.name).read_bytes()


def test_a_damaged_piece_is_refused_by_name(tmp_path):
    piece = packed(tmp_path)[1]
    data = bytearray(piece.read_bytes())
    data[7] ^= 1
    piece.write_bytes(data)
    with pytest.raises(MissingError, match=r"run\.001: damaged piece"):
        unpack(tmp_path, "run")


def test_an_absent_piece_is_refused_by_name(tmp_path):
    packed(tmp_path)[-1].unlink()
    with pytest.raises(MissingError, match=r"run\.00\d: cannot read"):
        unpack(tmp_path, "run")


def test_nothing_packed_is_nothing_unpacked(tmp_path):
    assert unpack(tmp_path, "run") == {}


def test_packing_again_leaves_no_older_piece(tmp_path):
    packed(tmp_path)
    pack(tmp_path, "run", {"two.csv": b"x"}, piece=1_000_000)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["run.000", "run.json"]


def checkpoint() -> dict:
    torch.manual_seed(0)
    net = torch.nn.Linear(100, 100)
    adam = torch.optim.Adam(net.parameters(), betas=(0.0, 0.99))
    for scale in (1.0, 1e-6):  # squares far below float16's range
        adam.zero_grad()
        (scale * net(torch.randn(4, 100)).square().sum()).backward()
        adam.step()
    return {
        "run": {"widths": [1, 2]},
        "step": 70_001,
        "net": net.state_dict(),
        "adam": adam.state_dict(),
    }


def test_a_shrunk_checkpoint_is_whole_again_within_its_precision():
    before, after = checkpoint(), grow(shrink(checkpoint()))
    assert after["step"] == 70_001 and after["run"] == before["run"]
    assert torch.allclose(after["net"]["weight"], before["net"]["weight"], rtol=1e-3, atol=1e-7)
    old, new = before["adam"]["state"][0], after["adam"]["state"][0]
    assert torch.equal(old["step"], new["step"])
    assert torch.allclose(old["exp_avg_sq"], new["exp_avg_sq"], rtol=0.09, atol=1e-20)
    assert after["adam"]["param_groups"] == before["adam"]["param_groups"]


def test_adam_goes_on_from_a_shrunk_checkpoint_as_it_would_have():
    ends = []
    for content in (checkpoint(), grow(shrink(checkpoint()))):
        net = torch.nn.Linear(100, 100)
        net.load_state_dict(content["net"])
        adam = torch.optim.Adam(net.parameters(), betas=(0.0, 0.99))
        adam.load_state_dict(content["adam"])
        before = net.weight.detach().clone()
        net(torch.ones(1, 100)).sum().backward()
        adam.step()
        ends.append(net.weight.detach() - before)
    assert torch.allclose(ends[0], ends[1], rtol=0.05, atol=1e-7)


def test_shrinking_leaves_a_third_of_a_file():
    buffer = io.BytesIO()
    torch.save(checkpoint(), buffer)
    small = shrunk(buffer.getvalue())
    assert len(small) < 0.34 * len(buffer.getvalue())
    assert torch.load(io.BytesIO(grown(small)), weights_only=True)["step"] == 70_001
