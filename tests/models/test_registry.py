"""Registry rows are whole, and what is pulled is what they say."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from dseinvert.cli.main import run
from dseinvert.errors import InputError, MissingError, UsageError
from dseinvert.models import add, list_models, open_model, registry, remove
from dseinvert.models.registry import pull, rows


def quiet(here: int, whole: int) -> None: ...


@pytest.fixture
def listed(server: Any, foreign_gan: Path, tmp_path: Path) -> Any:
    """`listed(url=..., ...)` writes a registry of one row, of a GAN on the loopback."""
    server.files["/gan.pth"] = foreign_gan.read_bytes()

    def write(**changes: object) -> Path:
        row = {"name": "far", "description": "a GAN", "licence": "of its own"}
        row |= {"url": server.url + "/gan.pth", "space": "w+", "layers": 8, "dim": 20}
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**row, **changes}.items()]
        file = tmp_path / "models.toml"
        file.write_text("\n".join(["[[model]]", *lines]))
        return file

    return write


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_row_of_the_program_is_whole() -> None:
    known = rows()
    assert len({row.name for row in known}) == len(known) > 10
    assert all(row.url.startswith("https://") or row.hub for row in known)
    assert all(row.licence and row.description for row in known)
    assert {row.name for row in known}.isdisjoint(model.name for model in list_models())


def test_a_pulled_model_is_converted_and_its_file_is_gone(listed: Any, cache: Path) -> None:
    added = pull("far", quiet, listed())
    model = open_model("far")
    assert added.new and model.generator.resolution == 32
    assert model.card["licence"] == "of its own" and model.card["source"]["url"].endswith("gan.pth")
    assert [*(cache / "downloads").iterdir()] == []


def test_what_is_here_is_not_pulled_again(listed: Any, server: Any) -> None:
    file = listed()
    pull("far", quiet, file)
    assert pull("far", quiet, file).new is False
    assert len(server.requests) == 1


def test_a_cut_pull_is_continued(listed: Any, server: Any, foreign_gan: Path) -> None:
    server.cuts = [20_000]
    pull("far", quiet, listed(sha256=sha256(foreign_gan), bytes=foreign_gan.stat().st_size))
    assert [asked for _, asked in server.requests] == ["", "bytes=20000-"]


def test_another_file_than_the_row_says_is_refused(listed: Any, cache: Path) -> None:
    for changes in ({"sha256": "0" * 64}, {"bytes": 1}):
        with pytest.raises(MissingError, match="expected"):
            pull("far", quiet, listed(**changes))
    with pytest.raises(InputError, match="the registry says"):
        pull("far", quiet, listed(layers=18))
    assert not (cache / "downloads" / "far.pth").exists()
    assert "far" not in [row.name for row in list_models()]


def test_the_first_pull_is_remembered(listed: Any, server: Any) -> None:
    file = listed()
    pull("far", quiet, file)
    remove("far")
    server.files["/gan.pth"] += b"changed"
    with pytest.raises(MissingError, match="expected"):
        pull("far", quiet, file)


def test_offline_forbids_to_download(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = listed()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingError, match="HF_HUB_OFFLINE"):
        pull("far", quiet, file)


HUB = {"url": "", "hub": "owner/repo", "file": "gan.pth", "revision": "abc"}


def test_the_hub_needs_its_library(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match=r"dseinvert\[hub\]"):
        pull("far", quiet, listed(**HUB))


def test_the_hub_is_asked_for_the_revision(
    listed: Any, foreign_gan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def hf_hub_download(*args: Any, **kwargs: Any) -> str:
        asked.append((args, kwargs))
        return str(foreign_gan)

    library = types.ModuleType("huggingface_hub")
    library.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    pull("far", quiet, listed(**HUB, sha256=sha256(foreign_gan)))
    assert asked == [(("owner/repo", "gan.pth"), {"revision": "abc"})]
    assert foreign_gan.exists() and open_model("far").card["source"]["url"].startswith("owner/")
    remove("far")
    with pytest.raises(MissingError, match="expected"):
        pull("far", quiet, listed(**HUB, sha256="0" * 64))


def test_a_hub_that_cannot_be_reached_is_told(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hf_hub_download(*args: Any, **kwargs: Any) -> str:
        raise FileNotFoundError("not in the cache, and offline")

    library = types.ModuleType("huggingface_hub")
    library.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    with pytest.raises(MissingError, match="offline"):
        pull("far", quiet, listed(**HUB))


@pytest.mark.parametrize(
    "changes",
    [{"url": ""}, {"layers": "8"}, {"name": "a b"}, {"more": 1}, {**HUB, "revision": ""}],
)
def test_a_row_that_is_not_whole_is_refused(listed: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not a registry"):
        rows(listed(**changes))


def test_an_unknown_name_lists_the_known_ones(listed: Any) -> None:
    with pytest.raises(UsageError, match="known: far"):
        pull("near", quiet, listed())


def test_a_name_that_is_taken_stays(listed: Any, foreign_gan: Path) -> None:
    """A user's own model called as a row is takes its place; nothing is overwritten."""
    add(foreign_gan, "far")
    assert pull("far", quiet, listed()).new is False
    assert registry.find("far", listed()).licence == "of its own"


def test_a_pull_prints_the_licence_first(
    listed: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(listed())
    assert run(["models", "pull", "far", "--registry", file, "--json"]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["name"] == "far"
    assert "licence: of its own" in told.err and "first pull" in told.err
    remove("far")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(["models", "pull", "far", "--registry", file]) == 4
    assert len([line for line in capfd.readouterr().err.splitlines() if "OFFLINE" in line]) == 1
