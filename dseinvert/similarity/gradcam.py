"""Attentions for targets that stand anywhere: Grad-CAM heat maps (DSE, Section III-B, Fig. 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.errors import InputError, MissingError
from dseinvert.pickled import pickles
from dseinvert.similarity.attention import Scales, whole
from dseinvert.similarity.perceptual import trunk_file
from dseinvert.similarity.weights import Attention, Gradients

HeatMaps = Callable[[Tensor], Tensor]
"""Images [B, 3, H, W] in [-1, 1] -> heat maps [B, 1, H, W] in [0, 1], largest 1."""

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096
LAST = "features.29"
"""The activation of VGG16's last convolution."""
SIDE = 224
"""VGG16 has learned from images of this side."""
DAMAGE = (InputError, RuntimeError, ValueError, TypeError, AttributeError)
"""What torch raises for a file that was cut short, or holds something else."""
FETCH = "python -c \"from torchvision.models import vgg16; vgg16(weights='IMAGENET1K_V1')\""


def gradcam_scales(maps: HeatMaps, mu: Attention, gradients: Gradients) -> Scales:
    """The whole images, their heat maps (AT1), and the images under a heat map (AT2).

    Both images of AT2 lie under the map of the real one: a reconstruction must not hide what it
    gets wrong outside a map of its own. As published ("none") the attentions are measured and
    train nothing; "images" trains through the pixels of AT2, "maps" through AT1 as well.
    """

    def scales(real: Tensor, fake: Tensor) -> list[tuple[float, Tensor, Tensor]]:
        seen = maps(real.detach())
        own = maps(fake if gradients == "maps" else fake.detach())
        pixels = fake.detach() if gradients == "none" else fake
        at1 = (mu.mu1, _picture(seen), _picture(own))
        return [*whole(real, fake), at1, (mu.mu2, seen * real, seen * pixels)]

    return scales


class GradCAM:
    """Where a frozen classifier finds the class that it sees in each image.

    Grad-CAM (Selvaraju et al., 2017), or Grad-CAM++ (Chattopadhyay et al., 2018), which does
    better where a class appears more than once. Each image is asked for its own class, so that
    its map does not depend on the batch.
    """

    def __init__(
        self,
        net: nn.Module,
        layer: str,
        prepare: Callable[[Tensor], Tensor] | None = None,
        *,
        plus: bool = True,
    ) -> None:
        """Look at the output of the submodule `layer`, activations of at least 0.

        Args:
            net: [B, 3, H, W] -> scores [B, classes].
            layer: its name in `net`.
            prepare: from images in [-1, 1] to what `net` takes; None = as they are.
            plus: weigh channels as Grad-CAM++ does.
        """
        self.net = net.eval().requires_grad_(False)
        self.layer = net.get_submodule(layer)
        self.prepare = prepare or (lambda images: images)
        self.weigh = weigh_plus if plus else weigh

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> [B, 1, H, W] in [0, 1]; all 1 where no class is seen.

        Gradients reach images that need them through the layer's activations; the weights of its
        channels count as constants, which spares the second derivatives of the classifier.
        """
        flows = images.requires_grad and torch.is_grad_enabled()
        with torch.enable_grad():
            scores, features = self._run(images)
            chosen = scores.max(1).values.sum()
            (slopes,) = torch.autograd.grad(chosen, features)
        features = features if flows else features.detach()
        heat = F.relu((self.weigh(features.detach(), slopes) * features).sum(1, keepdim=True))
        most = heat.amax((2, 3), keepdim=True)
        heat = torch.where(most > 0, heat / most.clamp_min(1e-12), 1.0)
        return F.interpolate(heat, images.shape[-2:], mode="bilinear")

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B, classes], and the layer's output [B, C, h, w] that they were made from."""
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
            kept.append(output if output.requires_grad else output.detach().requires_grad_())
            return kept[-1]

        handle = self.layer.register_forward_hook(keep)
        try:
            return self.net(self.prepare(images)), kept[-1]
        finally:
            handle.remove()


def weigh(features: Tensor, slopes: Tensor) -> Tensor:
    """Grad-CAM, Equation 1: what each channel counts, [B, C, h, w] twice -> [B, C, 1, 1]."""
    return slopes.mean((2, 3), keepdim=True)


def weigh_plus(features: Tensor, slopes: Tensor) -> Tensor:
    """Grad-CAM++, Equations 5 and 19 for an exponential score, likewise.

    alpha relu(g) with alpha = g^2 / (2 g^2 + g^3 sum A) is g / (2 + g sum A) where g > 0, else 0.
    """
    rising = F.relu(slopes)
    total = features.sum((2, 3), keepdim=True)
    return (rising / (2 + rising * total)).sum((2, 3), keepdim=True)


class VGG16(nn.Module):
    """VGG16 (Simonyan and Zisserman, 2015) under the names of torchvision's weights."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in WIDTHS:
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(nn.Linear(channels * 7 * 7, HIDDEN), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout()),
            nn.Linear(HIDDEN, 1000),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W], normalised -> ImageNet scores [B, 1000]."""
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 7).flatten(1))


def open_gradcam(file: Path | None, device: torch.device | str = "cpu") -> GradCAM:
    """Grad-CAM++ on VGG16 trained on ImageNet; downloads nothing.

    Args:
        file: torchvision's weights; None = the file in torch's cache, where LPIPS has its own too.
        device: where it is to run.

    Raises:
        MissingError: no such file, or not these weights.
    """
    file = file or trunk_file()
    if not file.exists():
        what = f"--attention gradcam needs the ImageNet weights of VGG16; {file}: no such file"
        raise MissingError(what, f"{FETCH} brings it there; or --gradcam-weights FILE")
    with torch.device("meta"):
        net = VGG16()
    try:
        net.load_state_dict(pickles.load(file), assign=True)
    except DAMAGE as error:
        what = f"{file}: not torchvision's weights of VGG16"
        raise MissingError(what, f"delete it and fetch it again: {FETCH}") from error
    return GradCAM(net.to(device), LAST, imagenet)


def imagenet(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] at the size and in the normalisation that VGG16 knows."""
    mean = images.new_tensor((0.485, 0.456, 0.406))[:, None, None]
    deviation = images.new_tensor((0.229, 0.224, 0.225))[:, None, None]
    small = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
    return ((small + 1) / 2 - mean) / deviation


def _picture(heat: Tensor) -> Tensor:
    """[B, 1, H, W] in [0, 1] -> a grey picture [B, 3, H, W] in [-1, 1]."""
    return (2 * heat - 1).expand(-1, 3, -1, -1)
