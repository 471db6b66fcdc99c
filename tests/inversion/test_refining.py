from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.errors import UsageError
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.inversion.asked import UNLIMITED, Stage, parse_refining
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.methods import METHODS
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.inversion.refining import in_turn, open_refining, own_space
from dseinvert.latent import Latent


@pytest.fixture(scope="module")
def model() -> tuple[StyleGAN2, DSEEncoder]:
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2))
    encoder = DSEEncoder(DSEConfig(16, 6, 16, (8, 16, 16)))
    encoder.attach(generator)
    return generator.eval().requires_grad_(False), encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(model: tuple[StyleGAN2, DSEEncoder]) -> Tensor:
    with torch.inference_mode():
        return model[0].synthesize(model[0].sample([7, 8])).clamp(-1, 1)


def test_methods_stand_in_the_order_given_with_their_steps() -> None:
    asked = parse_refining("latent:20,generator", space="f/z+")
    assert asked.stages == (Stage("latent", 20), Stage("generator", METHODS["generator"].steps))
    assert asked.steps == 20 + METHODS["generator"].steps
    assert asked.space == "f/z+"


def test_with_seconds_a_method_without_steps_has_no_end_of_its_own() -> None:
    assert parse_refining("latent", budget="5s").stages == (Stage("latent", UNLIMITED),)
    assert parse_refining("latent:9", budget="0.5").seconds == 0.5


def test_equal_requests_read_the_same_and_others_do_not() -> None:
    texts = [
        parse_refining(*given).text
        for given in (
            ("none",),
            ("latent",),
            ("latent:200",),
            ("latent:100",),
            ("latent", "z"),
            ("latent:200", None, "5"),
            ("latent:200", None, "5s", "psnr=30"),
        )
    ]
    assert texts[1] == texts[2]
    assert len(set(texts)) == len(texts) - 1


@pytest.mark.parametrize(
    "given",
    [
        ("magic",),
        ("latent:0",),
        ("latent:many",),
        ("latent:",),
        ("latent,",),
        ("generator,encoder",),
        ("generator", "w+"),
        ("latent", "q"),
        ("none", "w+"),
        ("none", None, "5s"),
        ("none", None, None, "psnr=30"),
        ("latent", None, "soon"),
        ("latent", None, "0s"),
        ("latent", None, None, "psnr"),
        ("latent", None, None, "psnr=good"),
        ("latent", None, None, "psnr=nan"),
        ("latent", None, None, "beauty=1"),
    ],
)
def test_what_cannot_be_is_refused_with_advice(given: tuple[str | None, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_refining(*given)  # type: ignore[arg-type]
    assert caught.value.advice
    assert "\n" not in str(caught.value)


def test_nothing_asked_is_no_refinement(model: tuple[StyleGAN2, DSEEncoder]) -> None:
    assert open_refining(parse_refining("none"), *model) is None


@pytest.mark.parametrize("refine", ["encoder:3", "latent:3", "generator:3", "latent:2,generator:2"])
def test_each_method_improves_an_inversion(
    model: tuple[StyleGAN2, DSEEncoder], images: Tensor, refine: str
) -> None:
    plain = Inverter(*model).invert(images)
    refined = Inverter(*model, refine=open_refining(parse_refining(refine), *model)).invert(images)
    before, after = ((one.images - images).square().mean((1, 2, 3)) for one in (plain, refined))
    assert (after < before).all()
    assert plain.steps is None
    assert refined.steps is not None and refined.steps.tolist() == [3 + ("," in refine)] * 2
    assert refined.seconds > 0


@pytest.mark.parametrize("until", ["psnr=5", "mse=2", "ssim=-1"])
def test_an_image_that_is_good_enough_is_left_alone(
    model: tuple[StyleGAN2, DSEEncoder], images: Tensor, until: str
) -> None:
    asked = parse_refining("latent:3,generator:3", until=until)
    found = Inverter(*model, refine=open_refining(asked, *model)).invert(images)
    assert found.steps is not None and found.steps.tolist() == [0, 0]


def test_a_goal_that_is_reached_is_reached_in_its_own_unit(
    model: tuple[StyleGAN2, DSEEncoder], images: Tensor
) -> None:
    asked = parse_refining("generator:200", until="psnr=16")
    found = Inverter(*model, refine=open_refining(asked, *model)).invert(images)
    psnr = 10 * (4 / (found.images - images).square().mean((1, 2, 3))).log10()
    assert (psnr > 15.99).all() and (psnr < 20).all()
    assert found.steps is not None and (found.steps < 200).all()


def test_the_space_is_the_encoders_where_none_is_named(
    model: tuple[StyleGAN2, DSEEncoder],
) -> None:
    assert own_space(*model) == "w+"


def noting(seen: list[tuple[int, float | None]]) -> Refine:
    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        seen.append((budget.steps, budget.seconds))
        if watch is not None:
            watch(1, torch.zeros(len(images)))
        taken = torch.full((len(images),), budget.steps)
        moved = replace(start, code=start.code + 1)
        return Refined(moved, images, taken, torch.zeros(len(images)))

    return refine


def test_each_goes_on_where_the_one_before_ended() -> None:
    seen: list[tuple[int, float | None]] = []
    told: list[int] = []
    both = in_turn([(noting(seen), 4), (noting(seen), 7)])
    images, start = torch.zeros(2, 3, 4, 4), Latent(torch.zeros(2, 1, 3), "w")
    found = both(images, start, Budget(11), lambda step, _: told.append(step))
    assert (found.latent.code == 2).all()
    assert found.steps.tolist() == [11, 11]
    assert told == [1, 5]
    assert seen == [(4, None), (7, None)]


def test_what_one_leaves_of_its_seconds_goes_to_the_next() -> None:
    seen: list[tuple[int, float | None]] = []
    both = in_turn([(noting(seen), 4), (noting(seen), 4)])
    both(torch.zeros(1, 3, 4, 4), Latent(torch.zeros(1, 1, 3), "w"), Budget(8, seconds=100))
    first, second = (seconds for _, seconds in seen)
    assert first == pytest.approx(50, rel=0.01)
    assert second == pytest.approx(100, rel=0.01)
