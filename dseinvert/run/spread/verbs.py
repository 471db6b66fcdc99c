"""What runs each verb that can be shared by processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Runner = Callable[..., Any]
"""Patterns, options, watcher and part -> an outcome, which has an `exit_code`."""


def runner(verb: str) -> Runner:
    """The run of a verb: images, folders, edit, video or evaluate.

    Raises:
        KeyError: another word.
    """
    from dseinvert.run.evaluate import run_evaluate
    from dseinvert.run.images.folders import run_folders
    from dseinvert.run.images.run import run_images
    from dseinvert.run.play.edit import run_edit
    from dseinvert.run.video.run import run_video

    runs: dict[str, Runner] = {
        "images": run_images,
        "folders": run_folders,
        "edit": run_edit,
        "video": run_video,
        "evaluate": run_evaluate,
    }
    return runs[verb]
