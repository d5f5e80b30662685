"""Flow matching on packed latents: what is shown to the model, what it should answer, and how wrong it is.

x_sigma = (1 - sigma) x0 + sigma noise, target velocity = noise - x0, plain mean squared error without weighting by
sigma (reference ltx-2.3.md §1.2; Lipman et al., "Flow Matching for Generative Modeling", 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from engine.data.buckets import Bucket
from engine.train.timesteps import sample_sigmas


@dataclass(frozen=True)
class Noised:
    """One batch ready for the model; N packed tokens of C channels."""

    tokens: torch.Tensor  # [B, N (+ M), C]: noisy, but clean where given; M reference tokens may follow
    target: torch.Tensor  # [B, N, C]: velocity
    sigma: torch.Tensor  # [B]: the sample's noise level, 0..1
    timestep: torch.Tensor  # [B, N (+ M)]: sigma, 0 where given; [B, 1] when nothing is, which spares the model N embeddings per sample
    learned: torch.Tensor  # [B, N]: 1 where the prediction counts, 0 where given

    def part(self, samples: slice) -> Noised:
        """Some of the samples."""
        return Noised(*(tensor[samples] for tensor in (self.tokens, self.target, self.sigma, self.timestep, self.learned)))


@dataclass(frozen=True)
class Asked:
    """One batch with all that was drawn for it."""

    noisy: Noised
    guides: torch.Tensor | None  # [B, M, C]: packed reference tokens of an effect
    captions: tuple[str, ...]
    bucket: Bucket
    preserves: bool  # the base's own answer is the target, not the items

    def part(self, samples: slice) -> Asked:
        """Some of the samples."""
        guides = None if self.guides is None else self.guides[samples]
        return replace(self, noisy=self.noisy.part(samples), guides=guides, captions=self.captions[samples])

    def pieces(self, at_once: int) -> Iterator[Asked]:
        """The same in pieces of at most so many samples."""
        for first in range(0, len(self.captions), at_once):
            yield self.part(slice(first, first + at_once))


def noised(clean: torch.Tensor, tokens_per_frame: int, first_frame_probability: float, generator: torch.Generator) -> Noised:
    """Draw noise for `clean` [B, N, C] and, for some clips, give the first latent frame away as in image-to-video.

    A still is never conditioned: nothing would be left to learn. All draws happen on the CPU in a fixed order, whatever the settings,
    so that one option does not change another's randomness.
    """
    batch, num_tokens, _ = clean.shape
    sigma = sample_sigmas(batch, num_tokens, generator).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    is_given = torch.rand(batch, generator=generator) < first_frame_probability
    learned = torch.ones(batch, num_tokens)
    if num_tokens > tokens_per_frame:
        learned[is_given, :tokens_per_frame] = 0.0
    nothing_given = bool(learned.all())
    learned = learned.to(clean.device)
    timestep = sigma[:, None] if nothing_given else sigma[:, None] * learned
    level = timestep[:, :, None]  # [B, N or 1, 1]; 0 where given, so those tokens stay clean
    return Noised(tokens=(1 - level) * clean + level * noise, target=noise - clean, sigma=sigma, timestep=timestep, learned=learned)


def with_reference(noisy: Noised, reference: torch.Tensor) -> Noised:
    """`noisy` with reference tokens [B, M, C] after its own: clean, at timestep 0; target and learned stay the clip's alone.

    The sample's sigma stays too: it tells text attention how noisy the clip is (reference ltx-2.3.md §1.9).
    """
    batch, num_tokens, _ = noisy.target.shape
    timestep = noisy.timestep.expand(-1, num_tokens)
    given = timestep.new_zeros(batch, reference.shape[1])
    return replace(noisy, tokens=torch.cat([noisy.tokens, reference], dim=1), timestep=torch.cat([timestep, given], dim=1))


def velocity_loss(predicted: torch.Tensor, target: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the learned tokens of each sample, averaged over the batch; a scalar in fp32.

    Each sample counts the same, however many of its tokens were given.
    """
    error = (predicted.float() - target).square().mean(dim=2)  # [B, N]
    return ((error * learned).mean(dim=1) / learned.mean(dim=1).clamp(min=1e-8)).mean()
