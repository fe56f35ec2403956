"""A server in a thread of this process, with an engine that is a function, and what is sent to it."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
from conftest import DETECTION, PAGES, PATIENCE

from ocr_onnx import OCROptions, OCRResult
from ocr_onnx.service.engine import Check, Engine
from ocr_onnx.service.scheduling import Scheduler
from ocr_onnx.service.server import Server, make_server
from ocr_onnx.service.settings import Settings
from ocr_onnx.stages.detection import with_model_defaults
from ocr_onnx.types import Columns, Image, Page, TextBox, TextLine

SIGN = (PAGES / "sign.png").read_bytes()

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Given to each client: one of its own would load all certificates, which takes longer than most requests."""

AT_ONCE = 1
"""Processor seconds of the server's thread for one small answer, which takes some milliseconds of them."""


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def read(page: Page, options: OCROptions, check: Check = lambda: None) -> OCRResult:
    """Every page has one line, whose text is the page's number."""
    check()
    quad = np.array([[1, 2], [9, 2], [9, 6], [1, 6]], np.int32)
    box = TextBox(quad, 0.9)
    text = f"page {page.index}"
    line = TextLine(text, 0.8, box, columns=Columns(tuple(text), tuple(range(len(text))), len(text)))
    used = replace(options, detection=with_model_defaults(options.detection, DETECTION))
    return OCRResult(page, page, None, (box,), (line,), used)


@dataclass
class Running:
    """A server that runs."""

    port: int
    scheduler: Scheduler
    seen: list[OCROptions] = field(default_factory=list)
    """The options of each page that was read."""

    server: Server | None = None
    thread: threading.Thread | None = None
    """The server's, with its event loop; files are decoded and pages read elsewhere."""

    @property
    def processor_seconds(self) -> float:
        """What the server's thread has taken, to which a busy machine adds nothing."""
        assert self.thread is not None
        assert self.thread.ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(self.thread.ident))

    @property
    def connections(self) -> int:
        """How many are open."""
        assert self.server is not None
        return len(self.server.server_state.connections)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, headers: dict[str, str] | None = None, **content: Any) -> httpx.Response:
        content = {"file": base64_of(SIGN), "visualize": False} | content
        return self.send("POST", json=content, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def send(self, method: str, path: str = "/ocr", **content: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, timeout=PATIENCE, verify=NO_TLS, **content)

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which something was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection.sendall(data)
        return connection

    def answers_at_once(self) -> bool:
        """Whether a request is answered while the server's thread does little else."""
        begin = self.processor_seconds
        return self.post().status_code == 200 and self.processor_seconds - begin < AT_ONCE

    def answers(self) -> bool:
        """Whether a request is answered; one that is slower than the server's limits may be cut off."""
        with suppress(httpx.TransportError):
            return self.post().status_code == 200
        return False

    def wait_until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.01)


@contextmanager
def running(
    reader: Callable[..., OCRResult] = read, memory: Callable[[Image, OCROptions], int] | None = None, **settings: Any
) -> Iterator[Running]:
    """A server with these settings, whose pages are estimated to take this memory."""
    seen: list[OCROptions] = []

    def note(page: Page, options: OCROptions, check: Check) -> OCRResult:
        seen.append(options)
        return reader(page, options, check)

    engine = Engine(note) if memory is None else Engine(note, memory=memory)
    # Requests that tests write by hand have `Host: a`.
    defaults: dict[str, Any] = {"threads": 1, "allow_host": ("a",)}
    server = make_server(Settings(**(defaults | settings)), engine)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            port = listener.getsockname()[1]
            wait_for(port)
            yield Running(port, server.scheduler, seen, server, thread)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=PATIENCE, verify=NO_TLS)
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return


def problems(answer: httpx.Response) -> dict[str, str]:
    """What a request was refused for: the kind of problem by its field."""
    assert answer.status_code == 422
    return {problem["loc"]: problem["type"] for problem in json.loads(answer.json()["errorMsg"])}
