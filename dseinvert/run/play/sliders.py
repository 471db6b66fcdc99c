"""NAME.sliders.html: one face and a slider for each direction, its pictures drawn beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dseinvert.media.pixels import Pixels
from dseinvert.run.images.page import jpeg_uri
from dseinvert.run.pages import page_bytes

SUFFIX = "sliders.html"


@dataclass(frozen=True)
class Slider:
    """One direction of a face."""

    name: str
    unit: str
    """What a strength of one is."""
    strengths: Sequence[float]
    """In growing or falling order."""
    pictures: Sequence[Pixels]
    """One for each strength."""

    @property
    def rest(self) -> int:
        """Where it stands at first: the place of the strength nearest to 0."""
        return min(range(len(self.strengths)), key=lambda k: abs(self.strengths[k]))

    @property
    def said(self) -> list[str]:
        """The strengths as they are written."""
        return [f"{strength:+g}" if strength else "0" for strength in self.strengths]


def slider_page(name: str, sliders: Sequence[Slider], facts: Mapping[str, str]) -> bytes:
    """The page of the face `name`, with all it needs in it."""
    first = sliders[0]
    units = {slider.name: slider.unit for slider in sliders}
    frames = [[jpeg_uri(picture) for picture in slider.pictures] for slider in sliders]
    values = {
        "title": name,
        "subtitle": " · ".join(f"{key} {fact}" for key, fact in facts.items()),
        "sliders": sliders,
        "facts": units,
        "start": frames[0][first.rest],
        "frames": frames,
    }
    return page_bytes("sliders", values)
