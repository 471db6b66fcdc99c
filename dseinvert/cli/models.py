"""`dseinvert models`: what can be named with --model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dseinvert.cli.stdout import print_json

models = typer.Typer(help="Name and describe the models.", no_args_is_help=False)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models.command("list")
def list_(json: Json = False) -> None:
    """Name the models that --model knows; it also takes a model's folder."""
    from dseinvert.models import list_models

    rows = list_models()
    if json:
        print_json([{**asdict(row), "folder": str(row.folder)} for row in rows])
        return
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        print(f"{row.name:<{width}}  {row.bytes / 2**20:5.1f} MiB  {row.description}")


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="A model's name or folder.")] = "default",
    json: Json = False,
) -> None:
    """Describe one model."""
    from dseinvert.models import describe, open_model

    facts = describe(open_model(name))
    if json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        print(f"{key:<{width}}  {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items()) or "none"
    return str(value)
