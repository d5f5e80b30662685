"""Flow matching: what the model sees, what it should answer, what counts."""

from __future__ import annotations

import pytest
import torch

from engine.train.objective import noised, velocity_loss, with_reference

FRAME = 16  # tokens per latent frame


def _clean(num_tokens: int = 48, batch: int = 64) -> torch.Tensor:
    return torch.randn(batch, num_tokens, 8, generator=torch.Generator().manual_seed(3))


def test_noised_tokens_and_target_lie_on_one_line() -> None:
    """Stepping back from the noisy tokens along the target by sigma gives the clean ones."""
    clean = _clean()
    noisy = noised(clean, FRAME, 0.0, torch.Generator().manual_seed(1))
    assert torch.allclose(noisy.tokens - noisy.sigma[:, None, None] * noisy.target, clean, atol=1e-5)


def test_given_first_frame_is_clean_at_timestep_zero_and_not_learned() -> None:
    """Conditioned tokens are the clean latents, their timestep is 0 and the loss does not see them; sigma stays the sample's."""
    clean = _clean()
    noisy = noised(clean, FRAME, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(noisy.tokens[:, :FRAME], clean[:, :FRAME])
    assert not noisy.timestep[:, :FRAME].any()
    assert torch.equal(noisy.timestep[:, FRAME:], noisy.sigma[:, None].expand(-1, 2 * FRAME))
    assert (noisy.sigma > 0).all()
    prediction = noisy.target.clone()
    prediction[:, :FRAME] = 1e6
    assert float(velocity_loss(prediction, noisy.target, noisy.learned)) == 0.0


def test_about_the_asked_share_of_clips_is_given_its_first_frame() -> None:
    """Each sample is drawn on its own."""
    noisy = noised(_clean(batch=2000), FRAME, 0.3, torch.Generator().manual_seed(1))
    share = float((noisy.learned[:, 0] == 0).float().mean())
    assert share == pytest.approx(0.3, abs=0.04)
    assert bool(noisy.learned[:, FRAME:].all())


def test_still_is_never_conditioned() -> None:
    """A picture with its only frame given away would have nothing left to learn."""
    noisy = noised(_clean(num_tokens=FRAME), FRAME, 1.0, torch.Generator().manual_seed(1))
    assert bool(noisy.learned.all())
    assert float(velocity_loss(torch.zeros_like(noisy.target), noisy.target, noisy.learned)) > 1.0


def test_conditioning_does_not_change_other_draws() -> None:
    """With and without a given first frame, the same seed gives the same noise and the same levels."""
    one = noised(_clean(), FRAME, 0.0, torch.Generator().manual_seed(1))
    other = noised(_clean(), FRAME, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(one.sigma, other.sigma)
    assert torch.equal(one.target, other.target)


def test_zero_prediction_scores_about_the_variance_of_noise_and_data() -> None:
    """The loss is a plain mean square: around 2 for unit data, so a wrong normalisation shows at step 0."""
    noisy = noised(_clean(batch=500), FRAME, 0.0, torch.Generator().manual_seed(1))
    assert float(velocity_loss(torch.zeros_like(noisy.target), noisy.target, noisy.learned)) == pytest.approx(2.0, abs=0.05)


def test_every_sample_counts_the_same_however_much_of_it_is_given() -> None:
    """A sample with two thirds of its tokens left weighs as much as a whole one."""
    target, learned = torch.zeros(2, 3, 1), torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    prediction = torch.tensor([[[1.0], [1.0], [1.0]], [[9.0], [3.0], [3.0]]])
    assert float(velocity_loss(prediction, target, learned)) == pytest.approx((1.0 + 9.0) / 2)


def test_reference_tokens_are_clean_at_timestep_zero_and_have_no_loss() -> None:
    """They follow the clip's own tokens; target, learned tokens and sigma stay the clip's, whether a first frame is given or not."""
    reference = torch.randn(64, 5, 8, generator=torch.Generator().manual_seed(4))
    for probability in (0.0, 1.0):
        plain = noised(_clean(), FRAME, probability, torch.Generator().manual_seed(1))
        guided = with_reference(plain, reference)
        assert torch.equal(guided.tokens[:, :48], plain.tokens)
        assert torch.equal(guided.tokens[:, 48:], reference)
        assert torch.equal(guided.timestep[:, :48], plain.timestep.expand(-1, 48))
        assert not guided.timestep[:, 48:].any()
        assert guided.timestep.shape == (64, 53)
        assert torch.equal(guided.sigma, plain.sigma)
        assert guided.target.shape == (*guided.learned.shape, 8) == (64, 48, 8)
