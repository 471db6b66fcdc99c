"""The recipe of a bundled model made on a GPU: stages that stop, move and go on by the minute.

prepare -> adversarial (the generator) -> encoder -> directions. Each leaves all that the next one
needs in the work folder, and the long ones can leave and enter it in pieces (`pieces.pack`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.errors import MissingError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.latent import Latent
from dseinvert.media.atomic import write_bytes
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, open_model, save_model
from dseinvert.run.flow.progress import watching
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training import checkpoints, loop, mirror
from dseinvert.training.options import TrainOptions
from dseinvert.training.pictures import foreground, read_tar
from dseinvert.training.prepare import planned
from dseinvert.training.samples import held_out_seeds
from recipe.bundle import finish
from recipe.gan import adversarial, gan_state
from recipe.gan.device_pictures import DevicePictures
from recipe.gan.frechet import frechet, spread
from recipe.gan.gan_state import AdversarialOptions
from recipe.gan.pieces import grown, pack, shrunk, tar_bytes, unpack
from recipe.order import HELD_OUT, Order
from recipe.pictures import to_tensor

STAGES = ("prepare", "adversarial", "encoder", "directions")
KNOWN, UNSEEN = "faces.tar", "held-out.tar"
"""Pictures to learn from, and those that are never trained on."""
TRAVELS = {
    "adversarial": (
        gan_state.FILE,
        f"{adversarial.TABLE}.csv",
        "watch.csv",
        "grid-*.png",
    ),
    "encoder": (
        f"encoder/{checkpoints.FILE}",
        "gan/*",
        "encoder/*.csv",
        "encoder/grid-*.png",
    ),
}
"""What each stage takes along: its checkpoint, then patterns of which the newest PNG counts."""


def prepare(tar: Path, work: Path, side: int) -> None:
    """Reduce the pictures of `tar` to side x side and write the two tars of the work folder."""
    pictures = read_tar(tar, side)
    work.mkdir(parents=True, exist_ok=True)
    for name, part in ((UNSEEN, pictures[-HELD_OUT:]), (KNOWN, pictures[:-HELD_OUT])):
        files = {f"{number:05}.jpg": _jpeg(picture) for number, picture in enumerate(part)}
        write_bytes(work / name, tar_bytes(files))


def generator(
    options: AdversarialOptions,
    work: Path,
    device: torch.device,
    *,
    ends: float,
    compiled: bool,
    samples: int = 2000,
) -> bool:
    """The adversarial stage; True once all its images are seen. Its model is WORK/gan.

    Args:
        ends: value of time.monotonic() at which it stops.
        samples: what FID-lite0 is measured on.
    """
    known = _pictures(work / KNOWN, options.resolution)
    real = DevicePictures(*known, options.batch, options.seed, device)
    unseen = _pictures(work / UNSEEN, options.resolution)
    watch = watcher(DevicePictures(*unseen, 50, options.seed, device), samples)
    state = adversarial.train(options, real, work, device, watch, ends=ends, compiled=compiled)
    export(state.smooth, work)
    return state.step >= options.steps


def watcher(unseen: DevicePictures, samples: int) -> adversarial.Watch:
    """FID-lite0 against varied pictures never trained on; a grid of them, and of drawn ones."""
    net = FeatureDistance().to(unseen.pictures.device).eval()
    batch = unseen.batch
    wanted = spread(net, (unseen.at(step) for step in range(samples // batch)))

    def watch(smooth: StyleGAN2) -> tuple[dict[str, float], list[Tensor]]:
        starts = range(0, samples, batch)
        drawn = (_drawn(smooth, start, start + batch) for start in starts)
        rows = [unseen.at(0)[:10], *_drawn(smooth, 0, 30, psi=0.7).split(10)]
        return {"FID-lite0": frechet(wanted, spread(net, drawn))}, rows

    return watch


@torch.no_grad()
def export(smooth: StyleGAN2, work: Path) -> None:
    """Write the averaged generator as a model, with the mean of w measured anew."""
    source = torch.Generator().manual_seed(0)
    z = torch.randn(50_000, smooth.config.z_dim, generator=source).to(smooth.device)
    smooth.mapping.w_avg.copy_(smooth.mapping(z).mean(0))
    save_model(work / "gan", smooth, name="gan", licence="MIT", half=True)


def encoder(
    gan: AdversarialOptions,
    options: TrainOptions,
    work: Path,
    device: torch.device,
    *,
    ends: float,
) -> bool:
    """The encoder stage (`loop.train`, which keeps WORK/encoder); True once it is complete."""
    model = _gan(gan, work, device)
    gan_state.box_blurs(_stylegan2(model))
    torch.backends.cudnn.benchmark = device.type == "cuda"
    with watching() as watcher:
        outcome = loop.train(model, options, work / "encoder", watcher, ends=ends)
    return outcome.step >= options.iterations


def directions(
    gan: AdversarialOptions,
    options: TrainOptions,
    order: Order,
) -> None:
    """The last stage: directions, and the model folder."""
    work = order.work
    model = _gan(gan, work, torch.device("cpu"))
    trained = trained_encoder(model, options, work)
    images = to_tensor(read_tar(_present(work / KNOWN), gan.resolution), gan.resolution)
    rows = torch.cat([_rows(trained, part) for part in images.split(64)])
    report: dict[str, object] = {"gan": asdict(gan), "encoder": options.asdict()}
    finish(_stylegan2(model), trained, images, rows, order, report)


def trained_encoder(model: Model, options: TrainOptions, work: Path) -> DSEEncoder:
    """The averaged encoder in the checkpoint of the encoder stage.

    Raises:
        MissingError: there is none.
    """
    file = _present(work / "encoder" / checkpoints.FILE)
    trained = mirror.build(planned(model, options), model.generator)
    assert isinstance(trained, DSEEncoder)
    trained.load_state_dict(checkpoints.load(file)["smooth"])
    return trained.eval().requires_grad_(False)


def depart(stage: str, work: Path, to: Path) -> None:
    """Pack what a stage needs to go on elsewhere into `to`, its checkpoint shrunk."""
    files = {}
    for pattern in TRAVELS[stage]:
        found = sorted(work.glob(pattern))
        for file in found[-1:] if pattern.endswith(".png") else found:
            data = file.read_bytes()
            files[str(file.relative_to(work))] = shrunk(data) if file.suffix == ".pt" else data
    pack(to, stage, files)


def arrive(stage: str, work: Path, source: Path) -> None:
    """Unpack what a stage brought along; a checkpoint that is here already is newer, and stays."""
    if (work / TRAVELS[stage][0]).exists():
        return
    for name, data in unpack(source, stage).items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(work / name, grown(data) if name.endswith(".pt") else data)


def _stylegan2(model: Model) -> StyleGAN2:
    assert isinstance(model.generator, StyleGAN2)
    return model.generator


def _gan(options: AdversarialOptions, work: Path, device: torch.device) -> Model:
    """The generator of the adversarial stage, made from its checkpoint where only that is here."""
    if not (work / "gan" / "model.json").exists():
        state = gan_state.new_state(options, device)
        gan_state.resume(_present(work / gan_state.FILE), state, options)
        export(state.smooth, work)
    return open_model(str(work / "gan"), device)


@torch.no_grad()
def _drawn(smooth: StyleGAN2, start: int, stop: int, psi: float = 1) -> Tensor:
    latent: Latent = smooth.sample(held_out_seeds(start, stop), psi)
    return smooth.synthesize(latent).clamp(-1, 1)


@torch.inference_mode()
def _rows(trained: DSEEncoder, images: Tensor) -> Tensor:
    return trained.encode(images).code


def _jpeg(picture: Pixels) -> bytes:
    """The smallest file of this quality: what travels is counted."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes()


def _pictures(tar: Path, side: int) -> tuple[Pixels, Pixels]:
    """The pictures of a tar and masks of their people, a little inside the outlines.

    (Else the pale edge of the studio's background would shine around the hair.)
    """
    pictures = read_tar(_present(tar), side)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side // 64 * 2 + 1,) * 2)
    return pictures, np.stack([cv2.erode(foreground(picture), reach) for picture in pictures])


def _present(file: Path) -> Path:
    if not file.exists():
        raise MissingError(f"{file}: not here", "run the stage before, or --from where it is")
    return file
