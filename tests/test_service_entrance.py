"""Who may use a server: clients of other machines need a key, unless the operator says that they need none."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from served import running

from ocr_onnx.cli import main
from ocr_onnx.errors import OptionError
from ocr_onnx.service.settings import Settings

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ocr.example"])  # noqa: S104 nothing listens there
def test_without_keys_no_address_that_other_machines_reach_is_listened_on(host: str) -> None:
    with pytest.raises(OptionError, match=r"--api-key-file.*--no-keys"):
        Settings(host=host)
    assert not Settings(host=host, no_keys=True).local
    assert not Settings(host=host, api_key_file=Path("keys.txt")).local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_keys(host: str) -> None:
    assert Settings(host=host).local


def test_keys_and_no_keys_together_are_refused() -> None:
    with pytest.raises(OptionError, match="leave out one"):
        Settings(no_keys=True, api_key_file=Path("keys.txt"))


def test_the_command_names_the_cure_before_it_loads_models() -> None:
    result = CliRunner().invoke(main, ["serve", "--host", "0.0.0.0"])  # noqa: S104 it is refused
    assert result.exit_code == 1
    assert "--api-key-file" in result.output
    assert "--no-keys" in result.output


def test_a_server_that_is_open_to_everyone_says_so_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), running(host="0.0.0.0", no_keys=True):  # noqa: S104 the socket is local
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "everyone who can reach port 8080 of 0.0.0.0" in warning
    caplog.clear()
    with caplog.at_level(logging.WARNING), running():
        assert caplog.records == []


def test_the_image_does_not_serve_before_keys_are_mounted() -> None:
    found = re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    command = [sys.executable, "-m", "ocr_onnx", *json.loads(found[1])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode != 0
    assert "/run/keys/keys.txt does not exist: write a key a line into it" in ended.stderr
