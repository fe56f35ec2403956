"""Measure the memory of the service: idle, after pages, and with all its threads at work: docs/deploying.md.

    python -m benchmarks.service_memory

The server is started with `ocr-onnx serve --deadline 600`. Memory shared between its processes counts once (Pss); peaks of
single processes are the kernel's (VmHWM).
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.processes import Server, family, free_port, memory
from ocr_onnx.inputs import sources

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "deploying.md"
BEGIN, END = "<!-- memory: python -m benchmarks.service_memory -->\n", "<!-- end of memory -->\n"

LETTER = ROOT / "tests" / "pages" / "letter.png"

A4 = {200: (1654, 2339), 300: (2480, 3508)}
"""Width and height by dots an inch."""

PAGES = 3
"""Read one after another."""

START = 3
"""Seconds that decoders are given to start."""
EVERY = 0.02
"""Seconds between two looks."""

LOG = ROOT / ".cache" / "service_memory.log"
"""What the server says."""


def make_body(size: tuple[int, int]) -> bytes:
    """A request with a page of this width and height: a letter, and white around it."""
    letter = next(iter(sources.read_pages(LETTER))).image
    page = np.full((size[1], size[0], 3), 255, np.uint8)
    part = letter[: size[1], : size[0]]
    page[: part.shape[0], : part.shape[1]] = part
    _, png = cv2.imencode(".png", page)
    return json.dumps({"file": base64.b64encode(png.tobytes()).decode(), "fileType": 1}).encode()


def serving(*options: str) -> Server:
    """A server with these options."""
    port = free_port()
    command = [sys.executable, "-m", "ocr_onnx", "serve", "--port", str(port), "--deadline", "600", *options]
    LOG.parent.mkdir(exist_ok=True)
    return Server("ocr-onnx serve", command, port, LOG)


def post(port: int, body: bytes) -> None:
    """Read a page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/ocr", body)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise click.ClickException(answer.read().decode())
    answer.read()


def highest(server: Server, body: bytes, count: int, at_a_time: int) -> int:
    """The highest memory of all processes together, in KiB, while `count` pages are read."""
    seen = [server.proportional()]
    with ThreadPoolExecutor(at_a_time) as clients:
        answers = [clients.submit(post, server.port, body) for _ in range(count)]
        while not all(answer.done() for answer in answers):
            seen.append(server.proportional())
            time.sleep(EVERY)
    for answer in answers:
        answer.result()
    return max(seen)


def measured(dpi: int, threads: int, options: tuple[str, ...]) -> tuple[list[int], int]:
    """(the row of the table, the highest memory of one decoder), in KiB."""
    body = make_body(A4[dpi])
    with serving("--threads", str(threads), *options) as server:
        time.sleep(START)
        idle = server.proportional()
        one = highest(server, body, PAGES, 1)
        after = server.proportional()
        peak = highest(server, body, threads, threads)
        decoder = max(memory(process, "VmHWM") for process in family(server.process)[1:])
        return [idle, one, after, peak, server.proportional()], decoder


def section(threads: int) -> str:
    """The part of docs/deploying.md."""
    rows, decoders = [], []
    for dpi in A4:
        for options in ((), ("--text_det_limit_side_len", "960", "--text_det_limit_type", "max")):
            row, decoder = measured(dpi, threads, options)
            decoders.append(decoder)
            name = " ".join(options) or "none"
            rows.append(f"| {dpi} dpi | `{name}` | " + " | ".join(f"{value / 1024:.0f}" for value in row) + " |")
    return "\n".join(
        [
            f"`python -m benchmarks.service_memory --threads {threads}` on {circumstances()}:",
            "",
            f"| A4 at | options | idle | peak, {PAGES} pages one by one | after them | peak, {threads} at a time | after them |",
            "|---|---|--:|--:|--:|--:|--:|",
            *rows,
            "",
            f"One of the {threads} decoding processes had {max(decoders) / 1024:.0f} MiB at most, shared libraries included.",
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
