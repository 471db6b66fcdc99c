"""What `dseinvert train` can be told, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from dseinvert.errors import UsageError
from dseinvert.similarity.weights import STRATEGIES, Attention, Gradients, LossWeights, Perceptual
from dseinvert.written import WIDTHS, Rotate

Precision = Literal["auto", "float32", "bfloat16"]
Head = Literal["taps", "base"]
Start = Literal["scratch", "model"]
Method = Literal["dse", "dse-feature", "feature-style", "psp", "e4e", "restyle"]
AttentionKind = Literal["none", "crops", "gradcam"]
CHOICES = {
    "start": Start,
    "attention": AttentionKind,
    "gradcam_gradients": Gradients,
    "perceptual": Perceptual,
    "precision": Precision,
    "head": Head,
    "method": Method,
}
"""The options that are one of a few words."""


@dataclass(frozen=True)
class TrainOptions:
    """One training run of an encoder; making one raises UsageError where it makes no sense."""

    method: Method = "dse"
    """dse; dse-feature = with a feature branch on its trunk; and, on the same footing, the
    feature-style encoder, psp, e4e and restyle."""
    strategy: int = 2
    """1 = latent regression (image losses carry no gradient), 2 = full image gradients."""
    iterations: int = 210_000
    """Steps in all; the paper's 7 epochs of 30,000."""
    batch: int | None = None
    """Images a step, as in the paper; None = 8 up to 256 px, 4 at 512, 2 at 1024."""
    accumulate: int = 1
    """Pieces in which each process works through its part of a batch, one after another; takes
    less memory, and changes results by rounding only, or by the norms over a batch where the
    method has such."""
    lr: float | None = None
    """Learning rate; None = 0.0015 for DSE, by Adam (0, 0.99), 0.0005 for the other methods."""
    seed: int = 0
    """Of the samples, the encoder's first weights and its noise."""
    psi: float | None = None
    """Truncation of the samples, 1 = none; None = 0.7, or BigGAN's own, or 1 for PGGAN."""
    cutoff: int | None = None
    """Rows of w that are truncated; None = the first 8."""
    mixing: float = 0.0
    """Share of the samples whose rows of w come from two seeds (StyleGAN's style mixing)."""
    ema: float = 0.999
    """Share of the old weights in each step of their moving average, which is what is saved."""
    start: Start = "scratch"
    """scratch = fresh weights, model = those of the encoder that the --gan model has."""
    real: Path | None = None
    """Aligned real images to train on besides: a folder, a zip or tar, an LMDB, or a Hugging Face
    data set in parquet files; None = samples of the generator only."""
    real_share: float = 0.25
    """Share of real images in each batch, where there are any."""
    attention: AttentionKind = "crops"
    """What is compared besides whole images: crops = two centre crops, for aligned images;
    gradcam = heat maps of VGG16, and the images under them; none = nothing."""
    gradcam_gradients: Gradients = "maps"
    """What Grad-CAM hands gradients to: maps = the heat map of the reconstruction and its pixels
    under the map, images = its pixels alone, none = nothing, as published."""
    gradcam_weights: Path | None = None
    """torchvision's ImageNet weights of VGG16; None = the file in torch's cache."""
    perceptual: Perceptual = "lpips"
    """Perceptual term; features = of EfficientNet-lite0."""
    lpips_weights: Path | None = None
    """torchvision's ImageNet weights of VGG16 for LPIPS; None = the file in torch's cache, which
    is downloaded."""
    identity: Path | None = None
    """Weights of a face recognition network (IR-SE50, MobileFaceNet), for a loss of identity on
    faces in the FFHQ framing; None = without."""
    precision: Precision = "auto"
    """auto = bfloat16 on GPUs that compute it natively, float32 elsewhere."""
    widths: Annotated[tuple[int, ...] | None, WIDTHS] = None
    """Encoder channels from the full size down to 4x4, as 64,128,256, or those of the four stages
    of another method; None = as published, or that fit a smaller generator."""
    layer: int | None = None
    """Generator layer whose feature dse-feature and feature-style replace; None = the second of
    16 px."""
    head: Head | None = None
    """base = every row of w also gets one FC of the flattened z_c'; None = taps, as published."""
    weights: LossWeights = field(default_factory=LossWeights)
    """Of the terms of the losses."""
    log_every: int = 50
    """Steps a row of losses."""
    eval_every: int = 1000
    """Steps an evaluation."""
    eval_samples: int = 64
    """Samples of the held-out evaluation, from seeds that no run trains on."""
    grid_every: int = 1000
    """Steps between picture grids; 0 = none."""
    checkpoint_every: int = 1000
    """Steps a checkpoint."""
    wandb: str | None = None
    """Project of Weights & Biases that hears the figures too; None = none."""

    def __post_init__(self) -> None:
        _require(self.strategy in STRATEGIES, "strategy", self.strategy, "1 or 2")
        positive = ("iterations", "log_every", "eval_every", "eval_samples", "checkpoint_every")
        for name in (*positive, "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("grid_every", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("batch", "cutoff", "layer"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1")
        _require(self.lr is None or 0 < self.lr <= 1, "lr", self.lr, "above 0, at most 1")
        _require(self.psi is None or 0 < self.psi <= 2, "psi", self.psi, "above 0, at most 2")
        _require(0 <= self.mixing <= 1, "mixing", self.mixing, "from 0 to 1")
        _require(0 <= self.ema < 1, "ema", self.ema, "at least 0, below 1")
        _require(0 < self.real_share < 1, "real_share", self.real_share, "between 0 and 1")
        for name, words in CHOICES.items():
            known = (*get_args(words), *([None] if name == "head" else []))
            wanted = " or ".join(get_args(words))
            _require(getattr(self, name) in known, name, getattr(self, name), wanted)
        if self.widths is not None:
            object.__setattr__(self, "widths", tuple(self.widths))
            _require(min(self.widths, default=0) >= 1, "widths", self.widths, "all at least 1")
        if self.real is not None and self.strategy == 1:
            raise UsageError(
                "--real with --strategy 1: real images have no latent to regress",
                "use --strategy 2",
            )
        if self.layer is not None and "feature" not in self.method:
            raise UsageError(f"--layer {self.layer}: {self.method} has no feature", "leave it out")
        if self.strategy == 1 and self.method != "dse":
            raise UsageError(f"--strategy 1: {self.method} learns from images", "use --strategy 2")
        if self.identity is not None and self.identity.suffix.lower() == ".onnx":
            raise UsageError(
                f"--identity {self.identity}: a network in ONNX hands back no gradients",
                "give the weights of IR-SE50 or MobileFaceNet",
            )
        if self.identity is not None and self.strategy == 1:
            raise UsageError("--identity with --strategy 1: images have no gradients there")
        if self.lpips_weights is not None and self.perceptual != "lpips":
            raise UsageError(
                f"--lpips-weights with --perceptual {self.perceptual}", "leave one of them out"
            )
        if self.attention != "gradcam":
            for name in ("gradcam_weights", "gradcam_gradients"):
                default = getattr(TrainOptions, name)
                wanted = "--attention gradcam with it"
                _require(getattr(self, name) == default, name, getattr(self, name), wanted)

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.lr or (0.0015 if self.method.startswith("dse") else 0.0005)

    @property
    def mu(self) -> Attention:
        """How much each attention counts in the strategy."""
        return STRATEGIES[self.strategy]

    def psi_for(self, truncates: bool, usual: float) -> float:
        """Truncation of the samples of a generator.

        Args:
            truncates: whether psi means anything to it.
            usual: where the user has not said.

        Raises:
            UsageError: truncation is asked of one that has none.
        """
        if self.psi not in (None, 1) and not truncates:
            raise UsageError(f"--psi {self.psi}: this generator has no truncation", "leave it out")
        return usual if self.psi is None else self.psi

    def cutoff_for(self, rows: int) -> int | None:
        """Truncated rows of a generator with so many; None = all of them.

        Raises:
            UsageError: the latent has but one row.
        """
        if rows > 1:
            return self.cutoff or 8
        if self.cutoff is not None:
            raise UsageError(
                f"--cutoff {self.cutoff}: this generator's latent is not in rows", "leave it out"
            )
        return None

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
        paths = {name: str(value) for name, value in plain.items() if isinstance(value, Path)}
        weights = self.weights.by_term() | {"epsilon": self.weights.epsilon}
        if self.identity is not None:
            weights["identity"] = self.weights.identity
        widths = None if self.widths is None else list(self.widths)
        return plain | paths | {"widths": widths, "weights": weights}


