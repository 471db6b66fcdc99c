from __future__ import annotations

import json

import pytest
import torch

from dseinvert.encoders import kinds
from dseinvert.encoders.psp import PSPConfig, PSPEncoder

SMALL = {"layers": 8, "w_dim": 32, "widths": (16, 16, 24, 32), "units": (1, 1, 2, 1), "size": 32}


def small(**changes) -> PSPEncoder:
    torch.manual_seed(0)
    encoder = PSPEncoder(PSPConfig(**(SMALL | changes)))
    encoder.w_avg.normal_()
    return encoder.eval().requires_grad_(False)


def faces(count: int = 3, side: int = 64) -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, side, side, generator=source) * 2 - 1


@pytest.mark.parametrize("head", ["pyramid", "last", "w", "w+"])
@pytest.mark.parametrize("trunk", ["irse", "resnet"])
def test_every_head_on_every_trunk_writes_all_rows(trunk, head):
    latent = small(trunk=trunk, head=head).encode(faces())
    assert latent.space == "w+"
    assert latent.code.shape == (3, 8, 32)


@pytest.mark.parametrize("head", ["pyramid", "w+"])
def test_a_code_does_not_depend_on_its_batch(head):
    encoder = small(head=head)
    together = encoder.encode(faces()).code
    torch.testing.assert_close(together[1:2], encoder.encode(faces()[1:2]).code)


def test_images_are_shrunk_by_area():
    encoder = small()
    large = faces(side=32).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(encoder(large), encoder(faces(side=32)))


def test_rows_outside_the_crop_are_not_looked_at():
    encoder = small(crop=(1 / 8, 7 / 8))
    images, changed = faces(), faces()
    changed[:, :, :8] = changed[:, :, 56:] = 1
    assert torch.equal(encoder(images), encoder(changed))
    changed[:, :, 8] = 1
    assert not torch.equal(encoder(images), encoder(changed))


def test_the_first_rows_of_a_pyramid_do_not_see_its_fine_maps():
    encoder = small()
    before = encoder(faces())
    encoder.network.head.lateral[1].weight += 1
    changed = (encoder(faces()) - before).abs().amax(dim=(0, 2)) > 0
    assert changed.tolist() == [False] * 7 + [True]


def test_relative_rows_are_offsets_from_the_first():
    plain, relative = small(), small(relative=True)
    offsets = plain(faces()) - plain.w_avg
    wanted = torch.cat([offsets[:, :1], offsets[:, :1] + offsets[:, 1:]], dim=1)
    torch.testing.assert_close(relative(faces()) - relative.w_avg, wanted)


def test_one_row_for_all_differs_only_by_the_mean():
    encoder = small(head="w")
    offsets = encoder(faces()) - encoder.w_avg
    torch.testing.assert_close(offsets, offsets[:, :1].expand(-1, 8, -1))


def test_a_config_survives_json():
    numbers = json.loads(json.dumps({"kind": "psp", **small(head="last").config.asdict()}))
    encoder = kinds.build(numbers)
    assert encoder.config == small(head="last").config
    encoder.load_state_dict(small(head="last").state_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"trunk": "vgg"},
        {"head": "rows"},
        {"widths": (16, 32)},
        {"w_dim": 16},
        {"crop": (0.5, 0.5)},
    ],
)
def test_numbers_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError):
        PSPConfig(**(SMALL | change))
