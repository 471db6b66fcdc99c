"""The pictures that `images` writes of each face: one table, which all that names them reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dseinvert.media.pixels import Levels

if TYPE_CHECKING:
    from dseinvert.run.images.compute import InvertedFace


@dataclass(frozen=True)
class Role:
    """One kind of picture, and what the output folder, the next run and the page make of it."""

    what: str
    pictures: Callable[[InvertedFace], Mapping[str, Levels]]
    """Those of a face, by what stands before the suffix in the names of their files."""
    names: str
    """A regular expression that knows these names again."""
    caption: str = ""
    """On the page; "" = the picture's name."""
    pasted: bool = False
    """Whether --paste blends it back into the whole photo."""


ROLES = {
    "input": Role(
        "the face as it was cut out of the photo",
        lambda face: {"input": face.crop.pixels},
        names="input",
        caption="input",
    ),
    "recon": Role(
        "what the generator draws of its latent",
        lambda face: {"recon": face.recon},
        names="recon",
        caption="reconstruction",
    ),
    "map": Role(
        "of --refine sam, what draws each part: grey = rows alone, blue to red = F of later layers",
        lambda face: {} if face.map is None else {"map": face.map},
        names="map",
        caption="where F corrects it, from blue to red the later its layer; grey: nowhere",
    ),
    "edit": Role(
        "the same of its edited latent, one for each --edit, named by its label",
        lambda face: face.edited,
        names=r".*([+-]\d|=auto).*",
        pasted=True,
    ),
}
"""In the order in which they are written and shown."""
USUAL = ("input", "recon")
"""What is written of every face."""


@dataclass(frozen=True)
class Picture:
    """One picture of a face."""

    pixels: Levels
    pasted: bool
    """See `Role`."""


def pictures(face: InvertedFace) -> dict[str, Picture]:
    """All that are written of a face, by name."""
    return {
        name: Picture(pixels, role.pasted)
        for role in ROLES.values()
        for name, pixels in role.pictures(face).items()
    }


def is_picture(ending: str, format: str = "png") -> bool:
    """Whether what follows a face's name in a file name is that of one of these pictures.

    They are PNG, or of the `format` that a run is asked for.
    """
    return any(re.fullmatch(rf"({role.names})\.(png|{format})", ending) for role in ROLES.values())


def caption(name: str) -> str:
    """What the page says under a picture; names of other versions are shown as they are."""
    found = (role.caption for role in ROLES.values() if re.fullmatch(role.names, name))
    return next(found, "") or name
