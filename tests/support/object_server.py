"""An S3 protocol server (moto) in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import boto3
import pytest
from botocore.config import Config

BUCKET = "callsheet"
START_DEADLINE_S = 60.0


def free_port() -> int:
    """A TCP port nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def object_server(folder: Path) -> Iterator[str]:
    """Its URL, with one empty bucket in it."""
    port = free_port()
    log = folder / "moto.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = monotonic() + START_DEADLINE_S
        while not _answers(url):
            assert process.poll() is None, log.read_text()
            assert monotonic() < deadline, "moto did not start"
        client(url).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def client(url: str) -> Any:
    """A boto3 client of it (boto3 has no types)."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "path"}),
    )


def options(url: str) -> dict[str, str]:
    """The same for obstore."""
    return {"endpoint": url, "region": "us-east-1", "access_key_id": "id", "secret_access_key": "secret", "allow_http": "true"}


def environment(url: str) -> dict[str, str]:
    """The same for processes of ours."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ALLOW_HTTP": "true",
    }


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server on the loopback with one empty bucket."""
    with object_server(tmp_path_factory.mktemp("moto")) as url:
        yield url
