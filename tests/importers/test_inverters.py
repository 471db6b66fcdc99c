"""Published inverters with random weights, against the same written down once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dseinvert.cli.main import run
from dseinvert.config import VideoOptions
from dseinvert.errors import InputError, UsageError
from dseinvert.export.graphs import graphs
from dseinvert.generators.tuned import synthesize
from dseinvert.importers.read import read
from dseinvert.importers.rosinality import state_to_generator
from dseinvert.latent import Latent, load_latent
from dseinvert.media.images import read_image
from dseinvert.models import open_model
from dseinvert.models.cache import add
from dseinvert.run.video.studio import open_studio
from tests.references import contents, inverters, weights
from tests.references.encoder_weights import pictures as blocks


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    """A whole e4e checkpoint: encoder, decoder of 64 px and the mean latent."""
    return contents.psp("e4e")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return blocks(5, 2, 256)


def parts(base: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {n: t for n, t in base["state_dict"].items() if n.startswith(prefix)}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def close(found: Tensor, wanted: Tensor) -> None:
    assert (found - wanted).abs().max() < 1e-4 * max(1.0, wanted.abs().max().item())


def test_the_generator_that_references_draw_with_is_ours(base: dict[str, Any]) -> None:
    decoder = inverters.below(base["state_dict"], "decoder.")
    generator = state_to_generator(decoder, base["latent_avg"])
    w = inverters.noise(1, 2, 10, 64)
    close(generator.synthesize(Latent(w, "w+")), inverters.draw(w, decoder))


# ---- E2Style


def e2style(base: dict[str, Any], stages: int = 3) -> dict[str, Any]:
    state = parts(base, "decoder.")
    for stage in range(stages):
        shapes = inverters.e2style_shapes(6 if stage else 3, 64)
        own = {
            n: t / 4 if ".3." in n and "output" in n else t
            for n, t in inverters.filled(shapes, 40 + stage).items()
        }
        prefix = f"encoder_refinestage_list.{stage - 1}." if stage else "encoder_firststage."
        state |= {prefix + name: tensor for name, tensor in own.items()}
    opts = {"start_from_latent_avg": True, "training_stage": stages, "dataset_type": "ffhq_encode"}
    return {"state_dict": state, "latent_avg": base["latent_avg"], "opts": opts}


@pytest.mark.parametrize("stages", [1, 3])
def test_e2style_finds_what_the_published_networks_do(
    stages: int, base: dict[str, Any], images: Tensor, tmp_path: Path
) -> None:
    content = e2style(base, stages)
    found = read(saved(tmp_path / "e2style.pt", content))
    assert found.format == f"E2Style checkpoint ({stages} stage{'s' * (stages > 1)})"
    assert found.alignment == "ffhq" and "E2Style" in found.licence
    state = content["state_dict"]
    names = ["encoder_firststage.", *(f"encoder_refinestage_list.{k}." for k in range(stages - 1))]
    networks = [inverters.below(state, name) for name in names]
    decoder = inverters.below(state, "decoder.")
    wanted = inverters.e2style(images, networks, decoder, base["latent_avg"])
    assert found.encoder is not None
    close(found.encoder.encode(images).code, wanted)


def test_e2style_becomes_a_model_with_a_licence(
    base: dict[str, Any], images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSEINVERT_HOME", str(tmp_path / "home"))
    path = saved(tmp_path / "e2style.pt", e2style(base, 2))
    added = add(path, "ours")
    model = open_model(str(added.folder))
    assert "E2Style" in model.card["licence"] and model.card["encoder"]["kind"] == "e2style"
    encoder = read(path).encoder
    assert encoder is not None and model.encoder is not None
    close(model.encoder.encode(images).code, encoder.encode(images).code)


def test_a_stage_that_lacks_a_layer_is_refused_in_a_line(
    base: dict[str, Any], tmp_path: Path
) -> None:
    content = e2style(base, 2)
    del content["state_dict"]["encoder_refinestage_list.0.body.1.res_layer.3.weight"]
    with pytest.raises(InputError, match=r"body\.1\.res_layer\.3\.weight"):
        read(saved(tmp_path / "x.pt", content))


# ---- HFGI


def hfgi(base: dict[str, Any]) -> dict[str, Any]:
    state, channels = dict(base["state_dict"]), 16
    for seed, (prefix, shapes) in enumerate(
        zip(("residue.", "grid_align."), inverters.hfgi_shapes(channels, 12), strict=True)
    ):
        own = inverters.filled(shapes, 60 + seed)
        # So that features stay of the size that the generator knows.
        own = {n: t / 3 if "condition" in n and t.ndim == 4 else t for n, t in own.items()}
        state |= {prefix + name: tensor for name, tensor in own.items()}
    return {"state_dict": state, "latent_avg": base["latent_avg"], "opts": base["opts"]}


def test_hfgi_draws_what_the_published_networks_do(
    base: dict[str, Any], images: Tensor, tmp_path: Path
) -> None:
    content = hfgi(base)
    found = read(saved(tmp_path / "hfgi.pt", content))
    assert found.format == "HFGI checkpoint" and "HFGI" in found.licence
    assert found.encoder is not None and found.generator is not None
    latent = found.encoder.encode(images)
    plain = read(saved(tmp_path / "e4e.pt", base)).encoder
    assert plain is not None
    w = plain.encode(images).code
    assert latent.layer == 2 and torch.equal(latent.code, w)
    networks = [
        inverters.below(content["state_dict"], name)
        for name in ("residue.", "grid_align.", "decoder.")
    ]
    seen = functional.adaptive_avg_pool2d(images, 32)
    wanted = inverters.hfgi(seen, w, *networks)
    drawn = synthesize(found.generator, latent)
    close(drawn, wanted)
    assert (drawn - found.generator.synthesize(Latent(w, "w+"))).abs().mean() > 0.01


def test_hfgi_whose_features_are_not_the_generators_is_refused(
    base: dict[str, Any], tmp_path: Path
) -> None:
    content = hfgi(base)
    for name in ("scale", "shift"):
        for part in ("weight", "bias"):
            key = f"residue.condition_{name}3.2.{part}"
            content["state_dict"][key] = content["state_dict"][key][:4]
    with pytest.raises(
        InputError, match=r"features \[4, 8, 8\], and its generator has \[16, 8, 8\]"
    ):
        read(saved(tmp_path / "x.pt", content))


# ---- HyperStyle


def hyperstyle(separable: bool, times: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checkpoint, and the file of its encoder to w."""
    encoder = contents.psp("psp-w")
    decoder = parts(encoder, "decoder.")
    shapes = inverters.hyper_shapes(inverters.below(decoder, "decoder."), separable)
    own = inverters.filled(shapes, 80)
    # What writes changes is small, so that several of them stay changes.
    own = {n: t / 3 if n.startswith(("refinement", "shared")) else t for n, t in own.items()}
    state = decoder | {f"hypernet.{name}": tensor for name, tensor in own.items()}
    kind = "SharedWeightsHyperNetResNet" + "Separable" * separable
    opts = {"encoder_type": kind, "n_iters_per_batch": times, "dataset_type": "ffhq_hypernet"}
    return {"state_dict": state, "latent_avg": encoder["latent_avg"], "opts": opts}, encoder


