"""How far each direction moves what it is about, what else it moves, and whom it leaves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.interfacegan import boundary, split
from dseinvert.errors import MissingError
from dseinvert.latent import Latent, concat
from dseinvert.models import Model
from measure import asked
from measure.asked import Verb
from measure.probes import Panel, Probe, Seen, fitted
from measure.sets import cosine, inverting, judges, opened, photos
from measure.tables import Cell, Table, watched
from recipe.labels.labelled import (
    CELEBA_TO_FFHQ,
    LABELLED,
    attributes,
    read_labelled,
    taught,
)

STRENGTHS = (-3, -2, -1, 1, 2, 3)
EQUAL = (1, 2)
"""Units of our edit whose change the others are to make."""
TRIED = 30
"""Faces on which the strength is sought that makes it."""
ENDS = 0.3
"""Share of the photos on each side that have and have not what is measured, not labelled."""
UNITS = {"age": "years", "pose": "°", "mouth-open": "of eyes", "light": "of 2"}
NOTE = (
    "All judges took no part in finding directions: age by face-api.js, pose, mouth and light by "
    "its 68 points, the rest by probes on MobileFaceNet's maps, fitted to the half of the labelled "
    "photos that no direction was learned from. Deviations: of the score over the unedited "
    "reconstructions. Plain: InterFaceGAN's boundary of each attribute alone on the codes in w+ "
    "of the other half. Identity: cosine of MobileFaceNet's embeddings."
)


@dataclass(frozen=True)
class Faces:
    """What is edited, and how it looks before."""

    model: Model
    latent: Latent
    panel: Panel
    before: Seen
    batch: int

    def drawn(self, direction: Direction, strengths: Tensor) -> Tensor:
        """Pictures after strengths [B]."""
        parts = []
        for start in range(0, len(self.latent), self.batch):
            where = slice(start, start + self.batch)
            few, generator = self.latent[where], self.model.generator
            moved = apply_edits(few, [Edit(direction, strengths[where])], generator)
            parts.append(generator.synthesize(moved.to(generator.device)).clamp(-1, 1).cpu())
        return torch.cat(parts)

    def even(self, strength: float) -> Tensor:
        """The same for all."""
        return torch.full((len(self.latent),), float(strength))

    def first(self, count: int) -> Faces:
        """A few of them."""
        scores = {name: score[:count] for name, score in self.before.scores.items()}
        before = Seen(scores, self.before.people[:count])
        return replace(self, latent=self.latent[:count], before=before)


@torch.inference_mode()
def entanglement(given: argparse.Namespace) -> list[Table]:
    """Probes, effects, two matrices and their worst, identity by strength, and at equal change."""
    model, trusted = opened(given), judges(given.data)
    source = photos(given, model.generator.resolution)
    if trusted is None or source is None:
        raise MissingError(f"{given.data}: no scorers or photos", "name their folder with --data")
    found = fitted(given.data, trusted, model.generator.resolution)
    panel = Panel(trusted, found)
    faces = reconstructed(model, source, panel, given.batch)
    others = plain(model, given)
    ours = {n: d for n, d in model.directions.items() if n in others}
    known = {n: scaled(faces, others[n], n) for n in watched("lengths", list(ours))}
    moved = {n: changes(faces, ours[n]) for n in watched("ours", list(ours))}
    rough = {n: changes(faces, known[n]) for n in watched("plain", list(ours))}
    what = f"{len(source)} real photos"
    return [
        Table("Judges on photos that they have not seen", probe_rows(found), NOTE),
        Table(f"One unit of each direction of {model.name}: {what}", effect_rows(faces, moved)),
        Table("What each moves, deviations a deviation of its own", matrix(faces, moved)),
        Table("The same of plain directions", matrix(faces, rough)),
        Table("The worst that each moves besides its own", worst(faces, moved, rough)),
        Table("Identity to the reconstruction", curves(faces, ours)),
        *(
            Table(f"At the change that our {s:+g} makes: {what}", rows)
            for s, rows in equal(faces, source, ours, known, given.equal or EQUAL)
        ),
    ]


def reconstructed(model: Model, source: Tensor, panel: Panel, batch: int) -> Faces:
    """The photos inverted, and as they are drawn again."""
    inverter = inverting(model)
    parts = watched("inverting", source.split(batch))
    latent = concat([inverter.invert(part).latent for part in parts])
    latent = latent.with_origin(generator_sha256=model.sha256)
    return seen_before(Faces(model, latent, panel, Seen({}, torch.empty(0)), batch))


def seen_before(faces: Faces) -> Faces:
    """With what the judges say of them unedited."""
    latent, generator = faces.latent, faces.model.generator
    starts = range(0, len(latent), faces.batch)
    drawn = [generator.synthesize(latent[i : i + faces.batch]).clamp(-1, 1) for i in starts]
    return replace(faces, before=faces.panel(torch.cat(drawn)))


@torch.inference_mode()
def plain(model: Model, given: argparse.Namespace) -> dict[str, Direction]:
    """InterFaceGAN's direction of each attribute alone, one unit long."""
    pictures, table = read_labelled(given.data / LABELLED, "attributes.csv", CELEBA_TO_FFHQ)
    from recipe.labels.attributes import pose, side_light

    mine, side = taught(len(pictures)), model.generator.resolution
    images = F.interpolate(pictures[mine], (side, side), mode="area")
    labels = attributes({name: column[mine] for name, column in table.items()})
    labels |= {"age": -table["Young"][mine], "pose": pose(images)[0]}
    labels["light"] = side_light(images).double().numpy()
    inverter = inverting(model)
    parts = watched("inverting labelled photos", images.split(given.batch))
    codes = torch.cat([inverter.invert(part).latent.code for part in parts])
    found = {}
    for name, column in watched("boundaries", list(labels.items())):
        known = np.where(column == 0, np.nan, column) if name == "hair" else column
        normal = boundary(codes, split(known, ENDS)).normal
        found[name] = Direction(name, normal, "w+", "its length", model.sha256)
    return found


