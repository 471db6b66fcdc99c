"""What training code puts around weights changes nothing about what is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dseinvert.errors import InputError
from dseinvert.importers.found import Found
from dseinvert.importers.read import read
from tests.references import contents
from tests.references.files import write_nvlabs, write_torch
from tests.references.progressive import reference

Tensors = dict[str, Tensor]
BEFORE = ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")


def before(prefix: str, state: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def ada(name: str = "stylegan2-ada-skip", clamp: float | None = 256.0) -> tuple[Any, Tensors]:
    """A pickle's content, and the state dict of its generator alone."""
    state = contents.stylegan2_ada_state(reference(name))
    return {"G_ema": contents.stylegan2_ada_network(state, clamp)}, state


def alike(one: Found, other: Found) -> bool:
    """Whether every number of their networks is the same."""
    pairs = ((one.generator, other.generator), (one.encoder, other.encoder))
    return all(_same(*pair) for pair in pairs if pair != (None, None))


def _same(one: Any, other: Any) -> bool:
    assert isinstance(one, nn.Module) and isinstance(other, nn.Module)
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def saved(folder: Path, content: Any) -> Found:
    return read(write_torch(folder / "x.pt", content))


CHECKPOINTS: dict[str, Callable[[str], tuple[Any, Any]]] = {
    "rosinality": lambda p: (
        contents.rosinality(),
        contents.rosinality() | {"g_ema": before(p, contents.rosinality_state())},
    ),
    "rosinality alone": lambda p: (
        contents.rosinality_state(),
        before(p, contents.rosinality_state()),
    ),
    "genforce": lambda p: (
        {"generator_smooth": contents.genforce("stylegan1-genforce")},
        {"generator_smooth": before(p, contents.genforce("stylegan1-genforce"))},
    ),
    "pSp": lambda p: (
        contents.psp("psp"),
        contents.psp("psp") | {"state_dict": before(p, contents.psp_state("psp"))},
    ),
    "pSp, its encoder alone wrapped": lambda p: (
        contents.psp("psp"),
        contents.psp("psp")
        | {
            "state_dict": {
                name.replace("encoder.", f"encoder.{p}"): tensor
                for name, tensor in contents.psp_state("psp").items()
            }
        },
    ),
    "biggan": lambda p: (
        contents.biggan(reference("biggan-128")),
        before(p, contents.biggan(reference("biggan-128"))),
    ),
}


@pytest.mark.parametrize("prefix", BEFORE)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_what_a_wrapper_puts_before_names_changes_nothing(
    tmp_path: Path, name: str, prefix: str
) -> None:
    usual, wrapped = CHECKPOINTS[name](prefix)
    assert alike(saved(tmp_path, usual), saved(tmp_path, wrapped))


@pytest.mark.parametrize("key", ["state_dict", "model", "params_ema"])
def test_a_state_dict_may_lie_one_level_further_in(tmp_path: Path, key: str) -> None:
    state = contents.rosinality_state()
    found = saved(tmp_path, {key: before("module.", state), "epoch": 3})
    assert alike(found, saved(tmp_path, state))
    assert found.notes[0] == f"took {key}; left out epoch"


@pytest.mark.parametrize("key", ["g", "g_ema"])
def test_one_generator_of_a_training_checkpoint_is_enough(tmp_path: Path, key: str) -> None:
    state = contents.rosinality_state()
    assert alike(saved(tmp_path, {key: state}), saved(tmp_path, state))


def test_the_average_is_taken_of_the_generators_of_a_training_module(tmp_path: Path) -> None:
    state = contents.rosinality_state()
    other = {name: tensor + 1 for name, tensor in state.items()}
    module = before("generator.", other) | before("g_ema.", state)
    found = saved(tmp_path, {"state_dict": module, "epoch": 3})
    assert alike(found, saved(tmp_path, state))
    assert "took g_ema of it" in found.notes


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"G_ema": s}, lambda s: {"g_ema": s}])
@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
@pytest.mark.parametrize("name", ["skip", "orig", "resnet"])
def test_a_state_dict_of_stylegan2_ada_is_read_as_its_pickle(
    tmp_path: Path, name: str, prefix: str, wrap: Callable[[Any], Any]
) -> None:
    pickle, state = ada(f"stylegan2-ada-{name}")
    usual = read(write_nvlabs(tmp_path / "g.pkl", pickle))
    found = saved(tmp_path, wrap(before(prefix, state)))
    assert alike(usual, found)
    assert usual.generator is not None and found.generator is not None
    assert usual.generator.config == found.generator.config
    assert any("256" in note for note in found.notes) and not usual.notes


