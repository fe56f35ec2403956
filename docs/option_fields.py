"""A griffe extension for the API reference: shows a field declared by `ocr_onnx.declarations.option` with its default and help."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class OptionFields(griffe.Extension):
    """Replaces the call of `option(…)` by its default, and puts its help in front of the field's docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Change one field."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or str(call.function) != "option":
            return
        named = {each.name: each.value for each in call.arguments if isinstance(each, griffe.ExprKeyword)}
        attr.value = named["default"]
        # The arguments before the default are the kind, the name outside Python, and the help.
        parts = [ast.literal_eval(str(call.arguments[2]))]
        if limits := [f"{word} {named[word]}" for word in ("minimum", "maximum") if word in named]:
            parts[0] += f" ({', '.join(limits)})"
        if attr.docstring is not None:
            parts.append(attr.docstring.value)
        attr.docstring = griffe.Docstring("\n\n".join(parts), parent=attr)
