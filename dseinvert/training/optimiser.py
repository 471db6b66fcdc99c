"""Adam with the equalised learning rate of DSE: the step of a weight scales with its first spread.

Weights start as N(0, gain / sqrt(fan_in)) and are used as they are; instead of multiplying by that
deviation in every forward pass, its learning rate is multiplied by it. Exported weights stay plain.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

BETAS = (0.0, 0.99)


def build_optimiser(
    module: nn.Module, lr: float, factor: Callable[[str, nn.Parameter], float] | None = None
) -> torch.optim.Adam:
    """Adam (0, 0.99) whose every weight has the rate lr x its initial standard deviation.

    `factor` gives that deviation by name and parameter; None = of a DSE encoder.
    """
    groups: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        groups[(factor or rate_factor)(name, parameter)].append(parameter)
    return torch.optim.Adam(
        [{"params": group, "lr": lr * factor} for factor, group in groups.items()], betas=BETAS
    )


def rate_factor(name: str, parameter: nn.Parameter) -> float:
    """The initial deviation of a weight of the DSE encoder; 1 for biases and noise scales.

    Convolutions before a leaky ReLU have gain sqrt(2); the bypass and the FCs have gain 1, and so
    have the FCs of conditional norms, although those start at 0.
    """
    if parameter.ndim < 2:
        return 1.0
    gain = 2 if parameter.ndim == 4 and "bypass" not in name else 1
    return math.sqrt(gain / parameter[0].numel())
