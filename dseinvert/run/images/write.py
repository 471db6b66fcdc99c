"""From computed faces to files, all of an input's or none, and the entry that lists them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dseinvert.errors import InputError, OutputError
from dseinvert.faces.align import crop_matrix, matrix_to_list
from dseinvert.faces.mask import Blend, Mask, pasting
from dseinvert.latent import dumps
from dseinvert.media.address import address, far
from dseinvert.media.atomic import shown, sync_folder, within, write_bytes
from dseinvert.media.digest import file_sha256
from dseinvert.media.form import PNG, Form
from dseinvert.media.pixels import Levels, rounded
from dseinvert.media.whole import Whole, open_whole, whole_of
from dseinvert.names import counted
from dseinvert.run.flow.names import face_names, folded
from dseinvert.run.flow.template import Claims, Template
from dseinvert.run.images.compute import InvertedFace
from dseinvert.run.images.gone import files_gone, remove_gone
from dseinvert.run.images.journal import Entry, FaceEntry
from dseinvert.run.images.packing import Packer
from dseinvert.run.images.plan import Plan, entry_key
from dseinvert.run.images.roles import Picture, pictures
from dseinvert.run.inputs import Item, Prepared, Status, reason_of, unexpected
from dseinvert.version import __version__


@dataclass(frozen=True)
class Target:
    """Where a run writes, and what it writes about itself."""

    out: Path
    plan: Plan
    settings: Mapping[str, Any]
    paste: bool = False
    blend: Blend = field(default="moved", kw_only=True)
    backend: str = ""
    mask: Mask | None = None
    """None = edits show everywhere."""
    form: Form = PNG
    keep_gps: bool = False
    """Whether whole photos say where they were taken."""
    max_pixels: int | None = None
    """Of an input; None = the usual limit."""
    template: Template | None = None
    """Of the names of pictures; None = the usual ones."""
    claims: Claims = field(default_factory=Claims)
    """Whose file is whose."""
    mark: str = ""
    """Of its temporary files; see `part_path`."""
    packer: Packer | None = None
    """Takes the files. None = they lie in the folder by themselves."""

    def write(self, work: tuple[Prepared, list[InvertedFace]]) -> Entry:
        """The files of one input, and its entry; only OutputError is raised.

        Files of faces that it showed before, and does not any more, are gone then.
        """
        entry = self._made(work)
        before = self.plan.before.get(entry.name)
        return entry if before is None else self._without_gone(entry, before)

    def _without_gone(self, entry: Entry, before: Entry) -> Entry:
        files = files_gone(before, entry, self.plan.taken)
        own = {n: sha256 for n, sha256 in files.items() if self._is_own(entry.name, n)}
        removed = remove_gone(self.out, own)
        if not removed:
            return entry
        told = f"shows fewer faces than before: {counted(removed, 'file')} of them removed"
        return replace(entry, warnings=[*entry.warnings, told])

    def _is_own(self, owner: str, name: str) -> bool:
        """Whether a file is neither an input nor one of another input."""
        of = self.claims.owners.get(folded(name), owner)
        return of == owner and (self.out / name).resolve() not in self.plan.protected

    def _made(self, work: tuple[Prepared, list[InvertedFace]]) -> Entry:
        prepared, faces = work
        if prepared.status != "done":
            return self._entry(prepared, status=prepared.status, reason=prepared.reason)
        try:
            return self._write(prepared, faces)
        except InputError as error:
            return self._entry(prepared, status="failed", reason=reason_of(prepared.item, error))
        except OutputError:
            raise
        except Exception as error:  # the top of the batch loop: one input never stops the others
            return self._entry(prepared, status="failed", reason=unexpected(error))

    def _masked(self, face: InvertedFace) -> InvertedFace:
        if self.mask is None:
            return face
        shown = partial(self.mask, face.crop.pixels, recon=face.recon, aligned=face.crop.aligned)
        edited = {name: shown(edited=one) for name, one in face.edited.items()}
        return replace(face, edited=edited)

    def _write(self, prepared: Prepared, faces: list[InvertedFace]) -> Entry:
        names = face_names(prepared.item.name, len(faces), self.plan.taken)
        shots = [pictures(self._masked(face)) for face in faces]
        entries = [
            _face_entry(name, face, self._pictures(prepared.item, name, n, shot))
            for n, (name, face, shot) in enumerate(zip(names, faces, shots, strict=True), 1)
        ]
        pasted = [name for name, one in shots[0].items() if one.pasted and self.paste]
        whole = [f"{name}.photo" for name in pasted]
        named = self._pictures(prepared.item, prepared.item.name, 0, whole)
        photos = dict(zip(pasted, named.values(), strict=True))
        if self.template is not None:
            pictured = [file for entry in entries for file in entry.pictures.values()]
            self.claims.claim([*pictured, *photos.values()], prepared.item.name)
        notes = [face.note for face in faces if face.note]
        blobs = self._blobs(prepared, faces, shots, entries, photos, notes)
        if self.packer is None:
            files = self._written(blobs)
        else:
            files = self.packer.keep(prepared.item.name, blobs)
        told = replace(prepared, warnings=tuple(dict.fromkeys([*prepared.warnings, *notes])))
        return self._entry(told, status="done", faces=entries, photos=photos, files=files)

    def _written(self, blobs: Iterable[tuple[str, bytes]]) -> dict[str, str]:
        """The files of an input, all or none; the sha256 of each."""
        files: dict[str, str] = {}
        try:
            for name, data in blobs:
                write_bytes(self._free(name), data, sync=False, mark=self.mark)
                files[name] = hashlib.sha256(data).hexdigest()
            sync_folder(self.out)
        except BaseException:
            for name in files:
                with suppress(OSError):
                    (self.out / name).unlink(missing_ok=True)
            raise
        return files

    def _pictures(self, item: Item, name: str, number: int, shots: Iterable[str]) -> dict[str, str]:
        """The file names of pictures of one face, `name` its own, by what they show."""
        template, suffix = self.template, self.form.format
        if template is None:
            return {shot: f"{name}.{shot}.{suffix}" for shot in shots}
        return {shot: f"{template.name(item.source, shot, number)}.{suffix}" for shot in shots}

    def _blobs(
        self,
        prepared: Prepared,
        faces: list[InvertedFace],
        shots: list[dict[str, Picture]],
        entries: list[FaceEntry],
        photos: Mapping[str, str],
        notes: list[str],
    ) -> Iterator[tuple[str, bytes]]:
        """File names and contents, one at a time; latents first.

        What of the input is not in a whole photo goes into `notes`.
        """
        for face, shot, entry in zip(faces, shots, entries, strict=True):
            origin = self._origin(prepared, entry)
            yield f"{entry.name}.safetensors", dumps(face.latent.with_origin(**origin))
            for name, one in shot.items():
                yield entry.pictures[name], self.form.encode(rounded(one.pixels))
        # Read again rather than kept: photos are large, crops are small.
        for name, file in photos.items():
            edited = [(face, pictures(face)[name].pixels) for face in faces]
            photo = self._pasted(prepared, edited)
            notes += photo.notes
            yield file, photo.encode(self.form, notes)

    def _pasted(self, prepared: Prepared, edited: list[tuple[InvertedFace, Levels]]) -> Whole:
        """The photo of an input with its edited faces in it."""
        photo = self._photo(prepared)
        for face, pixels in edited:
            photo = self._with(photo, face, pixels)
        return photo

    def _with(self, photo: Whole, face: InvertedFace, edited: Levels) -> Whole:
        """The photo with one edited face in it."""
        one = pasting(
            photo.colours,
            face.crop,
            edited,
            face.recon,
            self.mask,
            blend=self.blend,
            hidden=photo.hidden,
        )
        return photo.with_change(one.onto, one.moved)

    def _photo(self, prepared: Prepared) -> Whole:
        source = prepared.item.source
        if prepared.item.content is not None:
            return whole_of(prepared.data, self.max_pixels, keep_gps=self.keep_gps)
        if file_sha256(source) != prepared.sha256:
            raise InputError("changed while it was worked on", "run the same command again")
        return open_whole(source, self.max_pixels, keep_gps=self.keep_gps)

    def _origin(self, prepared: Prepared, entry: FaceEntry) -> dict[str, str]:
        return {
            "source": far(prepared.item.source) or str(prepared.item.source),
            "source_sha256": prepared.sha256,
            "source_size": "{}x{}".format(*prepared.size),
            "crop_matrix": json.dumps(entry.crop),
            "generator": str(self.settings["model"]),
            "encoder_sha256": str(self.settings["encoder"]),
            "skip": "keep",
            "noise": "constant, stored with the generator",
            "version": __version__,
        }

    def _free(self, name: str) -> Path:
        path = within(self.out, name)
        if path.resolve() in self.plan.protected:
            raise InputError(f"its output {name} would replace an input", "choose another --out")
        return path

    def _entry(self, prepared: Prepared, status: Status, **outcome: Any) -> Entry:
        return Entry(
            name=prepared.item.name,
            source=address(prepared.item.source),
            shown=shown(prepared.item.source),
            sha256=prepared.sha256,
            key=entry_key(prepared.sha256, self.settings, status),
            status=status,
            warnings=list(prepared.warnings),
            settings=dict(self.settings),
            backend=self.backend,
            stamp=prepared.stamp,
            **outcome,
        )


def _face_entry(name: str, face: InvertedFace, pictures: dict[str, str]) -> FaceEntry:
    side = len(face.crop.pixels)
    return FaceEntry(
        name=name,
        crop=matrix_to_list(crop_matrix(face.crop.quad, side)),
        metrics=dict(face.metrics),
        pictures=pictures,
    )