def scaled(faces: Faces, direction: Direction, name: str, step: float = 8) -> Direction:
    """The direction with the length that moves its own score by about one deviation."""
    long = replace(direction, vector=direction.vector * step)
    slope = float(changes(faces.first(TRIED), long)[name].mean())
    wanted = float(faces.before.scores[name].std()) / max(slope, 1e-6)
    return replace(long, vector=long.vector * min(wanted, 20))


def changes(faces: Faces, direction: Direction) -> dict[str, Tensor]:
    """How far one unit moves each score: [B] each; every other face goes the other way."""
    signs = 1 - 2 * (torch.arange(len(faces.latent)) % 2).float()
    now = faces.panel(faces.drawn(direction, signs)).scores
    return {n: (now[n] - faces.before.scores[n]) * signs for n in now}


Moved = Mapping[str, Mapping[str, Tensor]]


def deviations(faces: Faces, moved: Moved) -> dict[str, dict[str, float]]:
    """Mean changes in deviations of each score over unedited faces, of scores with directions."""
    spread = {name: float(score.std()) for name, score in faces.before.scores.items()}
    return {n: {o: float(of[o].mean()) / spread[o] for o in moved} for n, of in moved.items()}


def normalised(faces: Faces, moved: Moved) -> dict[str, dict[str, float]]:
    """The same, a deviation of the own score."""
    found = deviations(faces, moved)
    return {n: {o: v / abs(of[n] or 1e-9) for o, v in of.items()} for n, of in found.items()}


def probe_rows(probes: Mapping[str, Probe]) -> list[dict[str, Cell]]:
    """How good each probe is."""
    return [
        {"probe": name, "balanced accuracy": one.quality, "photos": float(one.held)}
        for name, one in probes.items()
    ]


def effect_rows(faces: Faces, moved: Moved) -> list[dict[str, Cell]]:
    """What a unit does to the own score."""
    table: list[dict[str, Cell]] = []
    for name, of in moved.items():
        own, spread = of[name], float(faces.before.scores[name].std())
        row: dict[str, Cell] = {"direction": name, "deviations": float(own.mean()) / spread}
        row |= {"±": float(own.std()) / spread, "in units of the judge": float(own.mean())}
        table.append(row | {"judge": UNITS.get(name, "probe"), "the right way": share(own)})
    return table


def share(own: Tensor) -> float:
    """Of the faces whose score goes where it should."""
    return float((own > 0).float().mean())


def matrix(faces: Faces, moved: Moved) -> list[dict[str, Cell]]:
    """A row a direction, a column a score."""
    found = normalised(faces, moved)
    return [{"direction": n, **{o: f"{v:+.2f}" for o, v in of.items()}} for n, of in found.items()]


