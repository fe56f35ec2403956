"""A web server that misbehaves in all the ways that tests ask of it."""

from __future__ import annotations

import gzip
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from conftest import PAGES, pdf

PNG = (PAGES / "tiny.png").read_bytes()


class Request(http.server.BaseHTTPRequestHandler):
    """Answers by its path."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    named: list[str]
    """The hosts they were asked of."""
    dripped: list[str]
    """The paths that were sent byte by byte to their end, which takes many seconds."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.named.append(self.headers["Host"])
        name, _, argument = self.path.lstrip("/").partition("?")
        answer: Callable[[str], None] = getattr(self, f"send_{name.partition('.')[0]}", self.send_nothing)
        self.close_connection = True
        with suppress(OSError):
            answer(argument)

    def send_file(self, data: bytes, announced: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) if announced is None else announced))
        self.end_headers()
        self.wfile.write(data)

    def send_picture(self, _: str) -> None:
        self.send_file(PNG)

    def send_document(self, _: str) -> None:
        self.send_file(pdf((50, 50), (60, 50)))

    def send_text(self, _: str) -> None:
        self.send_file(b"<html>Please log in</html>")

    def send_noise(self, _: str) -> None:
        self.wfile.write(b"\x1b[31m\0" * 5000)

    def send_reason(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.1 500 \x1b[31m" + b"\xff" * 9000 + b"\r\n\r\n")

    def send_away(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: ftp://a/" + b"\x1b" * 9000 + b"\r\n\r\n")

    def send_coding(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: " + b"\x1b" * 9000 + b"\r\n\r\n")

    def send_short(self, _: str) -> None:
        self.send_file(PNG[:100], len(PNG))

    def send_liar(self, _: str) -> None:
        self.send_file(b"", 10**12)

    def send_endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(2**16))

    def send_slow(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PNG)))
        self.end_headers()
        self.drip(PNG)

    def send_drip(self, _: str) -> None:
        self.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: a\r\n" * 90)

    def drip(self, data: bytes) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)
        self.dripped.append(self.path)

    def send_packed(self, coding: str) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", coding)
        self.end_headers()
        self.wfile.write(gzip.compress(PNG))

    def send_part(self, _: str) -> None:
        self.send_response(206)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_to(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_round(self, count: str) -> None:
        self.send_to(f"/round?{int(count) + 1}")

    def send_nothing(self, _: str) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server on 127.0.0.1."""
    Request.asked, Request.named, Request.dripped = [], [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
