"""Describe the machine, the date and the versions of a measurement."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from pathlib import Path

from ocr_onnx import __version__
from ocr_onnx.runtime.backend import onnxruntime
from ocr_onnx.runtime.threads import cpu_count


def today() -> str:
    """The date, in UTC."""
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"


def machine() -> str:
    """The processor and how many of its cores may be used."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    return f"{model[1] if model else platform.machine()}, {cpu_count()} cores"


def load() -> float:
    """The kernel's load average over the last 15 minutes: above the number of cores, other work disturbed the times."""
    return os.getloadavg()[2]


def system() -> str:
    """What was measured, and on what it stands."""
    return f"ocr-onnx {__version__}, ONNX Runtime {onnxruntime().__version__}, Python {platform.python_version()}"


def circumstances() -> str:
    """All of it, on one line."""
    return f"{today()}; {machine()}, load average {load():.1f}; {system()}"
