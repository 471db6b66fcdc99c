from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.refinement import Budget, Refined
from dseinvert.inversion.tune_encoder import EncoderTuning, encoder_refinement
from dseinvert.latent import Latent, concat
from dseinvert.models import Model
from dseinvert.similarity.metrics import image_metrics
from dseinvert.similarity.weights import LossWeights
from tests.export.models_of_every_kind import model_of

KINDS = [
    *("stylegan2, dse", "stylegan2, dse-feature", "stylegan2, psp", "stylegan2, feature-style"),
    *("stylegan3, dse", "pggan, dse-pggan", "biggan, dse-biggan", "stylegan2, restyle"),
]
FAST = EncoderTuning(lr=0.02, warm_up=0, patience=1000)


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of("stylegan2, dse-feature")


def pictures(model: Model, count: int = 3) -> Tensor:
    """What the generator draws of samples: an encoder of random weights is far from it."""
    with torch.no_grad():
        latent = model.generator.sample(list(range(count)))
        return model.generator.synthesize(latent).clamp(-1, 1)


def start(model: Model, images: Tensor) -> Latent:
    label = 1 if model.generator.spec.classes else None
    return Inverter(model.generator, model.encoder, label).invert(images).latent


def tuned(model: Model, images: Tensor, steps: int = 8, options: EncoderTuning = FAST) -> Refined:
    refine = encoder_refinement(model.generator, model.encoder, options)
    return refine(images, start(model, images), Budget(steps))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["tail", "all"])
def test_tuning_brings_every_image_nearer(kind: str, scope: str) -> None:
    model = model_of(kind)
    images = pictures(model)
    lr = 0.02 if scope == "tail" else 0.005
    before = tuned(model, images, 0)
    after = tuned(model, images, 8, replace(FAST, scope=scope, lr=lr))
    assert (after.losses < before.losses).all()
    assert after.steps.tolist() == [8, 8, 8]
    drawn = model.generator.synthesize(after.latent).clamp(-1, 1)
    assert torch.allclose(drawn, after.images, atol=1e-4)


@pytest.mark.parametrize("scope", ["tail", "all"])
def test_the_batch_changes_a_result_by_rounding_only(model: Model, scope: str) -> None:
    images, options = pictures(model, 4), replace(FAST, scope=scope, lr=0.005)
    together = tuned(model, images, 5, options)
    alone = [tuned(model, image[None], 5, options) for image in images]
    codes = concat([one.latent for one in alone])
    assert torch.allclose(together.latent.code, codes.code, atol=2e-3)
    assert torch.allclose(together.latent.feature, codes.feature, atol=2e-3)
    assert torch.allclose(together.losses, torch.cat([one.losses for one in alone]), atol=2e-3)


@pytest.mark.parametrize("scope", ["tail", "all"])
def test_encoder_and_generator_stay_as_they_were(model: Model, scope: str) -> None:
    modules = nn.ModuleList([model.generator, model.encoder])
    before = {name: tensor.clone() for name, tensor in modules.state_dict().items()}
    images = pictures(model)
    first = tuned(model, images, 3, replace(FAST, scope=scope))
    assert all(torch.equal(tensor, before[n]) for n, tensor in modules.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in modules.parameters())
    again = tuned(model, images, 3, replace(FAST, scope=scope))
    assert torch.equal(again.latent.code, first.latent.code)


def test_where_nothing_helps_the_start_returns(model: Model) -> None:
    images = pictures(model)
    wild = replace(FAST, lr=1e6)
    found, begun = tuned(model, images, 4, wild), start(model, images)
    assert torch.equal(found.latent.code, begun.code)
    assert torch.equal(found.latent.feature, begun.feature)


def test_no_steps_give_the_start(model: Model) -> None:
    images = pictures(model)
    found, begun = tuned(model, images, 0), start(model, images)
    assert torch.equal(found.latent.code, begun.code)
    assert found.steps.tolist() == [0, 0, 0]


def test_a_better_start_than_the_encoders_is_kept(model: Model) -> None:
    images = pictures(model)
    begun = start(model, images)
    far = replace(begun, code=begun.code + 3)
    refine = encoder_refinement(model.generator, model.encoder, FAST)
    good = refine(images, begun, Budget(0))
    assert (refine(images, far, Budget(0)).losses >= good.losses - 1e-6).all()
    best = tuned(model, images, 8).latent
    again = refine(images, best, Budget(1))
    assert torch.equal(again.latent.code, best.code)


