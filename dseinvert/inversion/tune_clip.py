"""Encoder and generator tuned to one person, once for all frames of a clip.

What is tuned to each frame by itself flickers. Frames that are not learned from decide which step
is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.inversion.clip_descent import ClipTuning, Told, held_out
from dseinvert.inversion.clip_stages import ClipTask, Fitted
from dseinvert.inversion.methods import ClipMethod, listed, method_of
from dseinvert.inversion.refining import Refining, Stage, parse_refining


def clip_refining(text: str) -> Refining:
    """What `--refine` asks for a clip.

    Raises:
        UsageError: it cannot be read, or is done frame by frame.
    """
    asked = parse_refining(text)
    names = [stage.method for stage in asked.stages]
    for name in names:
        _of_clips(text, name)
    if len({*names}) < len(names):
        known = f"{listed('and', clip=True)} once each, with more steps"
        raise UsageError(f"--refine {text}", known)
    return asked


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
    works = [(_of_clips(stage.method, stage.method), stage.steps) for stage in stages]
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


def _of_clips(asked: str, name: str) -> ClipMethod:
    """How a method is done for a clip; UsageError where it is not, or is not a method.

    `asked` is the text that named it.
    """
    method = method_of(name)
    if method.clip is None:
        raise UsageError(
            f"--refine {asked}: {method.moves} refined frame by frame flicker",
            f"{listed('or', clip=True)}, which all frames share",
        )
    return method.clip
