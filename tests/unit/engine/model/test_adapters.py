"""Adapters on a resident base: nothing they do outlives them, and files act as they do in plain diffusers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline

from engine.contracts.lora import LoraKind
from engine.errors import AdapterIncompatibleError, AdapterMissingError, InvalidConfigError
from engine.hashing import file_sha256
from engine.model.adapters import MAX_LOADED, AdapterStack, LoadedUse, TrainableAdapter, save_lora
from engine.model.bases import VIDEO_TARGETS
from engine.model.loader import ResidentBase
from engine.train.seeds import generator_for
from tests.support.contracts import manifest
from tests.support.engine import checksum, predict


def _attach(tiny: ResidentBase, seed: int = 1, rank: int = 2, targets: tuple[str, ...] = VIDEO_TARGETS) -> TrainableAdapter:
    return TrainableAdapter(tiny, rank, targets, generator_for(seed, "adapter"))


def _file(tiny: ResidentBase, path: Path, seed: int, targets: tuple[str, ...] = VIDEO_TARGETS) -> LoadedUse:
    """A LoRA file with a visible effect, and its use at full weight."""
    adapter = _attach(tiny, seed, targets=targets)
    with torch.no_grad():
        for _, up in adapter.modules.values():
            up.normal_(0.0, 0.05, generator=generator_for(seed, "up"))
    save_lora(path, adapter.modules, manifest(), torch.float32)
    adapter.remove()
    return LoadedUse(path, path.stem, 1.0, None, LoraKind.STYLE)


def _weighted(use: LoadedUse, weight: float) -> LoadedUse:
    return LoadedUse(use.path, use.name, weight, use.trigger, use.kind)


def test_new_adapter_changes_nothing(tiny: ResidentBase) -> None:
    """B starts at zero: the model's output with a fresh adapter is the base's, bit for bit."""
    before = predict(tiny)
    adapter = _attach(tiny)
    assert torch.equal(predict(tiny), before)
    assert all(parameter.requires_grad for parameter in adapter.parameters)


def test_adapter_touches_only_the_video_branch(tiny: ResidentBase) -> None:
    """Silent data must not train sound: no module of the audio branch or between the branches carries an adapter."""
    adapter = _attach(tiny)
    assert len(adapter.modules) == 6 * (2 * 4 + 2)
    assert not [name for name in adapter.modules if "audio" in name]


def test_attaching_draws_from_its_generator_only(tiny: ResidentBase) -> None:
    """Equal seeds give equal weights, and the global generator does not move."""
    before = torch.get_rng_state()
    first = _attach(tiny, seed=3)
    weights = [parameter.detach().clone() for parameter in first.parameters]
    first.remove()
    second = _attach(tiny, seed=3)
    assert all(torch.equal(one, other) for one, other in zip(weights, second.parameters, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_removed_adapter_leaves_the_exact_base(tiny: ResidentBase) -> None:
    """Names, values and trainability of every weight are what they were."""
    before = checksum(tiny)
    adapter = _attach(tiny)
    assert checksum(tiny) != before
    adapter.remove()
    assert checksum(tiny) == before


def test_disabled_adapter_is_the_base_for_a_moment(tiny: ResidentBase, tmp_path: Path) -> None:
    """Inside, the base's own prediction; afterwards, the adapter's again, trainable as before."""
    base = predict(tiny)
    adapter = _attach(tiny)
    with torch.no_grad():
        for _, up in adapter.modules.values():
            up.fill_(0.01)
    changed = predict(tiny)
    with adapter.disabled():
        assert torch.equal(predict(tiny), base)
    assert torch.equal(predict(tiny), changed)
    assert all(parameter.requires_grad for parameter in adapter.parameters)


def test_second_training_on_one_base_is_refused(tiny: ResidentBase) -> None:
    """Two trainings would train each other."""
    _attach(tiny)
    with pytest.raises(RuntimeError, match="another training"):
        _attach(tiny)


def test_targets_that_match_nothing_are_refused(tiny: ResidentBase) -> None:
    """A training of nothing is told at once."""
    with pytest.raises(InvalidConfigError, match="match nothing"):
        _attach(tiny, targets=(r"blocks\.\d+\.q",))


def test_stack_acts_as_in_plain_diffusers(tiny: ResidentBase, tmp_path: Path) -> None:
    """The same files with the same weights give the same velocities as `load_lora_weights` and `set_adapters`, bit for bit."""
    one, other = _file(tiny, tmp_path / "one.safetensors", 1), _file(tiny, tmp_path / "other.safetensors", 2)
    with AdapterStack(tiny).applied([_weighted(one, 0.8), _weighted(other, 1.3)]):
        ours = predict(tiny)
    plain = LTX2Pipeline.from_pretrained(tiny.base.source)
    plain.load_lora_weights(str(one.path), adapter_name="one")
    plain.load_lora_weights(str(other.path), adapter_name="other")
    plain.set_adapters(["one", "other"], [0.8, 1.3])
    theirs = ResidentBase(tiny.base, plain, tiny.device, tiny.dtype, "plain")
    assert torch.equal(predict(theirs), ours)


def test_stack_leaves_a_training_as_it_found_it(tiny: ResidentBase, tmp_path: Path) -> None:
    """Active adapter, scales, trainability by name, train and eval modes: all as before, also when a render fails."""
    use = _file(tiny, tmp_path / "use.safetensors", 1)
    adapter = _attach(tiny, seed=9)
    with torch.no_grad():
        for _, up in adapter.modules.values():
            up.fill_(0.01)
    tiny.transformer.transformer_blocks[0].train()
    before = predict(tiny)
    trainable = {id(parameter) for parameter in tiny.transformer.parameters() if parameter.requires_grad}
    with AdapterStack(tiny).applied([_weighted(use, 0.5)]):
        during = predict(tiny)
        assert not any(parameter.requires_grad for parameter in adapter.parameters)
    with pytest.raises(ZeroDivisionError), AdapterStack(tiny).applied([use]):
        raise ZeroDivisionError
    assert not torch.equal(during, before)
    assert torch.equal(predict(tiny), before)
    assert {id(parameter) for parameter in tiny.transformer.parameters() if parameter.requires_grad} == trainable
    assert tiny.transformer.transformer_blocks[0].training
    assert not tiny.transformer.transformer_blocks[1].training
    tiny.transformer.eval()


def test_stack_renders_as_if_no_training_were_there(tiny: ResidentBase, tmp_path: Path) -> None:
    """A file acts the same on an idle base and beside a training adapter on other modules."""
    use = _file(tiny, tmp_path / "use.safetensors", 1, targets=VIDEO_TARGETS[:1])
    with AdapterStack(tiny).applied([use]):
        idle = predict(tiny)
    AdapterStack(tiny).forget()
    adapter = _attach(tiny, seed=9, targets=VIDEO_TARGETS[1:])
    with torch.no_grad():
        for _, up in adapter.modules.values():
            up.fill_(0.01)
    with AdapterStack(tiny).applied([use]):
        assert torch.equal(predict(tiny), idle)


def test_training_removed_with_files_cached_leaves_none_active(tiny: ResidentBase, tmp_path: Path) -> None:
    """A cached file never becomes active because another adapter went away."""
    base = predict(tiny)
    use = _file(tiny, tmp_path / "use.safetensors", 1)
    adapter = _attach(tiny, seed=9)
    with AdapterStack(tiny).applied([use]):
        pass
    adapter.remove()
    assert torch.equal(predict(tiny), base)


def test_empty_stack_is_the_base(tiny: ResidentBase) -> None:
    """Without LoRAs a render shows the base, not the training that happens to be there."""
    base = predict(tiny)
    adapter = _attach(tiny)
    with torch.no_grad():
        for _, up in adapter.modules.values():
            up.fill_(0.01)
    with AdapterStack(tiny).applied([]):
        assert torch.equal(predict(tiny), base)


def test_weight_zero_is_the_base(tiny: ResidentBase, tmp_path: Path) -> None:
    """A LoRA at weight 0 takes no part."""
    base = predict(tiny)
    use = _file(tiny, tmp_path / "use.safetensors", 1)
    with AdapterStack(tiny).applied([_weighted(use, 0.0)]):
        assert torch.equal(predict(tiny), base)


def test_forgotten_files_leave_the_exact_base(tiny: ResidentBase, tmp_path: Path) -> None:
    """After `forget` no trace of a file is on the base."""
    before = checksum(tiny)
    use = _file(tiny, tmp_path / "use.safetensors", 1)
    with AdapterStack(tiny).applied([use]):
        pass
    AdapterStack(tiny).forget()
    assert checksum(tiny) == before


def test_file_is_loaded_once_however_often_it_is_used(tiny: ResidentBase, tmp_path: Path) -> None:
    """The cache is keyed by content: the same bytes under another path are the same adapter."""
    use = _file(tiny, tmp_path / "use.safetensors", 1)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(use.path.read_bytes())
    for path in (use.path, copy, use.path):
        with AdapterStack(tiny).applied([LoadedUse(path, "use", 1.0, None, LoraKind.STYLE)]):
            pass
    assert len(tiny.loaded_adapters) == 1


def test_cache_drops_the_least_recently_used_file(tiny: ResidentBase, tmp_path: Path) -> None:
    """The device never holds more files than the limit, and a file in use is not dropped."""
    uses = [_file(tiny, tmp_path / f"use-{index}.safetensors", index, targets=(VIDEO_TARGETS[1],)) for index in range(MAX_LOADED + 1)]
    for use in uses:
        with AdapterStack(tiny).applied([use]):
            pass
    assert len(tiny.loaded_adapters) == MAX_LOADED
    before = list(tiny.loaded_adapters)
    with AdapterStack(tiny).applied([uses[1]]):
        assert list(tiny.loaded_adapters)[-1] == before[0]


def test_switch_between_loaded_files_walks_no_modules(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a warm switch cheap at any size, beside a training too; the layers are found again once an adapter has gone."""
    uses = [_file(tiny, tmp_path / f"use-{index}.safetensors", index) for index in range(2)]
    training = _attach(tiny, seed=9)
    wanted = []
    for use in uses:
        with AdapterStack(tiny).applied([use]):
            wanted.append(predict(tiny))

    def walked(*_: object, **__: object) -> None:
        raise AssertionError("walked")

    with monkeypatch.context() as patch:
        for walk in ("named_modules", "modules", "parameters", "named_parameters"):
            patch.setattr(tiny.transformer, walk, walked)
        for use in uses:
            with AdapterStack(tiny).applied([use]):
                assert all(
                    layer.active_adapters == [tiny.loaded_adapters[file_sha256(use.path)]] for layer in tiny.lora_layers.found().values()
                )
    training.remove()
    for use, velocity in zip(uses, wanted, strict=True):
        with AdapterStack(tiny).applied([use]):
            assert torch.equal(predict(tiny), velocity)
    tiny.transformer.unload_lora()  # somebody else's doing
    assert not tiny.lora_layers.found()
    tiny.loaded_adapters.clear()


