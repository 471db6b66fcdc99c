"""The walk on the sphere is the limit of many small steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dseinvert.editing.walk import walk

RADIUS = 64**0.5


def by_small_steps(z: torch.Tensor, step: torch.Tensor, count: int) -> torch.Tensor:
    for _ in range(count):
        z = F.normalize(z + step / count, dim=-1) * RADIUS
    return z


def on_the_sphere(*shape: int, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(*shape, 64, generator=source, dtype=torch.float64)
    return F.normalize(z, dim=-1) * RADIUS


def test_it_is_what_a_thousand_small_steps_lead_to() -> None:
    z, step = on_the_sphere(3, 4), 5 * on_the_sphere(1, seed=1) / RADIUS
    far, fine = (
        float((by_small_steps(z, step, n) - walk(z, step)).abs().max()) for n in (100, 1000)
    )
    assert fine < 0.005 and fine < 0.11 * far


def test_it_ends_on_the_sphere_however_far() -> None:
    z = on_the_sphere(3, 4)
    for length in (0.0, 0.1, 10.0, 1000.0):
        ends = walk(z, length * on_the_sphere(1, seed=1))
        torch.testing.assert_close(ends.norm(dim=-1), torch.full((3, 4), RADIUS).double())


def test_no_step_changes_nothing_and_the_way_back_leads_back() -> None:
    z, step = on_the_sphere(3, 4), 3 * on_the_sphere(1, seed=1) / RADIUS
    torch.testing.assert_close(walk(z, torch.zeros_like(step)), z)
    torch.testing.assert_close(walk(walk(z, step), -step), z)
    torch.testing.assert_close(walk(walk(z, step), step), walk(z, 2 * step))


def test_a_z_of_another_length_is_brought_to_the_sphere_first() -> None:
    z, step = on_the_sphere(2, 1), on_the_sphere(1, seed=1)
    torch.testing.assert_close(walk(3 * z, step), walk(z, step))


def test_the_poles_do_not_break_it() -> None:
    z = on_the_sphere(1, 1)
    torch.testing.assert_close(walk(z, z), z)
    assert walk(z, -z).isfinite().all() and walk(torch.zeros_like(z), z).isfinite().all()
