"""Clients of a measured server: each sends the next picture after its last answer.

A separate process, `python -m benchmarks.runners.clients LOAD`, with LOAD as JSON. It prints the result as JSON, and needs
only Python.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from itertools import count
from pathlib import Path
from typing import Any

PAUSE = 0.2
"""Seconds that a client waits after a refusal: far less than it is told to."""

PATIENCE = 300.0
"""Seconds that a client waits for an answer."""

BROKEN = 0
"""The status of a request whose connection broke."""


@dataclass(frozen=True)
class Load:
    """What is sent."""

    port: int
    clients: int
    files: tuple[str, ...]
    seconds: float
    """No request is begun later."""
    requests: int | None = None
    """How many in all; None: no limit."""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    file: int
    begun: float
    """Seconds since the first request."""
    seconds: float
    status: int
    retry_after: str | None = None
    why: str = ""
    """Why the connection broke."""


@dataclass
class Sent:
    """All answers, and what sending took."""

    answers: list[Answer] = field(default_factory=list)
    texts: dict[int, list[str]] = field(default_factory=dict)
    """What was read on each file, by the last answer."""
    wall: float = 0.0
    """Seconds from the first request to the last answer."""
    cpu: float = 0.0
    """Processor seconds of the clients in that time."""


def send(load: Load) -> Sent:
    """Send it all."""
    bodies = [body(Path(file).read_bytes()) for file in load.files]
    sent, last, numbers = Sent(), dict[int, bytes](), count()
    spent, begun = time.process_time(), time.monotonic()

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", load.port, timeout=PATIENCE)
        for number in _numbers(numbers, load, begun + load.seconds):
            file = number % len(bodies)
            begin = time.monotonic()
            status, retry_after, content = ask(connection, bodies[file])
            taken = time.monotonic() - begin
            why = content.decode() if status == BROKEN else ""
            sent.answers.append(Answer(file, begin - begun, taken, status, retry_after, why))
            if status == 200:
                last[file] = content
            else:
                time.sleep(PAUSE)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent.wall, sent.cpu = time.monotonic() - begun, time.process_time() - spent
    sent.texts = {file: texts(json.loads(content)) for file, content in last.items()}
    return sent


def _numbers(numbers: Iterator[int], load: Load, end: float) -> Iterator[int]:
    while time.monotonic() < end:
        number = next(numbers)
        if load.requests is not None and number >= load.requests:
            return
        yield number


def body(data: bytes) -> bytes:
    """A request for the text of a picture, and nothing drawn."""
    return json.dumps({"file": base64.b64encode(data).decode("ascii"), "fileType": 1, "visualize": False}).encode()


def ask(connection: HTTPConnection, content: bytes) -> tuple[int, str | None, bytes]:
    """Status, Retry-After and content of the response; if the connection broke, the content is the reason."""
    try:
        try:
            connection.request("POST", "/ocr", content, {"Content-Type": "application/json"})
        except (BrokenPipeError, ConnectionResetError):
            if connection.sock is None:
                raise
            # A refusal may come before all was sent, and the connection be closed then.
            response = HTTPResponse(connection.sock, method="POST")
            response.begin()
        else:
            response = connection.getresponse()
        read = response.read()
    except (OSError, HTTPException) as error:
        connection.close()
        return BROKEN, None, repr(error).encode()
    if response.will_close:
        connection.close()
    return response.status, response.headers["Retry-After"], read


def texts(answer: dict[str, Any]) -> list[str]:
    """All texts of all pages."""
    pages: Sequence[dict[str, Any]] = answer["result"]["ocrResults"]
    return [text for page in pages for text in page["prunedResult"]["rec_texts"]]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(send(Load(**json.loads(sys.argv[1]))))))
