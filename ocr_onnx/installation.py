"""How this package was installed, for the `pip install` commands that messages name."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "ocr-onnx"


def requirement(extras: str) -> str:
    """Return what follows `pip install` to add `extras`, such as "serve,cpu", from the place that this package came from.

    It is the name if it came from a package index, else the wheel, the checkout or the address (PEP 610: direct_url.json).
    """
    origin = _origin()
    url = origin.get("url", "")
    if not url:
        return shlex.quote(f"{NAME}[{extras}]")
    if "vcs_info" in origin:
        url = f"{origin['vcs_info'].get('vcs', 'git')}+{url}"
    if not url.startswith("file:"):
        return shlex.quote(f"{NAME}[{extras}] @ {url}")
    path = shlex.quote(f"{Path(unquote(urlsplit(url).path))}[{extras}]")
    return f"-e {path}" if origin.get("dir_info", {}).get("editable") else path


def _origin() -> dict[str, Any]:
    """Return the content of direct_url.json; empty if the package came from an index or is not installed."""
    try:
        return dict(json.loads(importlib.metadata.distribution(NAME).read_text("direct_url.json") or "{}"))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {}
