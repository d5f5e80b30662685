"""`engine.sample.credentials`: who signs, and whose signatures are ours."""

from __future__ import annotations

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from engine.errors import InvalidConfigError
from engine.sample.credentials import CERTIFICATE, FORMER, KEY, known_signers, load_credentials, make_development_chain
from tests.support.provenance import credentials_folder


def test_load_credentials_makes_a_chain_once_when_the_folder_is_missing(tmp_path: Path) -> None:
    """A second load gives the same key, and nobody else on the machine can read it."""
    folder = tmp_path / "deep" / "credentials"
    first, second = load_credentials(folder), load_credentials(folder)
    assert first == second
    assert first.algorithm == "es256"
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
    assert [path.name for path in folder.parent.iterdir()] == ["credentials"]


def test_development_chain_is_one_when_many_processes_start_together(tmp_path: Path) -> None:
    """Everybody goes on with the files of the one that was first."""
    folder = tmp_path / "credentials"
    with ThreadPoolExecutor(8) as pool:
        chains = {made.chain for made in pool.map(lambda _: load_credentials(folder), range(8))}
    assert len(chains) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["credentials"]


def test_development_signer_may_sign_content_only(tmp_path: Path) -> None:
    """C2PA refuses signers that are authorities, sign themselves or lack the extended key usage."""
    make_development_chain(tmp_path / "credentials")
    signer, authority = x509.load_pem_x509_certificates((tmp_path / "credentials" / CERTIFICATE).read_bytes())
    signer.verify_directly_issued_by(authority)
    assert not signer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert signer.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


@pytest.mark.parametrize("missing", [CERTIFICATE, KEY])
def test_load_credentials_refuses_half_a_pair(tmp_path: Path, missing: str) -> None:
    """A forgotten file is an error to correct, never a reason to sign with something else."""
    folder = tmp_path / "credentials"
    shutil.copytree(credentials_folder(), folder)
    (folder / missing).unlink()
    with pytest.raises(InvalidConfigError, match="needs a readable"):
        load_credentials(folder)


def test_load_credentials_refuses_a_key_of_another_certificate(tmp_path: Path) -> None:
    """Such a pair would sign clips that nobody can verify."""
    folder = tmp_path / "credentials"
    shutil.copytree(credentials_folder(), folder)
    shutil.copy(credentials_folder("other") / KEY, folder / KEY)
    with pytest.raises(InvalidConfigError, match="does not belong"):
        load_credentials(folder)


def test_load_credentials_refuses_text_that_is_no_certificate(tmp_path: Path) -> None:
    """Rubbish is named with its folder."""
    (tmp_path / CERTIFICATE).write_text("hello")
    (tmp_path / KEY).write_text("hello")
    with pytest.raises(InvalidConfigError, match="needs a readable"):
        load_credentials(tmp_path)


def test_known_signers_include_former_ones(tmp_path: Path) -> None:
    """After a new certificate the old one still counts, when its chain was put aside; an empty folder knows nobody."""
    assert known_signers(tmp_path / "none").serials == frozenset()
    folder = tmp_path / "credentials"
    shutil.copytree(credentials_folder(), folder)
    (folder / FORMER).mkdir()
    shutil.copy(credentials_folder("other") / CERTIFICATE, folder / FORMER / "2025.pem")
    known = known_signers(folder)
    assert len(known.serials) == 2
    assert known.anchors.count("BEGIN CERTIFICATE") == 2
