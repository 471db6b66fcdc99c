"""The perceptual term: LPIPS where its weights can be had, or a named substitute, or none."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from dseinvert.errors import InputError, MissingError
from dseinvert.pickled import pickles
from dseinvert.similarity.features import FeatureDistance
from dseinvert.similarity.losses import Distance
from dseinvert.similarity.weights import Perceptual

_DAMAGE = (
    *(OSError, InputError, RuntimeError, ValueError, TypeError, AttributeError),
    KeyError,
)
FEATURE_SCALE = 0.1  # gives the feature distance about the size of LPIPS, which gamma is meant for
TRUNK = "vgg16-397923af.pth"  # torchvision's name for VGG16 trained on ImageNet


class LPIPS(nn.Module):
    """LPIPS v0.1 on VGG16 (Zhang et al., 2018), frozen."""

    def __init__(self, trunk: Path | None = None) -> None:
        """`trunk`: torchvision's weights of VGG16; None = as the package finds them."""
        super().__init__()
        package = _lpips_package()
        if trunk is None:
            self.net = package.LPIPS(net="vgg", verbose=False)
        else:
            self.net = package.LPIPS(net="vgg", verbose=False, pnet_rand=True)
            _fill(self.net.net, trunk)
        self.eval().requires_grad_(False)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Two batches [B, 3, H, W] in [-1, 1], H and W at least 16 -> distance [B]."""
        return self.net(real, fake).flatten()


def open_distance(
    name: Perceptual, device: torch.device | str = "cpu", trunk: Path | None = None
) -> Distance | None:
    """The perceptual distance of that name; None = the user wants none.

    `trunk` as in `open_lpips`.

    Raises:
        MissingError: its package or its weights are not here and cannot be downloaded.
    """
    if name == "none":
        return None
    if name == "lpips":
        return open_lpips(trunk).to(device)
    features = FeatureDistance().to(device)
    return lambda real, fake: FEATURE_SCALE * features(real, fake)


def open_lpips(trunk: Path | None = None) -> LPIPS:
    """LPIPS.

    Args:
        trunk: torchvision's weights of VGG16; None = the file in torch's cache, which is downloaded
            (528 MB) on first use.

    Raises:
        MissingError: no package, or no weights.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips calls torchvision in a deprecated way
            return LPIPS(trunk)
    except OSError as error:  # a failed download is an OSError too
        raise _missing(f"LPIPS needs {trunk_file()}, which could not be downloaded") from error


def _fill(net: nn.Module, trunk: Path) -> None:
    """Give LPIPS' parts of VGG16 the weights in a file, in which nothing is executed.

    Raises:
        MissingError: no such file, or not these weights.
    """
    try:
        known = pickles.load(trunk)
        own = net.state_dict()
        net.load_state_dict({name: known[_of_torchvision(name)] for name in own})
    except FileNotFoundError as error:
        raise MissingError(f"{trunk}: no such file", "--lpips-weights names VGG16's") from error
    except _DAMAGE as error:
        raise MissingError(f"{trunk}: not torchvision's weights of VGG16") from error


def _of_torchvision(name: str) -> str:
    """`slice2.5.weight` -> `features.5.weight`: slices keep the numbers of their layers."""
    return "features." + name.partition(".")[2]


def trunk_file() -> Path:
    """Where torch keeps the weights of VGG16 once they are downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / TRUNK


def _lpips_package():  # type: ignore[no-untyped-def]
    try:
        import lpips
    except ImportError as error:
        raise _missing("LPIPS needs the package lpips: pip install 'dseinvert[lpips]'") from error
    except RuntimeError as error:  # torch and torchvision of different builds
        raise _missing(f"LPIPS needs a torchvision that fits this torch: {error}") from error
    return lpips


def _missing(what: str) -> MissingError:
    return MissingError(what, "or choose --perceptual features, or --without-lpips")
