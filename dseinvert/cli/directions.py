"""`dseinvert directions`: what a model can be edited along, and where more of it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dseinvert.cli.checks import check_learn, check_preview
from dseinvert.cli.devices import check_device
from dseinvert.cli.inputs import check_readable
from dseinvert.cli.known import check_directions, check_model
from dseinvert.cli.verb import FAILS, PLAIN, Done, table, verb
from dseinvert.config import DirectionsOptions, EditorOptions, PreviewOptions
from dseinvert.progress import Watcher

if TYPE_CHECKING:
    from dseinvert.editing.directions import Direction
    from dseinvert.run.directions.change import Given

directions = typer.Typer(
    help="List, learn, import and preview what a model can be edited along.", no_args_is_help=False
)
_verb = partial(verb, json=PLAIN)
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
@_verb()
def list_(model: OfModel = "default") -> Done:
    """Name the directions of a model with their unit, space and rows.

    dseinvert directions list

    dseinvert directions list --model ./my-gan --json
    """
    check_model(model)
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import describe

    known = [d for _, d in sorted(open_model(model).directions.items())]
    return Done(lambda: [describe(direction) for direction in known], _lines(known))


@directions.command()
@_verb()
def show(name: Known, model: OfModel = "default") -> Done:
    """Tell all that is known of one direction.

    dseinvert directions show age

    dseinvert directions show smile --model ./my-gan
    """
    check_directions(model, [name])
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import describe, pick

    facts = describe(pick(open_model(model), name))
    return Done(lambda: facts, table(facts, _plain))


@directions.command("import")
@_verb()
def import_(
    file: Annotated[Path, typer.Argument(help="Directions of this program or another.")],
    name: Annotated[str, typer.Option(help="What to call it.", show_default="after the file")] = "",
    model: OfModel = "default",
    copy: Copy = "",
) -> Done:
    """Give a model directions from a file: InterFaceGAN, GANSpace, e4e, or this program's.

    dseinvert directions import smile.npy --model my-gan.pth

    dseinvert directions import smile.npy --name grin --model my-gan.pth
    """
    check_readable(file)
    check_model(model)
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import import_file

    return _done(import_file(file, open_model(model), name, copy), "imported")


@directions.command()
@_verb(DirectionsOptions, quiet=FAILS)
def learn(options: DirectionsOptions, watcher: Watcher) -> Done:
    """Find directions, and give them to a model.

    dseinvert directions learn --method ganspace --count 4 --model ./my-gan

    dseinvert directions learn --method sefa --layers 2-3 --model ./my-gan
    """
    check_learn(options)
    from dseinvert.run.directions.learn import learn as run

    return _done(run(options, watcher), "learned")


@directions.command()
@_verb(EditorOptions, quiet="No progress bar.")
def editor(options: EditorOptions, watcher: Watcher) -> Done:
    """Teach a model how its F follows edits, in place of the difference rule.

    dseinvert directions editor --copy my-faces

    dseinvert directions editor --steps 3000 --model ./my-gan
    """
    check_device(options.device)
    check_model(options.model)
    from dseinvert.run.directions.editor import teach

    taught = teach(options, watcher)
    return Done(taught.asdict, [taught.summary()])


@directions.command()
@_verb(PreviewOptions)
def preview(
    options: PreviewOptions,
    watcher: Watcher,
    names: Annotated[
        list[str] | None, typer.Argument(help="Of directions.", show_default="all")
    ] = None,
) -> Done:
    """Draw a strip for each direction: a row a face, a column a strength.

    dseinvert directions preview age --out strips

    dseinvert directions preview --strengths -2:2:5 --seeds 7 --out all-strips
    """
    check_preview(names or (), options)
    from dseinvert.run.directions.change import preview as run

    written, code = run(names or (), options, watcher)
    files = [str(file) for file in written]
    return Done(lambda: files, files, code=code)


@directions.command()
@_verb()
def rename(
    old: Known,
    new: Annotated[str, typer.Argument(help="Its new name.")],
    model: OfModel = "default",
    copy: Copy = "",
) -> Done:
    """Call a direction otherwise.

    dseinvert directions rename pc0 turn --model ./my-gan

    dseinvert directions rename age years --copy my-faces
    """
    check_directions(model, [old])
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import rename as run

    return _done(run(open_model(model), old, new, copy), "renamed")


@directions.command("remove")
@_verb()
def remove_(
    names: Annotated[list[str], typer.Argument(help="Of directions.")],
    model: OfModel = "default",
    copy: Copy = "",
) -> Done:
    """Take directions away from a model.

    dseinvert directions remove pc2 pc3 --model ./my-gan

    dseinvert directions remove hair --copy less-hair
    """
    check_directions(model, names)
    from dseinvert.models import open_model
    from dseinvert.run.directions.change import remove

    return _done(remove(open_model(model), names, copy), "removed")


def _done(given: Given, how: str) -> Done:
    count = f"{len(given.directions)} {how}: {given.model}, {given.folder}"
    notes = [*given.notes, *map(str, given.previews), count]
    return Done(given.asdict, _lines(given.directions), notes)


def _lines(known: Sequence[Direction]) -> list[str]:
    width = max((len(direction.name) for direction in known), default=0)
    return [f"{one.name:<{width}}  {_told(one)}" for one in known]


def _told(one: Direction) -> str:
    rows = "" if one.layers is None else " rows {}-{}".format(*one.layers)
    how = f"; {one.learned}" if one.learned else ""
    return f"{one.space}{rows}; one is {one.unit}{how}"


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "all" if value is None else str(value) or "unknown"
