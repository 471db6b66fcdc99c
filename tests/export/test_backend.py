from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dseinvert.editing.apply import apply_edits, parse_edits
from dseinvert.errors import MissingError, UsageError
from dseinvert.export import backend
from dseinvert.export.backend import ExportedGenerator, accelerated, kept, run_by
from dseinvert.export.exporting import Exported
from dseinvert.export.graphs import graphs
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import ParityError
from dseinvert.export.runtimes import Threads
from dseinvert.generators import tuned
from dseinvert.generators.families import ASKED
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import Latent
from dseinvert.models import Model, home, open_model, remove

pytest.importorskip("onnxruntime")
ONE = Threads()


@pytest.fixture(scope="module")
def run(tiny: Model, exported: Exported) -> Model:
    """The tiny model, run by ONNX Runtime."""
    return run_by(tiny, exported, ONE)


def images(model: Model, count: int = 3) -> torch.Tensor:
    with torch.no_grad():
        return model.generator.synthesize(model.generator.sample(range(count))).clamp(-1, 1)


def test_an_inverter_cannot_tell(tiny: Model, run: Model) -> None:
    assert tiny.encoder is not None and run.encoder is not None
    wanted = Inverter(tiny.generator, tiny.encoder).invert(images(tiny))
    made = Inverter(run.generator, run.encoder).invert(images(tiny))
    assert made.latent.space == "w+"
    assert (made.latent.code - wanted.latent.code).abs().max() < 1e-4
    assert (made.images - wanted.images).abs().max() < 1e-3
    assert made.latent.origin["backend"].startswith("onnx ")


def test_a_generator_in_files_says_of_itself_what_pytorchs_says(tiny: Model, run: Model) -> None:
    own = ("synthesize", "features", "by")
    for name in [name for name in ASKED if name not in own]:
        wanted, said = (getattr(model.generator, name) for model in (tiny, run))
        if not callable(said) or name == "plain":
            assert said is wanted or said == wanted, name
    latent = tiny.generator.sample([1], psi=0.5)
    assert torch.equal(run.generator.rows(latent), tiny.generator.rows(latent))
    assert torch.equal(run.generator.first_weights(), tiny.generator.first_weights())
    assert (tiny.generator.by, run.generator.by.split()[0]) == ("torch", "onnx")


def test_edits_are_drawn_as_by_torch(tiny: Model, run: Model) -> None:
    edits = parse_edits("age=1.5", tiny.directions)
    with torch.inference_mode():
        latent = apply_edits(tiny.generator.sample([4, 5]), edits)
        difference = run.generator.synthesize(latent) - tiny.generator.synthesize(latent)
    assert difference.abs().max() < 1e-3


def test_a_feature_enters_at_its_layer(tiny: Model, run: Model) -> None:
    latent = tiny.generator.sample([4, 5])
    with torch.inference_mode():
        feature = run.generator.features(latent, 3)
        assert (feature - tiny.generator.features(latent, 3)).abs().max() < 1e-4
        other = replace(tiny.generator.sample([8, 9]), feature=feature, layer=3)
        difference = run.generator.synthesize(other) - tiny.generator.synthesize(other)
    assert difference.abs().max() < 1e-3


