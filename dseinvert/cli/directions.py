"""`dseinvert directions`: what a model can be edited along, and where more of it comes from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.config import DirectionsOptions, PreviewOptions

if TYPE_CHECKING:
    from dseinvert.editing.directions import Direction
    from dseinvert.run.directions.change import Given

directions = typer.Typer(
    help="List, learn, import and preview what a model can be edited along.", no_args_is_help=False
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.")]
OfModel = Annotated[
    str, typer.Option("--model", help="A model's name or folder, or a checkpoint file.")
]
Copy = Annotated[
    str,
    typer.Option(
        help="Change a copy of this name, not the model.", show_default="the model itself"
    ),
]
Known = Annotated[str, typer.Argument(help="The name of a direction.")]


@directions.command("list")
def list_(model: OfModel = "default", json: Json = False) -> None:
    """Name the directions of a model with their unit, space and rows."""
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import describe

    known = [d for _, d in sorted(open_model(model).directions.items())]
    if json:
        print_json([describe(direction) for direction in known])
    else:
        _print_lines(known)


@directions.command()
def show(name: Known, model: OfModel = "default", json: Json = False) -> None:
    """Tell all that is known of one direction."""
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import describe, pick

    facts = describe(pick(open_model(model), name))
    if json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        print(f"{key:<{width}}  {_plain(value)}")


@directions.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Directions of this program or another.")],
    name: Annotated[str, typer.Option(help="What to call it.", show_default="after the file")] = "",
    model: OfModel = "default",
    copy: Copy = "",
    json: Json = False,
) -> None:
    """Give a model directions from a file: InterFaceGAN, GANSpace, e4e, or this program's.

    dseinvert directions import smile.npy --model my-gan.pth
    """
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import import_file

    with reserved_stdout():
        given = import_file(file, open_model(model), name, copy)
    _tell(given, "imported", json)


@directions.command()
@offer(DirectionsOptions, {"method": str})
def learn(json: Json = False, quiet: Quiet = False, **given: Any) -> None:
    """Find directions, and give them to a model.

    dseinvert directions learn --method ganspace --count 4 --model ./my-gan
    """
    options = DirectionsOptions(**given)
    with reserved_stdout():
        from dseinvert.run.directions.learn import learn as run
        from dseinvert.run.flow.progress import watching

        with watching(quiet) as watcher:
            learned = run(options, watcher)
    _tell(learned, "learned", json)


@directions.command()
@offer(PreviewOptions, {"latents": list[str], "label": int | None})
def preview(
    names: Annotated[
        list[str] | None, typer.Argument(help="Of directions.", show_default="all")
    ] = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Draw a strip for each direction: a row a face, a column a strength.

    dseinvert directions preview age --out strips
    """
    options = PreviewOptions(**{**given, "latents": tuple(given["latents"] or ())})
    with reserved_stdout():
        from dseinvert.run.directions.change import preview as run

        files = run(names or (), options)
    if json:
        print_json([str(file) for file in files])
        return
    for file in files:
        print(file)


@directions.command()
def rename(
    old: Known,
    new: Annotated[str, typer.Argument(help="Its new name.")],
    model: OfModel = "default",
    copy: Copy = "",
    json: Json = False,
) -> None:
    """Call a direction otherwise."""
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import rename as run

    _tell(run(open_model(model), old, new, copy), "renamed", json)


@directions.command("remove")
def remove_(
    names: Annotated[list[str], typer.Argument(help="Of directions.")],
    model: OfModel = "default",
    copy: Copy = "",
    json: Json = False,
) -> None:
    """Take directions away from a model."""
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import remove

    _tell(remove(open_model(model), names, copy), "removed", json)


def _tell(given: Given, done: str, json: bool) -> None:
    if json:
        print_json(given.asdict())
        return
    _print_lines(given.directions)
    for note in given.notes:
        print(note, file=sys.stderr)
    for file in given.previews:
        print(file, file=sys.stderr)
    print(f"{len(given.directions)} {done}: {given.model}, {given.folder}", file=sys.stderr)


def _print_lines(known: list[Direction] | tuple[Direction, ...]) -> None:
    width = max((len(direction.name) for direction in known), default=0)
    for one in known:
        rows = "" if one.layers is None else " rows {}-{}".format(*one.layers)
        how = f"; {one.learned}" if one.learned else ""
        print(f"{one.name:<{width}}  {one.space}{rows}; one is {one.unit}{how}")


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "all" if value is None else str(value) or "unknown"
