from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.editing.directions import Direction
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.media.images import encode_png
from dseinvert.models import Model, open_model, save_model
from dseinvert.training.options import TrainOptions


@pytest.fixture(scope="session")
def gan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of 16 px with random weights and one direction, stored in float16."""
    torch.manual_seed(0)
    config = StyleGAN2Config(16, {4: 16, 8: 12, 16: 8}, w_dim=16, z_dim=16, mapping_layers=2)
    generator = StyleGAN2(config).requires_grad_(False)
    w = generator.mapping(torch.randn(2048, 16))
    generator.mapping.w_avg.copy_(w.mean(0))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, generator, name="tiny", half=True, alignment="none", licence="MIT")
    sha256 = open_model(str(folder)).sha256
    smile = Direction("smile", torch.ones(6, 16), "w+", "none", sha256)
    save_model(
        folder,
        generator,
        directions={"smile": smile},
        name="tiny",
        half=True,
        alignment="none",
        licence="MIT",
    )
    return folder


@pytest.fixture
def gan(gan_folder: Path) -> Model:
    return open_model(str(gan_folder))


@pytest.fixture(scope="session")
def real_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of noise."""
    file = tmp_path_factory.mktemp("real") / "real.tar"
    rng = np.random.default_rng(0)
    with tarfile.open(file, "w") as tar:
        for number in range(12):
            data = encode_png(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            entry = tarfile.TarInfo(f"{number:02}.png")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file


@pytest.fixture
def options() -> TrainOptions:
    """A run of seconds."""
    return TrainOptions(
        iterations=6,
        batch=4,
        perceptual="none",
        widths=(8, 12, 16),
        log_every=2,
        eval_every=3,
        eval_samples=4,
        grid_every=0,
        checkpoint_every=3,
    )
