"""An image that no refinement betters is returned as it was, whatever the encoder and space."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.inversion.asked import parse_refining
from dseinvert.inversion.inverter import KEPT, Inversion, Inverter
from dseinvert.inversion.joining import best_of
from dseinvert.inversion.names import SPACES
from dseinvert.inversion.refining import open_refining
from dseinvert.inversion.spaces import check_space
from dseinvert.latent import Latent, load_latent
from dseinvert.models import Model, save_model
from tests.export.models_of_every_kind import MODELS, model_of

# Those that change the generator for each image, or look again, are refused below.
PER_IMAGE = ("hfgi", "hyperstyle", "style-feature", "styleres")
ENCODERS = [name for name in MODELS if not name.endswith(("none", *PER_IMAGE))]
WORKS = [("latent:1", space) for space in SPACES]
WORKS += [("sam:6", "z+"), ("latent:1,generator:1", "w"), ("encoder:1,latent:1", "z+")]


class Fixed:
    """An encoder that finds the same latents in whatever it is shown."""

    def __init__(self, encoder: Any, latent: Latent) -> None:
        self.encoder, self.latent, self.config = encoder, latent, encoder.config

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        return self.latent


@cache
def known(name: str) -> tuple[Model, Latent]:
    """A model with what its encoder finds in two pictures."""
    model = model_of(name)
    side = model.generator.resolution
    pictures = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    spec, label = model.generator.spec, None
    if spec.classes:
        label = torch.eye(spec.classes)[:2]
    with torch.no_grad():
        latent = model.require_encoder().encode(pictures, label)
    if latent.feature is not None:  # a branch that was never trained adds nothing
        noise = torch.Generator().manual_seed(2)
        extra = torch.randn(latent.feature.shape, generator=noise)
        latent = replace(latent, feature=latent.feature + 0.3 * latent.feature.std() * extra)
    return model, latent


def refined(name: str, work: str, space: str, images: Tensor) -> Inversion:
    model, latent = known(name)
    asked = parse_refining(work, space)
    refine = open_refining(asked, model.generator, model.require_encoder())
    label = 0 if model.generator.spec.classes else None
    fixed: Any = Fixed(model.encoder, latent)
    return Inverter(model.generator, fixed, label, refine).invert(images)


def error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean((1, 2, 3))


@pytest.mark.parametrize(("work", "space"), WORKS)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_image_that_nothing_betters_is_returned_as_it_was(
    name: str, work: str, space: str
) -> None:
    model, latent = known(name)
    try:
        check_space(model.generator, space)
    except UsageError:
        pytest.skip("not of this generator")
    with torch.no_grad():
        drawn = model.generator.synthesize(latent)
    found, images, _ = best_of(model.generator, [refined(name, work, space, drawn)])
    torch.testing.assert_close(images, drawn.clamp(-1, 1), atol=2e-3, rtol=0)
    assert len(found) == 2


@pytest.mark.parametrize("space", SPACES)
def test_every_image_of_a_batch_keeps_the_better(space: str) -> None:
    """One is drawn by the encoder's F, which no rows have; one by rows that w+ has."""
    name = "stylegan2, dse-feature"
    model, latent = known(name)
    with torch.no_grad():
        drawn = model.generator.synthesize(latent)
        drawn[1] = model.generator.synthesize(model.generator.sample([3]))[0]
    inversion = refined(name, "latent:30", space, drawn)
    before = error(inversion.before[0].images, drawn)
    found, images, kept = best_of(model.generator, [inversion])
    assert (error(images, drawn) <= before + 1e-6).all()
    torch.testing.assert_close(
        model.generator.synthesize(found).clamp(-1, 1), images, atol=1e-4, rtol=0
    )
    if not space.startswith("f/w"):
        assert bool(kept[0])
    (one,) = [part for part in inversion.parts() if 1 in part.at.tolist()]
    assert part_draws(model, one.latent, one.images)


def part_draws(model: Model, latent: Latent, images: Tensor) -> bool:
    with torch.no_grad():
        return torch.allclose(model.generator.synthesize(latent).clamp(-1, 1), images, atol=1e-4)


def test_a_run_says_what_it_kept_and_writes_the_encoders_latent(
    dse: Any, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps in z+ do not reach what the encoder with F found."""
    made = model_of("stylegan2, dse-feature")
    save_model(tmp_path / "m", made.generator, made.require_encoder(), name="m")
    given = ("images", pictures, "--no-align", "--model", tmp_path / "m", "-q")
    assert dse(*given, "--out", tmp_path / "plain") == 0
    shown = []
    for size in ("1", "4"):
        out = tmp_path / size
        refine = ("--refine", "latent:1", "--space", "z", "--batch", size)
        assert dse(*given, *refine, "--out", out) == 0
        shown.append({p.name: p.read_bytes() for p in out.glob("*.recon.png")})
    assert shown[0] == shown[1]
    latents = [load_latent(file) for file in sorted((tmp_path / "4").glob("*.safetensors"))]
    kept = [one for one in latents if one.origin.get("kept") == KEPT]
    assert kept and all(one.feature is not None for one in kept)
    assert all(one.origin["refined"] == "latent:1 z" for one in latents)
    journal = (tmp_path / "4" / "journal.jsonl").read_text()
    assert journal.count("found nothing better than it began with") == len(kept)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_an_encoder_that_cannot_be_tuned_says_so(name: str) -> None:
    model = model_of(f"stylegan2, {name}")
    with pytest.raises(UsageError, match=f"not with an encoder of {name}"):
        open_refining(parse_refining("encoder:1", None), model.generator, model.require_encoder())
