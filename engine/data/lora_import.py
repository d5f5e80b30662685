"""`python -m engine.data.lora_import FILE`: a LoRA of another tool, checked to the last weight and written the way we keep LoRAs.

Keys become `diffusion_model.*.lora_A/B.weight`, scales (`.alpha`, PEFT's `lora_alpha`) are folded into B, a manifest goes into the
metadata. Runs in a process of its own with hard limits, without torch: the bot starts it for files of strangers.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from engine.contracts.bases import BASES
from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.lora_facts import LoraImport, LoraProblem
from engine.data.isolation import limit_process
from engine.errors import AdapterIncompatibleError, AdapterInvalidError, DeadAdapterError, EngineError
from engine.hashing import file_sha256
from engine.lora_file import PREFIX, Content, LoraHeader, TensorEntry, read_header, write_lora

CPU_S: Final = 120
MEMORY_BYTES: Final = 2 * 1024**3
FILE_BYTES: Final = 4 * 1024**3 + 64 * 1024**2

_Floats = NDArray[np.float32]


def import_lora(
    path: Path, out: Path, *, base: str, name: str, kind: LoraKind, trigger: str | None, shown_name: str | None = None
) -> LoraImport:
    """Check the LoRA at `path` for `base` and write it to `out`, which appears only when it is complete.

    Raises:
        AdapterMissingError, AdapterInvalidError: It is no LoRA we can use.
        AdapterIncompatibleError: It was made for another base.
        DeadAdapterError: All its weight changes are zero.
        pydantic.ValidationError: Name or trigger are not allowed.
    """
    shown = shown_name or path.name
    header = read_header(path, shown)
    header.require_base(base)
    misfit = header.misfit(BASES[base])
    if misfit is not None:
        raise AdapterIncompatibleError(f"{shown} was trained for another model: {base} has no {misfit[:100]} of that size.")
    manifest = _manifest(header, file_sha256(path), base=base, name=name, kind=kind, trigger=trigger)
    with path.open("rb") as source:
        judge = _Judge(header, source, shown)
        write_lora(out, judge.contents(), {**_other_metadata(header), **manifest.to_metadata()})
    if not judge.changes:
        out.unlink()
        raise DeadAdapterError(f"{shown} changes nothing: all its weights are zero.")
    return LoraImport(facts=read_header(out, shown).facts().model_copy(update={"dialect": header.dialect}), manifest=manifest)


class _Judge:
    """Reads pairs one by one, checks every weight, and gives them in our form."""

    def __init__(self, header: LoraHeader, source: BinaryIO, shown: str) -> None:
        self._source, self._shown, self._common = source, shown, header.common_scale
        self._pairs: dict[str, dict[str, TensorEntry]] = {}
        for key, (module, part) in header.keys.items():
            self._pairs.setdefault(module, {})[part] = header.entries[key]
        self.changes = False
        """True once a pair was seen that changes the model."""

    def contents(self) -> dict[str, Content]:
        """What to write, in order."""
        found = {}
        for module, pair in sorted(self._pairs.items()):
            down, up = pair["lora_A"], pair["lora_B"]
            found[f"{PREFIX}{module}.lora_A.weight"] = Content(down.dtype, down.shape, partial(_checked, self._source, down, self._shown))
            found[f"{PREFIX}{module}.lora_B.weight"] = Content(up.dtype, up.shape, partial(self._scaled, pair))
        return found

    def _scaled(self, pair: Mapping[str, TensorEntry]) -> bytes:
        """B with its scale folded in; unchanged to the bit when the scale is 1."""
        alpha, entry = pair.get("alpha"), pair["lora_B"]
        scale = self._common
        if alpha is not None:
            scale = float(_read(self._source, alpha, self._shown).flat[0]) / pair["lora_A"].shape[0]
        values = _read(self._source, entry, self._shown)
        self.changes |= scale != 0.0 and bool(values.any()) and bool(_read(self._source, pair["lora_A"], self._shown).any())
        return _copied(self._source, entry) if scale == 1.0 else _packed(values * np.float32(scale), entry.dtype, self._shown)


def _checked(source: BinaryIO, entry: TensorEntry, shown: str) -> bytes:
    _read(source, entry, shown)
    return _copied(source, entry)


def _read(source: BinaryIO, entry: TensorEntry, shown: str) -> _Floats:
    """The tensor's values as fp32.

    Raises:
        AdapterInvalidError: Some are no numbers.
    """
    raw = _copied(source, entry)
    if entry.dtype == "BF16":  # the upper half of an fp32
        values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(raw, "<f4" if entry.dtype == "F32" else "<f2").astype(np.float32)
    return _finite(values, shown)


def _copied(source: BinaryIO, entry: TensorEntry) -> bytes:
    source.seek(entry.start)
    return source.read(entry.end - entry.start)


def _packed(values: _Floats, dtype: str, shown: str) -> bytes:
    """The bytes of `values` in the type they came in, rounded to nearest."""
    if dtype == "F32":
        return _finite(values, shown).astype("<f4").tobytes()
    if dtype == "F16":
        with np.errstate(over="ignore"):  # told just below
            halves = values.astype("<f2")
        _finite(halves.astype(np.float32), shown)
        return halves.tobytes()
    bits = _finite(values, shown).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to nearest, ties to even
    _finite((rounded << 16).view(np.float32), shown)
    return rounded.astype("<u2").tobytes()


def _finite(values: _Floats, shown: str) -> _Floats:
    if not np.isfinite(values).all():
        raise AdapterInvalidError(f"{shown} holds weights that are not numbers (NaN or infinite).", LoraProblem.NOT_FINITE)
    return values


def _other_metadata(header: LoraHeader) -> dict[str, str]:
    """What other tools will look for: the factors of an IC-LoRA."""
    return {key: value[:64] for key, value in header.metadata.items() if key.startswith("reference_")}


def _manifest(header: LoraHeader, sha256: str, *, base: str, name: str, kind: LoraKind, trigger: str | None) -> LoraManifest:
    """Ours when the file has one, with the new name; else what can be known: steps, items and rate of another tool are 0."""
    changes: dict[str, Any] = {"name": name, "kind": kind, "trigger": trigger}
    if header.manifest is not None:
        return LoraManifest(**{**header.manifest.model_dump(), **changes})
    return LoraManifest(
        **changes,
        base=base,
        base_revision=BASES[base].revision,
        rank=header.rank,
        targets=tuple(sorted({re.sub(r"\\\.\d+\\\.", r"\\.\\d+\\.", re.escape(module), count=1) for module in header.modules})),
        steps=0,
        learning_rate=0.0,
        width=0,
        height=0,
        items=0,
        data_sha256=sha256,
        seed=0,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tool=header.dialect.value,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: prints a `LoraImport` as JSON; 0 when the file was judged (whatever came out), 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.data.lora_import", description="Check a LoRA and write it the way we keep LoRAs."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", choices=list(BASES), required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--kind", choices=[kind.value for kind in LoraKind], required=True)
    parser.add_argument("--trigger")
    parser.add_argument("--filename", help="what messages call the file (default: its name)")
    options = parser.parse_args(arguments)
    limit_process(cpu_s=CPU_S, memory_bytes=MEMORY_BYTES, file_bytes=FILE_BYTES)
    try:
        answer = import_lora(
            options.file,
            options.out,
            base=options.base,
            name=options.name,
            kind=LoraKind(options.kind),
            trigger=options.trigger,
            shown_name=options.filename,
        )
    except AdapterInvalidError as error:
        answer = LoraImport(problem=error.problem, detail=str(error))
    except DeadAdapterError as error:
        answer = LoraImport(problem=LoraProblem.DEAD, detail=str(error))
    except AdapterIncompatibleError as error:
        answer = LoraImport(problem=LoraProblem.OTHER_MODEL, detail=str(error))
    except (EngineError, ValidationError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(answer.model_dump_json() + "\n")
    return 0


def _run() -> NoReturn:
    raise SystemExit(main())


if __name__ == "__main__":
    _run()
