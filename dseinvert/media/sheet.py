"""Pictures side by side in one, as a person wants to compare them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

GAP, WHITE = 2, 255
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    across: Sequence[str] = (),
    least: int = 1,
) -> np.ndarray:
    """Rows of pictures uint8 [S, S, 3] of one size -> one uint8 [H, W, 3] with white gaps.

    Args:
        rows: of pictures; None = an empty place. Short rows end early.
        across: a word over each column; empty = none.
        least: pixels a picture gets at least, by whole factors, so that small ones can be seen.
    """
    side = next(one.shape[0] for row in rows for one in row if one is not None)
    factor = max(1, -(-least // side))
    columns = max(len(row) for row in rows)
    lines = [_line(row, columns, side, factor) for row in rows]
    head = [_words(across, columns, side * factor + GAP)] if across else []
    return np.concatenate([*head, *lines])


def _line(row: Sequence[np.ndarray | None], columns: int, side: int, factor: int) -> np.ndarray:
    empty = np.full((side, side, 3), WHITE, np.uint8)
    pictures = [empty if one is None else one for one in (*row, *[None] * (columns - len(row)))]
    large = [one.repeat(factor, 0).repeat(factor, 1) for one in pictures]
    return np.concatenate(
        [np.pad(one, ((0, GAP), (0, GAP), (0, 0)), constant_values=WHITE) for one in large], axis=1
    )


def _words(words: Sequence[str], columns: int, width: int) -> np.ndarray:
    """A white line with a word in the middle of each column, shrunk where it is too wide."""
    line = np.full((24, columns * width, 3), WHITE, np.uint8)
    for place, word in enumerate(words[:columns]):
        (wide, _), _ = cv2.getTextSize(word, _FONT, 0.5, 1)
        scale = 0.5 * min(1.0, (width - 8) / max(wide, 1))
        (wide, tall), _ = cv2.getTextSize(word, _FONT, scale, 1)
        at = (place * width + (width - GAP - wide) // 2, 12 + tall // 2)
        cv2.putText(line, word, at, _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return line
