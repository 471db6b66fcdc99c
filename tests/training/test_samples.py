from __future__ import annotations

from itertools import islice

import torch

from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.latent import Latent
from dseinvert.training.samples import (
    HALF,
    Source,
    batches,
    held_out_seeds,
    joined,
    real_pictures,
    training_seeds,
)


def test_samples_do_not_repeat():
    seeds = training_seeds(seed=7, start=0, stop=200_000)
    assert len(set(seeds)) == 200_000


def test_seeds_are_told_apart_by_the_bits_that_torch_keeps():
    seeds = [*training_seeds(1, 0, 1000), *held_out_seeds(0, 1000)]
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == 2000


def test_no_run_trains_on_held_out_seeds():
    for seed in (0, 1, 12345, 2**63):
        assert max(training_seeds(seed, 10**9, 10**9 + 1000)) < HALF <= min(held_out_seeds(0, 10))


def test_runs_of_other_seeds_see_other_samples():
    assert not set(training_seeds(0, 0, 1000)) & set(training_seeds(1, 0, 1000))


def test_a_batch_depends_on_its_step_alone(gan):
    source = Source(gan.generator, 0.7, None)
    running = list(islice(batches(source, 0, 4, None, 0), 3))
    later = next(batches(source, 0, 4, None, 2))
    assert torch.equal(running[2].images, later.images)
    assert torch.equal(running[2].codes, later.codes)
    assert not torch.equal(running[1].images, later.images)


def test_images_are_drawn_from_their_truncated_codes(gan):
    full = gan.generator.sample(held_out_seeds(0, 2)).code
    batch = Source(gan.generator, 0.7, 4).draw(held_out_seeds(0, 2))
    mean = gan.generator.mean_latent().code
    torch.testing.assert_close(batch.codes[:, :4], (mean + 0.7 * (full - mean))[:, :4])
    assert torch.equal(batch.codes[:, 4:], full[:, 4:])


def test_held_out_samples_do_not_depend_on_the_batch(gan):
    source = Source(gan.generator, 0.7, None)
    parts = torch.cat([batch.images for batch in source.held_out(5, 2)])
    whole = next(source.held_out(5, 5)).images
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_real_images_come_after_the_samples(gan, real_tar):
    real = real_pictures(real_tar, 16, batch=3, seed=0)
    batch = next(batches(Source(gan.generator, 0.7, None), 0, 2, real, 5))
    assert batch.images.shape == (5, 3, 16, 16)
    assert len(batch.codes) == 2
    assert torch.equal(batch.images[2:], real.at(5))
    assert batch.images[2:].abs().max() <= 1


def test_mixed_samples_take_their_later_rows_from_another_seed(gan):
    source = Source(gan.generator, 0.7, 4)
    seeds = training_seeds(0, 0, 40)
    plain, mixed = source.draw(seeds), source.draw(seeds, 0.5)
    kept = (plain.codes == mixed.codes).all(2)
    assert kept[:, 0].all()
    cuts = kept.sum(1)
    for row, cut in zip(kept, cuts, strict=True):
        assert row[:cut].all() and not row[cut:].any()  # one cut
    assert 8 < (cuts < 6).sum() < 32
    assert set(cuts.tolist()) == {1, 2, 3, 4, 5, 6}
    redrawn = gan.generator.synthesize(Latent(mixed.codes, "w+"))
    torch.testing.assert_close(redrawn, mixed.images)


def test_each_part_of_a_mixed_sample_is_truncated(gan):
    full = Source(gan.generator, 1, None).draw(training_seeds(0, 0, 8), 1.0).codes
    half = Source(gan.generator, 0.5, None).draw(training_seeds(0, 0, 8), 1.0).codes
    mean = gan.generator.mean_latent().code
    torch.testing.assert_close(half, mean.lerp(full, 0.5))


def test_a_mixed_sample_depends_on_its_seed_alone(gan):
    source = Source(gan.generator, 0.7, None)
    seeds = training_seeds(3, 0, 6)
    together = source.draw(seeds, 0.8).codes
    torch.testing.assert_close(together[4:5], source.draw(seeds[4:5], 0.8).codes)


def test_held_out_samples_are_never_mixed(gan):
    source = Source(gan.generator, 0.7, None)
    (held,) = source.held_out(4, 4)
    assert torch.equal(held.codes, source.draw(held_out_seeds(0, 4)).codes)
    assert torch.equal(held.codes[:, 0], held.codes[:, -1])


def test_labels_come_with_the_samples_and_real_images_have_none():
    torch.manual_seed(0)
    config = BigGANConfig((32, 32, 16), attention=0, z_dim=4, class_dim=4, classes=3)
    source = Source(BigGAN(config).eval().requires_grad_(False), 0.4, None)
    batch = source.draw(training_seeds(0, 0, 3))
    assert batch.labels.sum(1).tolist() == [1, 1, 1]
    both = joined(batch, torch.zeros(2, 3, 8, 8))
    assert both.labels.tolist() == [*batch.labels.tolist(), [0, 0, 0], [0, 0, 0]]
    assert len(both.codes) == 3 and len(both.images) == 5
