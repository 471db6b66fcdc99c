from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from dseinvert.encoders.parts import Part, batch_norm, computing, deviation, noise_like
from dseinvert.errors import UsageError
from dseinvert.media.images import encode_png
from dseinvert.models import open_model
from dseinvert.training.checkpoints import FILE
from dseinvert.training.loop import train
from dseinvert.training.options import TrainOptions
from dseinvert.training.samples import Cut, Source, batches, real_pictures
from dseinvert.training.team import ALONE, Team, own_device, place
from tests.conftest import picture
from tests.forked import Forked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="gloo and signals as POSIX has them")

WIDE = ("--widths", "8,12,16")
WORDS = [
    *("--batch", "4", "--without-lpips", *WIDE, "--device", "cpu", "-q"),
    *("--eval-samples", "2", "--grid-every", "0", "--log-every", "5"),
]


def start(count: int, *words: object, cwd: Path) -> list[Forked]:
    """That many processes, told their places as torchrun tells them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    places = [{"RANK": str(n), "LOCAL_RANK": str(n)} for n in range(count)]
    told = {**os.environ, **shared, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return [Forked("dseinvert", words, cwd, {**told, **one}) for one in places]


def ended(processes: list[Forked], timeout: float = 240) -> list[tuple[int, str]]:
    return [(one.wait(timeout), one.said()) for one in processes]


def weights(run: Path) -> dict[str, torch.Tensor]:
    content = torch.load(run / FILE, weights_only=True)
    return {f"{part}/{k}": v for part in ("encoder", "smooth") for k, v in content[part].items()}


def furthest(one: Path, other: Path) -> float:
    """The largest difference of two weights."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def same_tables(one: Path, other: Path, rel: float) -> bool:
    """Whether two runs wrote the same figures."""
    heads, rows = [], []
    for run in (one, other):
        head, *lines = (run / "training.csv").read_text().splitlines()
        heads.append(head)
        rows.append([float(figure) for line in lines for figure in line.split(",")])
    return heads[0] == heads[1] and bool(rows[1] == pytest.approx(rows[0], rel=rel, abs=1e-6))


@pytest.fixture
def twenty(options: TrainOptions) -> TrainOptions:
    """What WORDS say."""
    return replace(
        options,
        iterations=20,
        log_every=5,
        eval_every=1000,
        eval_samples=2,
        checkpoint_every=1000,
    )


def test_two_processes_of_half_the_batch_give_the_weights_of_one(
    gan, gan_folder, twenty, real_tar, tmp_path
):
    train(gan, replace(twenty, real=real_tar), tmp_path / "one")
    words = ("train", "--gan", gan_folder, "--out", "two", "--iterations", 20, "--real", real_tar)
    told = ended(start(2, *words, *WORDS, cwd=tmp_path))
    assert [code for code, _ in told] == [0, 0], told
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-6
    assert same_tables(tmp_path / "one", tmp_path / "two", 1e-3)


@pytest.mark.parametrize("method", ["e4e", "feature-style"])
def test_norms_over_a_batch_see_that_of_all_processes(gan, gan_folder, twenty, tmp_path, method):
    # At a tiny rate: a bias before such a norm has no gradient but rounding, which Adam enlarges.
    rate = 1e-6
    plain = replace(twenty, iterations=3, method=method, widths=None, lr=rate, log_every=1)
    train(gan, plain, tmp_path / "one")
    words = ("--gan", gan_folder, "--out", "two", "--iterations", 3, "--method", method)
    words = (*(word for word in WORDS if word not in WIDE), *words, "--lr", rate)
    told = ended(start(2, "train", *words, "--log-every", 1, cwd=tmp_path))
    assert [code for code, _ in told] == [0, 0], told
    assert same_tables(tmp_path / "one", tmp_path / "two", 1e-4)
    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    for name, value in one.items():
        moved = name.endswith(("running_mean", "running_var"))
        close = {"rtol": 1e-4, "atol": 1e-5} if moved else {"rtol": 0, "atol": 7 * rate}
        torch.testing.assert_close(two[name], value, **close, msg=name)


def test_a_batch_in_pieces_gives_the_weights_of_one_at_once(gan, twenty, tmp_path):
    train(gan, twenty, tmp_path / "whole")
    train(gan, replace(twenty, accumulate=3), tmp_path / "pieces")
    assert furthest(tmp_path / "whole", tmp_path / "pieces") < 1e-6


def test_a_stopped_run_goes_on_with_another_number_of_processes(gan, gan_folder, twenty, tmp_path):
    words = ("train", "--gan", gan_folder, "--out", "run", "--iterations", 100000, *WORDS)
    processes = start(2, *words, cwd=tmp_path)
    wait_for(lambda: (tmp_path / "run" / "training.csv").exists())
    processes[1].send_signal(signal.SIGTERM)  # one that does not lead
    told = ended(processes)
    assert [code for code, _ in told] == [143, 143], told
    assert not any("Traceback" in said for _, said in told)
    step = torch.load(tmp_path / "run" / FILE, weights_only=True)["step"]
    longer = replace(twenty, iterations=step + 5)
    train(gan, longer, tmp_path / "run")
    train(gan, longer, tmp_path / "whole")
    assert furthest(tmp_path / "run", tmp_path / "whole") < 1e-5


