"""The `directions editor` run: how the features of a model follow its edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dseinvert.config import EditorOptions
from dseinvert.editing.feature_editor import FeatureEditor
from dseinvert.errors import UsageError
from dseinvert.models import Model, open_model, pick_device
from dseinvert.models.attach import check_may_change, give_editor
from dseinvert.models.store import free_name
from dseinvert.progress import Watcher
from dseinvert.similarity.identity import open_identity
from dseinvert.training.edited_photos import Judged, judge, pictures_for
from dseinvert.training.feature_editor import learn_editor


@dataclass(frozen=True)
class Taught:
    """What became of the lessons. Losses are means over samples held out from them."""

    model: str
    folder: Path
    """Of the model that has the editor now, or stayed as it was."""
    by_rule: float
    by_editor: float
    judged: Judged | None = None
    """What its edits of real pictures are like; None = none were looked at."""

    @property
    def kept(self) -> bool:
        """Whether the editor is better than the difference rule, and photos bear it."""
        return self.by_editor < self.by_rule and (self.judged is None or self.judged.good)

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        losses = {"loss_by_rule": self.by_rule, "loss_by_editor": self.by_editor}
        own = {"model": self.model, "folder": str(self.folder), "kept": self.kept, **losses}
        return own if self.judged is None else own | {"photos": self.judged.asdict()}

    def summary(self) -> str:
        """One line for people."""
        found = f"loss {self.by_editor:.5f}, by the difference rule {self.by_rule:.5f}"
        if self.judged is not None:
            found += f"; {self.judged.summary()}"
        if self.kept:
            unseen = "; look at photos too, or give --real" if self.judged is None else ""
            return f"{self.model}, {self.folder}: {found}{unseen}"
        return f"{found}: no better, so that nothing is changed; more --steps may help"


def teach(options: EditorOptions, watcher: Watcher) -> Taught:
    """Give a model, or a copy of it, an editor of F, unless that is no better than the rule.

    Raises:
        DseInvertError: a model that cannot have one, or may not change, or pictures that cannot be
            read; nothing is changed.
    """
    if options.identity is not None and options.real is None:
        raise UsageError("--identity judges edits of pictures", "name them with --real")
    model = open_model(options.model, pick_device(options.device))
    copy = options.copy or ""
    check_may_change(model, copy)
    if copy:
        free_name(copy, Path())
    judged = _judge(options, model)
    with watcher.within("teaching", options.steps) as told:
        learned = learn_editor(model, options.steps, options.batch, options.seed, told)
    losses = (learned.by_rule, learned.by_editor)
    taught = Taught(model.name, model.folder, *losses, judged(learned.editor))
    if not taught.kept:
        return taught
    name, folder = give_editor(model, learned.editor, copy)
    return replace(taught, model=name, folder=folder)


def _judge(options: EditorOptions, model: Model) -> Callable[[FeatureEditor], Judged | None]:
    """What looks at an editor's edits of the pictures that are asked for, read before the work."""
    if options.real is None:
        return lambda editor: None
    images = pictures_for(model, options.real)
    who = None
    if options.identity is not None:
        who = open_identity(options.identity, model.generator.device)
    return lambda editor: judge(model, editor, images, who)