@pytest.mark.parametrize(("separable", "times"), [(False, 1), (True, 2)])
def test_hyperstyle_changes_the_generator_as_the_published_networks_do(
    separable: bool, times: int, images: Tensor, tmp_path: Path
) -> None:
    content, w_encoder = hyperstyle(separable, times)
    saved(tmp_path / "faces_w_encoder.pt", w_encoder)
    found = read(saved(tmp_path / "hyperstyle.pt", content))
    assert found.format == "HyperStyle checkpoint (13 weights changed)"
    assert found.encoder is not None and found.generator is not None
    latent = found.encoder.encode(images)
    decoder = inverters.below(content["state_dict"], "decoder.")
    hyper = inverters.below(content["state_dict"], "hypernet.")
    plain = read(tmp_path / "faces_w_encoder.pt").encoder
    assert plain is not None
    w = plain.encode(images).code
    assert torch.equal(latent.code, w) and len(latent.tuning) == 26
    wanted = inverters.hyperstyle(images, w, hyper, decoder, separable, times)
    exact = found.encoder._latent(*found.encoder(images))  # type: ignore[operator]
    close(synthesize(found.generator, exact), wanted)
    # The file of a latent holds the change in half precision.
    assert (synthesize(found.generator, latent) - wanted).abs().max() < 0.01
    away = (found.generator.synthesize(Latent(w, "w+")) - wanted).abs().mean()
    assert away > 0.01


