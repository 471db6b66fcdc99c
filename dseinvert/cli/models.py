"""`dseinvert models`: what can be named with --model."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dseinvert.cli.inputs import check_readable
from dseinvert.cli.known import check_model
from dseinvert.cli.stdout import print_json, say
from dseinvert.cli.verb import PLAIN, Done, table, verb
from dseinvert.errors import ExitCode, MissingError
from dseinvert.progress import Watcher

if TYPE_CHECKING:
    from dseinvert.models import Added

models = typer.Typer(help="Name, add, check and describe the models.", no_args_is_help=False)
_BAD = ("damaged", "missing")
_verb = partial(verb, json=PLAIN)
Name = Annotated[str, typer.Argument(help="A model's name, folder or checkpoint file.")]


@models.command("list")
@_verb()
def list_() -> Done:
    """Name the models that --model knows; it also takes a model's folder or a checkpoint file.

    dseinvert models list

    dseinvert models list --json
    """
    from dseinvert.models import list_models

    rows = list_models()
    width = max((len(row.name) for row in rows), default=0)
    return Done(
        lambda: [{**asdict(row), "folder": str(row.folder)} for row in rows],
        [f"{r.name:<{width}}  {r.bytes / 2**20:5.1f} MiB  {r.description}" for r in rows],
    )


@models.command()
@_verb()
def show(name: Name = "default") -> Done:
    """Describe one model.

    dseinvert models show

    dseinvert models show ./my-gan
    """
    check_model(name)
    from dseinvert.models import describe, open_model

    facts = describe(open_model(name))
    return Done(lambda: facts, table(facts, _plain))


@models.command()
@_verb()
def add(
    file: Annotated[Path, typer.Argument(help="A GAN, encoder or direction file.")],
    name: Annotated[str, typer.Option(help="What to call it.", show_default="after the file")] = "",
    gan: Annotated[
        str, typer.Option(help="The model that an encoder or a direction belongs to.")
    ] = "",
    faces: Annotated[
        bool, typer.Option("--faces", help="Its pictures are faces cropped as in FFHQ.")
    ] = False,
) -> Done:
    """Convert other people's file, once, and keep it; nothing in it is run.

    With --faces, photos are searched for faces, which are cropped as in FFHQ; without, images
    are taken as they are, unless the file says otherwise.

    dseinvert models add my-gan.pth --name mine --faces

    dseinvert models add smile.npy --gan mine
    """
    check_readable(file)
    if gan:
        check_model(gan)
    from dseinvert.models import add as convert
    from dseinvert.models import open_model

    belongs = open_model(gan) if gan else None
    return _done(convert(file, name, belongs, alignment="ffhq" if faces else ""))


@models.command()
def verify(
    name: Annotated[str, typer.Argument(help="A model's name or folder.", show_default="all")] = "",
    json: Annotated[bool, typer.Option("--json", help=PLAIN)] = False,
) -> None:
    """Compare each weight file with the sha256 recorded when it was written.

    dseinvert models verify

    dseinvert models verify default --json
    """
    if name:
        check_model(name)
    from dseinvert.cards import added
    from dseinvert.models import find_model, list_models

    every = {**dict.fromkeys(row.folder for row in list_models()), **dict.fromkeys(added())}
    states = [_verified(folder) for folder in ([find_model(name)] if name else every)]
    if json:
        print_json(states)
    else:
        for state in states:
            for file, said in state["files"].items():
                say(f"{said:<8} {Path(state['folder']) / file}  ({state['name']})")
    bad = sum(said in _BAD for state in states for said in state["files"].values())
    if bad and json:  # which said it all, in one document
        raise typer.Exit(ExitCode.MISSING)
    if bad:
        advice = "delete that folder, then add or pull the model again"
        raise MissingError(f"damaged or missing weight files: {bad}", advice)


@models.command()
def rm(name: Annotated[str, typer.Argument(help="The name of an added model.")]) -> None:
    """Delete a model that was added or pulled.

    dseinvert models rm mine

    dseinvert models rm stylegan2-ffhq-256
    """
    from dseinvert.models import remove

    say(f"deleted {remove(name)}", error=True)


@models.command()
def path(name: Name = "default") -> None:
    """Print the folder of a model.

    dseinvert models path

    dseinvert models path mine
    """
    check_model(name)
    from dseinvert.models import find_model

    say(str(find_model(name)))


@models.command()
@_verb()
def pull(
    name: Annotated[
        str, typer.Argument(help="The name in the list.", show_default="list them")
    ] = "",
    registry: Annotated[
        Path | None,
        typer.Option(help="A list of your own, as models.toml.", show_default="the program's"),
    ] = None,
    *,
    watcher: Watcher,
) -> Done:
    """Download a published model and add it; without a name, list those there are.

    dseinvert models pull

    dseinvert models pull stylegan2-ffhq-256
    """
    from dseinvert.cards import REGISTRY
    from dseinvert.models.registry import find, rows
    from dseinvert.models.registry import pull as fetch

    listed = registry or REGISTRY
    if not name:
        known = rows(listed)
        width = max((len(row.name) for row in known), default=0)
        return Done(
            lambda: [asdict(row) for row in known],
            [f"{row.name:<{width}}  {row.description}; {row.licence}" for row in known],
        )
    row = find(name, listed)
    watcher.note(f"{row.name}: licence: {row.licence}; from {row.source}")
    if not row.sha256:
        watcher.note("its sha256 is not known until the first pull, which records it")
    with watcher.within(f"{row.name}, MiB", row.bytes >> 20 or None) as count:
        added = fetch(name, lambda here, whole: count(here >> 20), listed)
    return _done(added)


def _verified(folder: Path) -> dict[str, Any]:
    from dseinvert.cards import read_card
    from dseinvert.models import verify

    try:
        name, files = read_card(folder)["name"], verify(folder)
    except MissingError:
        name, files = folder.name, {"model.json": "damaged"}
    return {"name": name, "folder": str(folder), "files": files}


def _done(added: Added) -> Done:
    how = "added" if added.new else "here already"
    return Done(
        lambda: {**asdict(added), "folder": str(added.folder)},
        [f"{added.name}  {added.folder}  {added.format}  ({how})"],
        [f"  {note}" for note in added.notes],
    )


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return str(value)
