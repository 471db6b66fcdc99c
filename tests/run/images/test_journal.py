from __future__ import annotations

import os
from pathlib import Path

import pytest

from dseinvert.errors import OutputError
from dseinvert.run.images.journal import Entry, FaceEntry, dumps, open_journal, read

FACE = FaceEntry("a", [1.0, 0, 0, 0, 1, 0], {"psnr": 20.5}, {"input": "a.input.png"})


def entry(name: str, **fields: object) -> Entry:
    return Entry(name, f"/p/{name}.jpg", f"{name}.jpg", "ab" * 32, "key", "done", **fields)  # type: ignore[arg-type]


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    first = entry("a", faces=[FACE], files={"a.input.png": "00"}, settings={"model": "tiny"})
    second = entry("b\udcff", warnings=["é"])
    with open_journal(tmp_path) as journal:
        journal.append(first)
        journal.append(second)
    assert read(journal.path) == {"a": first, "b\udcff": second}


def test_the_last_entry_of_a_name_holds(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(entry("a", reason="old"))
        journal.append(entry("a", reason="new"))
    assert read(journal.path)["a"].reason == "new"


def test_a_journal_cut_at_any_byte_keeps_its_whole_lines_and_can_go_on(tmp_path: Path) -> None:
    entries = [entry(name, faces=[FACE], warnings=["ü\n"]) for name in "abc"]
    whole = b"".join(map(dumps, entries))
    ends = [sum(len(dumps(e)) for e in entries[: n + 1]) for n in range(3)]
    for cut in range(len(whole) + 1):
        path = tmp_path / "journal.jsonl"
        path.write_bytes(whole[:cut])
        # A line that lacks only its newline is whole.
        kept = [e for e, end in zip(entries, ends, strict=True) if cut >= end - 1]
        assert list(read(path).values()) == kept
        with open_journal(tmp_path) as journal:
            journal.append(entry("z"))
        assert list(read(path)) == [*(e.name for e in kept), "z"]


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"format":"other"}', b"[" * 100_000]
)
def test_foreign_lines_are_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(dumps(entry("a")) + line + b"\n" + dumps(entry("b")))
    assert list(read(path)) == ["a", "b"]


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert read(tmp_path / "none" / "journal.jsonl") == {}


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(OutputError, match="another run"):
        open_journal(tmp_path).__enter__()


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) > 20:
            return real(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    with open_journal(tmp_path) as journal:
        journal.append(entry("a"))
        before = journal.path.read_bytes()
        monkeypatch.setattr(os, "write", lambda d, data: full(d, data[:21]))
        with pytest.raises(OutputError, match="no space left"):
            journal.append(entry("b"))
    assert journal.path.read_bytes() == before
