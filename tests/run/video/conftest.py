"""What tests of `video` runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dseinvert.run.video import measure


@pytest.fixture(scope="module", autouse=True)
def short_report(request: pytest.FixtureRequest) -> Iterator[None]:
    """One picture on the page, and steadiness over two frames: half of a run of a few frames.

    Not in test_evaluate.py, which is about steadiness.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem != "test_evaluate":
            patch.setattr(measure, "MOMENTS", 1)
            patch.setattr(measure, "STRETCHES", 1)
            patch.setattr(measure, "LENGTH", 2)
        yield
