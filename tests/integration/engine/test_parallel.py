"""Several processes that train one LoRA: the curve and the file of one, one run folder, and nobody left waiting."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import safetensors.torch
import torch

from tests.support.engine import write_pictures
from tests.support.workers import eventually

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "engine" / "train" / "accelerate"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
STEPS = 4
DEADLINE_S = 600

pytestmark = pytest.mark.timeout(1500)


def _command(out: Path, config: str | None = None, *more: str) -> list[str]:
    """`python -m engine train` alone, or launched twice with one of the shipped files."""
    settings = ["--batch-size", "4", "--rank", "4", "--steps", str(STEPS), "--evaluate-every", str(STEPS), "--held-out", "1", *more]
    data = out.parent / "data"
    train = ["-m", "engine", "train", "--data", str(data), "--trigger", "zoko", "--out", str(out), "--device", "cpu", "--json", *settings]
    if config is None:
        return [sys.executable, *train]
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / config), "--num_processes", "2"]
    return [sys.executable, *launch, "--main_process_port", "0", *train]


def _result(command: list[str]) -> dict[str, Any]:
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.terminate()  # a launcher takes its processes with it, unless it is killed
    assert process.returncode == 0, said + errors
    result: dict[str, Any] = json.loads(said)  # one process speaks
    return result


def _curve(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out.with_suffix(".run") / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [row.get("loss", row.get("preservation_loss")) for row in rows]


def _assert_same_training(one: Path, other: Path) -> None:
    assert _curve(one) == pytest.approx(_curve(other), rel=1e-4)
    ours, theirs = safetensors.torch.load_file(one), safetensors.torch.load_file(other)
    assert ours.keys() == theirs.keys()
    for part in ("lora_A", "lora_B"):  # as a whole: AdamW makes a full step of a gradient that is all but zero, whatever its sign
        mine, yours = (torch.cat([file[name].flatten() for name in sorted(ours) if part in name]) for file in (ours, theirs))
        assert float((mine - yours).norm() / mine.norm()) < 1e-3


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LoRA of one process with the whole batch."""
    out = tmp_path_factory.mktemp("alone") / "zoko.safetensors"
    write_pictures(out.parent / "data", 10)
    _result(_command(out))
    return out


@pytest.mark.parametrize("config", ["data_parallel.yaml", "sharded.yaml"])
def test_two_processes_train_what_one_does_with_the_whole_batch(alone: Path, tmp_path: Path, config: str) -> None:
    """Same loss curve and same file within float tolerance, and one run folder that looks like any other."""
    out = tmp_path / "zoko.safetensors"
    write_pictures(tmp_path / "data", 10)
    told = _result(_command(out, config))
    _assert_same_training(alone, out)
    assert told["chosen_from"] == [STEPS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "zoko.run", "zoko.safetensors"]
    folders = [out.with_suffix(".run"), alone.with_suffix(".run")]
    assert len({frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*")) for folder in folders}) == 1


def test_stop_in_one_process_stops_all_and_one_alone_goes_on(alone: Path, tmp_path: Path) -> None:
    """Ctrl-C that reaches a single process ends all at the same step, with one checkpoint; any number of processes resumes from it."""
    out = tmp_path / "zoko.safetensors"
    write_pictures(tmp_path / "data", 10)
    launcher = subprocess.Popen(_command(out, "data_parallel.yaml"), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        metrics = out.with_suffix(".run") / "metrics.jsonl"
        asyncio.run(eventually(lambda: launcher.poll() is not None or (metrics.is_file() and metrics.read_text()), DEADLINE_S))
        second = next(child for child in psutil.Process(launcher.pid).children() if child.environ().get("RANK") == "1")
        second.send_signal(signal.SIGINT)
        answer, _ = launcher.communicate(timeout=DEADLINE_S)
    finally:
        launcher.terminate()
    assert json.loads(answer)["error"]["code"] == "cancelled"
    assert not out.exists()
    _result(_command(out, None, "--resume"))
    _assert_same_training(alone, out)


def test_what_the_data_lack_is_said_once(tmp_path: Path) -> None:
    """The main process checks the data; the other leaves with it and says nothing."""
    write_pictures(tmp_path / "data", 2)
    command = _command(tmp_path / "zoko.safetensors", "data_parallel.yaml")
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode != 0
    assert json.loads(done.stdout)["error"]["code"] == "dataset_too_small"


def test_processes_hear_of_each_other(tmp_path: Path) -> None:
    """Answers, failures and gradients are the same in both; each keeps half of the frozen weights when they are sharded."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--standalone",
        "-m",
        "tests.support.two_processes",
    ]
    subprocess.run([*command, str(tmp_path)], cwd=ROOT, env=ENVIRONMENT, check=True, timeout=DEADLINE_S)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["share"], second["share"]) == ([0, 3], [3, 6])
    assert first["gradient"] == second["gradient"]
    for seen in (first, second):
        assert (seen["size"], seen["told"], seen["mean"], seen["cancelled"]) == (2, 0, 0.5, [False, True, False])
        assert (seen["refused"], seen["memory"]) == ("four pictures at least", "OutOfMemoryError")
        assert seen["frozen_values"] == 2 * (8 * 8 + 8) // 2
    assert (first["crash"], second["crash"]) == ("EngineError", "ValueError")


def test_batch_that_cannot_be_shared_is_refused() -> None:
    """The sentence says which batch would do."""
    from engine.errors import InvalidConfigError
    from engine.train.parallel import ALONE, World

    three = World()
    three.size = 3
    assert ALONE.share(4) == slice(0, 4)
    with pytest.raises(InvalidConfigError, match="multiple of 3"):
        three.share(4)
