"""Check that no request is lost when workers of the service behind nginx are killed: benchmarks/results/soak_service.md.

    python -m benchmarks.soak_service
    python -m benchmarks.soak_service --seconds 600 --no-write

CLIENTS clients send small pictures, one request after another, to nginx, which passes them on to `ocr-onnx serve --workers 2`
(docs/deploying.md has the configuration). A random worker is killed with SIGKILL every EVERY seconds or later: the server ends by
itself if more than 10 workers crash within 5 minutes. Each request must be answered with 200, and with the texts that were read
before the first kill. It needs Debian's nginx.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.memory import picture
from benchmarks.processes import Server, children, free_port
from benchmarks.runners.clients import Answer, Load, Sent
from benchmarks.runners.process import ROOT

NAME = "soak_service"
SECONDS = 3600
CLIENTS, WORKERS = 8, 2
PICTURES = 12
EVERY = (32.0, 45.0)
"""Seconds between two kills."""

WORKER = "spawn_main"
"""A word in the command line of a worker."""

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/1;
    uwsgi_temp_path {folder}/2;
    scgi_temp_path {folder}/3;
    upstream ocr {{
        server 127.0.0.1:{service} max_fails=0;
        server 127.0.0.1:{service} max_fails=0;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://ocr;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            client_max_body_size 64m;
            proxy_read_timeout 190s;
            proxy_next_upstream error non_idempotent;
        }}
    }}
}}
"""


def serving(folder: Path) -> Server:
    """The service."""
    port = free_port()
    command = [sys.executable, "-m", "ocr_onnx", "serve", "--port", str(port), "--workers", str(WORKERS)]
    command += ["--preset", "fast", "--queue_size", "100", "--max_connections_per_address", "0"]
    return Server("ocr-onnx serve", command, port, folder / "serve.log")


def proxy(folder: Path, service: int) -> Server:
    """Start nginx before the service at this port."""
    port, file = free_port(), folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, service=service, port=port), "utf-8")
    return Server("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(file)], port, folder / "nginx.log")


def workers(server: int) -> list[int]:
    """The process ids of the workers of a server."""
    found = []
    for process in children(server):
        with suppress(OSError):
            if WORKER in Path(f"/proc/{process}/cmdline").read_text("utf-8"):
                found.append(process)
    return found


@contextmanager
def killing(server: Server) -> Iterator[list[int]]:
    """Kill a worker from time to time; the list has those killed."""
    killed: list[int] = []
    done, draw = threading.Event(), random.Random(0)  # noqa: S311

    def kill() -> None:
        while not done.wait(draw.uniform(*EVERY)):
            if found := workers(server.process):
                killed.append(draw.choice(found))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


def send(port: int, files: Sequence[Path], seconds: float, requests: int | None = None) -> Sent:
    """Send the pictures for some seconds, or so many requests."""
    load = Load(port, CLIENTS, tuple(map(str, files)), seconds, requests)
    command = [sys.executable, "-m", "benchmarks.runners.clients", json.dumps(asdict(load))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    sent = json.loads(done.stdout)
    return Sent(**sent | {"answers": [Answer(**each) for each in sent["answers"]]})


def soak(seconds: float) -> dict[str, Any]:
    """Send pictures while workers are killed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # nginx's workers have another user, and keep large bodies in a folder below.
        folder.chmod(0o755)
        files = [folder / f"{number}.png" for number in range(PICTURES)]
        for number, file in enumerate(files):
            picture(number, (240 + 40 * number, 160 + 20 * number), 1 + number % 4).save(file)
        with serving(folder) as server, proxy(folder, server.port) as nginx:
            before = send(nginx.port, files, seconds, PICTURES)
            with killing(server) as killed:
                sent = send(nginx.port, files, seconds)
    changed = sum(sent.texts[number] != texts for number, texts in before.texts.items())
    return {
        "seconds": sent.wall,
        "statuses": {str(status): count for status, count in Counter(each.status for each in sent.answers).items()},
        "slowest": max(each.seconds for each in sent.answers),
        "kills": len(killed),
        "changed": changed,
    }


def markdown(result: dict[str, Any]) -> str:
    """The page of the results."""
    statuses = ", ".join(f"{count:,} with {status}" for status, count in sorted(result["statuses"].items()))
    hourly = result["statuses"].get("200", 0) / result["seconds"] * 3600
    return f"""# Soak of the service

`python -m benchmarks.soak_service{result["options"]}` on {result["circumstances"]}:

{CLIENTS} clients sent {PICTURES} small pictures again and again for {result["seconds"] / 60:.0f} minutes to nginx, before
`ocr-onnx serve --workers {WORKERS} --preset fast`. {result["kills"]} workers were killed.

Answers: {statuses}; {hourly:,.0f} images per hour; the slowest took {result["slowest"]:.1f} seconds. The texts of
{result["changed"]} pictures differ from those before the first kill.
"""


@click.command(help=__doc__)
@click.option("--seconds", default=SECONDS, show_default=True, type=click.IntRange(60))
@click.option("--write/--no-write", default=True, help="Write benchmarks/results/soak_service.md.")
def main(seconds: int, write: bool) -> None:
    """Soak, print, and fail if a request was not answered or a text changed."""
    options = "" if seconds == SECONDS else f" --seconds {seconds}"
    result = soak(seconds) | {"options": options, "circumstances": circumstances()}
    click.echo(markdown(result))
    if write:
        records.keep(NAME, result, markdown(result))
    sys.exit(set(result["statuses"]) != {"200"} or result["changed"] > 0)


if __name__ == "__main__":
    main()
