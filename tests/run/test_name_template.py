"""`--name-template`: pictures named as the user wants; nothing else is named by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.errors import InputError, UsageError
from dseinvert.latent import concat, dumps, load_latent
from dseinvert.media.images import read_image
from dseinvert.run.flow.template import Claims, Template, check_names, parse_template
from dseinvert.run.images.journal import read

Run = Callable[..., int]
PHOTO = Path("/p/summer/a.jpg")


def names(out: Path, suffix: str = "png") -> set[str]:
    return {path.name for path in out.glob(f"*.{suffix}")}


@pytest.mark.parametrize(
    ("text", "number", "name"),
    [
        ("{stem}.{edit}", 1, "a.age+2"),
        ("{stem}.{edit}", 2, "a-2.age+2"),
        ("{parent}_{stem}_{edit}_{n}", 2, "summer_a_age+2_2"),
        ("{n:03} {edit}", 7, "007 age+2"),
        ("é", 1, "é"),
    ],
)
def test_fields_stand_for_what_they_say(text: str, number: int, name: str) -> None:
    assert parse_template(text).name(PHOTO, "age+2", number) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            ("{stm}", "did you mean stem"),
            ("{}", "there are stem"),
            ("{edit:03}", "no field"),
            ("{\x1b}", "no field"),
        ),
        *(("{stem", "a brace"), ("}{stem}", "a brace"), ("{stem.__class__}", "no field")),
        *(("../{stem}", "no path"), ("{stem}/{edit}", "no path"), ("a\\{stem}", "no path")),
        *(("", "plain name"), (".{stem}", "plain name"), ("a\u202e{stem}", "plain name")),
        *(("{stem}:{edit}", "plain name"), ("x" * 300, "plain name"), ("a\n{stem}", "plain name")),
    ],
)
def test_a_template_that_cannot_be_is_refused_in_a_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_template(text)
    assert said in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize(
    ("text", "sources", "advice"),
    [
        ("{stem}", ["/x/a.jpg"], "add {edit}"),
        ("{edit}", ["/x/a.jpg", "/x/b.jpg"], "add {stem}"),
        ("{stem}_{edit}", ["/x/a.jpg", "/y/A.jpg"], "add {parent}"),
        ("{parent}_{stem}_{edit}", ["/x/a.jpg", "/x/a.png"], "rename one"),
        ("{parent}_{stem}_{edit}", ["/" + "x" * 119 + "/" + "y" * 119 + ".jpg"], "plain name"),
    ],
)
def test_names_that_collide_or_are_too_long_are_refused(
    text: str, sources: list[str], advice: str
) -> None:
    with pytest.raises(UsageError, match=advice):
        check_names(Template(text), map(Path, sources), ("input", "recon"))


def test_what_could_not_be_foreseen_is_refused_when_it_comes() -> None:
    claims = Claims()
    claims.claim(["a11recon.png"], "a1")
    claims.claim(["a11recon.png"], "a1")
    with pytest.raises(InputError, match="another input"):
        claims.claim(["A11recon.png"], "a")
    with pytest.raises(InputError, match="one name"):
        claims.claim(["b.png", "B.png"], "b")


def test_pictures_are_named_by_it_and_a_second_run_knows_them(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("images", pictures, "--no-align", "--edit", "smile=1.5", "--out", out)
    named = (*words, "--name-template", "{parent}-{stem}-{edit}-{n}")
    assert dse(*named, "-q") == 0
    shots = ("input", "recon", "smile+1.5")
    assert names(out) == {f"pictures-p{k}-{shot}-1.png" for k in range(7) for shot in shots}
    assert names(out, "safetensors") == {f"p{k}.safetensors" for k in range(7)}
    entry = read(out / "journal.jsonl")["p3"]
    assert entry.faces[0].pictures == {shot: f"pictures-p3-{shot}-1.png" for shot in shots}
    assert {*entry.files} == {*entry.faces[0].pictures.values(), "p3.safetensors"}
    page = (out / "index.html").read_text()
    assert "pictures-p3-recon-1.png" in page and "missing" not in page
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert dse(*named, "--json") == 0
    assert all(item["earlier"] for item in json.loads(capfd.readouterr().out)["items"])
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert dse(*words, "--json") == 0
    assert not any(item["earlier"] for item in json.loads(capfd.readouterr().out)["items"])
    assert {"p0.recon.png", "p0.input.png"} <= names(out)


def test_a_run_without_it_has_the_key_of_ever(dse: Run, pictures: Path, tmp_path: Path) -> None:
    assert dse("images", pictures / "p0.png", "--no-align", "--out", tmp_path / "out", "-q") == 0
    (entry,) = read(tmp_path / "out" / "journal.jsonl").values()
    assert "names" not in entry.settings


def test_a_pasted_photo_is_number_0(dse: Run, pictures: Path, tmp_path: Path) -> None:
    words = ("--no-align", "--edit", "smile=1", "--paste", "--name-template", "{stem}_{n}_{edit}")
    assert dse("images", pictures / "p0.png", *words, "--out", tmp_path / "out", "-q") == 0
    assert "p0_0_smile+1.photo.png" in names(tmp_path / "out")


def test_images_of_one_name_are_refused_before_a_model_is_opened(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "x").mkdir()
    (pictures / "p0.png").rename(pictures / "x" / "p1.png")
    words = ["images", pictures, "--out", tmp_path / "out", "--no-align"]
    words += ["--name-template", "{stem}_{edit}"]
    assert dse(*words, "--model", tmp_path) == 2  # where no model is
    assert dse(*words) == 2
    assert "would be p1_input (add {parent})" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert dse(*words, "--keep-folders", "-q") == 0
    assert "p1_recon.png" in names(tmp_path / "out" / "x")


def test_inputs_in_the_output_folder_are_refused(
    dse: Run, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--no-align", "--name-template", "{stem}_{edit}", "--out", pictures)
    before = sorted(pictures.iterdir())
    for given in (pictures, pictures / "p*.png", pictures / "p0.png"):
        assert dse("images", given, *words) == 2
        assert "--name-template" in capfd.readouterr().err
    assert [path for path in sorted(pictures.iterdir()) if path.suffix == ".png"] == before


def test_edit_names_its_pictures_and_a_mask_finds_the_crop(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    latents, plain, named = (tmp_path / name for name in ("latents", "plain", "named"))
    template = ("--name-template", "{edit}_{stem}")
    assert dse("images", pictures, "--no-align", "--out", latents, *template, "-q") == 0
    both = ("--edit", "smile=1", "--edit", "smile=-1", "--mask", "auto", "-q")
    assert dse("edit", latents, "--out", plain, *both) == 0
    assert dse("edit", latents, "--out", named, *both, *template) == 0
    assert names(named) == {f"smile{s}1_p{k}.png" for k in range(7) for s in "+-"}
    one, other = read_image(plain / "p2.smile+1.png"), read_image(named / "smile+1_p2.png")
    assert (one == other).all()


def test_edit_without_edit_in_the_name(dse: Run, pictures: Path, tmp_path: Path) -> None:
    latents, out = tmp_path / "latents", tmp_path / "out"
    assert dse("images", pictures, "--no-align", "--out", latents, "-q") == 0
    both = concat([load_latent(latents / f"p{n}.safetensors") for n in range(2)])
    (latents / "two.safetensors").write_bytes(dumps(both))
    words = ("edit", latents, "--name-template", "{stem}", "-q", "--out")
    assert dse(*words, out, "--edit", "smile=1") == 0
    assert names(out) == {f"{name}.png" for name in (*(f"p{k}" for k in range(7)), "two", "two-2")}
    assert dse(*words, tmp_path / "page", "--sliders") == 0
    assert "two-2.html" in names(tmp_path / "page", "html")
    assert dse(*words, tmp_path / "strips", "--edit", "smile", "--strengths", "-1:1:3") == 2
