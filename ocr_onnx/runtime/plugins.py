"""Installed packages with plug-in execution providers for ONNX Runtime."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

logger: logging.Logger = logging.getLogger(__name__)

PREFIX = "onnxruntime-ep-"
"""The start of these packages' names. Each has `get_library_path` and `get_ep_names`, according to ONNX Runtime's rules
for packages of plug-ins: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/packaging.html."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A package with plug-in execution providers."""

    distribution: str
    version: str
    providers: tuple[str, ...]
    """The names of the providers."""
    library: str
    """The path of the shared library that ONNX Runtime loads."""


def installed() -> list[Plugin]:
    """Return the installed plug-ins, sorted by name; log a warning for those that cannot be imported."""
    from importlib.metadata import distributions

    found: dict[str, Plugin] = {}
    for distribution in distributions():
        name = distribution.name.lower().replace("_", "-")
        if name.startswith(PREFIX) and name not in found:
            for plugin in _plugins(name, distribution):
                found[name] = plugin
    return [found[name] for name in sorted(found)]


def _plugins(name: str, distribution: Distribution) -> Iterator[Plugin]:
    """Yield the plug-ins that a distribution's modules describe; none for distributions that only require others."""
    files = distribution.files or []
    for module in sorted({file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"}):
        try:
            package = importlib.import_module(module)
            yield Plugin(name, distribution.version, tuple(package.get_ep_names()), str(package.get_library_path()))
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            logger.warning("%s has no usable execution provider: %s; install it again", name, error)
