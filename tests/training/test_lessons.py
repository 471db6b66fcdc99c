from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch

from dseinvert.errors import UsageError
from dseinvert.inversion.inverter import Inverter
from dseinvert.models import open_model
from dseinvert.training.lessons import teach
from dseinvert.training.loop import train
from dseinvert.training.mirror import Wishes, build, mirror
from dseinvert.training.options import TrainOptions

OTHERS = ("dse-feature", "feature-style", "psp", "e4e", "restyle")
STAGES = (4, 8, 8, 16)


def options_of(options: TrainOptions, method: str) -> TrainOptions:
    """A run of seconds of another method on the tiny generator, whose w is 16 wide."""
    layer = 3 if "feature" in method else None
    widths = (8, 12, 16) if method == "dse-feature" else STAGES
    return replace(options, method=method, layer=layer, widths=widths, attention="none")


@pytest.fixture
def encoder_of(gan):
    def built(method: str):
        torch.manual_seed(0)
        widths = (8, 12, 16) if method == "dse-feature" else STAGES
        layer = 3 if "feature" in method else None
        wanted = mirror(gan.generator, 1.0, Wishes(widths, None, method, layer))
        return build(wanted, gan.generator)

    return built


@pytest.mark.parametrize("method", OTHERS)
def test_training_lowers_the_held_out_loss_of_every_method(gan, options, tmp_path, method):
    chosen = replace(options_of(options, method), iterations=80, eval_every=80)
    longer = replace(chosen, lr=0.001, eval_samples=16)
    train(gan, longer, tmp_path / "run")
    with (tmp_path / "run" / "evaluation.csv").open() as table:
        before, after = (float(row["mse"]) for row in csv.DictReader(table))
    assert after < before


@pytest.mark.parametrize("method", OTHERS)
def test_a_run_of_every_method_becomes_a_model_and_goes_on(gan, options, tmp_path, method):
    wanted = options_of(options, method)
    train(gan, wanted, tmp_path / "whole")
    train(gan, wanted, tmp_path / "parts", ends=0)
    train(gan, wanted, tmp_path / "parts")
    images = gan.generator.synthesize(gan.generator.sample([1, 2]))
    whole, parts = (open_model(str(tmp_path / name)) for name in ("whole", "parts"))
    found = [Inverter(one.generator, one.encoder).invert(images).latent for one in (whole, parts)]
    assert torch.equal(found[0].code, found[1].code)
    assert (found[0].feature is not None) == ("feature" in method)


@pytest.mark.parametrize("method", ["e4e", "feature-style"])
def test_a_schedule_over_the_whole_run_cannot_be_changed_later(gan, options, tmp_path, method):
    wanted = options_of(options, method)
    train(gan, wanted, tmp_path / "run", ends=0)
    with pytest.raises(UsageError, match="schedule"):
        train(gan, replace(wanted, iterations=7), tmp_path / "run")


def test_e4e_begins_in_w_and_ends_in_w_plus(gan, encoder_of):
    encoder = encoder_of("e4e")
    images = gan.generator.synthesize(gan.generator.sample([1, 2]))
    spread = []
    for progress in (0.0, 0.2, 1.0):
        (_, latent), *_ = teach(encoder, gan.generator, images, None, progress).attempts
        rows = latent.code - encoder.w_avg
        spread.append([bool((rows[:, k] - rows[:, 0]).abs().max() > 0) for k in range(6)])
    assert spread[0] == [False] * 6
    assert spread[1] == [False, True, True, False, False, False]
    assert spread[2] == [False, True, True, True, True, True]


def test_e4e_pays_for_the_length_of_its_offsets(gan, encoder_of):
    encoder = encoder_of("e4e")
    images = gan.generator.synthesize(gan.generator.sample([1, 2]))
    short, long = (
        teach(encoder, gan.generator, images, None, p).penalties["delta"] for p in (0.0, 1.0)
    )
    assert short == 0 < long


def test_restyle_is_judged_by_each_of_its_corrections(gan, encoder_of):
    encoder = encoder_of("restyle").eval()
    images = gan.generator.synthesize(gan.generator.sample([1, 2]))
    attempts = teach(encoder, gan.generator, images, None, 0.5).attempts
    assert [share for share, _ in attempts] == [pytest.approx(1 / 3)] * 3
    assert torch.equal(attempts[-1][1].code, encoder.encode(images).code)
    assert not torch.equal(attempts[0][1].code, attempts[1][1].code)


def test_the_feature_takes_over_from_the_generators_own(gan, encoder_of):
    encoder = encoder_of("feature-style").eval()
    images = gan.generator.synthesize(gan.generator.sample([1, 2]))
    for progress, same in ((0.0, True), (1.0, False)):
        lesson = teach(encoder, gan.generator, images, None, progress)
        (_, plain), (_, full) = lesson.attempts
        drawn = [gan.generator.synthesize(one) for one in (plain, full)]
        assert torch.allclose(drawn[0], drawn[1], atol=1e-5) == same
    assert torch.equal(full.feature, encoder.encode(images).feature)


def test_a_method_that_reads_rows_refuses_a_generator_without_them():
    from dseinvert.generators.pggan import PGGAN, PGGANConfig

    generator = PGGAN(PGGANConfig(16, {4: 8, 8: 8, 16: 8}, z_dim=16))
    with pytest.raises(UsageError, match="latent is not in rows"):
        mirror(generator, 1.0, Wishes(method="psp"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "psp", "layer": 5}, "psp has no feature"),
        ({"method": "psp", "strategy": 1}, "psp learns from images"),
        ({"method": "hfgi"}, "give dse or"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        TrainOptions(**given)
