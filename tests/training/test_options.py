from __future__ import annotations

import json
from pathlib import Path

import pytest

from dseinvert.errors import UsageError
from dseinvert.similarity.weights import Attention
from dseinvert.training.options import TrainOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": 3},
        {"iterations": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"seed": -1},
        {"psi": 0.0},
        {"mixing": 1.1},
        {"start": "afresh"},
        {"attention": "eyes"},
        {"gradcam_gradients": "all"},
        {"cutoff": 0},
        {"ema": 1.0},
        {"real_share": 1.0},
        {"perceptual": "vgg"},
        {"precision": "float16"},
        {"head": "other"},
        {"widths": ()},
        {"widths": (8, 0)},
        {"log_every": 0},
        {"eval_samples": 0},
        {"grid_every": -1},
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_option(wrong):
    with pytest.raises(UsageError) as caught:
        TrainOptions(**wrong)
    assert "--" + next(iter(wrong)).replace("_", "-") in str(caught.value)


def test_the_defaults_are_the_papers():
    options = TrainOptions()
    assert (options.rate, options.iterations) == (0.0015, 7 * 30_000)
    assert options.mu == Attention(5, 9)
    assert options.attention == "crops"
    assert [options.batch_at(side) for side in (256, 512, 1024)] == [8, 4, 2]


def test_psi_is_the_usual_one_unless_the_user_says_another():
    assert [TrainOptions(psi=psi).psi_for(True, 0.7) for psi in (None, 0.5, 1)] == [0.7, 0.5, 1]
    assert [TrainOptions(psi=psi).psi_for(False, 1.0) for psi in (None, 1)] == [1, 1]
    with pytest.raises(UsageError, match=r"--psi 0\.5"):
        TrainOptions(psi=0.5).psi_for(False, 1.0)


def test_the_first_eight_rows_are_truncated_where_there_are_rows():
    assert [TrainOptions(cutoff=cutoff).cutoff_for(18) for cutoff in (None, 4, 18)] == [8, 4, 18]
    assert TrainOptions().cutoff_for(1) is None
    with pytest.raises(UsageError, match="--cutoff 4"):
        TrainOptions(cutoff=4).cutoff_for(1)


@pytest.mark.parametrize(
    "lost", [{"gradcam_weights": Path("vgg16.pth")}, {"gradcam_gradients": "images"}]
)
def test_options_of_grad_cam_do_nothing_without_it_and_are_refused(lost):
    with pytest.raises(UsageError, match="--attention gradcam"):
        TrainOptions(**lost)
    TrainOptions(**lost, attention="gradcam")


def test_small_generators_get_no_larger_batch_than_256_px_ones():
    assert TrainOptions().batch_at(64) == 8


def test_real_images_need_strategy_2():
    with pytest.raises(UsageError, match="strategy 2"):
        TrainOptions(strategy=1, real=Path("faces.tar"))


@pytest.mark.parametrize(
    ("batch", "share", "count"), [(8, 0.25, 2), (2, 0.9, 1), (8, 0.01, 1), (4, 0.99, 3)]
)
def test_a_batch_with_real_images_holds_both_kinds(batch, share, count):
    options = TrainOptions(real=Path("faces.tar"), real_share=share, batch=batch)
    assert options.real_at(256) == count


def test_a_batch_of_one_has_no_room_for_real_images():
    with pytest.raises(UsageError, match="--batch"):
        TrainOptions(real=Path("faces.tar"), batch=1).real_at(256)


def test_without_real_images_there_are_none():
    assert TrainOptions().real_at(256) == 0


def test_options_are_plain_values_for_json():
    options = TrainOptions(
        real=Path("a.tar"), widths=(8, 12), attention="gradcam", gradcam_weights=Path("b.pth")
    )
    plain = json.loads(json.dumps(options.asdict()))
    assert plain == options.asdict()
    assert set(plain) == set(TrainOptions.__dataclass_fields__)
