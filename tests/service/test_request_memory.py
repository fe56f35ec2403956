"""What requests leave in memory: answers until they are sent, bodies while they are parsed, and nothing after an error."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import mmap
import re
import socket
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import PATIENCE, encoded
from served import Running, base64_of, running
from starlette.datastructures import Headers

from ocr_onnx import OCROptions, OCRResult
from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.service import bodies
from ocr_onnx.service.bodies import BodyReader, ParsedRequest
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.request_errors import ClientGoneError
from ocr_onnx.service.scheduling import CancelToken, Scheduler
from ocr_onnx.service.settings import Settings
from ocr_onnx.service.streaming import while_connected
from ocr_onnx.types import Page

MEGABYTE = 2**20

LINES = {"Accept": "application/x-ndjson"}


def noise(side: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(6).integers(0, 256, (side, side, 3), np.uint8))


LARGE = base64_of(encoded(noise(1500), "JPEG", quality=30))
"""A picture whose answer has more than 5 MB."""

MANY = base64_of(
    encoded(noise(700), "TIFF", save_all=True, append_images=[noise(700)] * 5, compression="jpeg", quality=5)
)
"""Six pages whose answers have more than 1 MB each."""


def silent(server: Running, file: str, accept: str = "*/*") -> socket.socket:
    """A client that asks and takes nothing."""
    body = json.dumps({"file": file, "visualize": True}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", server.port))
    head = f"POST /ocr HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def waiting_bytes(server: Running) -> float:
    found = re.search(r"^ocr_onnx_waiting_bytes (.*)$", server.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def resident() -> int:
    """Bytes that this process, which holds the server, has in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * mmap.PAGESIZE


def statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Of the requests that were logged."""
    return [record.fields["status"] for record in list(caplog.records) if record.message == "request"]  # type: ignore[attr-defined]


def test_a_response_counts_as_waiting_memory_and_as_open_until_it_is_sent() -> None:
    with running() as server:
        connection = silent(server, LARGE)
        server.wait_until(lambda: waiting_bytes(server) > 5 * MEGABYTE)
        assert server.scheduler.admitted == server.scheduler.open == 1
        connection.close()
        server.wait_until(lambda: server.scheduler.admitted == server.scheduler.open == waiting_bytes(server) == 0)


def test_the_total_size_of_unsent_responses_is_limited() -> None:
    with running(max_body_megabytes=4, max_waiting_megabytes=10) as server:
        connection = silent(server, LARGE)
        server.wait_until(lambda: waiting_bytes(server) > 5 * MEGABYTE)
        refused = server.post(file=LARGE, visualize=True)
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert waiting_bytes(server) < 10 * MEGABYTE
        connection.close()
        server.wait_until(lambda: waiting_bytes(server) == 0)
        answer = server.post(file=LARGE, visualize=True)
        assert (answer.status_code, len(answer.json()["result"]["ocrResults"])) == (200, 1)


def test_a_response_above_the_limit_is_only_sent_as_lines() -> None:
    with running(max_body_megabytes=4, max_waiting_megabytes=5) as server:
        refused = server.post(file=MANY, visualize=True)
        assert refused.status_code == 422
        assert "x-ndjson" in refused.json()["errorMsg"]
        answer = server.post(LINES, file=MANY, visualize=True)
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert ([line.get("page") for line in lines], lines[-1]["errorCode"]) == ([*range(6), None], 0)
        assert len(answer.content) > 5 * MEGABYTE
        assert waiting_bytes(server) == 0


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_response_that_is_received_slowly_is_aborted(accept: str, caplog: pytest.LogCaptureFixture) -> None:
    with running() as patient:
        whole = len(patient.post({"Accept": accept}, file=MANY, visualize=True).content)
    caplog.set_level(logging.INFO, "ocr_onnx.service")
    with running(transfer_timeout=1) as server:
        received = 0
        with silent(server, MANY, accept) as connection:
            try:
                while block := connection.recv(65_536):
                    received += len(block)
                    # What the system holds is received at once after the end.
                    threading.Event().wait(0.05 if server.connections else 0)
            except ConnectionError:
                pass
        server.wait_until(lambda: server.connections == 0)
        assert received < whole
        server.wait_until(lambda: statuses(caplog) == [499])


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_client_that_disconnects_during_its_response_causes_no_server_error(
    accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ocr_onnx.service")
    with running() as server:
        connection = silent(server, MANY, accept)
        assert connection.recv(200).startswith(b"HTTP/1.1 200 ")
        connection.close()
        server.wait_until(lambda: server.scheduler.open == 0)
        server.wait_until(lambda: statuses(caplog) == [499])
        assert 'ocr_onnx_requests_total{route="/ocr",status="499"} 1.0' in server.get("/metrics").text
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is freed by Python's cycle collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def freed(references: list[weakref.ref[Any]]) -> bool:
    return all(reference() is None for reference in references)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize(
    ("error", "status"),
    [(NotEnoughMemoryError("no"), 422), (RuntimeError("no"), 500), (MemoryError("no"), 500), (ClientGoneError(), 504)],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_request_leaves_nothing_in_memory(error: Exception, status: int, accept: str) -> None:
    pixels: list[weakref.ref[Any]] = []

    def fail(page: Page, options: OCROptions, check: Callable[[], None]) -> OCRResult:
        pixels.append(weakref.ref(page.image))
        raise type(error)(*error.args)

    with running(fail) as server:
        assert [server.post({"Accept": accept}).status_code for _ in range(3)] == [status] * 3
        server.wait_until(lambda: len(pixels) == 3 and freed(pixels))


@pytest.mark.usefixtures("uncollected")
def test_hundreds_of_abandoned_requests_leave_no_page_in_memory() -> None:
    pixels: list[weakref.ref[Any]] = []
    at_work = threading.Semaphore(0)

    def wait(page: Page, options: OCROptions, check: Callable[[], None]) -> OCRResult:
        pixels.append(weakref.ref(page.image))
        at_work.release()
        while True:
            check()
            threading.Event().wait(0.005)

    file = base64_of(encoded(PIL.Image.new("L", (1000, 1000)), "PNG"))
    with running(wait) as server:
        before = resident()
        for _ in range(300):
            connection = silent(server, file)
            assert at_work.acquire(timeout=PATIENCE)
            connection.close()
        server.wait_until(lambda: server.scheduler.admitted == 0)
        server.wait_until(lambda: freed(pixels))
        maps = Path("/proc/self/maps").read_text("ascii")
        assert maps.count("memfd") <= 3
        assert resident() - before < 200 * MEGABYTE  # All pages together have 900 MB.


class ExpectedError(Exception):
    """A class of ours, as built-in exceptions have no weak references."""


def raised_by(work: Callable[[], Coroutine[Any, Any, Any]]) -> weakref.ref[ExpectedError]:
    async def catch() -> weakref.ref[ExpectedError]:
        try:
            await work()
        except ExpectedError as error:
            return weakref.ref(error)
        raise AssertionError

    async def settle() -> weakref.ref[ExpectedError]:
        reference = await catch()
        for _ in range(5):
            await asyncio.sleep(0.01)
        return reference

    return asyncio.run(settle())


async def stays() -> dict[str, Any]:
    await asyncio.sleep(3600)
    return {}


@pytest.mark.usefixtures("uncollected")
def test_an_exception_is_freed_with_its_last_reference() -> None:
    async def fail() -> None:
        raise ExpectedError

    def connected() -> Coroutine[Any, Any, None]:
        return while_connected(stays, fail())

    assert raised_by(connected)() is None

    def items() -> Generator[int, None, None]:
        yield 1
        raise ExpectedError

    async def streamed() -> None:
        settings = Settings(threads=1)
        work = Scheduler(settings, Metrics())
        async for _ in work.stream(items(), CancelToken(60)):
            pass

    assert raised_by(streamed)() is None


def form(content: bytes) -> tuple[Headers, bytearray]:
    head = b'--a\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return Headers({"Content-Type": "multipart/form-data; boundary=a"}), bytearray(head + content + b"\r\n--a--\r\n")


def json_body(content: bytes) -> tuple[Headers, bytearray]:
    return Headers({"Content-Type": "application/json"}), bytearray(b'{"file": "' + content + b'"}')


@pytest.mark.parametrize("make", [form, json_body])
def test_parsing_a_body_needs_little_more_than_twice_its_size(
    make: Callable[[bytes], tuple[Headers, bytearray]],
) -> None:
    async def peak() -> int:
        headers, body = make(b"A" * 8 * MEGABYTE)
        tracemalloc.reset_peak()
        asked = await bodies.parse_body(headers, body)
        assert len(asked.data) >= 6 * MEGABYTE
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    found = asyncio.run(peak())
    tracemalloc.stop()
    assert found < 2.5 * 8 * MEGABYTE


@pytest.mark.parametrize(("size", "most"), [(bodies.LARGE + 1, 1), (1000, 4)])
def test_large_bodies_are_parsed_one_at_a_time(size: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = seen = 0

    async def slow(headers: Headers, body: bytearray) -> ParsedRequest:
        nonlocal at_once, seen
        at_once += 1
        seen = max(seen, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return ParsedRequest(None, b"file", None)  # type: ignore[arg-type]

    async def parse() -> None:
        settings, metrics = Settings(), Metrics()
        counted = BodyReader(settings, metrics)
        with counted.request_memory(Scheduler(settings, metrics)) as held:
            await asyncio.gather(*(counted.parse(Headers({}), bytearray(size), held) for _ in range(4)))

    monkeypatch.setattr(bodies, "parse_body", slow)
    asyncio.run(parse())
    assert seen == most


def test_a_file_is_counted_by_its_own_size_once_the_body_is_parsed() -> None:
    async def parse() -> int:
        settings, metrics = Settings(), Metrics()
        counted = BodyReader(settings, metrics)
        with counted.request_memory(Scheduler(settings, metrics)) as held:
            headers, body = json_body(b"A" * MEGABYTE)
            held.grow(len(body))
            await counted.parse(headers, body, held)
            assert len(body) == 0
            return held.size

    assert asyncio.run(parse()) == MEGABYTE * 3 // 4
