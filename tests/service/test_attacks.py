"""What hostile clients send; after each the server answers the next request at once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from bombs import nested_forms, png, tiff
from conftest import PATIENCE, encoded
from served import AT_ONCE, SIGN, Running, base64_of, running

from ocr_onnx.service import bodies
from ocr_onnx.service.request_errors import RequestError

MEGABYTE = 2**20

HEAD = b"POST /ocr HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(max_body_megabytes=2) as server:
        yield server


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    """A server that cuts off slow clients soon."""
    with running(header_timeout=0.5, transfer_timeout=1, max_body_megabytes=2) as server:
        yield server


def resident() -> int:
    """Megabytes that this process, which holds the server, has in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) // 1024


def children() -> set[int]:
    """The processes that this one has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(number) for task in tasks for number in task.read_text("ascii").split()}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


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
    assert server.send("POST", content=blocks(), headers=headers).status_code == 413
    assert server.answers_at_once()


def test_a_connection_with_an_endless_header_is_closed(impatient: Running) -> None:
    connections = [impatient.raw(b"POST /ocr HTTP/1.1\r\nX-Slow: ") for _ in range(50)]
    assert [answer_on(connection) for connection in connections] == [b""] * 50
    impatient.wait_until(impatient.answers)


def test_endless_headers_do_not_delay_other_clients(server: Running) -> None:
    connections = [server.raw(b"POST /ocr HTTP/1.1\r\nX-Slow: ") for _ in range(50)]
    assert server.answers_at_once()
    for connection in connections:
        connection.close()


def test_a_connection_whose_header_arrives_byte_by_byte_is_closed_also_if_it_was_used_before(
    impatient: Running,
) -> None:
    connection = impatient.raw(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    received = b""
    while b"Healthy" not in received:
        # Head and body may come apart.
        received += (part := connection.recv(65_536))
        assert part

    def drip() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            connection.sendall(b"G")
            time.sleep(0.05)

    with pytest.raises(ConnectionError):
        drip()
    connection.close()
    impatient.wait_until(impatient.answers)


def test_a_request_with_an_endless_body_is_answered_with_408() -> None:
    with running(transfer_timeout=1) as server:
        connections = [server.raw(HEAD + b"Content-Length: 1000\r\n\r\n{") for _ in range(50)]
        statuses = [answer_on(connection).partition(b"\r\n")[0] for connection in connections]
        assert statuses == [b"HTTP/1.1 408 Request Timeout"] * 50
        server.wait_until(lambda: server.scheduler.open == 0)
        server.wait_until(server.answers)


def test_endless_bodies_do_not_delay_other_clients(server: Running) -> None:
    connections = [server.raw(HEAD + b"Content-Length: 1000\r\n\r\n{") for _ in range(50)]
    server.wait_until(lambda: server.connections >= 50)
    assert server.answers_at_once()
    for connection in connections:
        connection.close()


def test_a_body_in_one_byte_chunks_is_aborted_before_it_delays_other_clients(server: Running) -> None:
    connection = server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

    def send() -> bytes:
        with suppress(ConnectionError):
            connection.sendall(b"1\r\nA\r\n" * MEGABYTE)
        return answer_on(connection)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send)
        begin = server.processor_seconds
        assert server.get("/health").status_code == 200
        assert server.processor_seconds - begin < AT_ONCE
        assert answer.result() == b""
    assert server.answers_at_once()


def test_a_body_may_have_one_short_line_per_chunk() -> None:
    def lines() -> Iterator[bytes]:
        yield b'{"visualize": false, "file": "' + base64_of(SIGN).encode()
        for _ in range(12_000):
            yield b" " * 76
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    with running(max_body_megabytes=2) as server:
        assert server.send("POST", content=lines(), headers=headers).status_code == 200


def test_a_streamed_response_that_is_not_received_is_aborted_and_its_thread_is_free(impatient: Running) -> None:
    rng = np.random.default_rng(6)
    frames = [PIL.Image.fromarray(rng.integers(0, 256, (700, 700, 3), np.uint8)) for _ in range(8)]
    file = base64_of(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:], compression="jpeg", quality=5))
    body = json.dumps({"file": file, "visualize": True}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", impatient.port))
    head = HEAD + b"Accept: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)
    impatient.wait_until(lambda: impatient.scheduler.open == 1)
    impatient.wait_until(lambda: impatient.scheduler.open == 0)
    assert b'"errorCode"' not in answer_on(connection)
    impatient.wait_until(impatient.answers)


def test_a_response_that_is_not_received_is_aborted(server: Running, impatient: Running) -> None:
    noise = np.random.default_rng(6).integers(0, 256, (1500, 1500, 3), np.uint8)
    file = base64_of(encoded(PIL.Image.fromarray(noise), "JPEG", quality=30))
    whole = len(server.post(file=file, visualize=True).content)
    assert whole > 5 * MEGABYTE
    body = json.dumps({"file": file, "visualize": True}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", impatient.port))
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    impatient.wait_until(lambda: impatient.connections == 1)
    impatient.wait_until(lambda: impatient.connections == 0)
    assert len(answer_on(connection)) < whole
    impatient.wait_until(impatient.answers)


IDLE = b""
PART_OF_A_HEADER = b"GET /health HTTP/1.1\r\nX-Slow: "
PART_OF_A_BODY = HEAD + b"Content-Length: 1000\r\n\r\n{"


@pytest.mark.parametrize("sent", [IDLE, PART_OF_A_HEADER, PART_OF_A_BODY], ids=["idle", "header", "body"])
@pytest.mark.parametrize("share", [0, 20], ids=["behind a proxy", "by address"])
def test_idle_connections_do_not_lock_out_other_clients(sent: bytes, share: int) -> None:
    with running(max_connections=20, max_connections_per_address=share) as server:
        held = [server.raw(sent) for _ in range(20)]
        for _ in range(60):
            assert server.get("/health").status_code == 200
            held.append(server.raw(sent))
        server.wait_until(lambda: server.connections <= 20)
        for connection in held:
            connection.close()


def test_one_address_has_at_most_its_share_of_the_connections() -> None:
    with running(max_connections=20, max_connections_per_address=5) as server:
        other = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE, source_address=("127.0.0.2", 0))
        mine = [server.raw(IDLE) for _ in range(40)]
        server.wait_until(lambda: server.connections == 6)
        other.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"Healthy" in answer_on(other)
        for connection in mine:
            connection.close()


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
def test_bytes_that_are_not_http_are_refused(server: Running, request_: bytes) -> None:
    try:
        answer = answer_on(server.raw(request_))
    except ConnectionError:
        answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))
    assert server.answers_at_once()


def test_response_headers_contain_nothing_of_the_request(server: Running) -> None:
    answer = server.post({"X-API-Key": "injected", "Accept": "injected"}, logId="in-jected")
    assert "jected" not in repr(answer.headers)
    refused = server.get("/a%0d%0aSet-Cookie:%20injected")
    assert (refused.status_code, "injected" in repr(refused.headers) + refused.text) == (404, False)


@pytest.mark.parametrize("path", ["ocr", "health"])
def test_a_request_with_two_lengths_closes_the_connection(server: Running, path: str) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    head = f"POST /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = answer_on(server.raw(head + b"0\r\n\r\n" + hidden))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert server.answers_at_once()


def test_no_response_refers_to_the_host_in_the_request() -> None:
    with running(allow_host=("evil.example",)) as server:
        for path in ("/health/", "/ocr/", "//evil.example/"):
            answer = server.get(path, Host="evil.example")
            assert (answer.status_code, "evil" in repr(answer.headers)) == (404, False)


def test_a_very_long_content_type_is_not_parsed(server: Running) -> None:
    kind = "multipart/form-data; " + ";" * 60_000 + "boundary=a"
    answer = server.send("POST", content=b"--a--", headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "utf-16", "zlib", "no-such"])
def test_a_form_cannot_choose_a_codec(server: Running, charset: str) -> None:
    slow = b"a" * 400_000 + b"-" + b"a9" * 100_000
    body = b'--a\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + slow + b"\r\n--a--\r\n"
    kind = f"multipart/form-data; boundary=a; charset={charset}"
    answer = server.send("POST", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["errorMsg"]) == (415, "the charset of a form must be UTF-8")
    assert server.answers_at_once()


MANY = 2 * MEGABYTE - 100


@pytest.mark.parametrize("value", [b"[],", b'{"":0},', b"0,", b"[" * 3, b"{" * 3], ids=repr)
def test_a_json_body_with_many_values_is_refused_before_it_is_parsed(server: Running, value: bytes) -> None:
    body = b'{"file": "AAAA", "other": [' + value * (MANY // len(value)) + b"0]}"
    answer = server.send("POST", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "values" in answer.json()["errorMsg"]
    assert server.answers_at_once()


def test_white_space_in_base64_takes_no_memory() -> None:
    text = "AA " * (MANY // 3)
    tracemalloc.start()
    with pytest.raises(RequestError):
        bodies.decode(text + "!")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(text)


@pytest.mark.parametrize(
    "body",
    [
        b"--a\r\n" + b"A: b\r\n" * (MANY // 6),
        b"--a\r\nA: " + b"b" * MANY,
        b'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * (MANY // 60),
        b"".join(b'--a\r\nContent-Disposition: x; name="%d"%s\r\n\r\n1\r\n' % (i, b";" * 4000) for i in range(64)),
        b"\r\n" * (MANY // 2),
        b"\r\n--b" * (MANY // 5),
    ],
    ids=["headers", "a header", "parts", "parameters", "empty lines", "almost boundaries"],
)
def test_hostile_forms_are_refused_at_once(server: Running, body: bytes) -> None:
    begin = time.process_time()
    kind = "multipart/form-data; boundary=a"
    answer = server.send("POST", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, time.process_time() - begin < AT_ONCE) == (422, True)
    assert server.answers_at_once()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://{}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://a.localhost:8080", "Host": "a.localhost:8080"}, 200),
        ({"Origin": "http://[::1", "Host": "[::1]"}, 403),
        ({"Origin": "http://{}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://{}", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://ocr.example", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
    ids=repr,
)
def test_requests_from_pages_of_other_sites_are_refused(server: Running, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(f"127.0.0.1:{server.port}") for name, value in headers.items()}
    assert server.post(given).status_code == status
    form = server.send("POST", data={"visualize": "0"}, files={"file": SIGN}, headers=given)
    assert form.status_code == status
    assert server.get("/", **given).status_code == 200


def test_a_public_server_accepts_its_allowed_names_and_keys(tmp_path: Path) -> None:
    by_name = {"Origin": "http://ocr.example", "Host": "ocr.example"}
    file = tmp_path / "keys"
    file.write_text("a-key-of-this-test")
    with running(host="0.0.0.0", no_keys=True, allow_host=("ocr.example",)) as server:  # noqa: S104 the socket is of this machine alone
        assert (server.post(by_name).status_code, server.post({"Origin": "http://b.example"}).status_code) == (200, 403)
    with running(api_key_file=file) as server:
        foreign = {"Origin": "http://b.example", "Sec-Fetch-Site": "cross-site"}
        assert server.post(foreign | {"X-API-Key": "a-key-of-this-test"}).status_code == 200
        assert server.post(foreign).status_code == 401
        assert "access-control-allow-origin" not in server.post(foreign).headers


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PUT", "FETCH"])
def test_other_methods_are_refused_without_an_echo_of_the_request(server: Running, method: str) -> None:
    head = f"{method} /ocr HTTP/1.0\r\nHost: a\r\nCookie: s3cret\r\nOrigin: http://evil.example\r\n\r\n"
    answer = answer_on(server.raw(head.encode()))
    assert answer.startswith((b"HTTP/1.1 405 ", b"HTTP/1.1 403 "))
    assert b"s3cret" not in answer
    assert b"access-control" not in answer.lower()


def test_pipelined_requests_are_answered_one_by_one(server: Running) -> None:
    ahead = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 50
    last = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert answer_on(server.raw(ahead + last)).count(b"Healthy") == 51


BOMBS = {
    "a PNG of 400 megapixels": lambda: png(20_000, 20_000, 20_000),
    "a TIFF that says it is huge": lambda: tiff(2**31 - 1, 2**31 - 1),
    "a PDF of forms in forms": lambda: nested_forms(12, 20),
    "a zip file": lambda: b"PK\3\4" + bytes(1000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bombs_are_refused_while_other_requests_are_answered(name: str) -> None:
    with running(threads=2) as server, ThreadPoolExecutor(1) as pool:
        assert server.answers_at_once()
        before = resident()
        answer = pool.submit(server.post, file=base64_of(BOMBS[name]()))
        assert server.answers_at_once()
        assert answer.result().status_code == 422
        assert resident() - before < 32
        assert server.answers_at_once()


def test_a_killed_decoding_process_fails_at_most_one_request() -> None:
    others = children()
    with running(threads=1) as server:
        server.post()
        (child,) = children() - others
        os.kill(child, signal.SIGKILL)
        answers = [server.post().status_code for _ in range(3)]
        assert answers[0] in {200, 422, 500}
        assert answers[1:] == [200, 200]
        assert len(children() - others) == 1
    assert children() == others


def test_attacks_leave_no_files_open_and_no_process_behind(server: Running) -> None:
    server.post()
    # Connections of tests before this one may still be closing.
    server.wait_until(lambda: server.connections == 0)
    files, started = open_files(), children()
    for _ in range(20):
        server.raw(HEAD + b"Content-Length: 100\r\n\r\n{").close()
        server.post(file="AAAA")
        server.post(file="x" * 100, fileType=0)
    server.wait_until(lambda: server.connections == 0 and server.scheduler.open == 0)
    assert open_files() <= files
    assert children() == started
    assert "ocr_onnx_waiting_bytes 0.0" in server.get("/metrics").text
