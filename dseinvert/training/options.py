"""What `dseinvert train` can be told, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from dseinvert.errors import UsageError
from dseinvert.similarity.weights import STRATEGIES, Attention, LossWeights, Perceptual

Precision = Literal["auto", "float32", "bfloat16"]
Head = Literal["taps", "base"]


@dataclass(frozen=True)
class TrainOptions:
    """One training run of an encoder; making one raises UsageError where it makes no sense."""

    strategy: int = 2
    """1 = latent regression (image losses carry no gradient), 2 = full image gradients."""
    iterations: int = 210_000
    """Steps in all; the paper's 7 epochs of 30,000."""
    batch: int | None = None
    """Images a step; None = 8 up to 256 px, 4 at 512, 2 at 1024, as in the paper."""
    lr: float = 0.0015
    seed: int = 0
    """Of the samples, the encoder's first weights and its noise."""
    psi: float = 0.7
    """Truncation of the samples; 1 = none."""
    cutoff: int | None = 8
    """Rows of w that are truncated; None = all."""
    ema: float = 0.999
    """Share of the old weights in each step of their moving average, which is what is saved."""
    real: Path | None = None
    """Tar of aligned real images; None = samples of the generator only."""
    real_share: float = 0.25
    """Share of real images in each batch, where there are any."""
    perceptual: Perceptual = "lpips"
    precision: Precision = "auto"
    """auto = bfloat16 on GPUs that compute it natively, float32 elsewhere."""
    widths: tuple[int, ...] | None = None
    """Encoder channels from full resolution down to 4x4; None = Table I."""
    head: Head = "taps"
    """taps = as published; base = each row gets one FC of the flattened z_c' besides."""
    weights: LossWeights = field(default_factory=LossWeights)
    log_every: int = 50
    eval_every: int = 1000
    eval_samples: int = 64
    """Samples of the held-out evaluation, from seeds that no run trains on."""
    grid_every: int = 1000
    """Steps between picture grids; 0 = none."""
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        _require(self.strategy in STRATEGIES, "strategy", self.strategy, "1 or 2")
        positive = ("iterations", "log_every", "eval_every", "eval_samples", "checkpoint_every")
        for name in positive:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("grid_every", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("batch", "cutoff"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1")
        _require(0 < self.lr <= 1, "lr", self.lr, "above 0, at most 1")
        _require(0 < self.psi <= 2, "psi", self.psi, "above 0, at most 2")
        _require(0 <= self.ema < 1, "ema", self.ema, "at least 0, below 1")
        _require(0 < self.real_share < 1, "real_share", self.real_share, "between 0 and 1")
        for name, words in (("perceptual", Perceptual), ("precision", Precision), ("head", Head)):
            known = get_args(words)
            _require(getattr(self, name) in known, name, getattr(self, name), " or ".join(known))
        if self.widths is not None:
            object.__setattr__(self, "widths", tuple(self.widths))
            _require(min(self.widths, default=0) >= 1, "widths", self.widths, "all at least 1")
        if self.real is not None and self.strategy == 1:
            raise UsageError(
                "--real with --strategy 1: real images have no latent to regress",
                "use --strategy 2",
            )

    @property
    def attention(self) -> Attention:
        """The crop weights of the strategy."""
        return STRATEGIES[self.strategy]

    def batch_at(self, resolution: int) -> int:
        """Images a step for a generator of that size."""
        return self.batch or max(1, min(8, 2048 // resolution))

    def real_at(self, resolution: int) -> int:
        """Real images among them; at least one of either kind where real images are given.

        Raises:
            UsageError: no room for both in a batch of one.
        """
        if self.real is None:
            return 0
        batch = self.batch_at(resolution)
        if batch < 2:
            raise UsageError("--batch 1 has no room for real and synthetic images", "--batch 2")
        return min(batch - 1, max(1, round(batch * self.real_share)))

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON and for comparison."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {
            "real": None if self.real is None else str(self.real),
            "widths": None if self.widths is None else list(self.widths),
            "weights": self.weights.by_term() | {"epsilon": self.weights.epsilon},
        }


def _require(good: bool, name: str, value: object, wanted: str) -> None:
    if not good:
        raise UsageError(f"--{name.replace('_', '-')} {value}", f"give {wanted}")
