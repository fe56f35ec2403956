"""How long addresses are fetched, and how many at a time: against servers that never answer."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from conftest import PATIENCE
from served import Running, running
from webserver import serving

from ocr_onnx.errors import FetchRefusedError, InputDownloadError
from ocr_onnx.inputs.http import Deadline
from ocr_onnx.service import fetch_pool, fetching
from ocr_onnx.service.fetching import FetchPolicy
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.request_errors import RequestError
from ocr_onnx.service.scheduling import CancelToken, Scheduler
from ocr_onnx.service.settings import Settings

LONG = 600.0
"""Seconds that no test waits: what ends before them was ended."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)


class Silent:
    """A server that accepts connections and never answers."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self._listener = listener

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/a.png"

    def accept(self, count: int) -> None:
        """Wait for so many connections, each with its request."""
        self._listener.settimeout(PATIENCE)
        for _ in range(count):
            connection, _ = self._listener.accept()
            connection.settimeout(PATIENCE)
            assert connection.recv(2**16)
            self.connections.append(connection)

    def wait_until_left(self) -> None:
        """Wait until the other side has closed every connection."""
        for connection in self.connections:
            assert connection.recv(1) == b""


@pytest.fixture
def silent() -> Iterator[Silent]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Silent(listener)
        yield server
        for connection in server.connections:
            connection.close()


@contextmanager
def asked(server: Running, url: str, count: int = 1) -> Iterator[None]:
    """Clients that ask for an address, and leave in the end."""
    body = json.dumps({"file": url}).encode()
    head = f"POST /ocr HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    clients = [server.raw(head.encode() + body) for _ in range(count)]
    try:
        yield
    finally:
        for client in clients:
            client.close()


def test_a_client_that_disconnects_frees_the_thread_of_its_download(silent: Silent) -> None:
    with serving() as files:
        allowed = (f"127.0.0.1:{silent.port}", f"127.0.0.1:{files}")
        with running(allow_url=allowed, deadline=LONG, transfer_timeout=LONG) as server:
            with asked(server, silent.url, fetch_pool.THREADS):
                silent.accept(fetch_pool.THREADS)
            silent.wait_until_left()
            assert server.post(file=f"http://127.0.0.1:{files}/picture").status_code == 200


def test_the_deadline_of_a_request_ends_its_download(silent: Silent) -> None:
    with running(allow_url=(f"127.0.0.1:{silent.port}",), deadline=1.5, transfer_timeout=LONG) as server:
        answer = server.post(file=silent.url)
        assert (answer.status_code, "not downloaded within 1.5 seconds" in answer.json()["errorMsg"]) == (504, True)
        silent.accept(1)
        silent.wait_until_left()


def test_the_transfer_timeout_ends_a_download_before_the_deadline(silent: Silent) -> None:
    with running(allow_url=(f"127.0.0.1:{silent.port}",), deadline=LONG, transfer_timeout=1) as server:
        answer = server.post(file=silent.url)
        assert (answer.status_code, "took longer than 1 second" in answer.json()["errorMsg"]) == (422, True)


def test_requests_are_refused_if_the_queue_of_downloads_is_full(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_pool, "THREADS", 1)
    monkeypatch.setattr(fetch_pool, "QUEUE", 1)
    waits = threading.Semaphore(0)

    class Noted(Deadline):
        def __init__(self, seconds: float) -> None:
            super().__init__(seconds)
            waits.release()

    monkeypatch.setattr(fetch_pool, "Deadline", Noted)
    allowed = (f"127.0.0.1:{silent.port}",)
    with (
        running(allow_url=allowed, deadline=LONG, transfer_timeout=LONG) as server,
        asked(server, silent.url, 2),
    ):
        assert all(waits.acquire(timeout=PATIENCE) for _ in range(2))
        answer = server.post(file=silent.url)
        assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
        assert 'ocr_onnx_refused_total{reason="fetch"} 1.0' in server.get("/metrics").text
        assert server.post().status_code == 200  # A file that was sent is read all the same.


async def both_fetched(silent: Silent) -> list[int]:
    """The statuses of two requests, the first of which takes the only thread until the second one's deadline."""
    settings = Settings(allow_url=(f"127.0.0.1:{silent.port}",), transfer_timeout=LONG)
    metrics = Metrics()
    pool = fetch_pool.FetchPool(settings, metrics, Scheduler(settings, metrics))
    first = asyncio.create_task(pool.fetch(silent.url, CancelToken(LONG)))
    await asyncio.sleep(0)
    statuses = []
    with pytest.raises(RequestError) as refused:
        await pool.fetch(silent.url, CancelToken(0.1))
    statuses.append(refused.value.status)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    with pytest.raises(RequestError) as refused:
        await pool.fetch(silent.url, CancelToken(1.5))
    statuses.append(refused.value.status)
    pool.close()
    return statuses


def test_a_download_that_did_not_start_is_503_and_one_that_started_is_504(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_pool, "THREADS", 1)
    assert asyncio.run(both_fetched(silent)) == [503, 504]


def ended_by_cut(url: str, policy: FetchPolicy, resolver: fetching.Resolve, begun: threading.Event | None) -> bool:
    """Whether a fetch ends when its deadline is cut, once it has begun to wait."""
    waits = threading.Semaphore(0)

    class Noted(Deadline):
        def on_expiry(self, action: Callable[[], None]) -> None:
            super().on_expiry(action)
            waits.release()

    deadline = Noted(LONG)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            fetching.fetch(url, policy, resolver, deadline)
        except InputDownloadError as error:
            problems.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert waits.acquire(timeout=PATIENCE)
    assert begun is None or begun.wait(PATIENCE)
    deadline.expire()
    thread.join(PATIENCE)
    return not thread.is_alive() and len(problems) == 1


def test_connecting_is_aborted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        # The system takes one connection more than the backlog, and lets all others wait.
        with socket.create_connection(("127.0.0.1", port)):
            policy = FetchPolicy((f"127.0.0.1:{port}",), timeout=LONG)
            assert ended_by_cut(f"http://127.0.0.1:{port}/", policy, fetching.resolve, None)


def test_resolving_a_name_is_aborted() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(host: str, port: int) -> list[str]:
        begun.set()
        may_end.wait(PATIENCE)
        return ["127.0.0.1"]

    policy = FetchPolicy(("pictures.example",), private=True, timeout=LONG)
    try:
        assert ended_by_cut("http://pictures.example/", policy, slow, begun)
    finally:
        may_end.set()


def test_the_number_of_names_resolved_at_a_time_is_limited() -> None:
    policy = FetchPolicy(("pictures.example",), private=True)
    with ExitStack() as all_taken:
        for _ in range(fetching.RESOLVERS):
            assert fetching.RESOLVING.acquire(timeout=PATIENCE)
            all_taken.callback(fetching.RESOLVING.release)
        with pytest.raises(FetchRefusedError, match="too many names are being resolved"):
            fetching.fetch("http://pictures.example/", policy, lambda *_: [])
    with pytest.raises(FetchRefusedError, match="no public address"):
        fetching.fetch("http://pictures.example/", policy, lambda *_: [])
