"""The `directions editor` run: how the features of a model follow its edits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dseinvert.config import EditorOptions
from dseinvert.models import open_model, pick_device
from dseinvert.models.attach import check_may_change, give_editor
from dseinvert.models.store import free_name
from dseinvert.progress import Watcher
from dseinvert.training.feature_editor import learn_editor


@dataclass(frozen=True)
class Taught:
    """What became of the lessons. Losses are means over samples held out from them."""

    model: str
    folder: Path
    """Of the model that has the editor now, or stayed as it was."""
    by_rule: float
    by_editor: float

    @property
    def kept(self) -> bool:
        """Whether the editor is better than the difference rule."""
        return self.by_editor < self.by_rule

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        losses = {"loss_by_rule": self.by_rule, "loss_by_editor": self.by_editor}
        return {"model": self.model, "folder": str(self.folder), "kept": self.kept, **losses}

    def summary(self) -> str:
        """One line for people."""
        losses = f"loss {self.by_editor:.5f}, by the difference rule {self.by_rule:.5f}"
        if self.kept:
            return f"{self.model}, {self.folder}: {losses}"
        return f"{losses}: no better, so that nothing is changed; more --steps may help"


def teach(options: EditorOptions, watcher: Watcher) -> Taught:
    """Give a model, or a copy of it, an editor of F, unless that is no better than the rule.

    Raises:
        DseInvertError: a model that cannot have one, or may not change; nothing is changed.
    """
    model = open_model(options.model, pick_device(options.device))
    copy = options.copy or ""
    check_may_change(model, copy)
    if copy:
        free_name(copy, Path())
    with watcher.within("teaching", options.steps) as told:
        learned = learn_editor(model, options.steps, options.batch, options.seed, told)
    losses = (learned.by_rule, learned.by_editor)
    if learned.by_editor >= learned.by_rule:
        return Taught(model.name, model.folder, *losses)
    return Taught(*give_editor(model, learned.editor, copy), *losses)
