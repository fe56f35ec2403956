"""Check that a batch that is killed again and again has each page once, and the rows of an undisturbed run: docs/scaling.md.

    python -m benchmarks.interruptions
    python -m benchmarks.interruptions --pages 60 --kills 5

The pages are made for the run: pictures with one number, three TIFFs and PDFs of scanned numbers. Each run is killed with SIGKILL,
all processes at once or its main process alone, after a random time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import PIL.Image

PDF_PAGES = 30
FIRST, LAST = 0.5, 12.0
"""Seconds after which a run is killed."""


def number(value: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of a number."""
    image = np.full((60, 200, 3), 255, np.uint8)
    cv2.putText(image, str(10_000 + value), (10, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (0, 0, 0), 2)
    return image


def write_pages(folder: Path, pages: int) -> None:
    """Write pictures, and PDFs that have about a third of the pages."""
    in_pdfs = pages // 3
    for first in range(0, in_pdfs, PDF_PAGES):
        scans = [PIL.Image.fromarray(number(i)) for i in range(first, min(first + PDF_PAGES, in_pdfs))]
        scans[0].save(folder / f"{first}.pdf", save_all=True, append_images=scans[1:])
    for i in range(in_pdfs, pages):
        cv2.imwrite(str(folder / f"{i}.png"), number(i))


def command(folder: Path, out: Path) -> list[str]:
    """The command of a run."""
    options = ["--preset", "fast", "--workers", "2", "--shard_pages", "40"]
    return [sys.executable, "-P", "-m", "ocr_onnx", "batch", str(folder), "-o", str(out), *options]


def killed(arguments: list[str], seconds: float, *, whole_group: bool) -> bool:
    """Run a command and kill it after some seconds; return whether it had not ended before."""
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(-process.pid if whole_group else process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def rows(out: Path) -> list[str]:
    """The rows of all shards, sorted."""
    lines = [line for path in out.glob("pages/*.jsonl") for line in path.read_text("utf-8").splitlines()]
    return sorted(lines)


def pages_in_journal(out: Path) -> int:
    """The pages of a run, as `status` says."""
    done = subprocess.run([*command(out, out)[:5], "status", str(out)], capture_output=True, text=True, check=False)
    return int(json.loads(done.stdout)["pages"]) if done.returncode == 0 else 0


@click.command()
@click.option("--pages", default=500)
@click.option("--kills", default=30)
@click.option("--seed", default=0)
def main(pages: int, kills: int, seed: int) -> None:
    """Kill runs until `kills` have been killed, in as many outputs as that takes, and compare each with an undisturbed run."""
    draw = random.Random(seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as made:
        folder, plain = Path(made) / "in", Path(made) / "plain"
        folder.mkdir()
        write_pages(folder, pages)
        subprocess.run(command(folder, plain), check=True, stderr=subprocess.DEVNULL)
        expected, done, outputs = rows(plain), 0, 0
        while done < kills:
            out, outputs = Path(made) / f"out-{outputs}", outputs + 1
            begin = time.monotonic()
            while done < kills and killed(
                command(folder, out), draw.uniform(FIRST, LAST), whole_group=draw.random() < 0.5
            ):
                done += 1
                click.echo(f"kill {done}: {pages_in_journal(out)} pages after {time.monotonic() - begin:.0f} s")
            subprocess.run(command(folder, out), check=True, stderr=subprocess.DEVNULL)
            subprocess.run([*command(out, out)[:5], "verify", str(out)], check=True)
            if rows(out) != expected:
                raise click.ClickException(f"the rows of {out} differ from those of the undisturbed run")
    click.echo(
        f"{pages} pages, {done} kills over {outputs} outputs: each page once, rows equal to an undisturbed run's"
    )


if __name__ == "__main__":
    main()
