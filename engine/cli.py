"""The shell: `python -m engine train | generate | evaluate | inspect | bases`.

Progress bars go to stderr, results to stdout, as text or with `--json` as one JSON object. Exit code 0 for a result, 2 and one
sentence for input that cannot be used, 130 after Ctrl-C. Torch is imported by the commands that need it, after their input was checked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from rich.console import Console

from engine.commands import evaluate, inspect, list_all_bases, plan, train
from engine.config import Schedule
from engine.contracts.controls import ControlKind
from engine.contracts.lora import LoraKind
from engine.errors import EngineError, InvalidConfigError, JobCancelledError
from engine.generate_command import add_generate_options, generate
from engine.sample.credentials import DEFAULT_FOLDER
from engine.train.parallel import is_main_process
from engine.verify_command import add_verify_options, verify_file

EXIT_OK, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Beside a main process that ends in the same way, nothing is said and no failure told."""
    # the libraries' own bars would run through ours
    os.environ.setdefault("TQDM_DISABLE", "1")
    options: argparse.Namespace | None = None
    try:
        options = build_parser().parse_args(arguments)
        result = options.run(options, Console(stderr=True, quiet=options.json or not is_main_process()))
    except JobCancelledError as error:
        return _complain(options, "cancelled", str(error), EXIT_INTERRUPTED)
    except EngineError as error:
        return _complain(options, error.code.value, str(error), EXIT_BAD_INPUT)
    except ValidationError as error:
        return _complain(options, InvalidConfigError.code.value, sentence_of(error), EXIT_BAD_INPUT)
    except OSError as error:
        sentence = f"{error.strerror or error}: {error.filename or 'file'}."
        return _complain(options, InvalidConfigError.code.value, sentence, EXIT_BAD_INPUT)
    _show(options, result)
    return EXIT_OK


def sentence_of(error: ValidationError) -> str:
    """The first thing wrong with settings, as one sentence."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'settings'}: {first['msg'].lower()}, not {str(first['input'])[:60]!r}."


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(prog="python -m engine", description="Train and stack LoRAs of LTX-2.3 from a shell.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_train(commands)
    _add_generate(commands)
    _add_evaluate(commands)
    _add_inspect(commands)
    _add_verify(commands)
    _add_plan(commands)
    command = _command(commands, "bases", "list the base models")
    command.set_defaults(run=list_all_bases)
    return parser


class _Parser(argparse.ArgumentParser):
    """Complains in one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise InvalidConfigError(f"{message[:1].upper()}{message[1:]}; {self.prog} --help lists the options.")


