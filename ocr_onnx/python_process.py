"""Command lines that start another Python process. No other module builds one.

`python -m` and `python -c` put the current folder first on the module search path, and other users may have written files
into that folder. Every command here excludes it (-P), or excludes PYTHONPATH and the user's site-packages as well (-I).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from multiprocessing.context import SpawnContext
from pathlib import Path

from ocr_onnx.errors import OCRError

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""The environment variable that corresponds to -P. Unlike -P, the processes that a child starts inherit it."""

INTERPRETER = re.compile(r"\.?(python|pypy|graalpy)[\w.-]*", re.IGNORECASE)
"""The file name of a Python interpreter in a virtual environment, a Linux distribution or a wrapper."""


def interpreter() -> str:
    """Return the path of the Python interpreter that runs this process.

    Raises OCRError if Python is embedded in another program: that program would be started a second time.
    """
    if getattr(sys, "frozen", False) or INTERPRETER.fullmatch(Path(sys.executable or "").name) is None:
        raise OCRError(
            f"this program ({sys.executable or 'without a path'}) embeds Python and cannot start a Python process: "
            "run ocr-onnx with the interpreter of its environment, for a missing model 'ocr-onnx models pull', and give this program the "
            "same OCR_ONNX_HOME"
        )
    return sys.executable


def isolated(*arguments: object, python: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the command for a tool such as `-m pip`, with -I: PYTHON* variables and the user's site-packages are ignored.

    `python` is the path of the interpreter; default: the one of this process. Raises OCRError like `interpreter`.
    """
    return [os.fspath(python or interpreter()), "-I", *map(str, arguments)]


def module(name: str, *arguments: object, python: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the command for `python -m NAME`; the module is searched in PYTHONPATH and the installed packages.

    `python` is the path of the interpreter; default: the one of this process. Raises OCRError like `interpreter`.
    """
    return [os.fspath(python or interpreter()), "-P", "-m", name, *map(str, arguments)]


def function(name: str, *arguments: object, first: Sequence[Path] = ()) -> list[str]:
    """Return the command that calls `main()` of module `name` of this package, with the module search path of this process.

    The folders in `first` precede that path. Relative entries of the path, which depend on the current folder, are excluded.
    Raises OCRError like `interpreter`.
    """
    path = [*map(str, first), *(entry for entry in sys.path if Path(entry).is_absolute())]
    package = str(Path(__file__).parents[1])
    path += [] if package in path else [package]
    script = f"import sys; sys.path[:] = {path!r}; from {name} import main; main()"
    return [interpreter(), "-P", "-c", script, *map(str, arguments)]


def multiprocessing_context() -> SpawnContext:
    """Return a multiprocessing context whose processes, including the resource tracker, do not import from the current folder.

    Sets PYTHONSAFEPATH in the environment, for all later children of this process. Raises OCRError like `interpreter`.
    """
    import multiprocessing

    interpreter()
    os.environ.update(SAFE_PATH)
    return multiprocessing.get_context("spawn")
