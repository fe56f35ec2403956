"""Read with Tesseract's command and its own page segmentation."""

from __future__ import annotations

import shutil
import subprocess

from benchmarks.runners.protocol import Line, Reader, Settings, serve


def prepare(_: Settings) -> Reader:
    """Read a page as one text."""
    command = shutil.which("tesseract")
    if command is None:
        raise RuntimeError("tesseract is not installed")

    def read(path: str) -> list[Line]:
        done = subprocess.run([command, path, "-"], capture_output=True, check=True, encoding="utf-8")
        return [Line(done.stdout, [])]

    return read


if __name__ == "__main__":
    serve(prepare, ())
