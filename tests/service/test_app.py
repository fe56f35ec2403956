"""Routes besides the wire, keys, settings, logs, and that every error has the form of an answer."""

from __future__ import annotations

import html
import io
import json
import logging
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import PAGES, pdf
from served import Running, base64_of, read, running

from ocr_onnx import OCROptions, OCRResult
from ocr_onnx.cli.main import main
from ocr_onnx.errors import InputNotFoundError, ModelError, NotEnoughMemoryError, OptionError, StageNotLoadedError
from ocr_onnx.service import keys, logs
from ocr_onnx.service.engine import Check
from ocr_onnx.service.settings import Settings, from_serving_block
from ocr_onnx.types import Page

PROCESSING = 0.5
"""Seconds that a slow page takes."""

KEY, OTHER = "first-key-of-tests", "second-key-of-tests"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as server:
        yield server


@pytest.mark.parametrize(("path", "text"), [("/health", "Healthy"), ("/ready", "Ready")])
def test_probes_answer(server: Running, path: str, text: str) -> None:
    answer = server.get(path)
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (200, 0, text)
    head = server.send("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/ocr", 405),
        ("POST", "/health", 405),
        ("DELETE", "/ocr", 405),
    ],
)
def test_an_unknown_path_gets_an_error_in_the_same_form(server: Running, method: str, path: str, status: int) -> None:
    answer = server.send(method, path)
    assert (answer.status_code, answer.json()["errorCode"]) == (status, status)
    assert list(answer.json()) == ["logId", "errorCode", "errorMsg"]
    assert ("allow" in answer.headers) == (status == 405)


def test_responses_do_not_name_the_server_and_are_not_cached(server: Running) -> None:
    headers = server.post().headers
    assert "server" not in headers
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_the_page_can_be_disabled(server: Running) -> None:
    assert server.get("/").headers["Content-Type"].startswith("text/html")
    with running(page=False) as bare:
        assert bare.get("/").status_code == 404


def examples(server: Running) -> dict[str, str]:
    """The examples of the page /docs by id, as the browser shows them on this server."""
    text = server.get("/docs").text.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}")
    blocks = re.findall(r'<pre id="([\w-]+)">(.*?)</pre>', text, re.DOTALL)
    return {name: html.unescape(re.sub(r"</?span[^>]*>", "", block)) for name, block in blocks}


def test_the_examples_of_the_documentation_work(server: Running, tmp_path: Path) -> None:
    shutil.copy(PAGES / "tiny.png", tmp_path / "page.png")
    (tmp_path / "report.pdf").write_bytes(pdf((50, 40), (50, 40)))
    found = examples(server)
    assert found.keys() == {"curl-text", "curl-json", "curl-pages", "python"}
    program = found.pop("python")
    commands = [[sys.executable, "-c", program], *(shlex.split(command) for command in found.values())]
    for command in commands if shutil.which("curl") else commands[:1]:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert '"errorCode":' not in done.stdout or '"errorCode":0' in done.stdout.replace(" ", "")
        assert done.stdout


def test_metrics_count_requests_and_pages() -> None:
    with running() as server:
        server.post()
        server.post(file="AAAA")
        server.get("/no/such/page")
        lines = set(server.get("/metrics").text.splitlines())
    assert 'ocr_onnx_requests_total{route="/ocr",status="200"} 1.0' in lines
    assert 'ocr_onnx_requests_total{route="/ocr",status="422"} 1.0' in lines
    assert 'ocr_onnx_requests_total{route="other",status="404"} 1.0' in lines
    assert {"ocr_onnx_pages_total 1.0", "ocr_onnx_requests_admitted 0.0", "ocr_onnx_waiting_bytes 0.0"} <= lines


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    file.write_text(f"# of tests\n{KEY}\n\n{OTHER}\n")
    with running(api_key_file=file) as server:
        yield server


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer {OTHER}"}, 200),
        ({"X-API-Key": KEY}, 200),
        ({"X-API-Key": KEY + "x"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "# of tests"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
    ],
)
def test_a_server_with_keys_requires_one(locked: Running, headers: dict[str, str], status: int) -> None:
    assert locked.post(headers).status_code == status
    assert locked.get("/metrics", **headers).status_code == status
    assert locked.get("/health").status_code == 200


def test_the_error_for_an_invalid_key_says_how_to_send_one_and_does_not_repeat_it(locked: Running) -> None:
    answer = locked.post({"X-API-Key": "a-wrong-key-of-somebody"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "a-wrong-key" not in answer.text


@pytest.mark.parametrize("content", ["", "# nothing\n", "short\n", "a key with spaces in it\n", "schlüsselschlüssel\n"])
def test_a_file_without_valid_keys_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(content, "utf-8")
    with pytest.raises(OptionError, match="key"):
        keys.load(file)
    with pytest.raises(InputNotFoundError, match="does not exist"):
        keys.load(tmp_path / "none.txt")


def failing(error: Exception) -> Any:
    def read(*_: object) -> OCRResult:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NotEnoughMemoryError("this process may take 17 MB more"), 422, "too large for this server"),
        (StageNotLoadedError("use_doc_unwarping was off when this was made"), 422, "useDocUnwarping is true"),
        (ModelError("/srv/models/secret.onnx cannot be run"), 500, "Internal server error"),
        (ZeroDivisionError("of a secret document"), 500, "Internal server error"),
    ],
)
def test_an_internal_error_is_reported_without_details(error: Exception, status: int, text: str) -> None:
    with running(failing(error)) as server:
        answer = server.post(logId="it")
        assert (answer.status_code, answer.json()["errorCode"], answer.json()["logId"]) == (status, status, "it")
        assert answer.json()["errorMsg"].startswith(text) or text in answer.json()["errorMsg"]
        assert not {"secret", "17 MB"} & set(answer.text.split())
        assert server.get("/health").status_code == 200


