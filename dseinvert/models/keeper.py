"""Who keeps `auto` edits from changing the person: the network that a run was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dseinvert.editing.edits import Keeper
from dseinvert.editing.grammar import asks_auto
from dseinvert.errors import UsageError
from dseinvert.models import Model
from dseinvert.similarity.identity import is_named, open_identity


def open_keeper(
    edits: Sequence[str], identity: Path | None, floor: float, model: Model
) -> Keeper | None:
    """The network where an --edit asks for `auto`; None = none does, or no network is named.

    Raises:
        UsageError: a floor that is no cosine, or a model of other pictures than aligned faces.
        MissingError: the network cannot be opened.
    """
    if not any(map(asks_auto, edits)):
        return None
    if identity is None and not is_named():
        return None
    if not -1 <= floor <= 1:
        raise UsageError(f"--identity-floor {floor:g}", "a cosine, from -1 to 1")
    if model.alignment != "ffhq":
        raise UsageError(f"auto knows people by aligned faces, and {model.name} draws other things")
    network = open_identity(identity, model.generator.device)
    return Keeper(network, floor, network.sha256)
