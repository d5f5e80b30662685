"""`python -m worker.probe BASE DEVICE`: what the GPU child would find here, as one JSON object; nothing is loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from engine.errors import BaseUnavailableError
from engine.model.bases import get_base
from engine.model.memory import device_memory


def main() -> int:
    """Print the answer."""
    name, wanted = sys.argv[1:3]
    kind = wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    answer: dict[str, object] = {
        "torch": torch.__version__,
        "device": kind,
        "device_problem": None,
        "weights": None,
        "weights_problem": None,
    }
    try:
        device = torch.device(kind)
        torch.zeros(1, device=device)
        answer["memory_bytes"] = device_memory(device).total or None
        answer["device_name"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    except (RuntimeError, AssertionError) as error:  # torch's words for "no such device" and "built without CUDA"
        answer["device_problem"] = str(error).splitlines()[0]
    try:
        source = get_base(name).source
        answer["weights"] = str(source) if isinstance(source, Path) else snapshot_download(source, local_files_only=True)
        if isinstance(source, Path) and not (source / "model_index.json").is_file():
            answer["weights_problem"] = f"{source} has no model_index.json"
    except BaseUnavailableError as error:
        answer["weights_problem"] = str(error)
    except LocalEntryNotFoundError:
        answer["weights_problem"] = f"{get_base(name).source} is not in the Hugging Face cache of this machine"
    print(json.dumps(answer))  # noqa: T201 - the parent reads it
    return 0


if __name__ == "__main__":
    sys.exit(main())
