"""Values that the shell completes: models, languages and versions."""

from __future__ import annotations

from collections.abc import Iterable

import click


def complete_models(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the official and the imported models whose names begin with `begun`."""
    from ocr_onnx.models import store, zoo

    return _beginning(begun, {*zoo.models(), *store.installed()})


def complete_languages(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the languages that begin with the part of `begun` after its last comma, each with what precedes it."""
    from ocr_onnx.models.languages import languages

    before, comma, last = begun.rpartition(",")
    return [before + comma + name for name in _beginning(last, languages())]


def complete_versions(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the versions that begin with `begun`."""
    from ocr_onnx.models.zoo import zoo

    return _beginning(begun, zoo().versions)


def complete_devices(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the devices that begin with `begun`."""
    return _beginning(begun, ("cpu", "gpu", "gpu:0", "auto"))


def _beginning(begun: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(begun))
