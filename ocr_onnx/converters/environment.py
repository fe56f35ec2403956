"""Create an isolated environment with Paddle once, and run conversions in it."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ocr_onnx import python_process
from ocr_onnx.converters.paddle import PACKAGES
from ocr_onnx.errors import ConversionError
from ocr_onnx.installation import requirement
from ocr_onnx.models import download, store, zoo

logger: logging.Logger = logging.getLogger(__name__)

LOCK = Path(__file__).with_name("requirements.lock")
"""Pinned versions and hashes of its packages, for the Python version below."""

PYTHON = "3.11"

Confirm = Callable[[str], bool]
"""Asks whether an environment may be created; the question names its folder and size."""

SIZE = "About 330 MB of downloads, 1.2 GB on disk"

WHOLE = "whole"
"""Marker file of a complete environment, written last."""


def find() -> Path | None:
    """Return the environment's Python; None if there is no complete environment."""
    pythons = (_python(marker.parent) for marker in sorted(_tools().glob(f"{_name()}-*/{WHOLE}")))
    return next((python for python in pythons if python.is_file()), None)


def ensure(purpose: str, command: str, confirm: Confirm | None) -> Path:
    """Return the environment's Python; create the environment if there is none and `confirm` agrees.

    `purpose` is used in messages, as in "converting NAME"; `command` creates the environment without a question. Raises
    ConversionError if the environment may not or cannot be created.
    """
    if (found := find()) is not None:
        return found
    by_hand = f"in an environment of Python {PYTHON}, pip install {requirement('convert,cpu')}"
    if download.offline():
        raise ConversionError(
            f"{purpose} needs Paddle, and {download.OFFLINE_VARIABLE} forbids fetching it: convert it on a machine with "
            "a network, and take the ONNX file in with 'ocr-onnx models import'"
        )
    base = _base()
    question = f"{purpose[:1].upper()}{purpose[1:]} needs Paddle; make an environment for it in {_tools()}? {SIZE}"
    if confirm is None or not confirm(question):
        raise ConversionError(
            f"{purpose} needs Paddle: '{command}' makes an environment for it in {_tools()} "
            f"({SIZE[:1].lower()}{SIZE[1:]}); or do it {by_hand}"
        )
    with store.locked(_name()):
        return find() or _make(base)


def run(python: Path, *arguments: object) -> str:
    """Run an ocr-onnx command in the environment; return its output. Raises ConversionError with its error message."""
    with tempfile.TemporaryDirectory() as scratch:
        # A folder with this package only: other packages beside it would shadow those of the environment.
        Path(scratch, "ocr_onnx").symlink_to(zoo.PACKAGE, target_is_directory=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            python_process.module("ocr_onnx", *arguments, python=python),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**inherited, **python_process.SAFE_PATH, "PYTHONPATH": scratch},
            check=False,
        )
    if done.returncode != 0:
        told = re.search(r"^Error: (.+)", done.stderr, re.MULTILINE | re.DOTALL)
        log = f"the environment of {python} failed with {done.returncode}:\n{done.stderr[-2000:]}"
        raise ConversionError(told[1].strip() if told else log)
    return done.stdout


def versions() -> Mapping[str, str]:
    """Return the environment's versions of the packages that a conversion depends on."""
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK.read_text("utf-8"), re.MULTILINE))
    return {name: pins[name] for name in PACKAGES if name in pins}


def _make(base: str) -> Path:
    """Create the environment with the Python `base` in a new folder; an incomplete one is never used."""
    tools = _tools()
    with store.writing(tools):
        tools.mkdir(parents=True, exist_ok=True)
    for left in tools.glob(f"{_name()}-*"):
        shutil.rmtree(left, ignore_errors=True)
    # An environment cannot be moved. The name is new because a killed process may have left a pip that still writes.
    folder = tools / f"{_name()}-{secrets.token_hex(4)}"
    python = _python(folder)
    try:
        _log(python_process.isolated("-m", "venv", folder, python=base))
        install(LOCK, python=python)
        with store.writing(folder):
            (folder / WHOLE).touch()
    finally:
        if not (folder / WHOLE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    return python


def install(requirements: Path, *options: object, python: Path | None = None) -> None:
    """Install pinned packages with pip and the user's pip settings. Raises ConversionError."""
    quiet = ("--disable-pip-version-check", "--progress-bar=off", "--no-compile")
    pinned = ("--require-hashes", "--requirement", requirements)
    _log(python_process.isolated("-m", "pip", "install", *quiet, *pinned, *options, python=python))


def _log(command: list[str]) -> None:
    """Run a command and log its output. Raises ConversionError with the end of the output if it fails."""
    printed = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    ) as process:
        for line in process.stdout or ():
            logger.info("%s", line.rstrip())
            printed.append(line)
    if process.returncode != 0:
        raise ConversionError(
            f"'{' '.join(command)}' failed, check the network and pip's settings:\n{''.join(printed)[-2000:]}"
        )


def _base() -> str:
    """Return a Python of the version that the packages are pinned for; uv installs it. Raises ConversionError if there is none."""
    wanted = f"python{PYTHON}"
    if "{}.{}".format(*sys.version_info) == PYTHON:
        return python_process.interpreter()
    if (found := on_path(PYTHON)) is not None:
        return found
    for uv in _programs("uv"):
        _log([uv, "python", "install", PYTHON])
        find = [uv, "python", "find", "--managed-python", "--no-project", PYTHON]
        return subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
    raise ConversionError(
        f"converting with Paddle needs Python {PYTHON}, and no {wanted} on the PATH works: install it "
        f"(apt install {wanted}-venv, …), or uv, which installs it (pip install uv), and try again"
    )


def on_path(version: str) -> str | None:
    """Return a Python of this version on the PATH that works: the python3.11 of a version manager can exist and fail."""
    return next((each for each in _programs(f"python{version}") if _version(each) == version), None)


def _programs(name: str) -> Iterator[str]:
    """Yield the programs of this name in the absolute folders of the PATH."""
    paths = (shutil.which(name, path=folder) for folder in filter(os.path.isabs, os.get_exec_path()))
    yield from filter(None, paths)


def _version(python: str) -> str:
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    command = python_process.isolated("-c", script, python=python)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _tools() -> Path:
    return store.home() / "tools"


def _name() -> str:
    return f"convert-{store.sha256(LOCK)[:12]}"


def _python(folder: Path) -> Path:
    return Path(sysconfig.get_path("scripts", "venv", {"base": str(folder.absolute())}), "python")
