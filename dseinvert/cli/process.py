"""What the program settles for its own process, and the library leaves to whoever calls it."""

from __future__ import annotations

import logging
import warnings

from dseinvert.cli.stdout import say
from dseinvert.names import printable


def be_calm(verbose: bool) -> None:
    """Libraries' warnings are for developers."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, format="dseinvert: %(message)s", handlers=[_Stderr()])
    for handler in logging.getLogger().handlers:
        handler.addFilter(_printable)
        if type(handler) is _Stderr:  # and not one of who calls `run`
            handler.setLevel(logging.getLogger().level)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    if not verbose:
        warnings.simplefilter("ignore")
    # What Pillow warns of is either harmless or told by us.
    warnings.filterwarnings("ignore", module=r"PIL\.")


class _Stderr(logging.Handler):
    """Prints on what stderr is at that moment: above the bar, where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), error=True)


def _printable(record: logging.LogRecord) -> bool:
    """Names of a stranger's file stand in messages, too."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def spare_cores() -> None:
    """OpenCV computes in the threads that call it: those of a run keep every core busy already."""
    import cv2

    cv2.setNumThreads(1)
