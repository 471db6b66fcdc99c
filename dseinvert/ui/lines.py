"""The command lines, the Python lines and the file of edits that do what a view shows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dseinvert.config import ImagesOptions
from dseinvert.errors import UsageError
from dseinvert.names import brief
from dseinvert.ui.given import edits_text, real, rows, table, text

OUT = "out"
Lines = dict[str, str]
"""What is typed in a shell ("shell") and in Python ("python")."""


@dataclass(frozen=True)
class Words:
    """What a view of photos is set to, as it is typed."""

    edits: str
    refine: str
    mask: str
    """ "" = none."""
    second: str = ""
    """The latent file of the second face; "" = there is none."""
    layers: str = ""
    share: float | None = None
    """Of the way to the second face; None = rows are mixed."""


def latent_of(photo: str, face: int) -> str:
    """The file that `dseinvert images` writes for a face, from 0."""
    number = f"-{face + 1}" if face else ""
    return f"{OUT}/{Path(photo).stem}{number}.safetensors"


def of_photo(model: str, photo: str, faces: Sequence[int], words: Words) -> Lines:
    """The lines of a photo's view; `faces` are numbers from 0, the largest first."""
    return {
        "shell": "\n".join(_shell(model, photo, faces, words)),
        "python": "\n".join(_python(model, photo, faces, words)),
    }


def _shell(model: str, photo: str, faces: Sequence[int], words: Words) -> list[str]:
    count = max(faces) + 1
    first = [*faces] == [*range(count)] and not words.second
    whole = ["--edit", words.edits, "--paste"] if words.edits and first else []
    mask = ["--mask", words.mask] if words.mask and whole else []
    refine = ["--refine", words.refine] if words.refine != "none" else []
    options = ["--model", model, "--faces", str(count), *refine, *whole, *mask]
    typed = [_command("images", photo, "--out", OUT, *options)]
    picked = [latent_of(photo, face) for face in faces]
    if words.second and words.share is None:
        mixing = ["--layers", words.layers, "--model", model, "--out", "mixes"]
        typed += [_command("mix", one, words.second, *mixing) for one in picked]
        stems = [Path(one).stem for one in picked]
        picked = [f"mixes/{one}.mix-{Path(words.second).stem}.safetensors" for one in stems]
    elif words.second:
        ends = [picked[0], words.second]
        typed.append(_command("morph", *ends, "--model", model, "--out", "morph.mp4"))
    if words.edits and not first and words.share is None:
        mask = ["--mask", words.mask] if words.mask else []
        edit = ["--edit", words.edits, *mask, "--model", model, "--out", "edited"]
        typed.append(_command("edit", *picked, *edit))
    return typed


def _python(model: str, photo: str, faces: Sequence[int], words: Words) -> list[str]:
    mask = f", mask={words.mask!r}" if words.mask else ""
    refine = f", refine={words.refine!r}" if words.refine != "none" else ""
    if words.share is not None:
        joined = [f"    latent = gan.between(latent, other, {words.share:g})"]
    else:
        joined = [f"    latent = gan.mix(latent, other, {words.layers!r})"] * bool(words.second)
    return [
        "import dseinvert",
        f"gan = dseinvert.load({model!r})",
        f"photo = dseinvert.open_photo({photo!r})",
        *[f"other = dseinvert.Latent.load({words.second!r})"] * bool(words.second),
        "faces = gan.faces(photo)",
        f"for number in {[*faces]}:",
        f"    found = gan.invert(faces[number]{refine})",
        "    latent = found.latent",
        *joined,
        *[f"    latent = gan.edit(latent, {words.edits!r})"] * bool(words.edits),
        f"    photo = gan.paste(photo, faces[number], gan.draw(latent), found{mask})",
        'photo.save("edited.png")',
    ]


def of_clip(model: str, clip: str, script: str, out: str, seconds: Sequence[float]) -> Lines:
    """The lines of a clip's view. script: the file of edits; "" = there are none."""
    given = ["--edits", script] if script else []
    cut = [f"--{n}={s:g}" for n, s in zip(("start", "end"), seconds, strict=False)]
    edited = f"video.edit(script={script!r})" if script else "video"
    window = "".join(f", {n}={s:g}" for n, s in zip(("start", "end"), seconds, strict=False))
    return {
        "shell": _command(
            "video", clip, *given, *cut, "--faces", "all", "--model", model, "--out", out
        ),
        "python": "\n".join(
            [
                "import dseinvert",
                f"gan = dseinvert.load({model!r})",
                f"video = gan.video({clip!r}, faces='all'{window})",
                f"{edited}.write({str(Path(out, 'edited.mp4'))!r})",
            ]
        ),
    }


def of_batch(paths: Sequence[str], options: ImagesOptions) -> Lines:
    """The lines of a batch: whatever is not as usual."""
    words, named = [], []
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name not in ("out", "edits") and value != field.default:
            name = f"--{field.name.replace('_', '-')}"
            words += [name] if value is True else [name, str(value)]
            named.append(f"{field.name}={value!r}")
    edits = [word for one in options.edits for word in ("--edit", one)]
    out = str(options.out)
    given = ", ".join([f"Path({out!r})", f"edits={options.edits!r}", *named])
    python = [
        "from pathlib import Path",
        "from dseinvert.config import ImagesOptions",
        "from dseinvert.progress import SILENT",
        "from dseinvert.run.images.run import run_images",
        f"options = ImagesOptions({given})",
        f"print(run_images({[*paths]!r}, options, SILENT).summary())",
    ]
    return {
        "shell": _command("images", *paths, "--out", out, *edits, *words),
        "python": "\n".join(python),
    }


def script_of(rows_: Sequence[Any]) -> str:
    """The file of edits that `dseinvert video --edits` reads; "" = there are none.

    rows_: each has who ("" = everybody), and edits ({name: strength}) or name and keys (times in
    seconds and strengths).

    Raises:
        UsageError: what is no such row.
    """
    return "\n".join(filter(None, map(_block, rows_)))


def _block(row: Any) -> str:
    if not isinstance(row, dict):
        raise UsageError(f"edit {brief(row)}", "an object")
    person = [f"person = {json.dumps(text(row, 'who'))}"] if text(row, "who") else []
    edit, keys = text(row, "name"), sorted(_key(key) for key in rows(row, "keys"))
    if keys:
        said = [f"edit = {json.dumps(edit)}", f"keys = {json.dumps(keys)}"]
    else:
        edit = edits_text(table(row, "edits"))
        said = [f"edit = {json.dumps(edit)}"]
    return "\n".join(["[[edit]]", *person, *said, ""]) if edit else ""


def _key(key: Any) -> list[float]:
    if not isinstance(key, list) or len(key) != 2:
        raise UsageError(f"key {brief(key)}", "a time and a strength")
    return [real({"time": key[0]}, "time"), real({"strength": key[1]}, "strength")]


def _command(*words: str) -> str:
    return shlex.join(["dseinvert", *words])
