"""A verb made from its options class: the fields and their docstrings are what can be typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from dseinvert.config import field_docs
from dseinvert.inversion.methods import filled
from dseinvert.written import Option, Text

Body = Callable[..., Any]


@dataclass(frozen=True)
class Offered:
    """One field of an options class as an option."""

    field: Field[Any]
    hint: Any
    doc: str
    written: Option
    text: Text | None
    """None = its type parses it."""

    @property
    def name(self) -> str:
        """As it is typed, with its dashes."""
        return self.written.name or "--" + self.field.name.replace("_", "-")

    @property
    def many(self) -> bool:
        """Whether it may be repeated."""
        return self.text is None and get_origin(self.hint) is tuple

    def parameter(self, *, none_is_default: bool) -> inspect.Parameter:
        """What typer makes an option of."""
        said, _, meaning = self.doc.partition(" None = ")
        option = typer.Option(
            *self._names(),
            help=said.rstrip(";.") + "." if none_is_default else self.doc,
            show_default=(none_is_default and meaning.rstrip(".")) or True,
            min=self.written.least,
            max=self.written.most,
        )
        return inspect.Parameter(
            self.field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=self._default(),
            annotation=Annotated[self._typed(), option],
        )

    def _names(self) -> list[str]:
        """As typer has to be told; none where it finds the name by itself."""
        told = self.written
        if not (told.name or told.also or told.alone):
            return []
        return [self.name, told.also] if told.also else [self.name]

    def value(self, given: Any) -> Any:
        """The field's, from what was typed; UsageError where that makes no sense."""
        if self.many:
            return tuple(given or ())
        return given if self.text is None or given is None else self.text.read(self.name, given)

    def _default(self) -> Any:
        default = self.field.default
        if default is MISSING:
            return inspect.Parameter.empty
        return default if self.text is None else self.text.write(default)

    def _typed(self) -> Any:
        if self.many:
            return list[str]
        if self.text is None:
            return self.hint
        return str | None if self._default() is None else str


def offered(options: type, without: Container[str] = ()) -> list[Offered]:
    """The fields of a dataclass with a docstring under each, but those named in `without`."""
    docs, hints = field_docs(options), get_type_hints(options, include_extras=True)
    made = []
    for field in fields(options):
        if field.name not in without:
            hint, marks = _unwrapped(hints[field.name])
            written = next((mark for mark in marks if isinstance(mark, Option)), Option())
            text = next((mark for mark in marks if isinstance(mark, Text)), None)
            doc = filled(" ".join(docs[field.name].split()))
            made.append(Offered(field, hint, doc, written, text))
    return made


def offer(
    options: type,
    *,
    without: Container[str] = (),
    none_is_default: bool = True,
    taken_as: str = "options",
) -> Callable[[Body], Body]:
    """A decorator: the fields of `options` become options of a verb that takes `options`.

    They come before the verb's own parameters that have a default.

    Args:
        without: fields that are no options.
        none_is_default: whether "None = MEANING" at the end of a field's docstring is shown as
            the default, and not as a part of the help.
        taken_as: what the verb calls it.
    """
    rows = offered(options, without)
    made = [row.parameter(none_is_default=none_is_default) for row in rows]

    def decorate(verb: Body) -> Body:
        def built(**given: Any) -> Any:
            values = {row.field.name: row.value(given.pop(row.field.name)) for row in rows}
            return verb(**given, **{taken_as: options(**values)})

        own = [one for one in parameters(verb) if one.name != taken_as]
        needed = [one for one in own if one.default is one.empty]
        return signed(verb, built, [*needed, *made, *(one for one in own if one not in needed)])

    return decorate


def parameters(verb: Body) -> list[inspect.Parameter]:
    """A verb's own."""
    return [*inspect.signature(verb, eval_str=True).parameters.values()]


def signed(verb: Body, body: Body, taken: Sequence[inspect.Parameter]) -> Body:
    """`body` under the name and docstring of `verb`; it takes these parameters by name."""
    body.__name__, body.__doc__ = verb.__name__, verb.__doc__
    body.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in taken]
    )
    return body


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())
