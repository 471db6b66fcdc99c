"""Every command in the README, the docs and the help is run as it is written there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.export.backend import _place
from dseinvert.latent import load_latent
from dseinvert.models import open_model
from tests.conftest import ROOT, child_environment
from tests.forked import run
from tests.moving_face import clip
from tests.references import contents, files
from tests.references.progressive import reference

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What makes a training of hours one of seconds; added to the command, never taken from it.
SHORT = "--iterations 2 --batch 2 --perceptual none --eval-samples 2"
BRIEF = {
    "finetune": "--iterations 2 --eval-every 1 --batch 2 --perceptual none",
    # Of which there are two or three: eight at once, as on its own, would be filled up.
    **dict.fromkeys(("images", "edit", "video"), "--batch 2"),
}


TENTH = 1280
"""Ticks of a clip's time in a tenth of a second."""
DEMO = "dseinvert demo"
EXPORTS = "dseinvert export default --to onnx --out exported"
BY_EXPORT = "dseinvert images ./faces --out ./by-onnx --backend onnx"


def commands(page: Path) -> list[str]:
    """The indented lines of a page that call dseinvert or a script of bin/."""
    lines = re.findall(r"^(?: {4})+((?:dseinvert|bin/)\S* .*|bin/\S+)$", page.read_text(), re.M)
    return [line.split("  #")[0].strip() for line in lines]


def examples_of_the_help() -> list[str]:
    """The command lines that the help of each verb shows."""
    found = []
    verbs = ("images", "video", "edit", "mix", "morph", "sample", "evaluate", "train")
    verbs = (*verbs, "finetune", "models", "export")
    for verb in (*verbs, *(f"directions {one}" for one in ("import", "learn", "preview"))):
        told = run("dseinvert", [*verb.split(), "--help"], ROOT, child_environment())
        assert told.returncode == 0, told.stderr
        found += re.findall(r"^ *(dseinvert .*\w) *$", told.stdout, re.M)
    return found


def edits_of_the_page() -> str:
    """The file of edits that docs/artists.md shows."""
    return re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "artists.md").read_text(), re.S)[0]


@pytest.fixture
def place(tmp_path: Path, faces_folder: Path, tiny_model: Path, foreign_gan: Path) -> Path:
    """A folder with all that the commands name."""
    group, *faces = sorted(faces_folder.iterdir())[:3]
    for folder in ("faces", "photos", "aligned", "pictures", "cocks"):
        (tmp_path / folder).mkdir()
        for face in faces:
            shutil.copy(face, tmp_path / folder)
    (tmp_path / "my-photos").mkdir()
    for number in range(8):
        face = faces[number % 2]
        shutil.copy(face, tmp_path / "my-photos" / f"{number}{face.suffix}")
    with tarfile.open(tmp_path / "portraits.tar", "w") as tar:
        tar.add(tmp_path / "my-photos", "portraits")
    shutil.copy(group, tmp_path / "group-photo.jpg")
    times = [*range(0, 5 * TENTH, TENTH)]  # 0:00.4, which pages name, is the last
    clip(tmp_path / "clip.mp4", len(times), sound=True, times=times)
    (tmp_path / "edits.toml").write_text(edits_of_the_page())
    shutil.copytree(tiny_model, tmp_path / "my-gan")
    shutil.copy(foreign_gan, tmp_path / "my-gan.pth")
    np.save(tmp_path / "smile.npy", np.eye(1, 20))
    scores = [f"{seed},{seed * 7 % 31}" for seed in range(64)]
    (tmp_path / "scores.csv").write_text("\n".join(["seed,hat", *scores]))
    return tmp_path


@pytest.fixture
def published(place: Path) -> Path:
    """The same folder with a small file of each format, named as its authors name them."""
    pickled = {
        "karras2018iclr-celebahq-1024x1024.pkl": contents.tensorflow("pggan"),
        "karras2019stylegan-ffhq-1024x1024.pkl": contents.tensorflow("stylegan1"),
        "cifar10.pkl": contents.stylegan2_ada("stylegan2-ada-resnet"),
        "stylegan3-t-ffhqu-256x256.pkl": contents.stylegan3("stylegan3-t"),
    }
    for name, content in pickled.items():
        files.write_nvlabs(place / name, content)
    rosinality = contents.rosinality()
    dim = len(rosinality["latent_avg"])
    encoder = contents.deep_gan_encoder(reference("deep-gan-e"), dim)
    files.write_torch(place / "stylegan2-ffhq-config-f.pt", rosinality)
    files.write_torch(place / "E_stylegan2.pth", encoder)
    files.write_torch(place / "psp_ffhq_encode.pt", contents.psp("psp"))
    files.write_biggan(place / "biggan-deep-256")
    return place