def test_where_one_process_is_killed_the_other_ends_in_a_line_and_the_run_goes_on(
    gan, gan_folder, twenty, tmp_path
):
    words = ("train", "--gan", gan_folder, "--out", "run", "--checkpoint-every", 2, *WORDS)
    processes = start(2, *words, cwd=tmp_path)
    wait_for(lambda: (tmp_path / "run" / FILE).exists())
    processes[1].send_signal(signal.SIGKILL)
    (code, said), _ = ended(processes)
    assert code == 1
    assert said.splitlines()[-1].startswith("dseinvert: another process of this run has ended")
    assert "Traceback" not in said
    step = torch.load(tmp_path / "run" / FILE, weights_only=True)["step"]
    train(gan, replace(twenty, iterations=step + 1), tmp_path / "run")
    assert open_model(str(tmp_path / "run")).encoder is not None


@pytest.mark.parametrize(
    ("more", "code", "named"),
    [
        (["--lr", "7"], 2, "--lr 7"),
        (["--accumulate", "3"], 2, "2 x 3 parts"),
        (["--real", "none.tar"], 2, "--real none.tar"),
    ],
)
def test_what_all_meet_is_told_once(gan_folder, tmp_path, more, code, named):
    words = ("train", "--gan", gan_folder, "--out", "run", *WORDS, *more)
    (first, said), (second, silent) = ended(start(2, *words, cwd=tmp_path))
    assert (first, second) == (code, code)
    (line,) = said.splitlines()
    assert named in line
    assert silent == ""
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_adapted_by_two_processes_as_by_one(tiny_model, dse, tmp_path):
    (tmp_path / "photos").mkdir()
    for seed in range(12):
        (tmp_path / "photos" / f"{seed:02}.png").write_bytes(encode_png(picture(seed)))
    words = ("finetune", "--on", tmp_path / "photos", "--model", tiny_model, "--no-align", "-q")
    words = (*words, "--iterations", 4, "--eval-every", 2, "--batch", 8, "--perceptual", "none")
    assert dse(*words, "--out", tmp_path / "one", "--device", "cpu") == 0
    told = ended(start(2, *words, "--out", tmp_path / "two", "--device", "cpu", cwd=tmp_path))
    assert [code for code, _ in told] == [0, 0], told
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-6


@pytest.mark.slow
def test_torchrun_starts_it(gan_folder, tmp_path):
    words = ["train", "--gan", gan_folder, "--out", "run", "--iterations", 4, *WORDS]
    launch = [*("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")]
    subprocess.run(
        [sys.executable, *launch, "-m", "dseinvert", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    assert torch.load(tmp_path / "run" / FILE, weights_only=True)["step"] == 4


def wait_for(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_parts_of_a_batch_are_the_batch(gan, real_tar):
    source, real = Source(gan.generator, 0.7, None), real_pictures(real_tar, 16, batch=3, seed=0)
    (whole,) = islice(batches(source, 1, 5, real, 7), 1)
    parts = [next(batches(source, 1, 5, real, 7, cut=Cut(n, 3))) for n in range(3)]
    rows = [row for part in parts for row in part.part.rows]
    assert sorted(rows) == [*range(8)]
    images = torch.cat([part.images for part in parts])[torch.tensor(rows).argsort()]
    torch.testing.assert_close(images, whole.images, rtol=1e-4, atol=1e-5)
    assert torch.equal(images[5:], whole.images[5:])  # the real ones, bit for bit
    for share in range(3):
        assert sum(part.shares[share] for part in parts) == pytest.approx(1)


def test_a_samples_noise_does_not_depend_on_the_cut():
    x = torch.zeros(4, 3, 8, 8)
    torch.manual_seed(0)
    whole = noise_like(x)
    for rows in ([1, 3], [0]):
        torch.manual_seed(0)
        with computing(Part(rows, 4)):
            assert torch.equal(noise_like(x[rows]), whole[rows])


def test_statistics_of_one_part_alone_are_torchs_own():
    torch.manual_seed(0)
    x, mean, variance = torch.randn(4, 3, 5, 5), torch.zeros(3), torch.ones(3)
    moved = mean.clone(), variance.clone()
    plain = batch_norm(x, mean, variance, 0.1)
    with computing(Part(range(4), 4, total=lambda sums: sums)):
        torch.testing.assert_close(batch_norm(x, *moved, 0.1), plain, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(deviation(x), x.std())
    torch.testing.assert_close(moved, (mean, variance))


@pytest.mark.parametrize(
    "told", [{"RANK": "2"}, {"RANK": "x"}, {"MASTER_ADDR": ""}, {"WORLD_SIZE": "-1"}]
)
def test_a_place_that_makes_no_sense_is_a_line(monkeypatch, told):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "here", **told}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="torchrun"):
        place()


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (place(), own_device("cuda:1")) == (ALONE, "cuda:1")
    for name, value in {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "here")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    assert place() == Team(5, 8)
    assert own_device("auto") == own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="cuda:0"):
        own_device("cuda:0")
