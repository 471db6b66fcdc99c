"""The command lines, the Python lines and the files of settings that do what a view shows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, get_type_hints

from dseinvert.config import ImagesOptions, VideoOptions
from dseinvert.errors import UsageError
from dseinvert.names import brief
from dseinvert.ui.given import Asked, Download, edits_text, real, rows, table, text
from dseinvert.written import Option

OUT, SETTINGS = "out", "run.toml"
_SHOWN, _LAST = ("out", "model"), ("edits", "paste", "mask")
"""What is told though it is as usual, and what comes at the end."""
Options = ImagesOptions | VideoOptions
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


def words_of(asked: Asked, second: str = "") -> Words:
    """What a page of photos sends as edits, refine, mask and second; UsageError for a wrong one."""
    other = table(asked, "second")
    return Words(
        edits_text(table(asked, "edits")),
        text(asked, "refine") or "none",
        text(asked, "mask"),
        second,
        text(other, "layers"),
        real(other, "share") if "share" in other else None,
    )


def options_of(model: str, words: Words, out: Path, **given: Any) -> ImagesOptions:
    """What `dseinvert images` is to do for a view of photos; more of the options in `given`."""
    edits, mask = (words.edits,) if words.edits else (), words.mask or None
    return ImagesOptions(out, edits=edits, model=model, refine=words.refine, mask=mask, **given)


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


def of_faces(model: str, faces: Sequence[int], words: Words) -> ImagesOptions:
    """What `dseinvert images` does of a photo's view: all of it, where the largest are picked."""
    count = max(faces) + 1
    if words.edits and [*faces] == [*range(count)] and not words.second:
        return options_of(model, words, Path(OUT), faces=count, paste=True)
    return ImagesOptions(Path(OUT), model=model, faces=count, refine=words.refine)


def _shell(model: str, photo: str, faces: Sequence[int], words: Words) -> list[str]:
    options = of_faces(model, faces, words)
    typed, picked = [command("images", [photo], options)], [latent_of(photo, k) for k in faces]
    if words.second and words.share is None:
        mixing = ["--layers", words.layers, "--model", model, "--out", "mixes"]
        typed += [_line("mix", one, words.second, *mixing) for one in picked]
        stems = [Path(one).stem for one in picked]
        picked = [f"mixes/{one}.mix-{Path(words.second).stem}.safetensors" for one in stems]
    elif words.second:
        typed.append(
            _line("morph", picked[0], words.second, "--model", model, "--out", "morph.mp4")
        )
    if words.edits and not options.edits and words.share is None:
        mask = ["--mask", words.mask] if words.mask else []
        edit = ["--edit", words.edits, *mask, "--model", model, "--out", "edited"]
        typed.append(_line("edit", *picked, *edit))
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


def of_clip(clip: str, options: VideoOptions) -> Lines:
    """The lines of a clip's view."""
    script = "" if options.script is None else f".edit(script={str(options.script)!r})"
    window = "".join(
        f", {name}={value}" for _, name, value in given(options) if name in ("start", "end")
    )
    python = [
        "import dseinvert",
        f"gan = dseinvert.load({options.model!r})",
        f"video = gan.video({clip!r}, faces='all'{window})",
        f"video{script}.write({str(Path(options.out or '', 'edited.mp4'))!r})",
    ]
    return {"shell": command("video", [clip], options), "python": "\n".join(python)}


def of_batch(paths: Sequence[str], options: ImagesOptions) -> Lines:
    """The lines of a batch."""
    words = [f"{name}={value!r}" for _, name, value in given(options) if name != "out"]
    python = [
        "from pathlib import Path",
        "from dseinvert.config import ImagesOptions",
        "from dseinvert.progress import SILENT",
        "from dseinvert.run.images.run import run_images",
        f"options = ImagesOptions({', '.join([f'Path({str(options.out)!r})', *words])})",
        f"print(run_images({[*paths]!r}, options, SILENT).summary())",
    ]
    return {"shell": command("images", paths, options), "python": "\n".join(python)}


def given(options: Options) -> Iterator[tuple[str, str, Any]]:
    """Each option that is not as usual: how it is typed, its field, and a plain value or tuple."""
    hints = get_type_hints(type(options), include_extras=True)
    at_the_end = {name: place for place, name in enumerate(_LAST)}
    for field in sorted(fields(options), key=lambda one: at_the_end.get(one.name, -1)):
        value = getattr(options, field.name)
        if value != field.default or field.name in _SHOWN:
            marks = getattr(hints[field.name], "__metadata__", ())
            names = [mark.name for mark in marks if isinstance(mark, Option) and mark.name]
            yield (*names, f"--{field.name.replace('_', '-')}")[0], field.name, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return float(value)
    return str(value) if isinstance(value, Path) else value


def command(verb: str, paths: Sequence[str], options: Options) -> str:
    """What is typed for a run."""
    words = []
    for name, _, value in given(options):
        for one in value if isinstance(value, tuple) else [value]:
            words += [name] if one is True else [name, str(one)]
    return _line(verb, *paths, *words)


def _line(*words: str) -> str:
    return shlex.join(["dseinvert", *words])


def settings_of(verb: str, paths: Sequence[str], options: Options) -> Download:
    """The options of a run as the file that `--config` of its verb reads."""
    said = _line(verb, *paths, "--config", SETTINGS)
    values = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}" for _, name, value in given(options)
    ]
    head = "# " + " ".join(said.splitlines())
    return Download(SETTINGS, "\n".join([head, *values, ""]).encode())


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
    if not keys:
        edit = edits_text(table(row, "edits"))
    said = [f"edit = {json.dumps(edit)}", *[f"keys = {json.dumps(keys)}"] * bool(keys)]
    return "\n".join(["[[edit]]", *person, *said, ""]) if edit else ""


def _key(key: Any) -> list[float]:
    if not isinstance(key, list) or len(key) != 2:
        raise UsageError(f"key {brief(key)}", "a time and a strength")
    return [real({"time": key[0]}, "time"), real({"strength": key[1]}, "strength")]
