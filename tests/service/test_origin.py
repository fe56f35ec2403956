"""Who may use a server: clients of other machines need a key, and requests must name the server as it is known."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from served import Running, running

from ocr_onnx.cli.main import main
from ocr_onnx.errors import OptionError
from ocr_onnx.service.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ocr.example"])  # noqa: S104 nothing listens there
def test_without_keys_the_server_listens_only_on_local_addresses(host: str) -> None:
    with pytest.raises(OptionError, match=r"--api-key-file.*--no-keys"):
        Settings(host=host)
    assert not Settings(host=host, no_keys=True).local
    assert not Settings(host=host, api_key_file=Path("keys.txt")).local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_local_server_needs_no_keys(host: str) -> None:
    assert Settings(host=host).local


def test_keys_and_no_keys_together_are_refused() -> None:
    with pytest.raises(OptionError, match="remove one"):
        Settings(no_keys=True, api_key_file=Path("keys.txt"))


def test_the_command_says_how_to_fix_missing_keys_before_it_loads_models() -> None:
    result = CliRunner().invoke(main, ["serve", "--host", "0.0.0.0"])  # noqa: S104 it is refused
    assert result.exit_code == 1
    assert "--api-key-file" in result.output
    assert "--no-keys" in result.output


def test_a_server_without_keys_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), running(host="0.0.0.0", no_keys=True):  # noqa: S104 the socket is local
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "everyone who can reach port 8080 of 0.0.0.0" in warning
    caplog.clear()
    with caplog.at_level(logging.WARNING), running():
        assert caplog.records == []


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(allow_host=("ocr.example", "*.svc.cluster.local")) as server:
        yield server


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "localhost:8080",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]:8080",
        ),
        *("10.1.2.3:8080", "[2001:db8::1]", "ocr.example", "OCR.example:443", "ocr-onnx.default.svc.cluster.local"),
    ],
)
def test_ip_addresses_and_allowed_names_are_accepted_as_host(server: Running, host: str) -> None:
    assert server.post({"Host": host}).status_code == 200
    assert server.get("/metrics", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example"),
        *(
            "a.ocr.example",
            "svc.cluster.local",
            "2130706433",
            "0x7f.1",
            "localhost@evil.example",
            "[::1",
            "[evil]",
            "",
            "a b",
        ),
    ],
)
def test_dns_rebinding_is_refused(server: Running, host: str) -> None:
    same = {"Host": host, "Origin": f"http://{host}"}
    for answer in (
        server.post(same),
        *(server.get(path, **same) for path in ("/", "/metrics", "/openapi.json", "/health", "/ocr")),
        httpx.options(f"{server.url}/ocr", headers=same),
    ):
        assert answer.status_code == 421
        assert "--allow-host" in answer.json()["errorMsg"]


@pytest.mark.parametrize("path", ["/", "/page/icon.svg", "/metrics", "/health", "/nothing"])
def test_pages_of_other_sites_cannot_embed_a_response(server: Running, path: str) -> None:
    assert server.get(path).headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_clients_without_a_host_header_are_answered(server: Running) -> None:
    with server.raw(b"GET /health HTTP/1.0\r\n\r\n") as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_with_keys_any_host_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("a-key-of-this-test")
    with running(api_key_file=file) as server:
        named = {"Host": "ocr-onnx:80"}
        assert server.get("/health", **named).status_code == 200
        assert server.get("/metrics", **named).status_code == 401
        assert server.post(named | {"X-API-Key": "a-key-of-this-test"}).status_code == 200


@pytest.mark.parametrize("name", ["http://ocr.example", "ocr.example:80", "*", "a.*", "a b", "", "ocr/example"])
def test_an_invalid_name_is_refused_as_an_allowed_host(name: str) -> None:
    with pytest.raises(OptionError, match="allow_host"):
        Settings(allow_host=(name,))


def test_the_container_image_does_not_start_without_keys() -> None:
    found = re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    command = [sys.executable, "-m", "ocr_onnx", *json.loads(found[1])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode != 0
    assert "/run/keys/keys.txt does not exist: write one key per line into it" in ended.stderr
