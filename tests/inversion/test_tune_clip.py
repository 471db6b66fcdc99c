from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dseinvert.errors import UsageError
from dseinvert.generators.tuned import draw_alike, private, with_tuning
from dseinvert.inversion.asked import Stage, clip_refining
from dseinvert.inversion.clip_descent import ClipTuning, held_out
from dseinvert.inversion.clip_stages import Fitted
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.tune_clip import tune_clip
from dseinvert.models import Model
from tests.export.models_of_every_kind import model_of

KINDS = (
    *("stylegan2, dse", "stylegan2, dse-feature", "stylegan2, psp", "stylegan2, feature-style"),
    *("stylegan2, restyle", "pggan, dse-pggan"),
)
BOTH = (Stage("encoder", 6), Stage("generator", 6))


def frames(model: Model, count: int = 12) -> Tensor:
    """What the generator draws on the way between two samples."""
    with torch.no_grad():
        latent = model.generator.sample([1, 2])
        ways = torch.linspace(0, 0.3, count).view(-1, 1, 1)
        code = latent.code[:1].lerp(latent.code[1:], ways)
        path = latent[torch.zeros(count, dtype=torch.int64)]
        object.__setattr__(path, "code", code)
        return model.generator.synthesize(path).clamp(-1, 1)


def distance(model: Model, fitted: Fitted, images: Tensor) -> float:
    inverter = fitted.inverter(Inverter(model.generator, model.encoder), model.encoder)
    return float((inverter.invert(images).images - images).square().mean())


def state(model: Model) -> dict[str, Tensor]:
    parts = {"generator": model.generator, "encoder": model.encoder}
    return {
        f"{part}.{name}": tensor.clone()
        for part, module in parts.items()
        if isinstance(module, nn.Module)
        for name, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_other_frames_come_nearer_and_the_model_stays_as_it_was(kind: str) -> None:
    model = model_of(kind)
    assert model.encoder is not None
    images = frames(model)
    Inverter(model.generator, model.encoder).invert(images[:1])  # as the clip before did
    before = state(model)
    fitted = tune_clip(model.generator, model.encoder, images[::2], BOTH)
    assert [stage.method for stage in fitted.stages] == ["encoder", "generator"]
    assert any(stage.kept for stage in fitted.stages)
    assert distance(model, fitted, images[1::2]) < distance(model, Fitted(), images[1::2])
    after = state(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert not any(w.requires_grad for w in model.encoder.parameters())  # type: ignore[attr-defined]


def test_the_same_frames_give_the_same_weights() -> None:
    model = model_of("stylegan2, dse-feature")
    images = frames(model)
    first, again = (tune_clip(model.generator, model.encoder, images, BOTH) for _ in range(2))
    for one, other in ((first.encoder, again.encoder), (first.tuning, again.tuning)):
        assert one and all(torch.equal(other[name], tensor) for name, tensor in one.items())


def test_fewer_frames_at_once_change_rounding_only() -> None:
    model = model_of("stylegan2, dse-feature")
    images, few = frames(model), (Stage("encoder", 2), Stage("generator", 2))
    one, other = (
        tune_clip(model.generator, model.encoder, images, few, options=ClipTuning(at_once=size))
        for size in (4, 1)
    )
    for stage, same in zip(one.stages, other.stages, strict=True):
        assert stage.kept == same.kept == 2
        assert same.loss == pytest.approx(stage.loss, rel=1e-3)


def test_where_nothing_helps_nothing_is_kept() -> None:
    model = model_of("stylegan2, dse")
    wild = ClipTuning(encoder=1e4, generator=1e4)
    fitted = tune_clip(model.generator, model.encoder, frames(model), BOTH, options=wild)
    assert (fitted.encoder, fitted.tuning) == ({}, {})
    assert [stage.kept for stage in fitted.stages] == [0, 0]
    assert all(stage.loss[0] == stage.loss[1] for stage in fitted.stages)


def test_a_difference_is_what_float16_holds_and_draws_alike_everywhere() -> None:
    model = model_of("stylegan2, dse-feature")
    images = frames(model)
    tuning = tune_clip(model.generator, model.encoder, images, BOTH[1:]).tuning
    assert all(torch.equal(t.half().float(), t) for t in tuning.values())
    with torch.no_grad():
        latent = model.generator.sample([0, 1])
        alike = draw_alike(private(model.generator), latent, tuning)
        torch.testing.assert_close(with_tuning(model.generator, tuning).synthesize(latent), alike)


def test_too_few_frames_leave_all_as_it_was() -> None:
    model = model_of("stylegan2, dse")
    assert tune_clip(model.generator, model.encoder, frames(model, 4), BOTH) == Fitted()
    assert held_out(4) == [] and held_out(5) == [2] and held_out(12) == [2, 7]


def test_what_is_told_can_end_it() -> None:
    model = model_of("stylegan2, dse")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_clip(model.generator, model.encoder, frames(model), BOTH, stop)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latent:10", "flicker"),
        ("encoder,latent", "flicker"),
        ("generator,generator:5", "once each"),
        ("generator,encoder", "the encoder comes first"),
        ("pixels", "pixels"),
    ],
)
def test_what_a_clip_cannot_have_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        clip_refining(text)
    assert clip_refining("encoder,generator:7").text == "encoder:100,generator:7"