def test_the_last_line_of_an_interrupted_response_has_the_error() -> None:
    def read_first(page: Any, options: Any, check: Any) -> OCRResult:
        if page.index:
            raise OptionError("no")
        return read(page, options, check)

    from conftest import pdf

    with running(read_first) as server:
        answer = server.post({"Accept": "application/x-ndjson"}, file=base64_of(pdf((50, 60), (50, 60))))
    first, last = [json.loads(line) for line in answer.text.splitlines()]
    assert (answer.status_code, first["page"], last["errorCode"], "dataInfo" in last) == (200, 0, 422, False)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as lines of JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonLines())
    ours, uvicorns = logging.getLogger("ocr_onnx.service"), logging.getLogger("uvicorn.error")
    for log in (ours, uvicorns):
        log.addHandler(handler)
    level = ours.level
    ours.setLevel(logging.INFO)
    yield written
    ours.setLevel(level)
    for log in (ours, uvicorns):
        log.removeHandler(handler)


def test_each_request_is_one_log_line_without_its_content(lines: io.StringIO) -> None:
    with running() as server:
        server.post(logId="order-7")
        server.post(logId="order-8", file="c2VjcmV0")
        server.get("/c2VjcmV0?a=c2VjcmV0", **{"X-Other": "c2VjcmV0"})
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [line for line in logged if line["message"] == "request"]
    assert [(r["logId"], r["route"], r["status"], r["pages"]) for r in requests[:2]] == [
        ("order-7", "/ocr", 200, 1),
        ("order-8", "/ocr", 422, 0),
    ]
    assert requests[2]["route"] == "other"
    assert "c2VjcmV0" not in lines.getvalue()
    assert "page None" not in lines.getvalue()


def test_the_logged_wait_is_the_waiting_alone(lines: io.StringIO) -> None:
    def slow(page: Page, options: OCROptions, check: Check) -> OCRResult:
        time.sleep(PROCESSING)
        return read(page, options, check)

    with running(slow, threads=1) as server, ThreadPoolExecutor(3) as clients:
        list(clients.map(lambda number: server.post(logId=f"n{number}"), range(3)))
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [line for line in logged if line["message"] == "request"]
    assert len(requests) == 3
    assert all(0 <= line["waited"] <= line["seconds"] - PROCESSING for line in requests)


def test_the_log_has_the_location_of_a_bug_and_not_its_message(lines: io.StringIO) -> None:
    with running(failing(ZeroDivisionError("of a secret document"))) as server:
        server.post()
    (line,) = [json.loads(each) for each in lines.getvalue().splitlines() if "error" in json.loads(each)]
    assert line["error"] == "ZeroDivisionError"
    assert any("test_app.py" in place for place in line["raised"])
    assert "secret" not in lines.getvalue()


def test_the_serving_block_of_a_pipeline_file_is_used() -> None:
    extra = {"max_num_input_imgs": None, "max_output_img_size": [300, 400], "file_storage": None, "url_expires_in": -1}
    found = from_serving_block({"visualize": False, "return_urls": None, "extra": extra})
    assert found == {"visualize": False, "max_pages": 0, "max_output_size": (300, 400)}
    assert Settings(**found).max_pages == 0
    assert from_serving_block(None) == from_serving_block({}) == from_serving_block({"extra": None}) == {}
    for wrong in (3, {"extra": 4}):
        with pytest.raises(OptionError, match="Serving"):
            from_serving_block(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70_000},
        {"workers": 0},
        {"threads": 0},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"max_pages": -1},
        {"max_side": 5000},
        {"max_body_megabytes": 3000},
        {"max_waiting_megabytes": 1},
        {"max_output_size": 3},
        {"max_output_size": (0, 10)},
        {"visualize": "no"},
        {"allow_url": ("http://a b",)},
        {"allow_url": "example.com"},
        {"allow_host": (3,)},
        {"api_key_file": "keys.txt"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Settings(**wrong)


def test_the_command_refuses_invalid_settings_before_it_loads_models(tmp_path: Path) -> None:
    file = tmp_path / "OCR.yaml"
    file.write_text("Serving: 3\n")
    for arguments in (["--port", "70000"], ["--paddlex_config", str(file)], ["--allow-url", "http://a b"]):
        result = CliRunner().invoke(main, ["serve", *arguments])
        assert (result.exit_code, result.output.startswith("Error: ")) == (1, True), result.output


def test_urls_are_downloaded_from_allowed_hosts_only(server: Running) -> None:
    refused = server.post(file="http://example.com/a.png")
    assert (refused.status_code, "--allow-url" in refused.json()["errorMsg"]) == (422, True)
    with running() as files, running(allow_url=(f"127.0.0.1:{files.port}",)) as open_server:
        answer = open_server.post(file=f"http://127.0.0.1:{files.port}/page/icon.svg")
        assert (answer.status_code, "neither a PDF nor an image" in answer.json()["errorMsg"]) == (422, True)
        other = open_server.post(file="http://127.0.0.1:1/a.png")
        assert other.status_code == 422
