"""What the program settles for its own process, and the library leaves to whoever calls it."""

from __future__ import annotations

import logging
import warnings


def be_calm(verbose: bool) -> None:
    """Libraries' warnings are for developers."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="dseinvert: %(message)s"
    )
    logging.getLogger("PIL").setLevel(logging.ERROR)
    if not verbose:
        warnings.simplefilter("ignore")
    # What Pillow warns of is either harmless or told by us.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def spare_cores() -> None:
    """OpenCV computes in the threads that call it: those of a run keep every core busy already."""
    import cv2

    cv2.setNumThreads(1)
