"""A griffe extension for the API reference: shows a field declared as an option with its default and help."""

from __future__ import annotations

import ast
from typing import Any

import griffe

LIMITS: dict[str, dict[str, Any]] = {"option": {}, "_share": {"minimum": 0, "maximum": 1}}
"""The functions that declare an option, and the limits that they set."""


class OptionFields(griffe.Extension):
    """Replaces the call of `option(…)` by its default, and puts its help in front of the field's docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Change one field."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or str(call.function) not in LIMITS:
            return
        given = {each.name: each.value for each in call.arguments if isinstance(each, griffe.ExprKeyword)}
        named = {**LIMITS[str(call.function)], **given}
        attr.value = named["default"]
        parts = [ast.literal_eval(str(call.arguments[0]))]
        if limits := [f"{word} {named[word]}" for word in ("minimum", "maximum") if word in named]:
            parts[0] += f" ({', '.join(limits)})"
        if attr.docstring is not None:
            parts.append(attr.docstring.value)
        attr.docstring = griffe.Docstring("\n\n".join(parts), parent=attr)
