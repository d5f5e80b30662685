"""The certificate and key that sign every clip (C2PA): those in a folder, or a development chain made there at first use.

The folder holds `certificate.pem` (the signer's certificate first, then its issuers), `key.pem`, and in `former/` the chains used earlier,
so that old clips are still recognised. A development chain is our own authority and one signer (ES256): valid, but known to nobody else.
Profile of the certificates: C2PA specification 2.2, section 14.5 (key usage, extended key usage, no self-signed signer). Torch-free.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.errors import InvalidConfigError

DEFAULT_FOLDER = Path("data/credentials")
CERTIFICATE, KEY, FORMER = "certificate.pem", "key.pem", "former"
ORGANISATION = "Callsheet (development certificate)"
_LIFE = dt.timedelta(days=3650)
_SKEW = dt.timedelta(minutes=5)  # clocks of other machines may be behind
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Known:
    """Whose signatures count as ours."""

    serials: frozenset[int]  # of signers' certificates
    anchors: str  # PEM: the last certificate of each chain


@dataclass(frozen=True)
class Credentials:
    """What signing needs."""

    chain: bytes  # PEM, signer first
    key: bytes  # PEM, unencrypted
    algorithm: str


def load_credentials(folder: Path) -> Credentials:
    """The certificate and key in `folder`; an empty or missing folder gets a development chain first.

    Raises:
        InvalidConfigError: One of the two is missing or unreadable, or they do not belong together.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not certificate.exists() and not key.exists():
        make_development_chain(folder)
    try:
        chain, secret = certificate.read_bytes(), key.read_bytes()
        signer = x509.load_pem_x509_certificates(chain)[0]
        private = serialization.load_pem_private_key(secret, password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidConfigError(f"{folder} needs a readable {CERTIFICATE} and an unencrypted {KEY}: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name not in _ALGORITHMS:
        raise InvalidConfigError(f"{key} is no key on the curve P-256, P-384 or P-521: ask for a certificate with one.")
    if private.public_key() != signer.public_key():
        raise InvalidConfigError(f"{key} does not belong to the first certificate in {certificate}: put the matching pair there.")
    return Credentials(chain, secret, _ALGORITHMS[private.curve.name])


def known_signers(folder: Path) -> Known:
    """Everything that signed or signs here; nobody when the folder is empty.

    Raises:
        InvalidConfigError: A file there holds no certificates.
    """
    serials: set[int] = set()
    anchors: list[str] = []
    for path in [folder / CERTIFICATE, *sorted((folder / FORMER).glob("*.pem"))]:
        if not path.exists():
            continue
        try:
            chain = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InvalidConfigError(f"{path} holds no readable certificates: {error}") from error
        serials.add(chain[0].serial_number)
        anchors.append(chain[-1].public_bytes(serialization.Encoding.PEM).decode())
    return Known(frozenset(serials), "".join(anchors))


def make_development_chain(folder: Path) -> None:
    """Write a fresh authority's certificate, a signer's certificate and its key to `folder`; the authority's key is forgotten.

    Of several processes that do this at once, one wins and all go on with its files.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    draft.mkdir(mode=0o700)
    try:
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = _certificate("authority", authority_key.public_key(), "authority", authority_key)
        signer = _certificate("signer", key.public_key(), "authority", authority_key)
        (draft / CERTIFICATE).write_bytes(b"".join(part.public_bytes(serialization.Encoding.PEM) for part in (signer, authority)))
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with os.fdopen(os.open(draft / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(secret)
        try:
            draft.replace(folder)  # onto nothing or an empty folder; fails once another process was first
        except OSError:
            if not (folder / CERTIFICATE).exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _certificate(role: str, public: ec.EllipticCurvePublicKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate for `role`: the authority may sign certificates only, anybody else may sign content only."""
    now = dt.datetime.now(dt.UTC)
    is_authority = role == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(role))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(role: str) -> x509.Name:
    attributes = {NameOID.ORGANIZATION_NAME: ORGANISATION, NameOID.COMMON_NAME: f"Callsheet {role}"}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes.items()])
