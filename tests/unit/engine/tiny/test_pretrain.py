"""Pretraining's parts: the closed-form VAE, the pool, the optimiser, and a trainer that resumes exactly."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from engine.tiny.architecture import LATENT_CHANNELS, MAX_SEQUENCE_LENGTH, build_pipeline
from engine.tiny.muon import orthogonalise
from engine.tiny.pool import CAPTIONS_PER_CLIP, Pool, build_pool, tokenise, touched_tokens
from engine.tiny.sprites import Character
from engine.tiny.trainer import KINDS, Recipe, Trainer
from engine.tiny.vae import decode, encode, fit_decoder, fit_encoder, pack, psnr_db, to_video
from engine.tiny.world import Scene, random_clip


def clips(count: int, seed: int, num_frames: int = 9) -> Any:
    rng = np.random.default_rng(seed)
    return to_video(np.stack([random_clip(rng, num_frames)[0] for _ in range(count)]))


@pytest.fixture(scope="module")
def pipe() -> Any:
    built = build_pipeline(0, ["a red ball walking left in a forest", "a blue box in the snow"])
    torch.manual_seed(0)
    video = clips(300, 1)
    fit_encoder(built.vae, video)
    fit_decoder(built.vae, video)
    return built


@pytest.fixture(scope="module")
def pools(pipe: Any) -> dict[int, Pool]:
    return {frames: build_pool(pipe.vae, pipe.tokenizer, num_frames=frames, size=6, seed=frames) for frames in (1, 9, 17)}


def test_fitted_vae_restores_unseen_clips_before_any_training(pipe: Any) -> None:
    """Closed-form encoder and decoder alone reach 26 dB on clips they were not fitted to."""
    video = clips(40, 2)
    with torch.no_grad():
        assert psnr_db(video, decode(pipe.vae, encode(pipe.vae, video))) > 26.0


def test_latents_are_normalised_and_packed_frame_by_frame(pipe: Any) -> None:
    """48 tokens of unit scale; a token's place is frame * 16 + row * 4 + column."""
    latents = encode(pipe.vae, clips(60, 3))
    tokens = pack(latents)
    assert tokens.shape == (60, 48, LATENT_CHANNELS)
    assert tokens.square().mean().item() == pytest.approx(1.0, abs=0.25)
    assert torch.equal(tokens[:, 16 + 4 * 2 + 1], latents[:, :, 1, 2, 1])


def test_stills_encode_like_first_frames(pipe: Any) -> None:
    """The VAE is causal: a still is the first latent frame of any clip that starts with it."""
    video = clips(4, 4)
    assert torch.allclose(encode(pipe.vae, video[:, :, :1]), encode(pipe.vae, video)[:, :, :1], atol=1e-4)


def test_pool_holds_latents_and_captions_of_every_clip(pools: dict[int, Pool]) -> None:
    """Shapes of a pool; longer clips have more tokens."""
    assert pools[9].latents.shape == (6, 48, LATENT_CHANNELS)
    assert pools[17].latents.shape[1] == 80
    assert pools[1].captions.shape == (6, CAPTIONS_PER_CLIP, MAX_SEQUENCE_LENGTH)


def test_touched_tokens_follow_the_character() -> None:
    """Only tokens under the character's box count, in each latent frame where it is then."""
    scene = Scene(Character("box", "red", "red"), "snow", 0, "left", column=8, row=4)
    touched = touched_tokens(scene).reshape(3, 4, 4)
    assert touched[0].nonzero()[1].min() == 2
    assert touched[2].nonzero()[1].min() == 0
    assert not touched[:, 0].any()


def test_tokenise_never_loses_a_word(pipe: Any) -> None:
    """Names nobody has seen are spelt out, not unknown; the empty caption is one token."""
    ids = tokenise(pipe.tokenizer, ["zoko żółw", ""])
    assert pipe.tokenizer.unk_token_id not in ids[0].tolist()
    assert (ids[1] != 0).sum() == 1


def test_orthogonalise_levels_singular_values() -> None:
    """Whatever the spectrum was, the result's singular values lie around one."""
    matrices = torch.randn(3, 24, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.01, 1.0, 50.0])[:, None, None]
    values = torch.linalg.svdvals(orthogonalise(matrices, iterations=5))
    assert values.min() > 0.4
    assert values.max() < 1.4


def test_trainer_resumes_exactly(pipe: Any, pools: dict[int, Pool]) -> None:
    """Two steps, a checkpoint and a third give the same loss as three in a row."""
    recipe = Recipe(steps=10)
    transformer, connectors = copy.deepcopy(pipe.transformer.state_dict()), copy.deepcopy(pipe.connectors.state_dict())
    trainer = Trainer(pipe, pools, recipe)
    for _ in range(2):
        trainer.train_step(0.0)
    saved = copy.deepcopy(trainer.state())
    _, expected = trainer.train_step(0.0)
    pipe.transformer.load_state_dict(transformer)
    pipe.connectors.load_state_dict(connectors)
    resumed = Trainer(pipe, pools, recipe)
    resumed.restore(saved)
    assert resumed.train_step(0.0)[1] == pytest.approx(expected, abs=1e-6)


def test_kinds_of_batches_share_the_steps() -> None:
    """Shares add up to one; clips, stills, long clips and clips with a given first frame all occur."""
    for progress in (0.0, 0.4, 1.0):
        assert sum(kind.share_at(progress) for kind in KINDS) == pytest.approx(1.0)
    assert {kind.num_frames for kind in KINDS} == {1, 9, 17}
    assert any(kind.first_frame_given for kind in KINDS)
