from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from dseinvert.training.checkpoints import DAMAGE, dumps, load, restore, states


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
