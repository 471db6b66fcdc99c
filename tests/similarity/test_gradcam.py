from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dseinvert.errors import MissingError
from dseinvert.similarity import gradcam
from dseinvert.similarity.gradcam import (
    LAST,
    VGG16,
    GradCAM,
    gradcam_scales,
    imagenet,
    open_gradcam,
    weigh,
    weigh_plus,
)
from dseinvert.similarity.weights import Attention

BOTH = pytest.mark.parametrize("plus", [False, True])


class RedOrBlue(nn.Module):
    """A classifier whose reasons are known: class 0 is how much is red, class 1 how much is blue.

    The third channel of its features sees green, and speaks against either class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.ReLU()
        self.scores = nn.Linear(3, 2)
        with torch.no_grad():
            self.conv.weight.zero_()
            for channel, colour in enumerate((0, 2, 1)):
                self.conv.weight[channel, colour] = 1 / 9
            self.conv.bias.zero_()
            self.scores.weight.copy_(torch.tensor([[1.0, -0.1, -1], [-0.1, 1, -1]]))
            self.scores.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(self.act(self.conv(images)).mean((2, 3)))


def scene(*squares: tuple[int, int, int, int]) -> Tensor:
    """Black with squares (colour, top, left, side): [1, 3, 32, 32] in [-1, 1]."""
    image = torch.full((1, 3, 32, 32), -1.0)
    for colour, top, left, side in squares:
        image[:, colour, top : top + side, left : left + side] = 1
    return image


RED, GREEN, BLUE = 0, 1, 2
REDDISH = scene((RED, 2, 4, 10), (BLUE, 20, 20, 6), (GREEN, 20, 4, 4))
BLUISH = scene((RED, 2, 4, 4), (BLUE, 16, 16, 12))


def cam(plus: bool = True) -> GradCAM:
    return GradCAM(RedOrBlue(), "act", plus=plus)


@BOTH
def test_the_map_lights_where_the_evidence_for_the_class_is(plus):
    heat = cam(plus)(REDDISH)
    assert heat.shape == (1, 1, 32, 32)
    assert heat[0, 0, 4:10, 6:12].min() > 0.99
    assert heat[0, 0, 14:].max() < 0.01  # neither the blue square nor the green one


@BOTH
def test_each_image_is_asked_for_its_own_class_whatever_its_batch(plus):
    together = cam(plus)(torch.cat([REDDISH, REDDISH, BLUISH]))
    assert together[2, 0, 18:26, 18:26].min() > 0.99
    assert together[2, 0, :12].max() < 0.01
    torch.testing.assert_close(together[2:], cam(plus)(BLUISH))


def test_where_no_class_is_seen_the_whole_image_counts():
    assert torch.equal(cam()(scene()), torch.ones(1, 1, 32, 32))


def test_maps_are_as_large_as_the_image_whatever_the_layer():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    torch.manual_seed(0)
    heat = GradCAM(net, "1")(torch.rand(2, 3, 32, 32))
    assert heat.shape == (2, 1, 32, 32)
    assert heat.min() >= 0 and heat.amax((1, 2, 3)).le(1).all()


def test_a_layer_that_works_in_place_is_seen_after_its_work():
    net = RedOrBlue()
    net.act = nn.ReLU(inplace=True)
    torch.testing.assert_close(GradCAM(net, "act")(REDDISH), cam()(REDDISH))


def test_channel_weights_are_the_published_ones():
    torch.manual_seed(0)
    features, g = torch.rand(2, 5, 4, 4), torch.randn(2, 5, 4, 4)
    alpha = g**2 / (2 * g**2 + features.sum((2, 3), keepdim=True) * g**3)
    wanted = torch.where(g > 0, alpha * g, torch.zeros(())).sum((2, 3), keepdim=True)
    torch.testing.assert_close(weigh_plus(features, g), wanted)
    torch.testing.assert_close(weigh(features, g)[:, :, 0, 0], g.mean((2, 3)))


def test_the_classifier_is_frozen_and_keeps_no_hooks():
    net = RedOrBlue()
    maps = GradCAM(net, "act")
    maps(REDDISH.clone().requires_grad_()).sum().backward()
    assert not net.act._forward_hooks
    assert all(parameter.grad is None for parameter in net.parameters())


def soft(image: Tensor) -> Tensor:
    """The scene a little out of place and faded, as a reconstruction is."""
    return (0.8 * image.roll((2, 1), (2, 3)) - 0.1).requires_grad_()


def test_three_scales_are_the_image_its_map_and_the_image_under_the_map():
    real, fake = REDDISH, soft(REDDISH)
    whole, at1, at2 = gradcam_scales(cam(), Attention(5, 9), "maps")(real, fake)
    assert [weight for weight, _, _ in (whole, at1, at2)] == [1, 5, 9]
    assert whole[1] is real and whole[2] is fake
    heat = cam()(real)
    torch.testing.assert_close(at1[1], (2 * heat - 1).expand(-1, 3, -1, -1))
    torch.testing.assert_close(at1[2][:, :1], 2 * cam()(fake) - 1)
    torch.testing.assert_close(at2[1], heat * real)
    torch.testing.assert_close(at2[2], heat * fake)


@pytest.mark.parametrize(
    ("gradients", "at1_flows", "at2_flows"),
    [("maps", True, True), ("images", False, True), ("none", False, False)],
)
def test_gradients_go_where_they_are_wanted(gradients, at1_flows, at2_flows):
    fake = soft(REDDISH)
    _, at1, at2 = gradcam_scales(cam(), Attention(1, 1), gradients)(REDDISH, fake)
    assert (at1[2].requires_grad, at2[2].requires_grad) == (at1_flows, at2_flows)
    if at1_flows:
        (slope,) = torch.autograd.grad((at1[1] - at1[2]).square().mean(), fake)
        assert slope.isfinite().all() and slope.any()


def test_the_gradient_of_a_map_moves_the_reconstruction_towards_the_target():
    fake = soft(REDDISH).detach()
    scales = gradcam_scales(cam(), Attention(1, 1), "maps")

    def distance(image: Tensor) -> Tensor:
        _, at1, _ = scales(REDDISH, image)
        return (at1[1] - at1[2]).square().mean()

    moving = fake.clone().requires_grad_()
    (slope,) = torch.autograd.grad(distance(moving), moving)
    assert distance(fake - 20 * slope) < 0.99 * distance(fake)


def test_without_gradients_it_can_still_be_measured():
    with torch.no_grad():
        pairs = gradcam_scales(cam(), Attention(1, 1), "maps")(REDDISH, soft(REDDISH))
    assert not any(pair[2].requires_grad for pair in pairs[1:])


def test_vgg16_has_the_names_and_shapes_of_torchvisions_weights():
    with torch.device("meta"):
        net = VGG16()
    shapes = {name: list(value.shape) for name, value in net.state_dict().items()}
    convs = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = [*(f"features.{n}" for n in convs), *(f"classifier.{n}" for n in (0, 3, 6))]
    assert list(shapes) == [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    assert shapes["features.28.weight"] == [512, 512, 3, 3]
    assert shapes["classifier.0.weight"] == [4096, 25088]
    assert sum(p.numel() for p in net.parameters()) == 138_357_544
    assert isinstance(net.get_submodule(LAST), nn.ReLU)


def test_images_reach_the_classifier_as_it_knows_them():
    grey = torch.zeros(1, 3, 32, 32)
    wanted = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(imagenet(grey)[0, :, 100, 100], wanted)
    assert imagenet(grey).shape == (1, 3, 224, 224)


@pytest.fixture
def small_vgg(monkeypatch) -> None:
    """VGG16 in its structure, but with few channels."""
    monkeypatch.setattr(gradcam, "WIDTHS", ((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (3, 3, 3)))
    monkeypatch.setattr(gradcam, "HIDDEN", 4)


def test_weights_are_read_from_a_file(small_vgg, tmp_path):
    torch.manual_seed(0)
    net = VGG16()
    torch.save(net.state_dict(), tmp_path / "vgg.pth")
    heat = open_gradcam(tmp_path / "vgg.pth")(REDDISH)
    torch.testing.assert_close(heat, GradCAM(net, LAST, imagenet)(REDDISH))


def test_missing_weights_are_one_line_that_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingError, match=r"vgg16-397923af\.pth: no such file") as caught:
        open_gradcam(None)
    assert "torchvision" in caught.value.advice
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["nothing", "other", "cut"])
def test_a_file_that_is_not_vgg16_is_named(small_vgg, tmp_path, content):
    file = tmp_path / "vgg.pth"
    torch.save({"features.0.weight": torch.zeros(1)} if content == "other" else [1], file)
    if content == "cut":
        file.write_bytes(file.read_bytes()[:300])
    if content == "nothing":
        file.write_bytes(b"")
    with pytest.raises(MissingError, match=r"vgg\.pth: not torchvision's weights") as caught:
        open_gradcam(file)
    assert "\n" not in str(caught.value)
