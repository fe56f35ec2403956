"""Tells PyInstaller which data files a frozen program needs."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder with the hook; PyInstaller calls this entry point."""
    return [str(Path(__file__).parent)]
