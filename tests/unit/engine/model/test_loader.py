"""The resident base speaks as the pipeline does: same tokens, same positions, same text, same latents."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from engine.config import SampleConfig
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.errors import BaseUnavailableError, InvalidConfigError
from engine.lora_keys import layer_sizes
from engine.model.bases import get_base, list_bases
from engine.model.loader import ResidentBase, load_base, pack_latents, unpack_latents
from engine.sample.schedule import plan
from engine.tiny.architecture import generation_defaults
from tests.support.engine import predict, train_config


def test_packed_order_is_the_pipelines(tiny: ResidentBase) -> None:
    """Tokens come by frame, row, column, as `LTX2Pipeline` packs them, and unpacking is the inverse."""
    latents = torch.randn(2, 64, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    packed = pack_latents(latents)
    assert torch.equal(packed, tiny.pipeline._pack_latents(latents))
    assert torch.equal(unpack_latents(packed, 3, 4, 5), latents)


def test_coordinates_are_the_pipelines(tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training places every token where sampling places it, in seconds and pixels."""
    seen: list[torch.Tensor] = []
    forward = tiny.transformer.forward

    def spy(*args: object, **kwargs: object) -> object:
        coords = kwargs["video_coords"]
        assert isinstance(coords, torch.Tensor)
        seen.append(coords)
        return forward(*args, **kwargs)

    monkeypatch.setattr(tiny.transformer, "forward", spy)
    arguments = {**generation_defaults(), "num_inference_steps": 2, "guidance_scale": 1.0}
    tiny.pipeline("a red ball", generator=torch.Generator().manual_seed(0), output_type="latent", **arguments)
    assert torch.equal(seen[0], tiny.video_coords(3, 4, 4, fps=8.0))


