from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dseinvert.editing.apply import Edit, apply_edits, parse_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.feature_editor import FeatureEditor, FeatureEditorConfig, attach, by_rule
from dseinvert.errors import UsageError
from dseinvert.export.graphs import graphs
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.latent import Latent
from dseinvert.models import Model


def test_a_model_is_two_graphs_and_those_of_its_feature_two_more(
    model_of: Callable[[str], Model],
) -> None:
    names = [graph.name for graph in graphs(model_of("stylegan2, dse"))]
    assert names == ["encoder", "generator"]
    made = {graph.name: graph for graph in graphs(model_of("stylegan2, dse-feature"))}
    assert [*made] == ["encoder", "generator", "generator-feature", "features"]
    assert made["encoder"].outputs == ("code", "feature")
    assert made["generator-feature"].about["layer"] == "3"


def test_graphs_compute_what_the_model_does(model_of: Callable[[str], Model]) -> None:
    model = model_of("stylegan2, dse-feature")
    made = {graph.name: graph for graph in graphs(model)}
    assert model.encoder is not None
    with torch.no_grad():
        images = model.generator.synthesize(model.generator.sample([5]))
        latent = model.encoder.encode(images)
        drawn = model.generator.synthesize(latent)
    found = made["encoder"].run({"images": images})
    assert torch.equal(found["feature"], latent.feature)  # type: ignore[arg-type]
    again = made["generator-feature"].run(found)["images"]
    assert torch.equal(again, drawn)
    plain = made["features"].run({"code": latent.code})["feature"]
    with torch.no_grad():
        assert torch.equal(plain, model.generator.features(Latent(latent.code, "w+"), 3))


def test_pixels_in_the_graph_are_the_pixels_of_files(model_of: Callable[[str], Model]) -> None:
    model = model_of("stylegan2, dse")
    plain = {graph.name: graph for graph in graphs(model)}
    whole = {graph.name: graph for graph in graphs(model, pixels=True)}
    code = model.generator.sample([7, 8]).code
    pixels = whole["generator"].run({"code": code})["images"]
    drawn = plain["generator"].run({"code": code})["images"]
    assert [p.tolist() for p in to_pixels(drawn)] == pixels.tolist()
    floats = to_tensor([*pixels.numpy()])
    found = (whole["encoder"].run({"images": pixels}), plain["encoder"].run({"images": floats}))
    assert torch.equal(found[0]["code"], found[1]["code"])


def test_a_class_is_an_input_only_where_it_is_read(model_of: Callable[[str], Model]) -> None:
    def inputs(name: str) -> list[list[str]]:
        model = model_of(name)
        what = "both" if model.encoder is not None else "generator"
        return [[*graph.inputs] for graph in graphs(model, what)]

    assert inputs("biggan, dse-biggan") == [["images", "label"], ["code", "label"]]
    assert inputs("stylegan1 (classes), none") == [["code"]]


def test_an_editor_draws_each_image_with_its_own_strengths(tiny: Model) -> None:
    made = {graph.name: graph for graph in graphs(tiny, "generator", edits=["smile", "age"])}
    editor = made["editor"]
    assert editor.about["edits"] == "smile,age"
    latent = tiny.generator.sample([3, 4])
    strengths = torch.tensor([[0.5, -1.5], [0.0, 2.0]])
    drawn = editor.run({"code": latent.code, "strengths": strengths})["images"]
    for index, text in enumerate(("smile=0.5,age=-1.5", "age=2")):
        own = apply_edits(latent[index : index + 1], parse_edits(text, tiny.directions))
        with torch.no_grad():
            assert (tiny.generator.synthesize(own) - drawn[index]).abs().max() < 1e-5


def test_the_feature_of_an_editor_moves_with_its_code(tiny: Model) -> None:
    made = {graph.name: graph for graph in graphs(tiny, "generator", layer=3, edits=["age"])}
    before, after = tiny.generator.sample([3]), tiny.generator.sample([4])
    with torch.no_grad():
        feature = tiny.generator.features(after, 3)
        latent = replace(before, feature=feature, layer=3)
        edits = parse_edits("age=1.5", tiny.directions)
        wanted = tiny.generator.synthesize(apply_edits(latent, edits, tiny.generator))
    given = {"code": latent.code, "feature": feature, "strengths": torch.tensor([[1.5]])}
    assert (made["editor"].run(given)["images"] - wanted).abs().max() < 1e-5


def test_an_edit_that_the_model_has_not_is_refused(tiny: Model) -> None:
    with pytest.raises(UsageError, match=r"no direction 'wings' \(this model has: age, smile\)"):
        graphs(tiny, "generator", edits=["wings"])


def test_what_cannot_be_exported_is_refused(model_of: Callable[[str], Model]) -> None:
    model = model_of("stylegan1 (classes), none")
    with pytest.raises(UsageError, match="no encoder"):
        graphs(model)
    with pytest.raises(UsageError, match="--layer 9"):
        graphs(model, "generator", layer=9)


def test_an_editor_moves_the_feature_as_the_feature_editor_of_the_model(
    model_of: Callable[[str], Model],
) -> None:
    model = model_of("stylegan2, dse-feature")
    torch.manual_seed(0)
    learned = FeatureEditor(FeatureEditorConfig(3, 16, 8)).eval().requires_grad_(False)
    torch.nn.init.normal_(learned.leave.weight, std=0.1)
    generator = by_rule(model.generator)  # one of this test's own
    attach(generator, learned)
    age = Direction("age", torch.ones(6, 16), "w+", "one", model.sha256)
    model = replace(model, generator=generator, directions={"age": age})
    (editor,) = (
        one
        for one in graphs(model, "generator", layer=3, edits=["age"])
        if "strengths" in one.inputs
    )
    found = editor.run(editor.inputs)["images"]
    sample = replace(generator.sample([1, 2]), feature=editor.inputs["feature"], layer=3)
    edits = [Edit(age, editor.inputs["strengths"][:, 0])]
    with torch.no_grad():
        wanted = generator.synthesize(apply_edits(sample, edits, generator))
        rule = generator.synthesize(apply_edits(sample, edits, by_rule(generator)))
    assert (found - wanted).abs().max() < 1e-5 < (found - rule).abs().max()
    assert any(name.startswith("feature_editor.") for name in editor.module.state_dict())
