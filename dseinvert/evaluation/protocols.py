"""What four papers measured, and how: for our numbers to stand beside theirs.

Numbers and settings are those of the papers and of their published scripts. The command line reads
this table as it starts, so that nothing heavy is loaded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dseinvert.errors import UsageError
from dseinvert.names import suggested

Window = Literal["gaussian 11", "uniform 7"]
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Protocol:
    """How one paper compares inversions of real images."""

    title: str
    generator: str
    images: str
    count: int
    """Images."""
    side: int | None
    """Pixels at which images are compared; None = those of the generator."""
    window: Window
    """Of SSIM."""
    levels: float
    """Squared errors are of images with so many levels: 2 = in [-1, 1], 255 = of bytes."""
    net: Literal["vgg", "alex"]
    """Of LPIPS."""
    refine: tuple[str, ...]
    """As --refine of `evaluate`, {} for the steps."""
    baselines: tuple[str, ...]
    """As --baselines."""
    steps: int
    """Of each method; 0 = nothing is optimised."""
    published: Mapping[str, Numbers]
    """By method: psnr, ssim, mse, lpips, identity, fid, and `edited`, the identity after edits."""
    unsaid: str = ""
    """What the paper leaves open; "" = nothing."""


def _numbers(*names: str, **rows: tuple[float, ...]) -> dict[str, Numbers]:
    return {name: dict(zip(names, row, strict=True)) for name, row in rows.items()}


_DSE = ("psnr", "ssim", "mse", "lpips")
_FSE = ("ssim", "psnr", "mse", "lpips", "identity", "fid")
PROTOCOLS: dict[str, Protocol] = {
    "dse": Protocol(
        "Diverse Similarity Encoder, Table III, real images",
        generator="StyleGAN2 of FFHQ at 1024 px",
        images="CelebA-HQ",
        count=3000,
        side=512,
        window="uniform 7",
        levels=255,
        net="vgg",
        refine=("encoder:{}",),
        baselines=("indomain:{}",),
        steps=3500,
        published=_numbers(
            *_DSE,
            **{
                "DSE": (19.12, 0.601, 857, 0.421),
                "DSE (E), the encoder tuned": (25.92, 0.767, 176, 0.293),
                "In-Domain (W), optimised": (23.45, 0.672, 337, 0.367),
                "pSp": (21.38, 0.649, 512, 0.416),
            },
        ),
        unsaid="the size at which images are compared is that of the published script",
    ),
    "fine-tuning": Protocol(
        "Fine-tuning GAN encoders, Table 4, real images",
        generator="StyleGANs of FFHQ at 1024 px",
        images="CelebA-HQ",
        count=150,
        side=512,
        window="uniform 7",
        levels=255,
        net="vgg",
        refine=("encoder:{}",),
        baselines=("indomain:{}",),
        steps=3500,
        published=_numbers(
            *("psnr", "ssim", "lpips", "fid"),
            **{
                "Ours, the encoder tuned": (25.92, 0.767, 0.293, 44.52),
                "RiDDLE": (23.62, 0.724, 0.371, 86.19),
                "In-domain": (23.45, 0.672, 0.367, 59.12),
                "E2Style": (22.03, 0.683, 0.394, 93.66),
                "pSp": (21.38, 0.649, 0.416, 96.48),
            },
        ),
        unsaid="150 images are one of ten folds of 1,500",
    ),
    "feature-style": Protocol(
        "Feature-Style Encoder, Table 1",
        generator="StyleGAN2 of FFHQ at 1024 px",
        images="the first of CelebA-HQ",
        count=1000,
        side=None,
        window="gaussian 11",
        levels=2,
        net="alex",
        refine=(),
        baselines=(),
        steps=0,
        published=_numbers(
            *_FSE,
            **{
                "Feature-Style Encoder": (0.641, 23.65, 0.019, 0.066, 0.80, 19.03),
                "HFGI": (0.595, 22.07, 0.027, 0.117, 0.68, 26.53),
                "restyle": (0.537, 21.14, 0.034, 0.130, 0.66, 32.56),
                "e4e": (0.479, 19.17, 0.052, 0.196, 0.51, 36.72),
                "pSp": (0.509, 20.37, 0.040, 0.159, 0.56, 34.68),
                "IDGI": (0.554, 22.06, 0.034, 0.136, 0.18, 36.83),
            },
        ),
        unsaid="the window of SSIM is not said; identity is of CurricularFace",
    ),
    "fz": Protocol(
        "F/Z+, Table 1 and Section 3",
        generator="StyleGAN2 of FFHQ at 1024 px",
        images="CelebA-HQ",
        count=50,
        side=None,
        window="gaussian 11",
        levels=2,
        net="vgg",
        refine=tuple(f"latent:{{}}@{space}" for space in ("z", "z+", "w+", "f/z", "f/z+")),
        baselines=("bdinvert:{}", "indomain:{}"),
        steps=1200,
        published=_numbers(
            *("mse", "ssim"),
            **{
                "Z": (0.18149, 0.61155),
                "Z+": (0.12117, 0.68930),
                "W+(P_N)": (0.11965, 0.68190),
                "W+": (0.04872, 0.76101),
                "F/Z": (0.02679, 0.78965),
                "IDinvert": (0.02155, 0.64993),
            },
        )
        | {
            "F/Z+": {"mse": 0.01742, "ssim": 0.81477, "edited": 0.373},
            "F/W+(P_N)": {"mse": 0.01743, "ssim": 0.81479},
            "F/W+": {"edited": 0.327},
        },
        unsaid="the window of SSIM is not said; edited: five directions, eleven strengths, -3 to 3",
    ),
}


@dataclass(frozen=True)
class Asked:
    """One protocol, and the steps that it is run with."""

    name: str
    steps: int

    @property
    def protocol(self) -> Protocol:
        """Its row."""
        return PROTOCOLS[self.name]

    @property
    def refine(self) -> tuple[str, ...]:
        """As --refine."""
        return tuple(text.format(self.steps) for text in self.protocol.refine)

    @property
    def baselines(self) -> str:
        """As --baselines."""
        return ",".join(text.format(self.steps) for text in self.protocol.baselines) or "none"


def parse_protocol(text: str) -> Asked | None:
    """`none`, or `fz`, or `fz:20` = with 20 steps in place of the paper's.

    Raises:
        UsageError: what cannot be read.
    """
    if text == "none":
        return None
    name, colon, steps = text.partition(":")
    if name not in PROTOCOLS or (colon and not (steps.isdecimal() and int(steps) >= 2)):
        wanted = f"none, or {', '.join(PROTOCOLS)}, each [:STEPS]"
        raise UsageError(f"--protocol {text!r}", suggested(name, {*PROTOCOLS} - {name}, wanted))
    if colon and not PROTOCOLS[name].steps:
        raise UsageError(f"--protocol {text}: nothing is optimised in it", "leave the steps out")
    return Asked(name, int(steps) if colon else PROTOCOLS[name].steps)
