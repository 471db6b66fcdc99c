"""`dseinvert ui`: a page of this machine to play with."""

from __future__ import annotations

import os
import webbrowser
from typing import Annotated

import typer

from dseinvert.cli.known import check_model
from dseinvert.cli.stdout import say
from dseinvert.cli.verb import Done, verb
from dseinvert.errors import MissingError


@verb(json=None)
def ui(
    model: Annotated[str, typer.Option(help="Name or folder of the model to begin with.")] = (
        "default"
    ),
    port: Annotated[int, typer.Option(help="Of the page.", min=0, max=65535)] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 shows the page to the network.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Further name that the page answers to, as behind a proxy; * = any."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> Done:
    """Serve a page with sliders for photos, clips and folders, until Ctrl-C.

    Nothing leaves this machine, and nothing is written before Export.

    dseinvert ui

    dseinvert ui --model mine --port 8000 --no-open
    """
    check_model(model)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from dseinvert.ui.guard import names_here
        from dseinvert.ui.server import bound, serve
    except ImportError as error:
        missing = f"the page needs {error.name}"
        raise MissingError(missing, "pip install 'dseinvert[ui]'") from error
    listening = bound(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"

    def up() -> None:
        say(f"{address} (Ctrl-C ends it)")
        if show:
            webbrowser.open(address)

    serve(model, listening, [*names_here(host), *(name or ())], up)
    return Done()