@dataclass(frozen=True)
class FinetuneOptions:
    """What `dseinvert finetune` is asked to do."""

    iterations: int = 400
    """Steps at most."""
    batch: int | None = None
    """Images a step; None = 8 up to 256 px, 4 at 512, 2 at 1024."""
    accumulate: int = 1
    """Pieces in which each process works through its part of a batch, one after another."""
    lr: float = 0.002
    """Learning rate of Adam (0, 0.99), equalised."""
    seed: int = 0
    """Of the held-out choice, the variations and the samples."""
    synthetic: float = 0.25
    """Share of the generator's own samples in each batch, against forgetting."""
    held_out: float = 0.15
    """Share of the files that measures progress and is not learned from."""
    eval_every: int = 25
    """Steps an evaluation and a checkpoint."""
    patience: int = 4
    """Evaluations without progress after which it ends; what is saved is the best."""
    ema: float = 0.98
    """Share of the old weights in each step of their moving average, which is what is saved."""
    perceptual: Literal["auto", "lpips", "features", "none"] = "auto"
    """Perceptual term; features = of EfficientNet-lite0, auto = what is here."""
    align: bool = True
    """Find and crop the faces; without it, images are taken as they are."""
    rotate: Rotate = "auto"
    """Degrees clockwise that set photos upright: 0, 90, 180 or 270; auto = as their faces tell."""

    def __post_init__(self) -> None:
        for name in ("iterations", "eval_every", "patience", "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.batch is None or self.batch >= 2, "batch", self.batch, "at least 2")
        _require(0 < self.lr <= 1, "lr", self.lr, "above 0, at most 1")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(0 <= self.ema < 1, "ema", self.ema, "at least 0, below 1")
        for name in ("synthetic", "held_out"):
            _require(0 < getattr(self, name) < 1, name, getattr(self, name), "between 0 and 1")
        words = ("auto", *get_args(Perceptual))
        _require(self.perceptual in words, "perceptual", self.perceptual, " or ".join(words))


def _require(good: bool, name: str, value: object, wanted: str) -> None:
    if not good:
        raise UsageError(f"--{name.replace('_', '-')} {value}", f"give {wanted}")