def counted(run: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that reach PyTorch's own network."""
    calls: list[str] = []
    inner = run.generator.generator  # type: ignore[attr-defined]
    for name in ("synthesize", "features"):
        real = getattr(inner, name)

        def call(*given: object, name: str = name, real: Callable[..., object] = real) -> object:
            calls.append(name)
            return real(*given)

        monkeypatch.setattr(inner, name, call)
    return calls


def test_what_is_not_exported_is_done_by_torch(run: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(run, monkeypatch)
    latent = run.generator.sample([1])
    with torch.inference_mode():
        run.generator.synthesize(latent)
        assert calls == []
        run.generator.synthesize(Latent(torch.randn(1, 1, 16), "z"))
        run.generator.features(latent, 2)
        feature = run.generator.features(latent, 3)
        assert calls == ["synthesize", "features"]
        run.generator.synthesize(replace(latent, feature=feature, layer=3, skip="drop"))
        assert calls == ["synthesize", "features", "synthesize"]
    code = latent.code.clone().requires_grad_()
    run.generator.synthesize(replace(latent, code=code)).sum().backward()
    assert code.grad is not None and code.grad.abs().sum() > 0


def test_style_offsets_are_not_lost_in_a_file_that_takes_none(
    run: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(run, monkeypatch)
    latent = replace(run.generator.sample([1]), style=torch.randn(1, 5))
    with (
        torch.inference_mode(),
        suppress(ValueError),
    ):  # how many styles there are is not asked here
        run.generator.synthesize(latent)
    with torch.inference_mode(), suppress(ValueError):
        run.generator.features(latent, 3)
    assert calls == ["synthesize", "features"]


def test_a_tuned_generator_draws_by_torch_with_its_own_weights(tiny: Model, run: Model) -> None:
    weight = dict(tiny.generator.named_parameters())["synthesis.convs.1.conv.weight"]  # type: ignore[attr-defined]
    torch.manual_seed(0)
    step = {
        "synthesis.convs.1.conv.weight.up": torch.randn(2, len(weight), 1),
        "synthesis.convs.1.conv.weight.down": torch.randn(2, 1, weight[0].numel()),
    }
    plain = tiny.generator.sample([1, 2])
    own = replace(plain, tuning=step)
    with torch.inference_mode():
        wanted = tuned.synthesize(tiny.generator, own)
        assert (wanted - tiny.generator.synthesize(plain)).abs().max() > 0.01
        for drawn in (run.generator.synthesize(own), tuned.synthesize(run.generator, own)):
            assert torch.equal(drawn, wanted)
        assert torch.equal(run.generator.features(own, 3), tuned.features(tiny.generator, own, 3))
        again = run.generator.synthesize(plain) - tiny.generator.synthesize(plain)
    assert again.abs().max() < 1e-3


def test_files_of_another_model_are_refused(other_model: Path, exported: Exported) -> None:
    other = open_model(str(other_model))
    with pytest.raises(MissingError, match="exported from another model"):
        run_by(other, exported, ONE)
    assert kept(other, "onnx") is None


def test_files_are_made_once(
    tiny: Model, in_cache: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(backend, "export_model", never)
    assert accelerated(tiny, "onnx", ONE).generator is not tiny.generator


def test_auto_is_torch_for_a_short_run_and_exports_for_a_long_one(
    tiny: Model, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ExportOptions] = []

    def make(_: Model, options: ExportOptions, told: object) -> Exported:
        made.append(options)
        return exported

    monkeypatch.setattr(backend, "export_model", make)
    monkeypatch.setitem(backend.FASTEST, "cpu", ("onnx",))
    assert accelerated(tiny, "auto", ONE, 100) is tiny
    assert made == []
    assert accelerated(tiny, "auto", ONE, 10**9).generator is not tiny.generator
    assert [options.to for options in made] == ["onnx"]


def test_auto_chooses_alike_for_a_worker_of_one_core_and_a_process_of_many(
    tiny: Model, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "export_model", lambda *_: exported)
    monkeypatch.setitem(backend.FASTEST, "cpu", ("onnx",))
    enough = math.ceil(backend.WORTH_IT / backend.flops(tiny))
    for threads in (ONE, Threads(8, 8)):
        assert accelerated(tiny, "auto", threads, enough - 1) is tiny
        assert accelerated(tiny, "auto", threads, enough).generator is not tiny.generator


def test_auto_takes_files_that_are_there(
    tiny: Model, in_cache: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backend.FASTEST, "cpu", ("onnx",))
    for count in (None, backend.FEW):
        assert accelerated(tiny, "auto", ONE, count).generator is not tiny.generator


def test_auto_is_torch_for_a_few_images_whatever_there_is(
    tiny: Model, in_cache: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backend.FASTEST, "cpu", ("onnx",))
    assert accelerated(tiny, "auto", ONE, backend.FEW - 1) is tiny


def test_auto_goes_on_with_torch_where_an_export_fails(
    tiny: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ParityError("differs")

    monkeypatch.setattr(backend, "export_model", fail)
    monkeypatch.setitem(backend.FASTEST, "cpu", ("onnx",))
    with caplog.at_level(logging.WARNING):
        assert accelerated(tiny, "auto", ONE, 10**9) is tiny
    assert "going on with PyTorch: differs" in caplog.text


def test_damaged_files_are_made_again(
    tiny: Model, in_cache: Exported, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_cache.folder / "encoder.onnx").write_bytes(b"damaged")
    made: list[Path | None] = []

    def make(_: Model, options: ExportOptions, told: object) -> Exported:
        made.append(options.out)
        return exported

    monkeypatch.setattr(backend, "export_model", make)
    assert accelerated(tiny, "onnx", ONE).generator is not tiny.generator
    assert made == [in_cache.folder]


def test_what_cannot_run_here_is_refused(tiny: Model) -> None:
    with pytest.raises(UsageError, match="one of auto, torch"):
        accelerated(tiny, "caffe", ONE)
    with pytest.raises(UsageError, match="tensorrt runs on cuda, not on cpu"):
        accelerated(tiny, "tensorrt", ONE)


def test_a_biggan_of_another_truncation_is_drawn_by_torch(
    model_of: Callable[[str], Model],
) -> None:
    model = model_of("biggan, dse-biggan")
    (graph,) = graphs(model, "generator")
    inputs = {name: {"shape": ["batch", *one.shape[1:]]} for name, one in graph.inputs.items()}
    files = {"generator": (graph.run, {**graph.about, "inputs": inputs})}
    drawing = ExportedGenerator(model.generator, files)
    with torch.inference_mode():
        for psi in (0.4, 0.9):
            latent = model.generator.sample([1], psi=psi)
            assert drawing._fits("generator", latent) == (psi == 0.4)
            assert not drawing._fits("generator", replace(latent, origin={}))
            wanted = model.generator.synthesize(latent)
            assert torch.equal(drawing.synthesize(latent), wanted)


def test_removing_a_model_removes_its_exports_and_engines(
    tiny: Model, in_cache: Exported, exported: Exported
) -> None:
    folder = home() / "models" / "tiny-in-the-cache"
    shutil.copytree(tiny.folder, folder)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "name": "goner"}))
    others = home() / "exports" / "others"
    shutil.copytree(exported.folder, others)
    told = {**exported.sidecar, "encoder_sha256": "another"}
    (others / "export.json").write_text(json.dumps(told))
    engines = home() / "engines"
    engines.mkdir()
    (engines / "mine.plan").write_bytes(b"engine")
    (engines / "others.plan").write_bytes(b"another")
    files = {"generator": {"sha256": {"generator.plan": hashlib.sha256(b"engine").hexdigest()}}}
    (in_cache.folder / "export.json").write_text(json.dumps({**exported.sidecar, "files": files}))
    assert remove("goner") == folder
    assert not folder.exists() and not in_cache.folder.exists()
    assert (others / "encoder.onnx").is_file()
    assert [one.name for one in engines.iterdir()] == ["others.plan"]
