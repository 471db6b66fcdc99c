"""The options of a verb, made from the fields of its options class and their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import typer

from dseinvert.config import field_docs
from dseinvert.inversion.methods import filled


def offer(options: type, texts: Mapping[str, Any]) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: the fields of `options` become options of a verb that takes `**given`.

    They come before the verb's own parameters that have a default. "None = MEANING" at the end
    of a field's docstring is shown as the default.

    Args:
        options: a dataclass with a docstring under each field that is to be an option.
        texts: fields that are given as another type than their own; None = not at all.
    """

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(verb, eval_str=True)
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [*(p for p in kept if p.default is p.empty), *_parameters(options, texts)]
        made += [p for p in kept if p.default is not p.empty]
        verb.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=p.KEYWORD_ONLY) for p in made]
        )
        return verb

    return decorate


def help_of(options: type) -> dict[str, str]:
    """The help of each field of an options class."""
    return {name: filled(doc) for name, doc in field_docs(options).items()}


def _parameters(options: type, texts: Mapping[str, Any]) -> list[inspect.Parameter]:
    docs, hints = help_of(options), {**get_type_hints(options), **texts}
    made = []
    for field in fields(options):
        hint = hints[field.name]
        if hint is None:
            continue
        said, _, meaning = " ".join(docs[field.name].split()).partition(" None = ")
        show = meaning.rstrip(".") or True
        option = typer.Option(help=said.rstrip(";.") + ".", show_default=show)
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        made.append(
            inspect.Parameter(field.name, kind, default=default, annotation=Annotated[hint, option])
        )
    return made
