"""What a large picture took is given back once it is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dseinvert.media import images


@pytest.mark.parametrize("encode", [images.encode_png, images.encode_jpeg])
def test_an_encoder_gives_back_what_a_picture_took(
    monkeypatch: pytest.MonkeyPatch, encode: Callable[[np.ndarray], bytes]
) -> None:
    """Else the page that shows a photo of 108 megapixels is made on top of it."""
    given: list[int] = []
    monkeypatch.setattr(images, "give_back", given.append)
    encode(np.zeros((30, 20, 3), np.uint8))
    assert given == [600]