@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
@pytest.mark.parametrize("name", ["stylegan3-t", "stylegan3-r"])
def test_a_state_dict_of_stylegan3_is_read_as_its_pickle(
    tmp_path: Path, name: str, prefix: str
) -> None:
    usual = read(write_nvlabs(tmp_path / "g.pkl", contents.stylegan3(name)))
    state = contents.stylegan3_state(reference(name))
    found = saved(tmp_path, before(prefix, state))
    assert alike(usual, found)
    assert usual.generator is not None and found.generator is not None
    assert usual.generator.config == found.generator.config
    assert found.format == "StyleGAN3 state dict of NVlabs"


def test_a_state_dict_of_stylegan3_made_otherwise_asks_for_its_pickle(tmp_path: Path) -> None:
    state = contents.stylegan3_state(reference("stylegan3-t"))
    odd = {name.replace("_52_", "_54_"): tensor for name, tensor in state.items()}
    with pytest.raises(InputError, match=r"does not say how .*bring the .pkl"):
        saved(tmp_path, odd)


def test_an_encoder_without_options_is_read_where_its_shapes_tell(tmp_path: Path) -> None:
    usual, bare = contents.psp("psp-wplus"), contents.psp("psp-wplus")
    del bare["opts"]
    assert alike(saved(tmp_path, usual), saved(tmp_path, bare))
    assert alike(saved(tmp_path, bare), saved(tmp_path, {**bare, "state_dict": bare["state_dict"]}))


def test_the_critic_of_latents_beside_an_encoder_says_that_it_is_e4e(tmp_path: Path) -> None:
    usual = contents.psp("e4e")
    bare = {**usual, "discriminator_state_dict": {}}
    del bare["opts"]
    one, other = saved(tmp_path, usual), saved(tmp_path, bare)
    assert alike(one, other) and one.format == other.format == "e4e checkpoint"
    assert one.encoder is not None and other.encoder is not None
    assert one.encoder.config == other.encoder.config


def test_an_encoder_whose_rows_might_mean_two_things_is_refused(tmp_path: Path) -> None:
    bare = contents.psp("psp")
    del bare["opts"]
    with pytest.raises(InputError, match="names no encoder_type"):
        saved(tmp_path, bare)


def test_an_encoder_alone_may_be_a_plain_state_dict(tmp_path: Path) -> None:
    usual = saved(tmp_path, {"state_dict": contents.psp_state("psp-w")})
    found = saved(tmp_path, before("module.", contents.psp_state("psp-w")))
    assert found.encoder is not None and alike(usual, found)


def test_factors_are_directions_strongest_first(tmp_path: Path) -> None:
    vectors = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(0)))[0]
    found = saved(tmp_path, {"ckpt": "stylegan2.pt", "eigvec": vectors})
    assert list(found.directions) == [f"sefa-{i}" for i in range(24)]
    for i, rows in enumerate(found.directions.values()):
        assert torch.equal(rows, vectors[:, i][None])


def test_factors_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"eigvec: expected \[D, D\]"):
        saved(tmp_path, {"ckpt": "x", "eigvec": torch.zeros(24, 24, 2)})


def test_names_that_would_collide_are_left_as_they_are(tmp_path: Path) -> None:
    state = contents.rosinality_state()
    both = state | before("module.", {n: t + ("kernel" not in n) for n, t in state.items()})
    assert alike(saved(tmp_path, both), saved(tmp_path, state))


def test_other_networks_stay_unknown(tmp_path: Path) -> None:
    other = {"state_dict": before("module.", nn.Conv2d(3, 4, 3).state_dict()), "epoch": 1}
    with pytest.raises(InputError, match="no model of a known kind"):
        saved(tmp_path, other)
