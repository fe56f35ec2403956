"""Plug-in providers for ONNX Runtime: the packages of them that are installed."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

logger = logging.getLogger(__name__)

PREFIX = "onnxruntime-ep-"
"""What the names of such packages begin with. Each has `get_library_path` and `get_ep_names`, after ONNX Runtime's rules
for packages of plug-ins: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/packaging.html."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A package with execution providers."""

    distribution: str
    version: str
    providers: tuple[str, ...]
    """Their names."""
    library: str
    """The path of the shared library that ONNX Runtime loads."""


def installed() -> list[Plugin]:
    """Those on this machine, by name; one that cannot be imported is named in the log."""
    from importlib.metadata import distributions

    found: dict[str, Plugin] = {}
    for distribution in distributions():
        name = distribution.name.lower().replace("_", "-")
        if name.startswith(PREFIX) and name not in found:
            for plugin in _plugins(name, distribution):
                found[name] = plugin
    return [found[name] for name in sorted(found)]


def _plugins(name: str, distribution: Distribution) -> Iterator[Plugin]:
    """What a distribution's modules say of themselves; those that only require others have none."""
    files = distribution.files or []
    for module in sorted({file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"}):
        try:
            package = importlib.import_module(module)
            yield Plugin(name, distribution.version, tuple(package.get_ep_names()), str(package.get_library_path()))
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            logger.warning("%s offers no execution provider: %s; install it anew", name, error)
