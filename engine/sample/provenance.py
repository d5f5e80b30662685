"""Says in every file what made it, and proves it: parameters in the container's metadata, a C2PA manifest over all of it, signed last.

`python -m engine.sample.provenance verify FILE --credentials FOLDER` examines a stranger's file within hard limits;
`… fit IN OUT --max-bytes N --credentials FOLDER` makes a smaller copy that is signed again. The bot runs both in processes of their own.

A manifest covers picture, sound, index and metadata. By the C2PA specification the `ftyp` box and padding inside the manifest itself are
not covered, so a file can differ from the posted one there alone; whoever needs "byte for byte" compares the hash. Torch-free.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import io
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import av
import c2pa

from engine.config import SampleConfig
from engine.contracts.bases import BaseProfile
from engine.contracts.provenance import (
    TOOL,
    VERSION,
    AdapterTrace,
    ClipParameters,
    Finding,
    InputTrace,
    OriginReport,
    SceneTrace,
)
from engine.contracts.results import SceneRendered
from engine.data.isolation import limit_process
from engine.data.media import CLIPS, HEAD_BYTES, PICTURES, sniff
from engine.errors import EngineError, ResultTooLargeError
from engine.hashing import file_sha256
from engine.sample.credentials import Credentials, Known, known_signers, load_credentials
from engine.sample.video import RenderedClip, WrittenVideo, fit, write_mp4

TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PARAMETERS_LABEL = "org.callsheet.parameters"
METADATA_KEY = "description"
"""Of the MP4: FFmpeg stores it as `desc`, which players show and keep."""

_MANIFEST_BYTES = 6 * 1024  # claim, hashes, signature and C2PA's padding (measured: 3.5 KiB with two certificates); the rest comes on top
_MARK = b"jumdc2pa"  # how a C2PA manifest begins, in every container
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}  # a stranger's file must not make us ask strange addresses
_SIGNING = {"builder": {"thumbnail": {"enabled": False}}}  # a thumbnail made a signed poster ten times as large
_CPU_S, _MEMORY_BYTES, _FILE_BYTES = 120, 3 * 1024**3, 2 * 1024**3


def write_signed(
    clip: RenderedClip, path: Path, parameters: ClipParameters, credentials: Credentials, *, max_bytes: int, min_side: int
) -> WrittenVideo:
    """`write_mp4` with `parameters` in the metadata and a signed manifest, all of it within `max_bytes`.

    Raises:
        ResultTooLargeError, InvalidMediaError: as `write_mp4`.
    """
    budget = max_bytes - _reserve(parameters, credentials)
    if budget <= 0:
        raise ResultTooLargeError(f"A signed clip does not fit into {max_bytes} bytes: allow more.")
    written = write_mp4(clip, path, max_bytes=budget, min_side=min_side, metadata=embedded(parameters))
    sign(path, parameters, credentials)
    return replace(written, size=path.stat().st_size)


def refit(source: Path, target: Path, credentials: Credentials, *, max_bytes: int) -> WrittenVideo:
    """A smaller copy of a clip of ours with the same parameters and a manifest of its own; one that fits already is copied as it is.

    Raises:
        ResultTooLargeError, InvalidMediaError: as `fit`.
    """
    if source.stat().st_size <= max_bytes:
        return fit(source, target, max_bytes=max_bytes)
    parameters = read_parameters(source)
    if parameters is None:
        return fit(source, target, max_bytes=max_bytes)
    written = fit(source, target, max_bytes=max_bytes - _reserve(parameters, credentials), metadata=embedded(parameters))
    sign(target, parameters, credentials)
    return replace(written, size=target.stat().st_size)


def parameters_of(
    config: SampleConfig, profile: BaseProfile, adapters: Sequence[AdapterTrace], *, seed: int, scenes: Sequence[SceneRendered] = ()
) -> ClipParameters:
    """What makes the clip of `config` on this base again, made now; inputs are named by their content, so their files must be there."""
    inputs = _inputs(config)
    return ClipParameters(
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        mode=config.mode.value,
        base=profile.name,
        base_revision=profile.revision,
        prompt=config.prompt,
        negative_prompt=config.negative_prompt,
        seed=seed,
        quality=config.quality,
        steps=config.num_inference_steps or profile.steps(config.quality),
        guidance_scale=config.guidance_scale,
        vary=config.vary,
        adapters=tuple(adapters),
        inputs=inputs,
        fit=config.fit if inputs else None,
        scenes=tuple(SceneTrace(prompt=scene.prompt, seed=scene.seed) for scene in scenes),
        geometry=config.geometry,
    )


def _inputs(config: SampleConfig) -> tuple[InputTrace, ...]:
    found = []
    if config.image is not None:
        found.append(InputTrace(role="image", sha256=file_sha256(config.image)))
    if config.guide is not None:
        guide = config.guide
        found.append(InputTrace(role="guide", sha256=file_sha256(guide.path), control=guide.control, strength=guide.strength))
    if config.restyle is not None:
        found.append(InputTrace(role="restyle", sha256=file_sha256(config.restyle.path), strength=config.restyle.strength))
    if config.extend is not None:
        found.append(InputTrace(role="extend", sha256=file_sha256(config.extend.path), last_frames=config.extend.last_frames))
    if config.upscale is not None and config.upscale.path is not None:
        found.append(InputTrace(role="upscale", sha256=file_sha256(config.upscale.path)))
    return tuple(found)


def embedded(parameters: ClipParameters) -> dict[str, str]:
    """Container metadata that says what made the clip."""
    return {METADATA_KEY: parameters.model_dump_json()}


def read_parameters(path: Path) -> ClipParameters | None:
    """What an MP4 says made it; None when it does not say, or is none.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        with path.open("rb") as handle, av.open(handle, mode="r", format="mov", metadata_errors="ignore") as container:
            return ClipParameters.read(container.metadata.get(METADATA_KEY))
    except (av.FFmpegError, ValueError, MemoryError):
        return None