def test_an_image_ends_where_its_goal_is_reached(model: Model) -> None:
    images = pictures(model)

    def mse(real: Tensor, fake: Tensor) -> Tensor:
        return image_metrics(real, fake)["mse"]

    begun = mse(images, Inverter(model.generator, model.encoder).invert(images).images)
    middle = float(begun.sort().values[:2].mean())
    refine = encoder_refinement(model.generator, model.encoder, FAST)
    found = refine(images, start(model, images), Budget(3, until=middle, goal=mse))
    assert found.steps[begun.argmin()] == 0
    assert found.steps[begun.argmax()] > 0
    all_done = refine(images, start(model, images), Budget(3, until=100.0))
    assert all_done.steps.tolist() == [0, 0, 0]


def test_an_image_that_stands_still_ends_early_and_the_others_go_on(model: Model) -> None:
    images = pictures(model, 2)
    perfect = model.generator.sample([1]).code
    begun = start(model, images)
    plain = replace(begun, feature=None, layer=None, code=perfect)[:1]
    feature = model.generator.features(plain, begun.layer)
    done = replace(begun[:1], code=perfect, feature=feature)
    refine = encoder_refinement(model.generator, model.encoder, replace(FAST, patience=3))
    found = refine(images, concat([begun[:1], done]), Budget(8))
    assert found.steps.tolist() == [8, 3]
    assert torch.equal(found.latent.code[1:], perfect)
    alone = refine(images[:1], begun[:1], Budget(8))
    assert torch.allclose(found.losses[:1], alone.losses, atol=2e-3)


def test_seconds_end_the_work(model: Model) -> None:
    images = pictures(model, 2)
    refine = encoder_refinement(model.generator, model.encoder, FAST)
    found = refine(images, start(model, images), Budget(1_000_000, seconds=0.05))
    assert 0 <= int(found.steps.max()) < 1000


def test_whoever_watches_sees_losses_fall(model: Model) -> None:
    images, seen = pictures(model), []
    refine = encoder_refinement(model.generator, model.encoder, FAST)
    found = refine(
        images, start(model, images), Budget(4), lambda step, losses: seen.append((step, losses))
    )
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    steps = torch.stack([losses for _, losses in seen])
    assert (steps[1:] <= steps[:-1]).all()
    assert torch.equal(steps[-1], found.losses)


def test_the_latent_term_makes_the_encoder_find_its_code_again(model: Model) -> None:
    images = pictures(model)

    def gap(epsilon: float) -> float:
        options = replace(FAST, scope="all", lr=0.002, weights=LossWeights(epsilon=epsilon))
        losses = []
        refine = encoder_refinement(model.generator, model.encoder, options)
        refine(images, start(model, images), Budget(6), lambda _, one: losses.append(one))
        return float(losses[-1].mean())

    # It competes with the image loss, so a large one keeps that from falling as far.
    assert gap(0.0) < gap(100.0)


def test_the_pull_shortens_offsets(model: Model) -> None:
    images = pictures(model)
    mean = model.generator.mean_latent().code

    def length(pull: float) -> Tensor:
        code = tuned(model, images, 6, replace(FAST, pull=pull)).latent.code
        return (code - mean).flatten(1).norm(dim=1)

    assert (length(0.02) < length(0.0)).all()


def test_gradients_are_had_within_inference_mode(model: Model) -> None:
    images = pictures(model)
    with torch.inference_mode():
        found = tuned(model, images.clone(), 3)
    assert (found.losses < tuned(model, images, 0).losses).all()


def test_a_start_of_another_encoder_is_refused(model: Model) -> None:
    images = pictures(model)
    plain = replace(start(model, images), feature=None, layer=None)
    refine = encoder_refinement(model.generator, model.encoder, FAST)
    with pytest.raises(ValueError, match="not a latent of this encoder"):
        refine(images, plain, Budget(1))


def test_the_rate_rises_falls_and_is_gentler_where_steps_are_few() -> None:
    options = EncoderTuning()
    assert options.rate(100, 0.5) == pytest.approx(0.04)
    assert options.rate(1000, 0.5) == pytest.approx(0.04)
    assert options.rate(10, 0.5) == pytest.approx(0.01)
    assert options.rate(100, 0) < options.rate(100, 0.02) < options.rate(100, 0.1)
    assert options.rate(100, 0.8) > options.rate(100, 0.9) > options.rate(100, 1) >= 0
    assert replace(options, scope="all").rate(100, 0.5) == pytest.approx(0.005)
