"""The shipped weights: a plain diffusers pipeline, small, silent, of the 2.3 flags."""

import json
from typing import Any

import pytest
import torch
from diffusers import LTX2Pipeline

from engine.tiny.architecture import WEIGHTS_DIR, generation_defaults
from engine.tiny.pool import tokenise
from engine.tiny.trainer import denoise


@pytest.fixture(scope="module")
def pipe() -> Any:
    loaded = LTX2Pipeline.from_pretrained(WEIGHTS_DIR, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_weights_are_safetensors_of_at_most_24_megabytes() -> None:
    """No pickles, a model card, and a size that fits a repository."""
    files = [file for file in WEIGHTS_DIR.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    assert sum(file.stat().st_size for file in files) <= 24_000_000
    assert (WEIGHTS_DIR / "model_card.md").is_file()


def test_transformer_has_the_flags_of_2_3() -> None:
    """The same switches as the 22B checkpoint, so the same code paths run."""
    config = json.loads((WEIGHTS_DIR / "transformer" / "config.json").read_text())
    wanted = {"gated_attn": True, "cross_attn_mod": True, "use_prompt_embeddings": False, "perturbed_attn": True, "rope_type": "split"}
    assert {key: config[key] for key in wanted} == wanted


def test_pipeline_renders_frames_without_sound(pipe: Any) -> None:
    """Nine frames of 32x32 px and exact digital silence."""
    output = pipe(
        "a red ball walking left in a forest", **generation_defaults(), output_type="np", generator=torch.Generator().manual_seed(0)
    )
    assert output.frames.shape == (1, 9, 32, 32, 3)
    assert output.audio.abs().max() == 0.0


def test_audio_never_reaches_the_video(pipe: Any) -> None:
    """The prediction with the audio branch beside it equals the isolated one, which training uses."""
    noisy = torch.randn(1, 48, 64, generator=torch.Generator().manual_seed(1))
    ids = tokenise(pipe.tokenizer, ["a blue box"]).long()
    level = torch.tensor([500.0])
    with torch.no_grad():
        isolated = denoise(pipe, noisy, ids, level, level, 9)
        mask = (ids != 0).long()
        states = pipe.text_encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        text, audio_text, _ = pipe.connectors(torch.stack(states, dim=-1).flatten(2, 3), mask, padding_side="left")
        together = pipe.transformer(
            hidden_states=noisy,
            audio_hidden_states=torch.randn(1, 28, 8),
            encoder_hidden_states=text,
            audio_encoder_hidden_states=audio_text,
            timestep=level,
            sigma=level,
            num_frames=3,
            height=4,
            width=4,
            fps=8.0,
            audio_num_frames=28,
            use_cross_timestep=True,
            return_dict=False,
        )[0]
    assert torch.allclose(isolated, together, atol=1e-5)
