"""onnx and onnxslim, which rewrite graphs: those installed, or fetched once and used by another process."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ocr_onnx import python_process
from ocr_onnx.converters.environment import LOCK
from ocr_onnx.converters.legacy import stamp
from ocr_onnx.errors import ConversionError, DownloadError, OCRError
from ocr_onnx.models import download, store
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata

logger = logging.getLogger(__name__)

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
"""They and what they need, but for NumPy, which is here."""


def ready(*, fetch: bool) -> bool:
    """Whether they are here. With `fetch` they are fetched (24 MB), if they are not; where that fails, a warning says why."""
    if installed() or _folder().is_dir():
        return True
    try:
        if fetch:
            _fetch(_folder())
    except (DownloadError, OSError) as error:
        logger.warning("models stay as they were exported, which takes more time: %s", error)
    return _folder().is_dir()


def finish(source: Path, target: Path, metadata: ModelMetadata) -> None:
    """Make a model of an ONNX export: rewritten and compared with it where the tools are here, else the same graph.

    It stays the same, with a warning, where something is amiss with what comes out, too. Raises ConversionError where the
    export is not what `metadata` says.
    """
    if ready(fetch=False):
        try:
            if installed():
                from ocr_onnx.converters.export import import_onnx

                import_onnx(source, target, metadata)
            else:
                _run(source, target, metadata)
        except ConversionError as error:
            logger.warning("%s stays as it was exported, which takes more time: %s", metadata.name, error)
        else:
            return
    stamp(source, target, metadata)


def installed() -> bool:
    """Whether this process can import them from where packages are installed."""
    return find_spec("onnx") is not None and find_spec("onnxslim") is not None


def _folder() -> Path:
    """Where they lie once they are fetched, for this kind of Python."""
    return store.home() / "tools" / f"graphs-{sys.implementation.cache_tag}-{store.sha256(LOCK)[:12]}"


def _fetch(folder: Path) -> None:
    """Have pip, with the user's own settings, put them into a folder. Raises DownloadError."""
    if download.offline():
        raise DownloadError(f"onnx and onnxslim are not installed, and {download.OFFLINE_VARIABLE} is set")
    pins = re.findall(r"^[\w.-]+==(?:.*\\\n)*.*\n", LOCK.read_text("utf-8"), re.MULTILINE)
    with store.writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with store.locked(folder.name), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if folder.is_dir():
            return
        wanted, made = Path(scratch, "requirements.txt"), Path(scratch, "made")
        wanted.write_text("".join(pin for pin in pins if pin.partition("==")[0] in PACKAGES), "utf-8")
        command = python_process.isolated(
            "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"
        )
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(wanted), "--target", str(made)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode != 0:
            raise DownloadError(f"pip could not install onnx and onnxslim: {done.stderr.strip()[-1000:]}")
        made.replace(folder)


def _run(source: Path, target: Path, metadata: ModelMetadata) -> None:
    """Import an export in a process that has what was fetched. Raises ConversionError with what that says."""
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
    """Import the export that is named first as the model that is named next; its description is read from standard input."""
    from ocr_onnx.converters.export import import_onnx

    source, target = map(Path, sys.argv[1:3])
    try:
        import_onnx(source, target, ModelMetadata.from_properties({PROPERTY: sys.stdin.read()}, str(source)))
    except OCRError as error:
        sys.exit(str(error))