def sign(path: Path, parameters: ClipParameters, credentials: Credentials, *, media_type: str = "video/mp4") -> None:
    """Add a signed C2PA manifest to the finished file at `path`; it is replaced whole or stays as it was.

    Raises:
        c2pa.C2paError: The certificate does not meet C2PA's profile, or the file is not of `media_type`.
    """
    info = c2pa.C2paSignerInfo(credentials.algorithm, credentials.chain, credentials.key, None)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Context.from_dict(_SIGNING) as context,
            c2pa.Builder(_manifest(parameters, path.name, media_type), context=context) as builder,
            path.open("rb") as source,
            part.open("w+b") as target,
        ):
            builder.sign(signer, media_type, source, target)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _manifest(parameters: ClipParameters, title: str, media_type: str) -> dict[str, Any]:
    agent = {"name": TOOL.capitalize(), "version": VERSION}
    created = {"action": "c2pa.created", "digitalSourceType": TRAINED_MEDIA, "when": parameters.made_at, "softwareAgent": agent}
    return {
        "claim_generator_info": [agent],
        "title": title,
        "format": media_type,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": PARAMETERS_LABEL, "data": parameters.model_dump(mode="json")},
        ],
    }


def _reserve(parameters: ClipParameters, credentials: Credentials) -> int:
    """Most bytes that manifest and metadata take: the parameters stand in both, in JSON and in CBOR."""
    return _MANIFEST_BYTES + len(credentials.chain) + 2 * len(parameters.model_dump_json().encode())


def verify(path: Path, known: Known) -> OriginReport:
    """Examine one file. Never raises for what is in it; the bytes are a stranger's, so call it in a process with limits.

    Raises:
        OSError: The file cannot be read.
    """
    data = path.read_bytes()
    facts: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    media_type = sniff(data[:HEAD_BYTES])
    if media_type not in PICTURES and media_type not in CLIPS:
        return OriginReport(finding=Finding.UNREADABLE, **facts)
    said = read_parameters(path) if media_type in CLIPS else None
    settings: dict[str, Any] = {"verify": _OFFLINE}
    if known.anchors:
        settings["trust"] = {"trust_anchors": known.anchors}
    try:
        with c2pa.Context.from_dict(settings) as context, c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader:
            state, manifest = reader.get_validation_state(), reader.get_active_manifest() or {}
    except c2pa.C2paError:
        finding = Finding.TAMPERED if _MARK in data else Finding.UNSIGNED
        return OriginReport(finding=finding, parameters=said, **facts)
    signature = manifest.get("signature_info") or {}
    finding = Finding.TAMPERED
    if state == "Trusted" and int(signature.get("cert_serial_number") or 0) in known.serials:
        finding = Finding.OWN
    elif state in ("Trusted", "Valid"):
        finding = Finding.FOREIGN
    return OriginReport(
        finding=finding,
        parameters=_signed_parameters(manifest) if finding is Finding.OWN else said,
        signer=_text(signature.get("issuer")),
        generator=_text(next((info.get("name") for info in manifest.get("claim_generator_info") or []), None)),
        ai_generated=_ai_generated(manifest),
        **facts,
    )


def _assertion(manifest: dict[str, Any], label: str) -> dict[str, Any]:
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label", "")).startswith(label) and isinstance(assertion.get("data"), dict):
            data: dict[str, Any] = assertion["data"]
            return data
    return {}


def _signed_parameters(manifest: dict[str, Any]) -> ClipParameters | None:
    return ClipParameters.read(json.dumps(_assertion(manifest, PARAMETERS_LABEL)))


def _ai_generated(manifest: dict[str, Any]) -> bool | None:
    sources = [str(action.get("digitalSourceType", "")) for action in _assertion(manifest, "c2pa.actions").get("actions") or []]
    said = [source for source in sources if source]
    return any("AlgorithmicMedia" in source for source in said) if said else None


def _text(value: object) -> str | None:
    return str(value)[:200] if value else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it did what it was asked (whatever `verify` found), 2 with one sentence when it could not."""
    parser = argparse.ArgumentParser(prog="python -m engine.sample.provenance", description="Where a clip comes from.")
    commands = parser.add_subparsers(dest="command", required=True)
    examine = commands.add_parser("verify", help="print what a file's signature proves, as JSON")
    examine.add_argument("source", type=Path, metavar="FILE")
    smaller = commands.add_parser("fit", help="re-encode IN to at most --max-bytes and sign it again")
    smaller.add_argument("source", type=Path, metavar="IN")
    smaller.add_argument("target", type=Path, metavar="OUT")
    smaller.add_argument("--max-bytes", type=int, required=True)
    for command in (examine, smaller):
        command.add_argument("--credentials", type=Path, required=True, help="folder of the certificate and key that sign here")
    options = parser.parse_args(arguments)
    limit_process(cpu_s=_CPU_S, memory_bytes=_MEMORY_BYTES, file_bytes=_FILE_BYTES)
    try:
        if options.command == "verify":
            sys.stdout.write(verify(options.source, known_signers(options.credentials)).model_dump_json() + "\n")
        else:
            refit(options.source, options.target, load_credentials(options.credentials), max_bytes=options.max_bytes)
    except (EngineError, OSError, c2pa.C2paError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run() -> NoReturn:
    raise SystemExit(main())


if __name__ == "__main__":
    _run()