def test_text_features_are_the_pipelines(tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions are read in training exactly as prompts are in sampling."""
    seen: list[torch.Tensor] = []
    forward = tiny.transformer.forward

    def spy(*args: object, **kwargs: object) -> object:
        hidden = kwargs["encoder_hidden_states"]
        assert isinstance(hidden, torch.Tensor)
        seen.append(hidden)
        return forward(*args, **kwargs)

    monkeypatch.setattr(tiny.transformer, "forward", spy)
    arguments = {**generation_defaults(), "num_inference_steps": 2, "guidance_scale": 1.0}
    tiny.pipeline("zoko on a beach", generator=torch.Generator().manual_seed(0), output_type="latent", **arguments)
    assert torch.equal(seen[0], tiny.encode_text(["zoko on a beach"]).video)


def test_latents_are_the_normalised_mode(tiny: ResidentBase) -> None:
    """Encoding draws nothing and inverts the pipeline's denormalisation."""
    pixels = torch.rand(1, 3, 9, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = tiny.encode_video(pixels)
    vae = tiny.pipeline.vae
    mode = vae.encode(pixels).latent_dist.mode()
    back = tiny.pipeline._denormalize_latents(latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
    assert latents.shape == (1, 64, 3, 4, 4)
    assert torch.allclose(back, mode, atol=1e-5)
    assert torch.equal(tiny.encode_video(pixels), latents)


def test_isolated_training_call_predicts_what_sampling_predicts(tiny: ResidentBase) -> None:
    """On a silent base the video prediction does not depend on whether the audio branch runs beside it.

    Training runs with the modalities isolated; this measurement is why it may.
    """
    tokens = torch.randn(2, 48, 64, generator=torch.Generator().manual_seed(11))
    sigma, text = torch.tensor([0.4, 0.9]), tiny.encode_text(["a red ball on a beach"] * 2)
    audio = torch.randn(2, 28, tiny.transformer.config.audio_in_channels, generator=torch.Generator().manual_seed(12))
    with torch.no_grad():
        joint = tiny.transformer(
            hidden_states=tokens,
            audio_hidden_states=audio,
            encoder_hidden_states=text.video,
            audio_encoder_hidden_states=text.audio,
            timestep=sigma * 1000,
            sigma=sigma * 1000,
            encoder_attention_mask=text.mask,
            audio_encoder_attention_mask=text.mask,
            num_frames=3,
            height=4,
            width=4,
            fps=8.0,
            audio_num_frames=28,
            use_cross_timestep=True,
        ).sample
    assert torch.equal(predict(tiny), joint)


def test_nothing_of_a_loaded_base_is_trainable(tiny: ResidentBase) -> None:
    """A base is frozen and in eval mode; only adapters learn."""
    modules = [part for part in tiny.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert len(modules) == 6
    assert not [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    assert not [module for module in modules if module.training]


def test_fingerprint_follows_the_weights(tiny: ResidentBase, tmp_path: Path) -> None:
    """One changed weight makes another base to every cache; a copy elsewhere is the same base."""
    source = tiny.base.source
    assert isinstance(source, Path)
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    assert load_base(tiny.base, "cpu", source=copy).fingerprint == tiny.fingerprint
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_base(tiny.base, "cpu", source=copy).fingerprint != tiny.fingerprint


def test_weights_that_are_not_here_are_told(tmp_path: Path) -> None:
    """A missing folder is a sentence, not a stack trace."""
    with pytest.raises(BaseUnavailableError, match="tiny"):
        load_base(get_base("tiny"), "cpu", source=tmp_path / "nowhere")


def test_broken_weights_are_told(tiny: ResidentBase, tmp_path: Path) -> None:
    """A folder that is no complete pipeline is a sentence, too."""
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BaseUnavailableError, match="cannot be loaded"):
        load_base(tiny.base, "cpu", source=tmp_path)


def test_unknown_base_names_the_nearest() -> None:
    """A typing mistake is answered with what was meant."""
    with pytest.raises(BaseUnavailableError, match=r"tiny"):
        get_base("tinny")
    with pytest.raises(BaseUnavailableError, match=r"ltx-2\.3"):
        get_base("ltx2.3")


def test_every_base_fills_every_open_value() -> None:
    """A completed config leaves nothing to guess, and never overrides what was asked for."""
    for base in list_bases():
        if base.profile.trained_on is not None:
            with pytest.raises(InvalidConfigError, match=base.profile.trained_on):
                base.completed(train_config())
            continue
        for kind in base.profile.training:
            completed = base.completed(train_config(kind=kind, caption_dropout=0.25))
            assert completed.caption_dropout == 0.25
            assert (completed.control is not None) == (kind is LoraKind.EFFECT)
            decided_by_the_data = {"held_out", "evaluate_every"}
            assert None not in completed.model_dump(exclude={"trigger", "control", *decided_by_the_data}).values()


def test_tiny_tells_anybody_the_arguments_the_product_samples_with(tiny: ResidentBase) -> None:
    """Whoever follows the model card with plain diffusers gets the clips of `/generate`."""
    rule = tiny.base.profile.geometry
    width, height = rule.aspects["1:1"]
    size = Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps)
    assert generation_defaults() == plan(tiny.base, SampleConfig(prompt="a red ball", geometry=size), []).arguments


def test_profile_tells_the_transformers_true_sizes(tiny: ResidentBase) -> None:
    """Whether a stranger's LoRA fits is decided from the profile, without the weights: every layer's size must be right."""
    shape = tiny.base.profile.transformer
    for name, layer in tiny.transformer.named_modules():
        if name.startswith("transformer_blocks.") and isinstance(layer, torch.nn.Linear):
            assert layer_sizes(name, shape) == (layer.in_features, layer.out_features), name
    assert layer_sizes(f"transformer_blocks.{shape.blocks}.attn1.to_q", shape) is None


def test_decoding_falls_back_to_tiles_when_memory_runs_out(tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip is made all the same, much like in one piece; what is as large starts in tiles, what is smaller does not."""
    generator = torch.Generator().manual_seed(0)
    large, small = (tiny.denormalised(torch.randn(1, 64, 3, side, side, generator=generator)) for side in (8, 4))
    whole, whole_small = tiny.decode_pixels(large), tiny.decode_pixels(small)
    decode, tiled = tiny.pipeline.vae.decode, []

    def short_of_memory(latents: torch.Tensor, *rest: object, **options: object) -> object:
        tiled.append(tiny.pipeline.vae.use_tiling)
        if latents.shape[-1] == 8 and not tiny.pipeline.vae.use_tiling:
            raise torch.OutOfMemoryError
        return decode(latents, *rest, **options)

    monkeypatch.setattr(tiny.pipeline.vae, "decode", short_of_memory)
    for _ in range(2):
        assert tiny.decode_pixels(large).shape == whole.shape
    assert torch.equal(tiny.decode_pixels(small), whole_small)
    assert tiled == [False, True, True, False]
    assert not tiny.pipeline.vae.use_tiling
    tiny.extras.pop("tile-from")
