"""Recognize http and https URLs among the names of inputs."""

from __future__ import annotations

import re

URL = re.compile(r"https?://", re.IGNORECASE)


def is_url(name: str) -> bool:
    """Return whether `name` is an http or https URL rather than a path."""
    return URL.match(name) is not None
