"""Parses YAML files from strangers: pipeline files, and the inference.yml of a model."""

from __future__ import annotations

from typing import Any, Literal

import yaml

MAX_CHARACTERS = 2**24
"""The maximum length of a file, in characters. A dictionary of 18,000 characters takes about ten for each."""

MAX_VALUES = 2**20
"""The maximum number of keys and values. Aliases count with all that they stand for: a short file can multiply them."""

MAX_DEPTH = 100
"""The maximum number of lists and mappings within each other. PyYAML 6.0.1 crashes at 100,000."""


def load_yaml(text: str, loader: Literal["SafeLoader", "BaseLoader"] = "SafeLoader") -> Any:
    """Parse YAML. Raises yaml.YAMLError for all that is wrong with it. The loaders written in C are faster."""
    fastest = getattr(yaml, f"C{loader}", getattr(yaml, loader))
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it has more than {MAX_CHARACTERS} characters: remove what is no setting")
    try:
        _check_size(text, fastest)
        return yaml.load(text, fastest)  # noqa: S506 both are safe
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # PyYAML raises these for a value that does not have the form of its tag, such as !!bool x.
        raise yaml.YAMLError(f"a value is invalid: {error}") from error


def _check_size(text: str, loader: Any) -> None:
    """Raise yaml.YAMLError if a text has too many values, or an alias for something that contains the alias."""
    sizes: dict[str | None, int] = {}
    open_: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, total))
            if len(open_) > MAX_DEPTH:
                raise yaml.YAMLError(f"it has more than {MAX_DEPTH} levels: remove what is no setting")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(
                    f"the alias *{event.anchor} stands for a part that contains it: repeat the value instead"
                )
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            sizes[anchor] = total - before
        if total > MAX_VALUES:
            raise yaml.YAMLError(f"it has more than {MAX_VALUES} values: remove aliases and what is no setting")
