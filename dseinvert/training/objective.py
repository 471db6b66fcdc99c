"""The loss of one training batch (DSE, Algorithm 1, lines 4-12)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.latent import Latent
from dseinvert.similarity.attention import Scales
from dseinvert.similarity.identity import Identity
from dseinvert.similarity.losses import Distance, image_loss, latent_loss
from dseinvert.similarity.weights import LossWeights
from dseinvert.training.lessons import teach
from dseinvert.training.mirror import comparable
from dseinvert.training.options import TrainOptions
from dseinvert.training.samples import Batch


@dataclass(frozen=True)
class Objective:
    """What an encoder is trained for; bfloat16 for the networks and float32 for the losses."""

    generator: Generator
    options: TrainOptions
    scales: Scales
    distance: Distance | None
    bfloat16: bool
    who: Identity | None = None
    """Sees faces, with gradients; None = without a loss of identity."""

    def __call__(
        self, encoder: Encoder, batch: Batch, progress: float = 1.0, *, measure: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The number to descend, and what it is made of by name.

        Of a part of a batch both are its share: those of all parts sum to the batch's.

        Args:
            progress: share of the training that is done.
            measure: False = leave out image figures that have no gradient (strategy 1).
        """
        weights, count = self.options.weights, len(batch.codes)
        of_samples, _, of_all = batch.shares
        with self._autocast():
            # Lines 8-9. The paper prints E(G(E(x))); its code, as here, runs E once, on x = G(w).
            lesson = teach(encoder, self.generator, batch.images, batch.labels, progress)
        attempts = [(share, replace(one, code=one.code.float())) for share, one in lesson.attempts]
        _, found = attempts[-1]
        wanted = comparable(self.generator, batch.codes)
        losses = latent_loss(wanted, comparable(self.generator, found.code[:count]), weights)
        latent = of_samples * losses.mean()
        figures = {"latent": latent}
        # Line 12 as one backward of the sum. Two steps of one Adam, as published, each have the
        # size of the learning rate, so that epsilon would not count, and the second would follow
        # the gradient of weights that are no longer there.
        loss = weights.epsilon * latent  # Equation 8
        if self.options.strategy == 2 or measure:
            with torch.set_grad_enabled(self.options.strategy == 2):
                judged = [(share, *self._images(batch, one)) for share, one in attempts]
            image = torch.stack([share * one for share, one, _ in judged]).sum()
            penalties = {name: of_all * term for name, term in lesson.penalties.items()}
            figures |= {"image": image, **judged[-1][2], **penalties}
        if self.options.strategy == 2:
            loss = torch.stack([loss + image, *penalties.values()]).sum()  # Equation 8
        return loss, {"loss": loss, **figures}

    def _images(self, batch: Batch, found: Latent) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean image loss; of real images without the cosine and KL terms."""
        with self._autocast():
            drawn = self.generator.synthesize(found).float()  # line 8
        weights, count = self.options.weights, len(batch.codes)
        of_samples, of_real, of_all = batch.shares
        losses, terms = self._compare(batch.images[:count], drawn[:count], weights)
        told = {name: of_samples * term.mean() for name, term in terms.items()}
        if count < len(drawn):
            plain = replace(weights, beta=0, kl=0)
            more, real = self._compare(batch.images[count:], drawn[count:], plain)
            losses = torch.cat([losses, more])
            told |= {f"real_{name}": of_real * term.mean() for name, term in real.items()}
        elif of_real == 0:  # other parts have them all
            told |= {f"real_{name}": torch.zeros_like(term) for name, term in told.items()}
        return of_all * losses.mean(), told

    def _compare(
        self, real: Tensor, fake: Tensor, weights: LossWeights
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = image_loss(real, fake, weights, self.scales, self.distance)
        if self.who is not None:
            with torch.no_grad():
                known = self.who(real)
            terms["identity"] = 1 - (known * self.who(fake)).sum(1)
            loss = loss + weights.identity * terms["identity"]
        return loss, terms

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.generator.device.type, torch.bfloat16, enabled=self.bfloat16)
