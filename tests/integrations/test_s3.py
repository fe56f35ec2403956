"""Documents at addresses of S3, with moto's server and s3fs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import PAGES, PATIENCE

moto_server = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")

LETTER = (PAGES / "letter.png").read_bytes()
KEYS = {"AWS_ACCESS_KEY_ID": "name", "AWS_SECRET_ACCESS_KEY": "secret"}
INPUTS = ("s3://scans/a/*.png", "s3://scans/shards/pages-{000..001}.tar", "s3://scans/list.txt")


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """A server with a bucket; the value is the environment for its address."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="name",
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="scans")
    objects = {"a/1.png": LETTER, "a/sub/2.png": LETTER, "a/notes.md": b"", "list.txt": b"a/sub/2.png\n"}
    objects |= {f"shards/pages-{number:03}.tar": tar(f"{number}.png") for number in range(2)}
    for key, content in objects.items():
        client.put_object(Bucket="scans", Key=key, Body=content)
    yield {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    client.close()
    server.stop()


def tar(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(LETTER)
        archive.addfile(member, io.BytesIO(LETTER))
    return buffer.getvalue()


def batch(out: Path, environment: Mapping[str, str], *inputs: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "ocr_onnx", "batch", *inputs, "-o", str(out), "--preset", "fast"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [*command, "--workers", "1"],
        env={**kept, "HOME": str(out.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def failures(out: Path) -> dict[str, Any]:
    rows = map(json.loads, (out / "failures.jsonl").read_text("utf-8").splitlines())
    return {row["path"]: row["error"] for row in rows}


def test_patterns_shards_and_lists_are_read_once(bucket: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):
        done = batch(tmp_path / "out", {**bucket, **KEYS}, *INPUTS)
        assert "4 pages, 0 failed, 4 documents" in done.stderr, done.stderr
    (shard,) = (tmp_path / "out" / "pages").iterdir()
    rows = [json.loads(line) for line in shard.read_text("utf-8").splitlines()]
    assert sorted(row["path"] for row in rows) == [
        "s3://scans/a/1.png",
        "s3://scans/a/sub/2.png",
        "s3://scans/shards/pages-000.tar/0.png",
        "s3://scans/shards/pages-001.tar/1.png",
    ]
    assert len({row["text"] for row in rows}) == 1


def test_an_address_that_does_not_exist_is_named(bucket: dict[str, str], tmp_path: Path) -> None:
    inputs = ("s3://scans/none.png", "s3://scans/none/*.png", "s3://nobucket/a/")
    assert batch(tmp_path / "out", {**bucket, **KEYS}, *inputs).returncode == 1
    found = {name.rstrip("/"): error for name, error in failures(tmp_path / "out").items()}
    assert found["s3://scans/none.png"] == "s3://scans/none.png does not exist: check the address"
    assert found["s3://scans/none/*.png"].startswith("s3://scans/none/*.png has no image, PDF, tar or zip archive")
    assert "does not exist: check the address" in found["s3://nobucket/a"]


def test_missing_credentials_are_named(bucket: dict[str, str], tmp_path: Path) -> None:
    batch(tmp_path / "out", bucket, "s3://scans/a/")
    (error,) = failures(tmp_path / "out").values()
    assert "Unable to locate credentials; check the address, the network and the credentials" in error


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    batch(tmp_path / "out", {**environment, **KEYS}, "s3://scans/a/")
    (error,) = failures(tmp_path / "out").values()
    assert "Could not connect to the endpoint URL" in error
    assert "check the address, the network" in error
