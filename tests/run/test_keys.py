"""Every option either decides about what is resumed, or is known to change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, fields, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dseinvert.config import ImagesOptions, VideoOptions
from dseinvert.faces.crops import EVERYBODY, Wanted
from dseinvert.inversion.asked import parse_refining
from dseinvert.media.images import encode_png
from dseinvert.media.video_write import Cut
from dseinvert.models import open_model
from dseinvert.run.flow.keys import Setting, result_key
from dseinvert.run.images import job as images
from dseinvert.run.images.job import ImagesJob, open_job
from dseinvert.run.video import keys as video
from dseinvert.run.video import plan
from dseinvert.run.video.records import Books
from dseinvert.training.checkpoints import FREE
from dseinvert.training.options import FinetuneOptions, TrainOptions

Run = Callable[..., int]


def decided(table: Iterable[Setting[Any]]) -> set[str]:
    return {name for row in table for name in row.fields}


@pytest.mark.parametrize(
    ("options", "table", "nothing", "where"),
    [
        (ImagesOptions, images.SETTINGS, images.CHANGES_NOTHING, "run/images/job.py"),
        (VideoOptions, video.RENDER, video.CHANGES_NOTHING, "run/video/keys.py"),
    ],
)
def test_each_option_is_in_a_key_or_changes_nothing(
    options: type, table: Iterable[Setting[Any]], nothing: frozenset[str], where: str
) -> None:
    deciding, names = decided(table), {field.name for field in fields(options)}
    new = sorted(names - deciding - nothing)
    assert not new, (
        f"{options.__name__}.{new[0]}: does another value give other files? Then add it to a "
        f"Setting in {where}, or earlier results are taken for those of the new value; if not, "
        f"add it to CHANGES_NOTHING there"
    )
    assert deciding | nothing == names, f"{where} names options that are gone"
    assert not deciding & nothing, f"{where} cannot have it both ways"


def test_training_goes_on_only_with_the_same_options() -> None:
    assert set(TrainOptions().asdict()) == {field.name for field in fields(TrainOptions)}
    assert set(asdict(FinetuneOptions())) == {field.name for field in fields(FinetuneOptions)}
    known = FREE & {field.name for field in fields(TrainOptions)}
    assert known == FREE, "training/checkpoints.FREE names options that are gone"


def test_edit_resumes_nothing_so_that_no_option_of_it_needs_a_key(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    latents, out = tmp_path / "latents", tmp_path / "out"
    assert dse("images", pictures / "p0.png", "--out", latents, "--no-align", "-q") == 0
    for content in (None, b"of another run"):
        if content is not None:
            (out / "p0.age+1.png").write_bytes(content)
        assert dse("edit", latents / "p0.safetensors", "--edit", "age=1", "--out", out, "-q") == 0
        assert (out / "p0.age+1.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def settings(tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """The settings of a run with these options in place of some plain ones."""
    model = open_model(str(tiny_model))
    plain = ImagesOptions(Path("out"), edits=("age=1",), refine="latent:5", dry_run=True)
    return lambda **changed: open_job(replace(plain, **changed), model).settings


@pytest.mark.parametrize(
    "changed",
    [
        {"edits": ("age=2",)},
        {"align": False},
        {"paste": True},
        {"mask": "auto"},
        {"region": "mouth"},
        {"format": "jpg"},
        {"format": "jpg", "quality": 80},
        {"keep_gps": True},
        {"refine": "latent:6"},
        {"space": "w"},
        {"budget": "5s"},
        {"until": "psnr=30"},
        {"rotate": 180},
        {"faces": "largest"},
        {"min_face": 40},
        {"min_score": 0.7},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_option_that_decides_changes_the_settings(
    settings: Callable[..., dict[str, Any]], changed: dict[str, Any]
) -> None:
    assert decided(images.SETTINGS) >= set(changed)
    assert settings(**changed) != settings()


def test_the_usual_choice_of_faces_is_that_of_earlier_journals() -> None:
    plain = ImagesOptions(Path("out"))
    usual = (plain.rotate, plain.faces, None, plain.min_face, plain.min_score)
    assert Wanted(*usual) == EVERYBODY
    assert not {"rotate", "faces", "min_face", "min_score", "person"} & set(made(plain).settings)


def test_another_person_gives_other_settings() -> None:
    plain = ImagesOptions(Path("out"))
    person = SimpleNamespace(key=["0f", "a1", 0.4])
    assert made(plain, person=person).settings["person"] == ["0f", "a1", 0.4]


def test_other_options_do_not(settings: Callable[..., dict[str, Any]]) -> None:
    others = {"out": Path("x"), "device": "cpu", "backend": "torch", "batch": 1, "overwrite": True}
    others |= {"max_pixels": 5, "keep_folders": True}
    assert {*others, "dry_run"} == images.CHANGES_NOTHING
    for name, value in others.items():
        assert settings(**{name: value}) == settings()


def made(options: ImagesOptions, **more: Any) -> ImagesJob:
    generator = SimpleNamespace(resolution=64)
    model = SimpleNamespace(name="m", sha256="a1", encoder_sha256="b2", generator=generator)
    model.decisive = dict
    plain = {"edits": {}, "detector": None, "mask": None, "batch": None, "inverter": None}
    refining = parse_refining("none", None, None, None)
    return ImagesJob(options=options, model=model, **{**plain, "refining": refining, **more})  # type: ignore[arg-type]


def test_the_settings_of_images_are_those_of_earlier_journals() -> None:
    job = made(ImagesOptions(Path("out")))
    assert job.settings == {
        "outputs": 2,
        "model": "m",
        "generator": "a1",
        "encoder": "b2",
        "resolution": 64,
        "edits": {},
        "crop": "none",
        "paste": False,
    }
    key = "7e2754198f37a70ca206e3fee52ea3be5e578cb1b88c4df8f5913af17d27b241"
    assert result_key("0f", job.settings) == key


def test_options_that_came_later_are_in_the_settings_only_where_they_are_used() -> None:
    job = made(
        ImagesOptions(Path("out"), paste=True, label=3),
        edits={"none": ()},
        detector=SimpleNamespace(name="yunet"),
        mask=SimpleNamespace(name="face"),
        refining=parse_refining("latent:20", "w+", "5s", "psnr=30"),
    )
    later = {"label": 3, "mask": "face", "refine": "latent:20 w+ 5s psnr=30"}
    assert {name: job.settings[name] for name in list(job.settings)[-3:]} == later
    # With a paste, whole photos come out otherwise than once: they alone are done again.
    before = {name: value for name, value in job.settings.items() if name != "pasting"}
    assert len(before) == len(job.settings) - 1
    key = "c92c4934939b3c2dcdf27f75375db918cb4baf09fd0e870e1a509b806fafd2e2"
    assert result_key("0f", before) == key


@pytest.mark.parametrize(
    ("files", "edits", "options", "keys"),
    [
        ((), {}, {}, ["4c1e4d75fc6ac2e6", "04ecc969f41efea6", "0027c9926c9bd152"]),
        (
            (Path("0.png"),),
            {"age+2": "c3"},
            {
                "start": Fraction(1),
                "end": Fraction(5, 2),
                "faces": 2,
                "smooth": 0.5,
                "refine": "generator:9",
                "paste": "replace",
                "side_by_side": True,
                "segment": 50,
            },
            ["5357be6d2d42b739", "5f457c59b231d292", "eccbcb4a8c312c7f"],
        ),
    ],
    ids=["plain", "much asked"],
)
def test_the_keys_of_a_video_are_those_of_earlier_runs(
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[Path, ...],
    edits: dict[str, str],
    options: dict[str, Any],
    keys: list[str],
) -> None:
    monkeypatch.setattr(plan, "source_sha256", lambda clip: "0f")
    length = {"start": Fraction(0), "duration": Fraction(8), "rate": Fraction(25)}
    clip = SimpleNamespace(
        path=Path("clip.mp4"), files=files, time_base=Fraction(1, 1000), **length
    )
    model = {"generator": "a1", "encoder": "b2", "detector": "yunet"}
    asked = VideoOptions(out=Path("out"), frames=True, **options)
    task = plan.make_task(clip, "clip", asked, model, edits)  # type: ignore[arg-type]
    assert [task.tracks_key, task.latents_key, *(one.key for one in task.outputs)] == keys


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"person": ("left",)}, [False, True, True]),
        ({"edits": ("2:age=1",)}, [False, True, True]),
        ({"edits": ("2:age=1", "smile=1")}, [False, True, True]),
        ({"mask": "face"}, [False, False, True]),
        ({"region": "mouth,eyes"}, [False, False, True]),
        ({"still": (Fraction(1),), "strip": "-1:1:3", "list_people": True}, [False] * 3),
    ],
    ids=["person", "somebody's edit", "and another", "mask", "region", "no videos"],
)
def test_who_decides_about_latents_and_where_about_pictures(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], changed: list[bool]
) -> None:
    monkeypatch.delenv("DSEINVERT_IDENTITY", raising=False)
    clip = SimpleNamespace(files=(), time_base=Fraction(1, 1000), rate=Fraction(25))

    def keys(options: VideoOptions) -> list[str]:
        asked = video.Asked(clip, Cut(None, None), options, {"detector": "yunet"}, None)  # type: ignore[arg-type]
        tables = (video.TRACKS, video.LATENTS, video.RENDER)
        return [video.key_of(table, asked, "0f") for table in tables]

    before, after = keys(VideoOptions()), keys(VideoOptions(**options))
    assert [a != b for a, b in zip(before, after, strict=True)] == changed


def test_how_an_edit_is_blended_is_in_the_keys_of_what_is_edited_alone() -> None:
    clip = SimpleNamespace(files=(), time_base=Fraction(1, 1000), rate=Fraction(25))

    def key(**options: Any) -> str:
        asked = video.Asked(clip, Cut(None, None), VideoOptions(**options), {"detector": "y"}, None)  # type: ignore[arg-type]
        return video.key_of(video.RENDER, asked, "0f")

    assert key() == key(blend="difference")
    edited: dict[str, Any] = {"edits": ("age=1",)}
    assert key(**edited) != key(**edited, blend="difference")
    assert "blend" not in video.settings_of(
        video.RENDER,
        video.Asked(  # type: ignore[arg-type]
            clip,
            Cut(None, None),
            VideoOptions(**edited, blend="difference"),
            {"detector": "y"},
            None,
        ),
    )
    replaced: dict[str, Any] = {**edited, "paste": "replace"}
    assert key(**replaced) == key(**replaced, blend="difference")


def test_whole_photos_that_are_moved_are_made_again_and_others_go_on_as_they_were() -> None:
    plain, pasted = ImagesOptions(Path("out")), ImagesOptions(Path("out"), paste=True)
    assert made(plain).settings == made(replace(plain, blend="difference")).settings
    assert made(replace(pasted, blend="difference")).settings["pasting"] == 7
    assert made(pasted).settings["pasting"] == [7, "moved"]


def test_masked_crops_of_earlier_versions_are_made_again_and_those_under_a_painting_are_not(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    for options in ({"mask": "auto"}, {"mask": "face"}, {"region": "hair"}):
        assert settings(**options)["masking"] == images.MASKING
        assert "masking" not in settings(**options, paste=True), "the key of pasting tells"
    painted = tmp_path / "painted.png"
    painted.write_bytes(encode_png(np.full((16, 16, 3), 255, np.uint8)))
    assert not {"masking"} & {*settings(), *settings(mask=str(painted))}


def test_what_only_decides_about_the_picture_leaves_tracks_and_latents_as_they_are() -> None:
    assert decided(video.TRACKS) == {"start", "end", "deinterlace", "rotate"}
    drawn = decided(video.RENDER) - decided(video.LATENTS)
    assert {"paste", "side_by_side", "codec", "crf", "preview", "frames", "edits"} <= drawn


@pytest.mark.parametrize(("blend", "again"), [("moved", True), ("difference", False)])
def test_it_is_said_when_what_was_only_added_is_made_again(blend: Any, again: bool) -> None:
    clip = SimpleNamespace(files=(), time_base=Fraction(1, 1000), rate=Fraction(25))
    asked = video.Asked(
        clip,  # type: ignore[arg-type]
        Cut(None, None),
        VideoOptions(edits=("age=1",), blend=blend),
        {"detector": "yunet"},
        None,
    )
    output = plan._output("age+1", Path("clip.age+1.mp4"), asked, "0f")
    had = SimpleNamespace(key=output.added)
    books = Books(SimpleNamespace(outputs=(output,)), {output.path.name: had}, ())  # type: ignore[arg-type, dict-item]
    assert books.moved_now == ([output] if again else [])
    assert not Books(books.task, {}, ()).moved_now