def _command(commands: Any, name: str, help_text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    command.add_argument("--json", action="store_true", help="print one JSON object, draw no bars")
    return command


def _add_train(commands: Any) -> None:
    command = _command(commands, "train", "train a LoRA from pictures and clips")
    command.set_defaults(run=train)
    command.epilog = "On several GPUs: see engine/train/accelerate."
    command.add_argument("--base", default="tiny", help="base model (default: tiny)")
    command.add_argument(
        "--data", nargs="+", type=Path, required=True, help="a folder, a zip, or files; captions in .txt files beside them"
    )
    command.add_argument("--kind", choices=[kind.value for kind in LoraKind], default=LoraKind.CHARACTER.value)
    command.add_argument("--trigger", help="the word that will call what is learned")
    command.add_argument("--name", help="name in the file's manifest (default: from --out)")
    command.add_argument("--out", type=Path, required=True, help="the LoRA file to write, .safetensors")
    command.add_argument("--run-folder", type=Path, help="metrics, pictures, checkpoints (default: --out with .run)")
    command.add_argument("--resume", action="store_true", help="go on from the run folder's checkpoint")
    command.add_argument("--credentials", type=Path, default=DEFAULT_FOLDER, help="folder of the certificate and key that sign the preview")
    for name, kind, text in (
        ("--steps", int, "optimizer steps"),
        ("--rank", int, "rank of the LoRA"),
        ("--learning-rate", float, "peak learning rate"),
        ("--batch-size", int, "items per step"),
        ("--width", int, "pixels"),
        ("--height", int, "pixels"),
    ):
        command.add_argument(name, type=kind, help=f"{text} (default: the base's for this kind)")
    command.add_argument("--control", choices=[kind.value for kind in ControlKind], help="what guides an effect (default: the base's)")
    command.add_argument("--control-downscale", type=int, metavar="FACTOR", help="how many times smaller the guide is than the clip")
    for name, kind, text in (
        ("--max-frames", int, "longest window of a clip"),
        ("--caption-dropout", float, "share of samples shown without a caption"),
        ("--first-frame-probability", float, "share of clips whose first frame is given"),
        ("--preservation-share", float, "share of steps that keep the base as it is without the trigger"),
        ("--warmup-steps", int, "steps until the peak learning rate"),
        ("--weight-decay", float, "of the optimizer"),
    ):
        command.add_argument(name, type=kind, help=f"{text} (default: the preset of the kind)")
    command.add_argument(
        "--mirror", action=argparse.BooleanOptionalAction, help="also teach every item mirrored (default: the preset of the kind)"
    )
    for name, text in (
        ("--evaluate-every", "steps from one look at the checkpoint to the next; 0: keep the last step without a look"),
        ("--held-out", "items kept from training to judge it by"),
    ):
        command.add_argument(name, type=int, help=f"{text} (default: by the length of the training and the size of the set)")
    command.add_argument("--schedule", choices=[schedule.value for schedule in Schedule], help="shape of the learning rate")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    command.add_argument("--preview-every", type=int, default=0, metavar="STEPS")
    command.add_argument("--preview-prompt", help="what previews show; the trigger is added")
    command.add_argument("--device", default="auto")


def _add_generate(commands: Any) -> None:
    command = _command(commands, "generate", "render a clip or a film with a stack of LoRAs")
    command.set_defaults(run=generate)
    add_generate_options(command)


def _add_evaluate(commands: Any) -> None:
    command = _command(commands, "evaluate", "measure what LoRAs do, beside the bare base")
    command.set_defaults(run=evaluate)
    command.add_argument("--base", default="tiny", help="base model (default: tiny)")
    command.add_argument("--lora", action="append", default=[], metavar="FILE[:WEIGHT]", help="repeat for a stack")
    command.add_argument("--out", type=Path, required=True, help="folder for the report")
    command.add_argument("--device", default="auto")


def _add_plan(commands: Any) -> None:
    command = _command(commands, "plan", "how a training would fit into a device's memory, and what it would compute")
    command.set_defaults(run=plan)
    command.add_argument("--base", default="ltx-2.3", help="base model (default: ltx-2.3)")
    command.add_argument("--kind", choices=[kind.value for kind in LoraKind], default=LoraKind.CHARACTER.value)
    for name in ("--steps", "--rank", "--batch-size", "--width", "--height", "--max-frames"):
        command.add_argument(name, type=int, help="default: the base's for this kind")
    command.add_argument("--free-gib", type=float, help="free memory (default: measured on --device)")
    command.add_argument("--tflops", type=float, help="TFLOP/s the device sustains, for an estimate in minutes")
    command.add_argument("--device", default="auto")


def _add_inspect(commands: Any) -> None:
    command = _command(commands, "inspect", "say what a LoRA file is")
    command.set_defaults(run=inspect)
    command.add_argument("file", type=Path)


def _add_verify(commands: Any) -> None:
    command = _command(commands, "verify", "say who signed a picture or clip, whether it changed since, and what made it")
    command.set_defaults(run=verify_file)
    add_verify_options(command)


def _complain(options: argparse.Namespace | None, code: str, sentence: str, exit_code: int) -> int:
    if not is_main_process():
        return EXIT_OK  # a launcher ends all at the first failure: the main process has yet to speak
    if options is not None and options.json:
        print(json.dumps({"error": {"code": code, "detail": sentence}}))
    else:
        print(sentence, file=sys.stderr)
    return exit_code


def _show(options: argparse.Namespace, result: dict[str, Any]) -> None:
    if not is_main_process():
        return
    if options.json:
        print(json.dumps(result))
        return
    width = max(len(key) for key in result)
    for key, value in result.items():
        shown = "\n".join(_line(entry) for entry in value) if isinstance(value, list) else _line(value)
        print(f"{key.replace('_', ' '):{width}}  {shown}" if "\n" not in shown else f"{key.replace('_', ' ')}\n{shown}")


def _line(value: object) -> str:
    if isinstance(value, dict):
        return "  " + ", ".join(f"{key} {entry}" for key, entry in value.items())
    return str(value)
