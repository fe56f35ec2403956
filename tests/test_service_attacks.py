"""What hostile clients send; after each the server answers the next request at once."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import PIL.Image
import pytest
from conftest import encoded
from served import Running, base64_of, running

MEGABYTE = 2**20

HEAD = b"POST /ocr HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(header_timeout=0.5, transfer_timeout=1, max_body_megabytes=2) as server:
        yield server


def resident() -> int:
    """Megabytes that this process, which holds the server, has in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) // 1024


def answer_on(connection: socket.socket) -> bytes:
    """All that the server sends before it closes."""
    received = b""
    try:
        while block := connection.recv(65_536):
            received += block
    except ConnectionError:
        pass
    finally:
        connection.close()
    return received


def test_a_body_of_a_gigabyte_is_refused_by_its_header(server: Running) -> None:
    connection = server.raw(HEAD + b"Content-Length: 1073741824\r\n\r\n")
    assert b" 413 " in connection.recv(65_536).partition(b"\r\n")[0]
    connection.close()
    assert server.answers_at_once()


def test_a_body_of_a_gigabyte_without_a_length_is_refused_and_takes_no_memory(server: Running) -> None:
    before = resident()
    connection = server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + b"A" * MEGABYTE + b"\r\n"
    try:
        for _ in range(1024):
            connection.sendall(chunk)
    except (ConnectionError, TimeoutError):
        pass
    connection.close()
    assert resident() - before < 64
    assert server.answers_at_once()


def test_a_body_that_is_too_large_by_a_byte_is_refused(server: Running) -> None:
    def blocks() -> Iterator[bytes]:
        yield b" " * 2 * MEGABYTE
        yield b" "

    headers = {"Content-Type": "application/json"}
    assert httpx.post(f"{server.url}/ocr", content=blocks(), headers=headers).status_code == 413
    assert server.answers_at_once()


def test_a_header_that_does_not_end_is_cut_off(server: Running) -> None:
    connections = [server.raw(b"POST /ocr HTTP/1.1\r\nX-Slow: ") for _ in range(50)]
    begin = time.monotonic()
    assert server.answers_at_once()
    assert [answer_on(connection) for connection in connections] == [b""] * 50
    assert time.monotonic() - begin < 10
    server.wait_until(server.answers_at_once)


def test_a_header_that_comes_byte_by_byte_is_cut_off_also_on_a_used_connection(server: Running) -> None:
    connection = server.raw(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Healthy" in connection.recv(65_536)

    def drip() -> None:
        for _ in range(100):
            connection.sendall(b"G")
            time.sleep(0.05)

    with pytest.raises(ConnectionError):
        drip()
    connection.close()
    assert server.answers_at_once()


def test_a_body_that_does_not_end_is_cut_off(server: Running) -> None:
    connections = [server.raw(HEAD + b"Content-Length: 1000\r\n\r\n{") for _ in range(50)]
    assert server.answers_at_once()
    statuses = [answer_on(connection).partition(b"\r\n")[0] for connection in connections]
    assert statuses == [b"HTTP/1.1 408 Request Timeout"] * 50
    server.wait_until(lambda: server.work.open == 0)
    assert server.answers_at_once()


def test_an_answer_that_is_not_taken_is_dropped(server: Running) -> None:
    noise = np.random.default_rng(6).integers(0, 256, (1500, 1500, 3), np.uint8)
    file = base64_of(encoded(PIL.Image.fromarray(noise), "JPEG", quality=30))
    whole = len(server.post(file=file, visualize=True).content)
    assert whole > 5 * MEGABYTE
    body = json.dumps({"file": file, "visualize": True}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    server.wait_until(lambda: server.connections == 1)
    server.wait_until(lambda: server.connections == 0)
    assert len(answer_on(connection)) < whole
    assert server.answers_at_once()


def test_too_many_connections_are_closed() -> None:
    with running(max_connections=20) as server:
        idle = [server.raw(b"") for _ in range(20)]
        extra = server.raw(b"")
        extra.settimeout(5)
        assert answer_on(extra) == b""
        for connection in idle:
            connection.close()
        server.wait_until(lambda: server.get("/health").status_code == 200)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /ocr HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /ocr HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
    ids=["header", "path", "two lengths", "negative length", "zero", "TLS"],
)
def test_what_is_no_http_is_refused(server: Running, request_: bytes) -> None:
    try:
        answer = answer_on(server.raw(request_))
    except ConnectionError:
        answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))
    assert server.answers_at_once()


def test_nothing_of_a_request_gets_into_the_headers_of_its_answer(server: Running) -> None:
    answer = server.post({"X-API-Key": "injected", "Accept": "injected"}, logId="in-jected")
    assert "jected" not in repr(answer.headers)
    refused = httpx.get(f"{server.url}/a%0d%0aSet-Cookie:%20injected")
    assert (refused.status_code, "injected" in repr(refused.headers) + refused.text) == (404, False)
