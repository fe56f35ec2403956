"""Run the graph passes with onnx and onnxslim: the installed ones, or a download that only a child process imports."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ocr_onnx import python_process
from ocr_onnx.converters import environment
from ocr_onnx.converters.legacy import stamp
from ocr_onnx.converters.paddle import is_installed
from ocr_onnx.errors import ConversionError, DownloadError, ModelError, OCRError
from ocr_onnx.models import download, store
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata

logger: logging.Logger = logging.getLogger(__name__)

PACKAGES = (
    "colorama",
    "ml-dtypes",
    "mpmath",
    "onnx",
    "onnxslim",
    "packaging",
    "protobuf",
    "sympy",
    "typing-extensions",
)
"""onnx, onnxslim and their dependencies, except NumPy, which ocr-onnx depends on."""


def ready(*, fetch: bool) -> bool:
    """Return whether onnx and onnxslim are available. `fetch` downloads them (24 MB) if not; a failure is logged as a warning."""
    if installed() or _folder().is_dir():
        return True
    try:
        if fetch:
            _fetch(_folder())
    except (ConversionError, DownloadError, OSError) as error:
        logger.warning("models are used without optimization, which is slower: %s", error)
    return _folder().is_dir()


def finish(source: Path, target: Path, metadata: ModelMetadata) -> None:
    """Make a model file from an ONNX export: optimized and compared with the export if the tools are available, else unchanged.

    If the optimized model fails the comparison, the export is used unchanged, with a warning. Raises ConversionError if the export
    does not match `metadata`.
    """
    if ready(fetch=False):
        try:
            if installed():
                from ocr_onnx.converters.export import import_onnx

                import_onnx(source, target, metadata)
            else:
                _run(source, target, metadata)
        except (ConversionError, ModelError) as error:
            logger.warning("%s is used without optimization, which is slower: %s", metadata.name, error)
        else:
            return
    stamp(source, target, metadata)


def installed() -> bool:
    """Return whether onnx and onnxslim are installed in this environment."""
    return is_installed("onnx") and is_installed("onnxslim")


def _folder() -> Path:
    """Return the folder of the downloaded packages, one for each Python version."""
    return store.home() / "tools" / f"graphs-{sys.implementation.cache_tag}-{store.sha256(environment.LOCK)[:12]}"


def _fetch(folder: Path) -> None:
    """Install the pinned packages to a folder. Raises DownloadError if downloads are disabled, ConversionError if pip fails."""
    if download.offline():
        raise DownloadError(f"onnx and onnxslim are not installed, and {download.OFFLINE_VARIABLE} is set")
    download.announce("Downloading onnx and onnxslim (24 MB) from the Python index, to optimize the model")
    pins = re.findall(r"^[\w.-]+==(?:.*\\\n)*.*\n", environment.LOCK.read_text("utf-8"), re.MULTILINE)
    with store.writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with store.locked(folder.name), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if folder.is_dir():
            return
        wanted, made = Path(scratch, "requirements.txt"), Path(scratch, "made")
        wanted.write_text("".join(pin for pin in pins if pin.partition("==")[0] in PACKAGES), "utf-8")
        environment.install(wanted, "--no-deps", "--only-binary=:all:", "--target", made)
        made.replace(folder)


def _run(source: Path, target: Path, metadata: ModelMetadata) -> None:
    """Run import_onnx in a child process with the downloaded packages. Raises ConversionError with its error message."""
    command = python_process.function("ocr_onnx.converters.toolchain", source, target, first=[_folder()])
    done = subprocess.run(
        command,
        input=metadata.to_json(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    told = done.stderr.strip()
    if done.returncode != 0 or not target.is_file():
        raise ConversionError(told[-1000:] or f"its process ended with {done.returncode}")
    if told:
        logger.info("%s", told)


def main() -> None:
    """Entry point of the child process: SOURCE TARGET as arguments, the metadata on standard input."""
    from ocr_onnx.converters.export import import_onnx

    source, target = map(Path, sys.argv[1:3])
    try:
        import_onnx(source, target, ModelMetadata.from_properties({PROPERTY: sys.stdin.read()}, str(source)))
    except OCRError as error:
        sys.exit(str(error))
