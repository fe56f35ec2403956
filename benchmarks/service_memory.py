"""How much memory does the service take? Idle, after pages, and with all its threads at a page: docs/deploying.md.

    python -m benchmarks.service_memory

A server is started as `ocr-onnx serve --port 0 --deadline 600`. What is shared between its processes counts once (Pss); peaks of
single processes are the kernel's (VmHWM).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks import records
from benchmarks.machine import circumstances
from ocr_onnx import sources

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "deploying.md"
BEGIN, END = "<!-- memory: python -m benchmarks.service_memory -->\n", "<!-- end of memory -->\n"

LETTER = ROOT / "tests" / "pages" / "letter.png"

A4 = {200: (1654, 2339), 300: (2480, 3508)}
"""Width and height by dots an inch."""

PAGES = 3
"""Read one after another."""

EVERY = 0.02
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    process: int
    port: int

    def decoders(self) -> list[int]:
        """The processes in which it decodes."""
        children = Path(f"/proc/{self.process}/task").glob("*/children")
        return [int(child) for file in children for child in file.read_text("ascii").split()]

    def whole(self) -> float:
        """MiB of all its processes; what they share counts once."""
        return sum(memory(process, "smaps_rollup", "Pss") for process in (self.process, *self.decoders()))

    def post(self, body: bytes) -> None:
        """Read a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", "/ocr", body)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise click.ClickException(answer.read().decode())
        answer.read()


def make_body(size: tuple[int, int]) -> bytes:
    """A request with a page of this width and height: a letter, and white around it."""
    letter = next(iter(sources.read_pages(LETTER))).image
    page = np.full((size[1], size[0], 3), 255, np.uint8)
    part = letter[: size[1], : size[0]]
    page[: part.shape[0], : part.shape[1]] = part
    _, png = cv2.imencode(".png", page)
    return json.dumps({"file": base64.b64encode(png.tobytes()).decode(), "fileType": 1}).encode()


def memory(process: int, file: str, name: str) -> float:
    """MiB of one line of a file in /proc."""
    text = Path(f"/proc/{process}/{file}").read_text("ascii")
    return int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) / 1024


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Server]:
    """A server with these options, told to end in the end."""
    command = [sys.executable, "-m", "ocr_onnx", "serve", "--port", "0", "--deadline", "600", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stderr is not None  # noqa: S101 it was asked for
            lines = (json.loads(line) for line in process.stderr if line.startswith("{"))
            port = next(line["port"] for line in lines if line["message"] == "listening")
            threading.Thread(target=list, args=(lines,), daemon=True).start()
            time.sleep(3)  # Its decoders start meanwhile.
            yield Server(process.pid, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def highest(server: Server, body: bytes, count: int, at_a_time: int) -> float:
    """The highest memory of all processes together, in MiB, while `count` pages are read."""
    seen = [server.whole()]
    with ThreadPoolExecutor(at_a_time) as clients:
        answers = [clients.submit(server.post, body) for _ in range(count)]
        while not all(answer.done() for answer in answers):
            seen.append(server.whole())
            time.sleep(EVERY)
    for answer in answers:
        answer.result()
    return max(seen)


def measured(dpi: int, threads: int, options: tuple[str, ...]) -> tuple[list[float], float]:
    """(the row of the table, the highest memory of one decoder), in MiB."""
    body = make_body(A4[dpi])
    with serving("--threads", str(threads), *options) as server:
        idle = server.whole()
        one = highest(server, body, PAGES, 1)
        after = server.whole()
        peak = highest(server, body, threads, threads)
        decoder = max(memory(process, "status", "VmHWM") for process in server.decoders())
        return [idle, one, after, peak, server.whole()], decoder


def section(threads: int) -> str:
    """The part of docs/deploying.md."""
    rows, decoders = [], []
    for dpi in A4:
        for options in ((), ("--text_det_limit_side_len", "960", "--text_det_limit_type", "max")):
            row, decoder = measured(dpi, threads, options)
            decoders.append(decoder)
            name = " ".join(options) or "none"
            rows.append(f"| {dpi} dpi | `{name}` | " + " | ".join(f"{value:.0f}" for value in row) + " |")
    return "\n".join(
        [
            f"`python -m benchmarks.service_memory --threads {threads}` on {circumstances()}:",
            "",
            f"| A4 at | options | idle | peak, {PAGES} pages one by one | after them | peak, {threads} at a time | after them |",
            "|---|---|--:|--:|--:|--:|--:|",
            *rows,
            "",
            f"One of the {threads} decoding processes had {max(decoders):.0f} MiB at most, shared libraries included.",
            "",
        ]
    )


@click.command(help=__doc__)
@click.option("--threads", default=3, show_default=True, help="Requests that are worked on at a time.")
@click.option("--write/--no-write", default=True, help="Write docs/deploying.md.")
def main(threads: int, write: bool) -> None:
    """Measure and write."""
    part = section(threads)
    click.echo(part)
    if write:
        TARGET.write_text(records.with_part(TARGET.read_text("utf-8"), BEGIN, f"\n{part}", END), "utf-8")


if __name__ == "__main__":
    main()
