"""A real server keeps its memory and its answers in bounds whatever small requests it is sent."""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import hostile
import httpx
from hostile import Hostile
from served import SIGN, base64_of, wait_for

COUNT, SEED = 300, 20

PEAK = 700
"""MiB that the server and its decoding processes take together at most, at any request.

Idle they take 350. With the options below, 420 was the most that any of these requests took on two cores, or left behind;
the rest is for machines with more cores, whose threads take more. A strip of 12000 x 1 pixels took 1,630 when the picture
of it was made before it was reduced, and 4,000 stayed after a request that failed.
"""

OPTIONS = ("--threads", "1", "--max_side", "960", "--max_megapixels", str(hostile.MEGAPIXELS), "--deadline", "30")
"""Detection's own cost, which --max_side allows by design, would hide other costs."""

GUARD = 6 * 2**30
"""Bytes of private memory that the server may take: a fault that this test finds must not end other programs."""

FULL_OR_LATE = {503, 504}

TIMEOUT = 120
"""Seconds for a server to start or end, and for an answer."""


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`ocr-onnx serve` in a process of its own, and its address."""
    command = [sys.executable, "-m", "ocr_onnx", "serve", "--port", "0", *OPTIONS]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stderr=log) as process:
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (GUARD, GUARD))
        try:
            end = time.monotonic() + TIMEOUT
            while not (found := re.search(rb'"port": (\d+),', said := os.pread(log.fileno(), 2**16, 0))):
                assert process.poll() is None, said.decode()
                assert time.monotonic() < end
                time.sleep(0.05)
            # The port is logged when it is known; the server listens a moment later.
            wait_for(int(found[1]))
            yield process, f"http://127.0.0.1:{int(found[1])}"
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def family(process: int) -> list[Path]:
    """The folders in /proc of a process and its children."""
    children = [
        number for task in Path(f"/proc/{process}/task").glob("*/children") for number in task.read_text().split()
    ]
    return [Path("/proc") / str(number) for number in (process, *children)]


def reset_peaks(process: int) -> None:
    """Forget the peaks so far; where only root may do so, each peak is that of all requests so far."""
    for folder in family(process):
        with suppress(PermissionError):
            (folder / "clear_refs").write_text("5")


def peak(process: int) -> int:
    """MiB that a process and its children have taken at most since their peaks were reset."""
    found = [re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text()) for folder in family(process)]
    return sum(int(each[1]) for each in found if each) // 1024


def ask(client: httpx.Client, request: Hostile) -> httpx.Response:
    given = {"file": base64.b64encode(request.file).decode("ascii")} | request.options
    body = json.dumps(given).encode() if request.body is None else request.body
    try:
        return client.post("/ocr", content=body, headers={"Content-Type": "application/json"})
    except httpx.TransportError as error:
        raise AssertionError(f"the server ended, or did not answer: {request.name}") from error


def largest(answer: httpx.Response) -> float:
    """Megapixels of the largest page that an answer is about."""
    info = answer.json()["result"]["dataInfo"]
    return float(max(page["width"] * page["height"] for page in info.get("pages", [info])) / 1e6)


def faults(request: Hostile, answer: httpx.Response, taken: int) -> Iterator[str]:
    """What is wrong with an answer, and with the MiB that it took."""
    if answer.status_code >= 500 and answer.status_code not in FULL_OR_LATE:
        yield f"{request.name}: status {answer.status_code}"
    if answer.status_code == 200 and largest(answer) > hostile.MEGAPIXELS:
        yield f"{request.name}: {largest(answer):.1f} megapixels were read"
    if taken > PEAK:
        yield f"{request.name}: {taken} MiB"


def test_small_hostile_requests_take_little_memory_and_are_no_errors_of_the_server() -> None:
    requests = hostile.requests(COUNT, SEED)
    assert len(requests) == COUNT
    found: list[str] = []
    with serving() as (process, address), httpx.Client(base_url=address, timeout=TIMEOUT) as client:
        for request in requests:
            reset_peaks(process.pid)
            answer = ask(client, request)
            found += faults(request, answer, peak(process.pid))
        assert client.post("/ocr", json={"file": base64_of(SIGN)}).status_code == 200
    assert found == []
    assert process.returncode == 0
