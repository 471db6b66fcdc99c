from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.stylegan3 import StyleGAN3, StyleGAN3Config
from dseinvert.generators.tuned import private, synthesize
from dseinvert.inversion.low_rank import convolutions
from dseinvert.inversion.refinement import Budget
from dseinvert.inversion.tune_generator import GeneratorTuning, generator_refinement
from dseinvert.latent import Latent, dumps, load_latent
from dseinvert.similarity.losses import mse


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=16, z_dim=16, mapping_layers=2)
    return StyleGAN2(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(generator: StyleGAN2) -> Tensor:
    with torch.inference_mode():
        return generator.synthesize(generator.sample([7, 8, 9])).clamp(-1, 1)


@pytest.fixture(scope="module")
def start(generator: StyleGAN2) -> Latent:
    return generator.sample([1, 2, 3])


def losses(generator: StyleGAN2, latent: Latent, images: Tensor) -> Tensor:
    with torch.no_grad():
        return mse(images, synthesize(generator, latent))


def test_each_image_is_drawn_better_and_the_latent_stays(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    found = generator_refinement(generator)(images, start, Budget(30))
    assert (losses(generator, found.latent, images) < 0.5 * losses(generator, start, images)).all()
    assert torch.equal(found.latent.code, start.code)
    torch.testing.assert_close(found.losses, losses(generator, found.latent, images))
    assert found.steps.tolist() == [30, 30, 30]


def test_an_image_is_tuned_alike_alone_and_in_a_batch(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    refine = generator_refinement(generator)
    together = refine(images, start, Budget(10)).latent
    alone = refine(images[1:2], start[1:2], Budget(10)).latent
    for name, factor in alone.tuning.items():
        assert torch.equal(together.tuning[name][1:2], factor)


def test_the_generator_stays_as_it_was(generator: StyleGAN2, images: Tensor, start: Latent) -> None:
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    generator_refinement(generator)(images, start, Budget(3))
    assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())
    assert not any(weight.requires_grad for weight in generator.parameters())


def test_others_draw_with_the_same_generator_meanwhile(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    with torch.inference_mode():
        plain = generator.synthesize(start)
    seen: list[bool] = []

    def draw(step: int, losses: Tensor) -> None:
        def other() -> None:
            with torch.inference_mode():
                seen.append(torch.equal(generator.synthesize(start), plain))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    with torch.inference_mode():  # as in the callers
        generator_refinement(generator)(images, start, Budget(4), draw)
    assert seen == [True] * 4


def test_without_steps_the_start_returns(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    found = generator_refinement(generator)(images, start, Budget(0))
    torch.testing.assert_close(found.losses, losses(generator, start, images))
    assert found.steps.tolist() == [0, 0, 0]


def test_where_nothing_helps_the_start_returns(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    wild = GeneratorTuning(lr=1e6, ramp_down=0)
    found = generator_refinement(generator, wild)(images, start, Budget(3))
    torch.testing.assert_close(found.losses, losses(generator, start, images))


def test_where_nothing_helps_a_start_that_is_tuned_returns(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    begun = generator_refinement(generator)(images, start, Budget(10)).latent
    finer = {name: factor * 1.0003 for name, factor in begun.tuning.items()}  # than float16 holds
    begun = replace(begun, tuning=finer)
    wild = GeneratorTuning(lr=1e6, ramp_down=0)
    found = generator_refinement(generator, wild)(images, begun, Budget(3))
    before = losses(generator, begun, images)
    torch.testing.assert_close(found.losses, before, rtol=1e-3, atol=0)


def test_an_image_that_is_good_enough_takes_no_more_steps(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    before = losses(generator, start, images)
    done = before.argmin()
    limit = float(before.min() + before.sort().values[1]) / 2
    found = generator_refinement(generator)(images, start, Budget(5, until=limit))
    assert found.steps[done] == 0
    assert found.steps.max() > 0


def test_seconds_end_it(generator: StyleGAN2, images: Tensor, start: Latent) -> None:
    found = generator_refinement(generator)(images, start, Budget(10**6, seconds=0.05))
    assert 0 < found.steps.max() < 10**6


def test_what_is_saved_draws_the_same_image(
    generator: StyleGAN2,
    images: Tensor,
    start: Latent,
    tmp_path,  # type: ignore[no-untyped-def]
) -> None:
    found = generator_refinement(generator)(images, start, Budget(5))
    file = tmp_path / "x.safetensors"
    file.write_bytes(dumps(found.latent[:1]))
    with torch.inference_mode():
        again = synthesize(generator, load_latent(file)).clamp(-1, 1)
    torch.testing.assert_close(again, found.images[:1], atol=1e-5, rtol=0)


def test_a_tuned_latent_is_tuned_on(generator: StyleGAN2, images: Tensor, start: Latent) -> None:
    refine = generator_refinement(generator)
    first = refine(images, start, Budget(5))
    second = refine(images, first.latent, Budget(5))
    assert second.latent.tuning.keys() == first.latent.tuning.keys()
    assert (second.losses < first.losses).all()


def test_beyond_a_feature_only_what_it_passes_is_tuned(generator: StyleGAN2, start: Latent) -> None:
    feature = generator.features(start, 3)
    late = convolutions(private(generator), replace(start, feature=feature, layer=3))
    early = convolutions(private(generator), start)
    names = ("convs.3", "convs.4", "to_rgbs.2")
    assert late == [f"synthesis.{name}.conv.weight" for name in names]
    assert set(late) < set(early)
    assert not any("mapping" in name or "const" in name for name in early)


def test_the_locality_regulariser_keeps_other_images(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    def change(options: GeneratorTuning) -> Tensor:
        latent = generator_refinement(generator, options)(images, start, Budget(40)).latent
        other = replace(latent, code=latent.code.lerp(generator.sample([50]).code, 0.5))
        with torch.no_grad():
            plain = generator.synthesize(replace(other, tuning={}))
            return mse(plain, synthesize(generator, other)).mean()

    assert change(GeneratorTuning(locality=1)) < change(GeneratorTuning())


SIZES = {"w_dim": 16, "z_dim": 12, "mapping_layers": 2}
FAMILIES = {
    "stylegan1": StyleGAN1(StyleGAN1Config(16, {4: 8, 8: 8, 16: 6}, **SIZES)),
    "stylegan3": StyleGAN3(
        StyleGAN3Config(32, channel_base=128, channel_max=8, w_dim=12, z_dim=10, num_layers=5)
    ),
    "pggan": PGGAN(PGGANConfig(16, {4: 12, 8: 10, 16: 8}, z_dim=16)),
    "biggan": BigGAN(
        BigGANConfig((32, 16, 8), attention=1, z_dim=16, class_dim=12, classes=6, statistics=6)
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_tuned(family: str) -> None:
    generator = FAMILIES[family].eval().requires_grad_(False)
    with torch.inference_mode():
        images = generator.synthesize(generator.sample([7])).clamp(-1, 1)
        start = generator.sample([1])
        before = mse(images, generator.synthesize(start))
        found = generator_refinement(generator)(images, start, Budget(15))
    assert (found.losses < 0.8 * before).all()
