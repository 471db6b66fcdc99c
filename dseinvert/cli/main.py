"""The `dseinvert` command: its verbs, and how every error ends in one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from dseinvert.cli.directions import directions
from dseinvert.cli.edit import edit
from dseinvert.cli.evaluate import evaluate
from dseinvert.cli.export import export
from dseinvert.cli.finetune import finetune
from dseinvert.cli.images import images
from dseinvert.cli.mix import mix
from dseinvert.cli.models import models
from dseinvert.cli.morph import morph
from dseinvert.cli.process import be_calm
from dseinvert.cli.sample import sample
from dseinvert.cli.stdout import print_json, say
from dseinvert.cli.train import train
from dseinvert.cli.video import video
from dseinvert.errors import DseInvertError, ExitCode
from dseinvert.version import __version__

app = typer.Typer(
    name="dseinvert",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(images)
app.command()(video)
app.command()(edit)
app.command()(mix)
app.command()(morph)
app.command()(sample)
app.command()(evaluate)
app.command()(train)
app.command()(finetune)
app.command()(export)
app.add_typer(models, name="models")
app.add_typer(directions, name="directions")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has gone; nothing more may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; errors are told on stderr, one line each.

    With --json, what ended a command stands on stdout as well, as JSON.
    """
    verbose = not {"-v", "--verbose"}.isdisjoint(arguments)
    be_calm(verbose)
    try:
        return int(app(list(arguments), prog_name="dseinvert", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.SOME_FAILED
    except Exception as error:
        line, code = _told(error)
        if verbose and _is_bug(error):
            for one in traceback.format_exc().splitlines():
                say(one, error=True)
        if "--json" in arguments:
            print_json({"exit_code": int(code), "error": line})
        say(f"dseinvert: {line}", error=True)
        return int(code)


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


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error, in one line, and its exit code."""
    line, code = f"unexpected {type(error).__name__}: {error}", int(ExitCode.SOME_FAILED)
    if _is_bug(error):
        line += " (this is a bug; -v shows the traceback)"
    elif isinstance(error, DseInvertError):
        line, code = str(error), error.exit_code
    elif isinstance(error, MemoryError):
        line = "out of memory (free some, or give fewer or smaller images)"
        code = ExitCode.RESOURCES
    else:
        line, code = _usage(error), ExitCode.USAGE
    return " ".join(line.split()), code


def _is_bug(error: Exception) -> bool:
    """Whether no user can cause it. Typer's own, whose class has no public name, users can."""
    ours = isinstance(error, (DseInvertError, MemoryError))
    return not ours and not hasattr(error, "format_message")


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "dseinvert"
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return f"{message.rstrip('.')} (see {command} --help)"