def run_line(line: str, place: Path) -> None:
    """Run one command of a page in `place`."""
    program, verb, *words = [w for part in shlex.split(line) for w in expanded(part, place)]
    assert program == "dseinvert", line
    extra = short(words, place) if verb == "train" else f"{BRIEF.get(verb, '')} {fewer(words)}"
    result = run("dseinvert", [verb, *words, *shlex.split(extra)], place, child_environment())
    assert result.returncode == 0, f"{line}\n{result.stderr}"


def fewer(words: list[str]) -> str:
    """What makes a page with sliders one of few pictures: strengths, or directions, of all."""
    if "--sliders" not in words:
        return ""
    return "--edit age" if "--strengths" in words else "--strengths -1:1:2"


def short(options: list[str], place: Path) -> str:
    """What is added to a training: also the narrowest encoder, where it does not go on with one."""
    if "--start" in options:
        return SHORT
    gan = options[options.index("--gan") + 1]
    path = place / gan
    generator = open_model(str(path) if path.exists() else gan).generator
    if "--method" in options:
        return f"{SHORT} --widths 8,8,8,{generator.spec.dim}"
    side = generator.resolution
    return f"{SHORT} --widths {','.join(['8'] * (side.bit_length() - 2))}"


def expanded(word: str, place: Path) -> list[str]:
    """What a shell makes of a word with a star."""
    if "*" not in word:
        return [word]
    return sorted(str(path.relative_to(place)) for path in place.glob(word.removeprefix("./")))


def runnable(line: str) -> bool:
    """Not the scripts that would run this very test, or make the environment it runs in.

    Nor what is run by a test of its own: the demo, and what exports the bundled model.
    """
    scripts = ("bin/test", "bin/demo", "bin/check", "bin/bench")
    exporting = line.replace("./exported", "exported") == EXPORTS or line == BY_EXPORT
    return line.split()[0] not in scripts and not exporting and line != DEMO


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_work_in_their_order(page: Path, published: Path) -> None:
    lines = [line for line in commands(page) if runnable(line)]
    if page.name == "integrators.md" or page.name == "artists.md":
        lines.insert(0, "dseinvert images ./faces --out ./latents")
    for line in lines:
        run_line(line, published)


@pytest.mark.slow
def test_the_bundled_model_is_exported_once_and_used_as_the_pages_say(place: Path) -> None:
    assert EXPORTS.replace("exported", "./exported") in commands(ROOT / "README.md")
    assert BY_EXPORT in commands(ROOT / "docs" / "integrators.md")
    run_line(EXPORTS, place)
    shutil.copytree(place / "exported", _place(open_model(), "onnx"))
    run_line(BY_EXPORT, place)
    latents = [load_latent(file) for file in (place / "by-onnx").glob("*.safetensors")]
    assert len(latents) == 2
    assert all(latent.origin["backend"].startswith("onnx ") for latent in latents)


def test_the_clip_is_directed_as_the_page_says(
    dse: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "clip.mp4", 14)
    (tmp_path / "edits.toml").write_text(edits_of_the_page())
    words_of_it = ("--list-people", "--still", "--out directed")
    lines = commands(ROOT / "docs" / "artists.md")
    lines = [line for line in lines if any(word in line for word in words_of_it)]
    assert len(lines) == 6
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "dseinvert" and dse(*words, "-q") == 0, line
    made = {path.name for path in tmp_path.glob("*/*.*")}
    assert {"clip.people.png", "clip.age+2.0.1s.png", "clip.edits-edits.preview.mp4"} <= made


def test_the_pages_show_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 15


@pytest.mark.slow
def test_the_examples_of_the_help_work(place: Path) -> None:
    (place / "photos").rename(place / "more")
    shutil.copytree(place / "more", place / "photos")
    for line in filter(runnable, examples_of_the_help()):
        run_line(line, place)


PYTHON = [
    (page, number)
    for page in PAGES
    for number in range(len(re.findall(r"```python\n", page.read_text("utf-8"))))
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "number"), PYTHON, ids=lambda part: getattr(part, "stem", part))
def test_the_python_of_the_pages_works(page: Path, number: int, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)[number]
    shutil.copy(ROOT / "examples" / "faces" / "group.jpg", tmp_path)
    clip(tmp_path / "clip.mp4", 14, sound=True)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=child_environment())
    for name in re.findall(r"""(?:save|write)\("([\w.-]+)"\)""", code):
        assert (tmp_path / name).stat().st_size > 10_000, name


@pytest.mark.slow
def test_the_demo_ends_with_the_page_it_made() -> None:
    assert {"bin/demo", DEMO} <= {*commands(ROOT / "README.md")}
    assert f"-m {DEMO} " in (ROOT / "bin" / "demo").read_text(), "one of them runs the other"
    result = subprocess.run([ROOT / "bin" / "demo"], capture_output=True, text=True, check=True)
    played, opened = result.stdout.strip().splitlines()[-2:]
    assert Path(played.removeprefix("Play ")).name == "clip.age+2.mp4"
    page = Path(opened.removeprefix("Open "))
    assert "group.age%2B2.photo.png" in page.read_text()


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
