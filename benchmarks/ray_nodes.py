"""Read a batch with several Ray nodes, cut the network of one of them off, and compare with a run without Ray: docs/scaling.md.

    python -m benchmarks.ray_nodes
    python -m benchmarks.ray_nodes --pages 500 --nodes 3

Each node is in a network namespace of its own, connected by a bridge, so this needs root on Linux. The cut node keeps running, as
behind a broken switch: it cannot be reached, and cannot tell that it is not reached.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.interruptions import pages_in_journal, rows, write_pages

PREFIX, NETWORK, PORT = "ocr-onnx-", "10.211.7", 6379
HUB = f"{PREFIX}hub"
LIMIT_SECONDS = 1200
STORE_BYTES = 200_000_000


def run(*command: object) -> str:
    """Run a command and return its output; raises CalledProcessError if it fails."""
    return subprocess.check_output(list(map(str, command)), text=True)


def ip(*arguments: object) -> str:
    """Run `ip`."""
    return run("ip", *arguments)


@dataclass(frozen=True, slots=True)
class Node:
    """A Ray node in a network namespace; number 1 is the head, with the batch's main process."""

    number: int

    @property
    def name(self) -> str:
        """The name of its namespace."""
        return f"{PREFIX}{self.number}"

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"{NETWORK}.{self.number}"

    def connect(self) -> None:
        """Make the namespace and its link to the bridge."""
        ip("netns", "add", self.name)
        ip("-n", HUB, "link", "add", f"to{self.number}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", HUB, "link", "set", f"to{self.number}", "master", "bridge", "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            ip("-n", self.name, "link", "set", link, "up")

    def cut(self) -> None:
        """Take the link down."""
        ip("-n", HUB, "link", "set", f"to{self.number}", "down")

    def command(self, *arguments: object) -> list[str]:
        """Return a command that runs in the namespace."""
        return ["ip", "netns", "exec", self.name, *map(str, arguments)]

    def start(self) -> None:
        """Start Ray with one CPU."""
        first = Node(1)
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        if self != first:
            role = [f"--address={first.address}:{PORT}"]
        own = [f"--node-ip-address={self.address}", "--num-cpus=1", f"--object-store-memory={STORE_BYTES}"]
        run(*self.command(sys.executable, "-m", "ray.scripts.scripts", "start", *role, *own, "--disable-usage-stats"))

    def remove(self) -> None:
        """End all processes of the namespace, and remove it."""
        with suppress(subprocess.CalledProcessError):
            for process in ip("netns", "pids", self.name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            ip("netns", "del", self.name)


@contextmanager
def cluster(count: int) -> Iterator[list[Node]]:
    """Start nodes that are connected by a bridge."""
    nodes = [Node(number) for number in range(1, count + 1)]
    ip("netns", "add", HUB)
    try:
        ip("-n", HUB, "link", "add", "bridge", "type", "bridge")
        ip("-n", HUB, "link", "set", "bridge", "up")
        for node in nodes:
            node.connect()
            node.start()
        yield nodes
    finally:
        for node in nodes:
            node.remove()
        ip("netns", "del", HUB)


def batch(folder: Path, out: Path, *more: object) -> list[str]:
    """The command of a run."""
    options = ("--preset", "fast", *more)
    return [sys.executable, "-P", "-m", "ocr_onnx", "batch", str(folder), "-o", str(out), *map(str, options)]


def read_and_cut(nodes: list[Node], folder: Path, out: Path, after: int) -> tuple[float, float]:
    """Read with all nodes, and cut the last one off after some pages; return the seconds before and after that."""
    first, last = nodes[0], nodes[-1]
    address = f"{first.address}:{PORT}"
    command = batch(folder, out, "--engine", "ray", "--address", address, "--workers", len(nodes))
    begin = time.monotonic()
    process = subprocess.Popen(first.command(*command), stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and pages_in_journal(out) < after:
            time.sleep(0.5)
        if process.poll() is not None:
            raise click.ClickException(f"the batch ended before a node was cut off: {process.communicate()[1]}")
        last.cut()
        cut = time.monotonic()
        click.echo(f"node {last.number} is cut off after {pages_in_journal(out)} pages")
        _, errors = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
    if process.returncode != 0:
        raise click.ClickException(f"the batch failed: {errors}")
    return cut - begin, time.monotonic() - cut


@click.command()
@click.option("--pages", default=200)
@click.option("--nodes", "count", default=3, type=click.IntRange(2, 100))
@click.option("--after", type=int, help="Pages after which a node is cut off; default: a third.")
def main(pages: int, count: int, after: int | None) -> None:
    """Compare a run that loses a node with an undisturbed one without Ray."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # The namespaces are removed.
    with tempfile.TemporaryDirectory() as made:
        os.environ["RAY_AUTH_MODE"] = "disabled"  # Nobody else reaches the namespaces.
        folder, plain, out = Path(made) / "in", Path(made) / "plain", Path(made) / "out"
        folder.mkdir()
        write_pages(folder, pages)
        subprocess.run(batch(folder, plain), check=True, stderr=subprocess.DEVNULL)
        with cluster(count) as nodes:
            before, rest = read_and_cut(nodes, folder, out, pages // 3 if after is None else after)
        subprocess.run([*batch(folder, out)[:5], "verify", str(out)], check=True)
        if rows(out) != rows(plain):
            raise click.ClickException("the rows differ from those of the run without Ray")
        state = json.loads(subprocess.check_output([*batch(folder, out)[:5], "status", str(out)]))
    click.echo(
        f"{state['pages']} pages, {count} nodes, one cut off after {before:.0f} s, end {rest:.0f} s later: each page once, "
        "rows equal to those of a run without Ray"
    )


if __name__ == "__main__":
    main()
