"""How inputs are read: what is taken of a PDF, and where reading stops."""

from __future__ import annotations

import re

ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def is_address(name: str) -> bool:
    """Whether a name is fetched from the web, and no path."""
    return ADDRESS.match(name) is not None
