from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dseinvert.inversion.own_weights import convolve, part_of
from dseinvert.models import Model
from tests.export.models_of_every_kind import MODELS, model_of

# What changes the generator or F for each image is not tuned.
PER_IMAGE = ("hfgi", "hyperstyle", "style-feature", "styleres")
KINDS = [name for name in MODELS if not name.endswith(("none", *PER_IMAGE))]
KINDS_AND_SCOPES = [(kind, scope) for kind in KINDS for scope in ("tail", "all")]


def given(model: Model, count: int = 2) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Pictures, and their labels where the generator has classes."""
    torch.manual_seed(1)
    classes = model.generator.spec.classes
    label = torch.eye(classes)[torch.arange(count) % classes] if classes else None
    return torch.rand(count, 3, 16, 16) * 2 - 1, label


@pytest.mark.parametrize(("kind", "scope"), KINDS_AND_SCOPES)
def test_untouched_weights_give_what_the_encoder_gives(kind: str, scope: str) -> None:
    model = model_of(kind)
    images, label = given(model)
    part = part_of(model.encoder, model.generator, scope)
    with torch.no_grad():
        seen = part.see(images, label)
        found = part.encode(part.begin(seen), seen)
        wanted = model.encoder.encode(images, label).tensors()
    for name in wanted.keys() - {"label"}:
        assert torch.allclose(found[name], wanted[name], atol=1e-5), name


@pytest.mark.parametrize(("kind", "scope"), KINDS_AND_SCOPES)
def test_each_image_has_weights_of_its_own(kind: str, scope: str) -> None:
    model = model_of(kind)
    images, label = given(model)
    part = part_of(model.encoder, model.generator, scope)
    with torch.no_grad():
        seen = part.see(images, label)
        own = part.begin(seen)
        before = part.encode(own, seen)
        for weight in own.values():
            weight[1] += 0.1
        after = part.encode(own, seen)
    for name in ("code", *(["feature"] if "feature" in after else [])):
        moved = (after[name] - before[name]).flatten(1).abs().amax(1)
        assert moved[0] < 1e-5 < moved[1], name


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_of_all_images_add_up_to_those_of_the_encoder(kind: str) -> None:
    model = model_of(kind)
    images, label = given(model)
    part = part_of(model.encoder, model.generator, "all")
    with torch.no_grad():
        seen = part.see(images, label)
    own = {name: weight.requires_grad_() for name, weight in part.begin(seen).items()}
    slopes = torch.autograd.grad(size(part.encode(own, seen)), [*own.values()], allow_unused=True)
    shared = dict(model.encoder.requires_grad_(True).named_parameters())
    found = size(model.encoder.encode(images, label).tensors())
    wanted = torch.autograd.grad(found, [*shared.values()], allow_unused=True)
    for name, mine, theirs in zip(shared, slopes, wanted, strict=True):
        if theirs is None:
            assert mine is None or not mine.any(), name
        else:
            assert torch.allclose(mine.sum(0), theirs, atol=1e-3 * float(theirs.abs().max())), name


def size(found: dict[str, torch.Tensor]) -> torch.Tensor:
    """A number that all of a latent has a part in."""
    return torch.stack([found[n].sin().sum() for n in ("code", "feature") if n in found]).sum()


def test_a_convolution_of_each_sample_is_that_of_one_by_one() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 4, 6, 6), torch.randn(3, 5, 4, 3, 3), torch.randn(3, 5)
    alone = [F.conv2d(x[k : k + 1], weight[k], bias[k], padding=1) for k in range(3)]
    assert torch.allclose(convolve(x, weight, bias), torch.cat(alone), atol=1e-5)


def test_the_tail_of_a_feature_branch_is_a_small_part_of_it() -> None:
    model = model_of("stylegan2, dse-feature")
    images, _ = given(model)
    sizes = {}
    for scope in ("tail", "all"):
        part = part_of(model.encoder, model.generator, scope)
        sizes[scope] = sum(weight.numel() for weight in part.begin(part.see(images, None)).values())
    assert sizes["tail"] < sizes["all"] / 4