def test_hyperstyle_without_its_encoder_says_where_it_belongs(tmp_path: Path) -> None:
    content, _ = hyperstyle(False, 1)
    with pytest.raises(InputError, match="its encoder to w is a file of its own"):
        read(saved(tmp_path / "hyperstyle.pt", content))


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of a HyperStyle checkpoint."""
    monkeypatch.setenv("DSEINVERT_HOME", str(tmp_path / "home"))
    content, w_encoder = hyperstyle(False, 1)
    saved(tmp_path / "faces_w_encoder.pt", w_encoder)
    return add(saved(tmp_path / "hyperstyle.pt", content), "changing").folder


def test_the_latents_of_hyperstyle_keep_the_change(
    changing: Path, pictures: Path, tmp_path: Path
) -> None:
    model, out = ["--model", str(changing)], tmp_path / "out"
    line = ["images", str(pictures / "p0.png"), "--no-align", "--out", str(out)]
    assert run([*line, *model]) == 0
    latent = load_latent(out / "p0.safetensors")
    assert len(latent.tuning) == 26
    assert run(["edit", str(out / "p0.safetensors"), "--out", str(tmp_path / "again"), *model]) == 0
    first, again = (read_image(d / "p0.recon.png") for d in (out, tmp_path / "again"))
    assert np.abs(first.astype(int) - again).max() <= 1


def test_what_changes_weights_is_not_exported_and_not_for_clips(changing: Path) -> None:
    model = open_model(str(changing))
    with pytest.raises(UsageError, match="which no exported file does"):
        graphs(model)
    assert [graph.name for graph in graphs(model, "generator")] == ["generator"]
    with pytest.raises(UsageError, match="use `images`"):
        open_studio(VideoOptions(), model)


# ---- StyleRes


def test_styleres_draws_what_the_published_networks_do(
    base: dict[str, Any], images: Tensor, tmp_path: Path
) -> None:
    decoder = inverters.below(base["state_dict"], "decoder.")
    encoder = inverters.below(base["state_dict"], "encoder.")
    shapes = inverters.styleres_shapes(32 + 16, 16, 12, 8)
    own = {n: t / 2 for n, t in inverters.filled(shapes, 90).items()}
    generator = inverters.as_nvlabs(decoder, base["latent_avg"])
    generator |= {f"synthesis.b8.modify_feature_{name}": t for name, t in own.items()}
    content = {"e4e": encoder, "latent_avg": base["latent_avg"], "generator_smooth": generator}
    found = read(saved(tmp_path / "styleres.pt", content))
    assert found.format == "StyleRes checkpoint" and "non-commercial" in found.licence
    assert found.encoder is not None and found.generator is not None
    latent = found.encoder.encode(images)
    plain = read(saved(tmp_path / "e4e.pt", base))
    assert plain.encoder is not None and plain.generator is not None
    w = plain.encoder.encode(images).code
    close(latent.code, w)
    seen = functional.adaptive_avg_pool2d(images, 32)
    maps = [*inverters.trunk(seen, encoder, (1, 2, 2, 1))]
    features = plain.generator.features(Latent(w, "w+"), 2)
    wanted = inverters.styleres(maps[1], features, own)
    assert latent.feature is not None and latent.layer == 2
    close(latent.feature, wanted)
    close(
        synthesize(found.generator, latent),
        plain.generator.synthesize(Latent(w, "w+", wanted, 2)),
    )
    assert (wanted - features).abs().mean() > 0.01


# ---- In-Domain Inversion


def idinvert() -> dict[str, Tensor]:
    """The encoder of 32 px for the generator whose numbers are in stylegan1-idinvert.json."""
    return inverters.filled(inverters.idinvert_shapes(20), 90)


def test_idinvert_finds_what_the_published_network_does(tmp_path: Path) -> None:
    encoder, generator = idinvert(), contents.genforce("stylegan1-idinvert")
    saved(tmp_path / "styleganinv_x256_generator.pth", generator)
    found = read(saved(tmp_path / "styleganinv_x256_encoder.pth", encoder))
    assert found.format == "In-Domain Inversion encoder" and "MIT" in found.licence
    assert found.encoder is not None and found.generator is not None
    seen = blocks(6, 2, 32)
    wanted = inverters.idinvert(seen, encoder)
    assert wanted.std() > 0.1 and wanted.shape == (2, 8, 20)
    close(found.encoder.encode(seen).code, wanted)
    drawn = found.generator.synthesize(found.encoder.encode(seen))
    assert drawn.shape == (2, 3, 32, 32) and drawn.abs().max() <= 1


def test_idinvert_belongs_to_the_generator_beside_it_or_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSEINVERT_HOME", str(tmp_path / "home"))
    path = saved(tmp_path / "alone_encoder.pth", idinvert())
    with pytest.raises(InputError, match="without its generator"):
        read(path)
    gan = add(saved(tmp_path / "g.pth", contents.genforce("stylegan1-idinvert")), "gan").folder
    model = open_model(str(add(path, "named", gan=open_model(str(gan))).folder))
    assert model.card["encoder"]["kind"] == "idinvert" and "MIT" in model.card["licence"]
    saved(tmp_path / "alone_generator.pth", contents.genforce("pggan-genforce"))
    with pytest.raises(InputError, match=r"32 px to w\+ \[8, 20\], and a generator of .* from z"):
        read(path)


def test_idinvert_that_lacks_a_layer_is_refused_in_a_line(tmp_path: Path) -> None:
    saved(tmp_path / "x_generator.pth", contents.genforce("stylegan1-idinvert"))
    for name in ("block1.conv2.weight", "block2.wscale1.bias", "block4.fc.weight"):
        encoder = {n: t for n, t in idinvert().items() if n != name}
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read(saved(tmp_path / "x_encoder.pth", encoder))


# ---- StyleFeatureEditor


def style_feature(whole: bool) -> dict[str, Any]:
    """A checkpoint of the whole method, or of its inverter, with a generator of 128 px."""
    rows, channels, w_dim = 12, 8, 16
    inverter = inverters.filled(inverters.sfe_shapes(rows, channels, w_dim), 100)
    # So that w stays where the generator knows it.
    inverter = {n: t / 20 if ".styles." in n else t for n, t in inverter.items()}
    editor = inverters.filled(inverters.sfe_fuser_shapes("", channels), 101)
    decoder = weights.fill(inverters.decoder_shapes(128, channels, w_dim), 102)
    parts = {"decoder.": {n: torch.from_numpy(np.array(a)) for n, a in decoder.items()}}
    parts |= {"inverter.": inverter, "encoder.": editor} if whole else {"encoder.": inverter}
    parts["discriminator."] = {"b4.out.weight": torch.ones(1, 2)}
    state = {prefix + n: t for prefix, own in parts.items() for n, t in own.items()}
    return {"state_dict": state, "latent_avg": inverters.noise(8, w_dim) / 4, "encoder_opt": {}}


@pytest.mark.parametrize("whole", [False, True])
def test_style_feature_editor_draws_what_the_published_networks_do(
    whole: bool, images: Tensor, tmp_path: Path
) -> None:
    content = style_feature(whole)
    found = read(saved(tmp_path / "sfe.pt", content))
    assert found.format == f"StyleFeatureEditor checkpoint ({'editor' if whole else 'inverter'})"
    assert "MIT" in found.licence and bool(found.notes) is whole
    assert found.encoder is not None and found.generator is not None
    state = content["state_dict"]
    inverter = inverters.below(state, "inverter." if whole else "encoder.")
    decoder = inverters.below(state, "decoder.")
    editor = inverters.below(state, "encoder.") if whole else None
    w, feature, picture = inverters.style_feature(
        images, inverter, content["latent_avg"], decoder, editor
    )
    latent = found.encoder.encode(images)
    assert latent.layer == 9 and latent.feature is not None
    close(latent.code, w)
    close(latent.feature, feature)
    drawn = synthesize(found.generator, latent)
    close(drawn, picture)
    assert (drawn - found.generator.synthesize(Latent(w, "w+"))).abs().mean() > 0.01


def test_style_feature_editor_shrinks_as_the_published_code_does(tmp_path: Path) -> None:
    """By the two pixels in the middle of each four, which is no mean of an area."""
    encoder = read(saved(tmp_path / "sfe.pt", style_feature(False))).encoder
    assert encoder is not None
    large = blocks(7, 1, 1024)
    small = functional.interpolate(large, size=(256, 256), mode="bilinear", align_corners=False)
    close(encoder.encode(large).code, encoder.encode(small).code)


def test_style_feature_editor_whose_features_are_not_the_generators_is_refused(
    base: dict[str, Any], tmp_path: Path
) -> None:
    content = style_feature(False)
    for name in ("fs_backbone.block_2.1.conv1.weight", "fuser.body.1.body.3.weight"):
        lacking = {n: t for n, t in content["state_dict"].items() if n != f"encoder.{name}"}
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read(saved(tmp_path / "x.pt", {**content, "state_dict": lacking}))
    own = {n: t for n, t in content["state_dict"].items() if not n.startswith("decoder.")}
    with pytest.raises(InputError, match=r"encoder writes w\+ \[12, 16\], its generator takes"):
        other = {**content, "state_dict": own | parts(base, "decoder."), "latent_avg": None}
        read(saved(tmp_path / "x.pt", other))
    with pytest.raises(InputError, match="without its decoder"):
        read(saved(tmp_path / "x.pt", {**content, "state_dict": own}))
