"""The `dseinvert` command: its verbs, and how every error ends in one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from dseinvert.cli.demo import demo
from dseinvert.cli.directions import directions
from dseinvert.cli.edit import edit
from dseinvert.cli.empty import check_not_empty
from dseinvert.cli.evaluate import evaluate
from dseinvert.cli.export import export
from dseinvert.cli.finetune import finetune
from dseinvert.cli.images import images
from dseinvert.cli.mix import mix
from dseinvert.cli.models import models
from dseinvert.cli.morph import morph
from dseinvert.cli.process import be_calm
from dseinvert.cli.report import report
from dseinvert.cli.sample import sample
from dseinvert.cli.status import status
from dseinvert.cli.stdout import print_json, say
from dseinvert.cli.told import another_tells, code_of, is_bug, told
from dseinvert.cli.train import train
from dseinvert.cli.ui import ui
from dseinvert.cli.video import video
from dseinvert.cli.words import words
from dseinvert.errors import ExitCode
from dseinvert.version import __version__

app = typer.Typer(
    name="dseinvert",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=words("latent", "strength"))(demo)
app.command(epilog=words("latent", "w+", "rows", "strength", "refine", "identity"))(images)
app.command(epilog=words("latent", "strength", "refine", "crf"))(video)
app.command(epilog=words("latent", "rows", "strength", "identity"))(edit)
app.command(epilog=words("latent", "w+"))(mix)
app.command(epilog=words("latent"))(morph)
app.command(epilog=words("latent", "psi"))(sample)
app.command(epilog=words("encoder", "refine", "feature", "identity"))(evaluate)
app.command(epilog=words("shard"))(report)
app.command(epilog=words("shard"))(status)
app.command(epilog=words("encoder", "w+", "psi", "feature"))(train)
app.command(epilog=words("encoder"))(finetune)
app.command(epilog=words("encoder", "feature"))(export)
app.command(epilog=words("latent", "strength"))(ui)
app.add_typer(models, name="models")
app.add_typer(directions, name="directions")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # the reader of a pipe has gone; nothing more may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code == ExitCode.INTERRUPTED:
        os._exit(code)  # threads that are still at work are not waited for
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; errors are told on stderr, one line each.

    With --json, what ended a command stands on stdout as well, as JSON.
    """
    verbose = not {"-v", "--verbose"}.isdisjoint(arguments)
    be_calm(verbose)
    try:
        check_not_empty(arguments, program)
        return int(program()(list(arguments), prog_name="dseinvert", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        say("dseinvert: stopped", error=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.SOME_FAILED
    except Exception as error:
        line, code = told(error, arguments, options_of_verbs), code_of(error)
        if verbose and is_bug(error):
            for one in traceback.format_exc().splitlines():
                say(one, error=True)
        if "--json" in arguments:
            print_json({"exit_code": int(code), "error": line})
        if not another_tells(error):
            say(f"dseinvert: {line}", error=True)
        return int(code)


def options_of_verbs() -> dict[str, list[str]]:
    """The options of every verb, by its name: "images", "models show"; of the program by ""."""
    return {" ".join(path): names for path, names in _commands((), program())}


@cache
def program() -> Any:
    """All verbs with their options, as they are parsed; built once."""
    return typer.main.get_command(app)


def _commands(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    given = (one for one in command.params if one.param_type_name == "option")
    yield path, [*(name for one in given for name in (*one.opts, *one.secondary_opts)), "--help"]
    for name, inside in getattr(command, "commands", {}).items():
        yield from _commands((*path, name), inside)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Invert faces into a GAN's latents, edit them, and render them back."""
    if version:
        say(f"dseinvert {__version__}")
    elif context.invoked_subcommand is None:
        for line in context.get_help().splitlines():
            say(line, error=True)
        raise typer.Exit(ExitCode.USAGE)
