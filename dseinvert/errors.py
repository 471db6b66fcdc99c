"""Every error a user can meet: what happened, where, what next, and the exit code it ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The process exit codes; documented in README.md and never renumbered."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    NO_INPUT = 3
    MISSING = 4
    RESOURCES = 5
    OUTPUT = 6
    PARTIAL_VIDEO = 7
    INTERRUPTED = 130
    TERMINATED = 143


class DseInvertError(Exception):
    """A failure with a one-line message; `advice` says what the user can do about it."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what} ({self.advice})" if self.advice else self.what


class UsageError(DseInvertError):
    """An option or argument that cannot be honoured; raised before any work starts."""

    exit_code = ExitCode.USAGE


class InputError(DseInvertError):
    """One input file that cannot be used; the rest of the batch goes on."""

    exit_code = ExitCode.SOME_FAILED


class OutsideError(InputError):
    """A time or a number that one clip does not have; of the only clip, a word as wrong as any."""

    exit_code = ExitCode.USAGE


class NoInputError(DseInvertError):
    """Nothing usable among the inputs."""

    exit_code = ExitCode.NO_INPUT


class MissingError(DseInvertError):
    """A model, weight file or optional package that is not there or not intact."""

    exit_code = ExitCode.MISSING


class DeviceError(DseInvertError):
    """Out of memory, or a device that does not exist or does not work."""

    exit_code = ExitCode.RESOURCES


class OutputError(DseInvertError):
    """The output place cannot be written: permission, full disk, a file in the way."""

    exit_code = ExitCode.OUTPUT


class OtherOptionsError(OutputError):
    """Results of other options that would be replaced; raised before any work starts."""
