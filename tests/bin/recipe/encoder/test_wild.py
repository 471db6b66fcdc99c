from __future__ import annotations

import numpy as np
import torch

from dseinvert.training.pictures import Variations
from recipe.encoder.wild import wildly


def test_wild_pictures_are_as_repeatable_and_move_further() -> None:
    dot = np.full((96, 96, 3), 230, np.uint8)
    dot[44:52, 44:52] = 0
    pictures, masks = np.stack([dot] * 2), np.full((2, 96, 96), 255, np.uint8)
    tame = Variations(pictures, masks, 64, 64, seed=7)
    wild, again = (Variations(pictures, masks, 64, 64, seed=7, vary=wildly(1)) for _ in range(2))
    assert torch.equal(wild.at(3), again.at(3))
    assert wild.at(3).abs().max() <= 1 and wild.at(3).dtype == torch.float32

    def travelled(batch: torch.Tensor) -> float:
        darkest = batch.sum(1).flatten(1).argmin(1)
        return float(torch.stack([darkest // 64, darkest % 64]).float().std(1).mean())

    assert travelled(wild.at(3)) > 1.5 * travelled(tame.at(3))
