"""Commands that start another Python process; no other module builds one.

`python -m` and `python -c` put the current folder first on the module search path, and anybody may have written into that
folder. Every command here leaves it out (-P), or leaves out PYTHONPATH and the user's site-packages too (-I).
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
"""The environment variable that does what -P does, for every Python process that a child starts in turn."""

INTERPRETER = re.compile(r"\.?(python|pypy|graalpy)[\w.-]*", re.IGNORECASE)
"""The file name of a Python interpreter, as a virtual environment, a distribution or a wrapper names it."""


def interpreter() -> str:
    """The path of the Python interpreter that runs this process.

    Raises OCRError where Python is embedded in another program, which would be started a second time.
    """
    if getattr(sys, "frozen", False) or INTERPRETER.fullmatch(Path(sys.executable or "").name) is None:
        raise OCRError(
            f"this program ({sys.executable or 'without a path'}) embeds Python and cannot start a Python process: "
            "run ocr-onnx with the interpreter of its environment"
        )
    return sys.executable


def isolated(*arguments: object, python: str | os.PathLike[str] | None = None) -> list[str]:
    """The command for a tool such as `-m pip`: -I ignores PYTHON* variables and the user's site-packages.

    `python` is the interpreter, by default this one. Raises OCRError as `interpreter` does.
    """
    return [os.fspath(python or interpreter()), "-I", *map(str, arguments)]


def module(name: str, *arguments: object, python: str | os.PathLike[str] | None = None) -> list[str]:
    """The command for `python -m NAME`, found by PYTHONPATH and among installed packages.

    Raises OCRError as `interpreter` does.
    """
    return [os.fspath(python or interpreter()), "-P", "-m", name, *map(str, arguments)]


def function(name: str, *arguments: object, first: Sequence[Path] = ()) -> list[str]:
    """The command that calls `main()` of a module of this package, with this process's module search path.

    `first` are folders that come before it. Entries that depend on the current folder are left out of the path. Raises
    OCRError as `interpreter` does.
    """
    path = [*map(str, first), *(entry for entry in sys.path if Path(entry).is_absolute())]
    package = str(Path(__file__).parents[1])
    path += [] if package in path else [package]
    script = f"import sys; sys.path[:] = {path!r}; from {name} import main; main()"
    return [interpreter(), "-P", "-c", script, *map(str, arguments)]


def multiprocessing_context() -> SpawnContext:
    """A multiprocessing context whose processes, the resource tracker too, leave the current folder out.

    It sets PYTHONSAFEPATH for this process's children. Raises OCRError as `interpreter` does.
    """
    import multiprocessing

    interpreter()
    os.environ.update(SAFE_PATH)
    return multiprocessing.get_context("spawn")
