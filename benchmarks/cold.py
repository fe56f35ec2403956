"""Measure a whole command that reads one picture: start, loading of models, reading, exit."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]


@dataclass(slots=True)
class Cold:
    """The runs of one command."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    """KiB; at least what the measuring process itself holds, as Linux counts a process's memory from before its program."""


def measure(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, Cold]:
    """Run all commands in turn, so often; a first turn, for the disk's cache, does not count."""
    measured = {name: Cold() for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            wall, cpu, peak = run(command)
            if turn:
                measured[name].wall.append(wall)
                measured[name].cpu.append(cpu)
                measured[name].peak.append(peak)
    return measured


def run(command: Sequence[str]) -> tuple[float, float, int]:
    """(seconds, seconds on the processors, peak in KiB) of a command. Raises click.ClickException, with its errors, if it fails."""
    with tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT, env=_environment())
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            raise click.ClickException(f"{shlex.join(command)} ended with {process.returncode}: {said}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss


def _environment() -> dict[str, str]:
    """ocr-onnx, with Python's bytecode cache, which an installed package has too."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
