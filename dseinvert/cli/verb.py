"""What all verbs share: --json, --quiet, --verbose, a stdout for results only, the exit code."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from dseinvert.cli.options import Body, offer, parameters, signed
from dseinvert.cli.stdout import print_json, reserved_stdout, say
from dseinvert.cli.told_by_file import read_config
from dseinvert.config import SpreadOptions
from dseinvert.stop import interruptible

DONE, PLAIN = "Print what was done as JSON.", "Print JSON."
FAILS, NO_PROGRESS = "Say only what fails.", "No progress."
_BY_FILE = (
    "TOML file with options, as the page of `dseinvert ui` saves; what is typed goes before it."
)
_VERBOSE = "Show details and tracebacks."


_LOG = inspect.Parameter(
    "log",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            help="File to append every message to, and a line for each thing done.",
            show_default="no log",
        ),
    ],
)


_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(help=_BY_FILE, is_eager=True, callback=read_config, show_default="none"),
    ],
)


@dataclass(frozen=True)
class Done:
    """What a verb leaves behind."""

    json: Callable[[], Any] | None = None
    """Plain values, for --json; None = there is no --json."""
    lines: Iterable[str] = ()
    """On stdout, where --json is not given."""
    notes: Iterable[str] = ()
    """Then on stderr, where --json is not given."""
    code: int = 0
    """The process's exit code."""


def verb(
    options: type | None = None,
    *,
    json: str | None = DONE,
    quiet: str | None = None,
    without: Container[str] = (),
    none_is_default: bool = True,
    by_file: bool = False,
) -> Callable[[Callable[..., Done]], Body]:
    """A decorator: a function that does the work becomes a verb that typer can run.

    The function takes what it names: its own arguments and options, `options` and `spread` (made
    from what was typed), `watcher` (open while it runs) and `quiet`. All it prints goes to stderr,
    unless the verb has no --json; what it returns is printed when it has ended.

    Args:
        options: the options class; None = the verb has only options of its own.
        json: the help of --json; None = there is none.
        quiet: the help of --quiet; None = there is none.
        without, none_is_default: see `offer`.
        by_file: whether there is --config, by which a file gives options.
    """
    switches = [
        _switch("json", ("--json",), json),
        _switch("quiet", ("-q", "--quiet"), quiet),
        _switch("verbose", ("-v", "--verbose"), _VERBOSE),
    ]

    def decorate(work: Callable[..., Done]) -> Body:
        whole: Body = work
        if "spread" in {one.name for one in parameters(work)}:
            whole = offer(SpreadOptions, taken_as="spread")(whole)
        if options is not None:
            whole = offer(options, without=without, none_is_default=none_is_default)(whole)
        named = {one.name for one in parameters(work)}

        def run(**given: Any) -> None:
            if by_file:
                del given["config"]  # has told its options when it was parsed
            as_json, silent = given.pop("json", False), given.pop("quiet", False)
            talk = Talk(silent, given.pop("verbose", False), given.pop("log", None))
            if "quiet" in named:
                given["quiet"] = silent
            try:
                with nullcontext() if json is None else reserved_stdout():
                    done = _watched(whole, given, talk, takes="watcher" in named)
            except KeyboardInterrupt as error:  # of which typer itself would say nothing
                raise typer.Abort from error
            _tell(done, as_json)
            if done.code:
                raise typer.Exit(done.code)

        own = [one for one in parameters(whole) if one.name not in ("watcher", "quiet")]
        told = [_CONFIG] if by_file else []
        return signed(work, run, [*own, *told, *filter(None, switches), _LOG])

    return decorate


@dataclass(frozen=True)
class Talk:
    """How much a run says, and where."""

    quiet: bool
    verbose: bool
    log: Path | None
    """None = there is no log."""


def _watched(whole: Body, given: dict[str, Any], talk: Talk, *, takes: bool) -> Done:
    """What the verb did; `takes` = it wants the watcher, to which it tells how far it is."""
    if not (takes or talk.verbose or talk.log):
        return cast(Done, whole(**given))
    from dseinvert.run.flow.log import logged
    from dseinvert.run.flow.progress import watching
    from dseinvert.run.flow.stages import staged

    command = shlex.join(["dseinvert", *sys.argv[1:]])
    with (
        watching(talk.quiet) as terminal,
        logged(terminal, talk.log, command) as kept,
        staged(kept, talk.verbose) as watcher,
        interruptible(watcher.problem),
    ):
        done: Done = whole(**given, watcher=watcher) if takes else whole(**given)
    return done


def _tell(done: Done, as_json: bool) -> None:
    if as_json and done.json is not None:
        print_json(done.json())
        return
    for line in done.lines:
        say(line)
    for note in done.notes:
        say(note, error=True)


def _switch(name: str, written: tuple[str, ...], help_: str | None) -> inspect.Parameter | None:
    """None = the verb has none."""
    if help_ is None:
        return None
    kind = Annotated[bool, typer.Option(*written, help=help_)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)


def table(facts: Mapping[str, Any], plain: Callable[[Any], str]) -> list[str]:
    """A line for each fact, the values below each other."""
    width = max(map(len, facts))
    return [f"{name:<{width}}  {plain(value)}" for name, value in facts.items()]