def test_file_of_several_ranks_counts_as_it_stands_in_the_file(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without alphas every module adds weight * B @ A, whatever the rank of the others, as in ComfyUI and ltx-pipelines."""
    names = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn1.to_k", "transformer_blocks.0.attn1.to_v")
    generator = torch.Generator().manual_seed(4)
    modules = {}
    for name, rank in zip(names, (4, 4, 16), strict=True):
        layer = tiny.transformer.get_submodule(name)
        down = torch.randn(rank, layer.in_features, generator=generator) * 0.05
        modules[name] = (down, torch.randn(layer.out_features, rank, generator=generator) * 0.05)
    path = tmp_path / "ranks.safetensors"
    save_lora(path, modules, manifest(rank=16), torch.float32)
    with monkeypatch.context() as patch:
        for name, (down, up) in modules.items():
            weight = tiny.transformer.get_submodule(name).weight
            patch.setattr(weight, "data", weight.data + 0.5 * up @ down)
        merged = predict(tiny)
    with AdapterStack(tiny).applied([LoadedUse(path, "ranks", 0.5, None, LoraKind.STYLE)]):
        assert torch.allclose(predict(tiny), merged, atol=1e-5)


@pytest.mark.parametrize("count", [2, 5])
def test_same_file_twice_or_too_many_files_are_refused(tiny: ResidentBase, tmp_path: Path, count: int) -> None:
    """A stack names each LoRA once and has a limit; the base is untouched."""
    base = predict(tiny)
    use = _file(tiny, tmp_path / "use.safetensors", 1)
    with pytest.raises(InvalidConfigError), AdapterStack(tiny).applied([use] * count):
        raise AssertionError("unreachable")
    assert torch.equal(predict(tiny), base)


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weight_that_is_no_number_is_refused(tiny: ResidentBase, tmp_path: Path, weight: float) -> None:
    """It would be a black video, not a strong one."""
    with (
        pytest.raises(InvalidConfigError, match="weight"),
        AdapterStack(tiny).applied([LoadedUse(tmp_path, "x", weight, None, LoraKind.STYLE)]),
    ):
        raise AssertionError("unreachable")


def test_missing_file_names_the_lora(tiny: ResidentBase, tmp_path: Path) -> None:
    """The person is told which LoRA is gone."""
    use = LoadedUse(tmp_path / "gone.safetensors", "zoko", 1.0, None, LoraKind.STYLE)
    with pytest.raises(AdapterMissingError, match="zoko"), AdapterStack(tiny).applied([use]):
        raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("module", "inputs"),
    [("transformer_blocks.0.attn1.to_q", 191), ("transformer_blocks.40.attn1.to_q", 192), ("transformer_blocks.0.attn1", 192)],
    ids=["other size", "other depth", "not a linear layer"],
)
def test_file_of_another_model_is_refused_and_leaves_the_base(tiny: ResidentBase, tmp_path: Path, module: str, inputs: int) -> None:
    """Every module must exist here with the same sizes; a LoRA that half fits is refused, not half applied."""
    before = checksum(tiny)
    path = tmp_path / "x.safetensors"
    save_lora(path, {module: (torch.ones(2, inputs), torch.ones(192, 2))}, manifest(), torch.float32)
    with pytest.raises(AdapterIncompatibleError), AdapterStack(tiny).applied([LoadedUse(path, "x", 1.0, None, LoraKind.STYLE)]):
        raise AssertionError("unreachable")
    assert checksum(tiny) == before
