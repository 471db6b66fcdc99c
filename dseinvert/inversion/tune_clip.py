"""Encoder and generator tuned to one person, once for all frames of a clip.

What is tuned to each frame by itself flickers. Frames that are not learned from decide which step
is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.inversion.asked import Stage, of_clips
from dseinvert.inversion.clip_descent import ClipTuning, Told, held_out
from dseinvert.inversion.clip_stages import ClipTask, Fitted


def tune_clip(
    generator: Generator,
    encoder: Encoder,
    images: Tensor,
    stages: Sequence[Stage],
    told: Told = lambda: None,
    options: ClipTuning | None = None,
) -> Fitted:
    """Tune the stages in turn on frames [N, 3, R, R] in [-1, 1] of one person.

    The networks stay as they are, and the result depends on nothing but the arguments. Of fewer
    than five frames none can be held out, and nothing is tuned.

    Args:
        generator: PyTorch's own, as is `encoder`, attached to it.
        encoder: of any kind.
        images: in the order of their times, on any device.
        stages: as `clip_refining` finds them.
        told: hears of every step.
        options: None = the defaults.

    Raises:
        UsageError: a method that there is not, or that is done frame by frame.
    """
    works = [(of_clips(stage.method, stage.method), stage.steps) for stage in stages]
    fitted = Fitted()
    if not held_out(len(images)):
        return fitted
    # Inside inference mode, and from its tensors, no gradient could be had.
    with torch.inference_mode(False), torch.enable_grad():
        images = images.to(generator.device).clone()
        task = ClipTask(generator, encoder, images, told, options or ClipTuning())
        for work, steps in works:
            fitted = work(task, fitted, steps)
    return fitted
