from __future__ import annotations

import pytest
import torch

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.training.optimiser import build_optimiser, rate_factor


def encoder() -> DSEEncoder:
    torch.manual_seed(0)
    return DSEEncoder(DSEConfig(16, 6, 64, (48, 64, 64), head="base"))


def test_adam_is_the_papers():
    optimiser = build_optimiser(encoder(), 0.0015)
    assert type(optimiser) is torch.optim.Adam
    assert all(group["betas"] == (0.0, 0.99) for group in optimiser.param_groups)


def test_each_weights_rate_is_its_initial_deviation():
    for name, parameter in encoder().named_parameters():
        if parameter.ndim > 1:
            deviation = parameter.std().item()
            spread = 4 / (2 * parameter.numel()) ** 0.5  # four standard errors
            assert rate_factor(name, parameter) == pytest.approx(deviation, rel=spread), name


def test_biases_and_noise_scales_learn_at_the_full_rate():
    for name, parameter in encoder().named_parameters():
        if parameter.ndim == 1:
            assert rate_factor(name, parameter) == 1, name


def test_every_parameter_is_trained_once():
    model = encoder()
    groups = build_optimiser(model, 0.001).param_groups
    trained = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(trained) == sorted(id(parameter) for parameter in model.parameters())


def test_the_first_step_has_the_size_of_the_rate():
    model = encoder()
    before = model.blocks[0].first.weight.detach().clone()
    optimiser = build_optimiser(model, 0.001)
    model(torch.rand(2, 3, 16, 16))[0].sum().backward()
    optimiser.step()
    moved = (model.blocks[0].first.weight - before).abs().median().item()
    assert moved == pytest.approx(0.001 * (2 / (9 * 48)) ** 0.5, rel=0.01)