def worst(faces: Faces, ours: Moved, others: Moved) -> list[dict[str, Cell]]:
    """The greatest and the mean that is not its own, ours beside plain."""
    a, b = normalised(faces, ours), normalised(faces, others)
    table: list[dict[str, Cell]] = []
    for name in b:
        row: dict[str, Cell] = {"direction": name}
        for what, found in (("plain", b), ("ours", a)):
            off = {o: abs(found[name][o]) for o in b if o != name}
            most = max(off, key=off.__getitem__)
            row |= {f"worst, {what}": off[most], f"which, {what}": most}
            row[f"mean, {what}"] = float(np.mean(list(off.values())))
        table.append(row)
    whole: dict[str, Cell] = {"direction": "all"}
    for what in ("plain", "ours"):
        numbers = [(float(row[f"worst, {what}"]), str(row["direction"])) for row in table]  # type: ignore[arg-type]
        whole |= {f"worst, {what}": max(numbers)[0], f"which, {what}": f"of {max(numbers)[1]}"}
        whole[f"mean, {what}"] = float(np.mean([float(row[f"mean, {what}"]) for row in table]))  # type: ignore[arg-type]
    return [*table, whole]


def curves(faces: Faces, directions: Mapping[str, Direction]) -> list[dict[str, Cell]]:
    """Identity against strength."""
    table: list[dict[str, Cell]] = []
    for name, direction in watched("identity", list(directions.items())):
        row: dict[str, Cell] = {"direction": name}
        for strength in STRENGTHS:
            people = faces.panel.who(faces.drawn(direction, faces.even(strength)))
            row[f"{strength:+d}"] = float(cosine(faces.before.people, people).mean())
        table.append(row)
    return table


def equal(
    faces: Faces,
    source: Tensor,
    ours: Mapping[str, Direction],
    others: Mapping[str, Direction],
    strengths: Sequence[float],
) -> Iterator[tuple[float, list[dict[str, Cell]]]]:
    """Identity where plain edits in w+, without and with F, change as much as ours, by strength."""
    flat = seen_before(replace(faces, latent=replace(faces.latent, feature=None, layer=None)))
    photo = faces.panel.who(source)
    for strength in strengths:
        named = watched(f"equal to {strength:+g}", list(ours))
        yield (
            strength,
            [
                {"direction": n, **kept(faces, flat, photo, ours[n], others[n], strength)}
                for n in named
            ],
        )


def kept(
    faces: Faces,
    flat: Faces,
    photo: Tensor,
    ours: Direction,
    other: Direction,
    strength: float,
) -> dict[str, Cell]:
    """A row of one direction."""
    name = ours.name
    wanted = change(faces.first(TRIED), ours, name, strength)
    first = wanted / float(faces.before.scores[name].std())
    row: dict[str, Cell] = {"change, deviations": first}
    for what, these, one in (
        ("ours", faces, ours),
        ("plain, w+", flat, other),
        ("plain, w+ and F", faces, other),
    ):
        by: float | None = strength
        if one is other:
            by = sought(these.first(TRIED), one, name, wanted, first)
        if by is None:
            row |= {what: "not reached", f"{what}, to the photo": "n/a"}
            continue
        people = these.panel.who(these.drawn(one, these.even(by)))
        near = cosine(these.before.people, people)
        row[what] = f"{near.mean():.3f} ± {near.std():.3f}"
        row[f"{what}, to the photo"] = float(cosine(photo, people).mean())
    return row


def change(faces: Faces, direction: Direction, name: str, strength: float) -> float:
    """How far a strength moves the own score on the mean, as the judge counts."""
    now = faces.panel(faces.drawn(direction, faces.even(strength))).scores[name]
    return float((now - faces.before.scores[name]).mean())


def sought(
    faces: Faces, direction: Direction, name: str, wanted: float, first: float
) -> float | None:
    """The strength that makes a change, by the secant rule from `first`; None = none was found."""
    if first <= 0:
        return None
    low, high = (0.0, 0.0), (first, change(faces, direction, name, first))
    for _ in range(4):
        if abs(high[1] - wanted) < 0.04 * wanted:
            return high[0]
        slope = (high[1] - low[1]) / (high[0] - low[0] or 1e-9)
        step = high[0] + (wanted - high[1]) / slope if slope > 0 else 2 * high[0]
        step = min(max(step, high[0] / 3), high[0] * 2)
        low, high = high, (step, change(faces, direction, name, step))
    return high[0] if abs(high[1] - wanted) < 0.1 * wanted else None


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.photos(parser, batch=16)
    words = "units of our edit; default: 1 and 2"
    parser.add_argument("--equal", type=float, action="append", help=words)


VERB = Verb("what each direction moves besides its own, and whom it leaves", options, entanglement)
