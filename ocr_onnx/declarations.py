"""Declarations of options: default, range, help and names of a dataclass field, in the field's metadata.

The checks of options, the command line, HTTP requests, pipeline files and the tables in the documents are made from them.
"""

from __future__ import annotations

import math
import os
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from ocr_onnx.errors import OptionError, shortened

Kind: TypeAlias = Literal["boolean", "integer", "number", "text", "shape", "path"]


Shape: TypeAlias = tuple[int, int, int]
"""(3, height, width) in pixels."""


KINDS: dict[Any, Kind] = {bool: "boolean", int: "integer", float: "number", str: "text", Shape: "shape", Path: "path"}
"""By the type of a field."""

AXES = 3
"""Of a shape; and the number of color channels."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known of an option besides its default."""

    help: str
    name: str = ""
    """Its name outside Python; if not given, the field's. It is PaddleOCR's if PaddleOCR has the option: `text_det_thresh`; over HTTP `textDetThresh`."""
    kind: Kind = "text"
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False
    """Whether None is a value: then the model decides, or there is no restriction."""
    request: bool = False
    """Whether an HTTP request may set it."""
    request_maximum: float = math.inf
    """The largest value in an HTTP request, if that is less than `maximum`."""
    multiple: bool = False
    """Whether the value is a tuple; the option of the command line is repeated."""
    beyond: str = ""
    """What happens above a limit of the service, such as an HTTP status; empty if the option is no such limit."""

    def check(self, label: str, value: object) -> None:
        """Raise OptionError unless `value` has the right type and range; `label` is its name in the message."""
        if value is None and self.optional:
            return
        if self.multiple:
            if not isinstance(value, tuple | list):
                raise OptionError(f"{label} is {shortened(repr(value))}: it must be a tuple")
            for each in value:
                replace(self, multiple=False).check(label, each)
        elif self.kind in {"integer", "number"}:
            check_number(label, value, self.minimum, self.maximum, whole=self.kind == "integer")
        elif self.kind == "shape":
            check_shape(label, value)
        elif self.kind == "boolean" and not isinstance(value, bool):
            raise OptionError(f"{label} is {shortened(repr(value))}: it must be True or False")
        elif self.choices and not (isinstance(value, str) and value in self.choices):
            raise OptionError(f"{label} is {shortened(repr(value))}: it must be {' or '.join(map(repr, self.choices))}")
        elif self.kind in {"text", "path"} and not isinstance(value, str if self.kind == "text" else Path):
            what = "a string" if self.kind == "text" else "a Path"
            # Not the value: it can be a password.
            raise OptionError(
                f"{label} has the type {type(value).__name__}: it must be {what}{', or None' if self.optional else ''}"
            )


def shown(value: object) -> str:
    """A default or limit as the help and the tables show it: 2.0 as 2."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def option(help: str, *, default: Any, secret: bool = False, **further: Any) -> Any:  # noqa: A002
    """A dataclass field with a Declaration, of which `further` are other fields; a `secret` is left out of repr().

    Kind, choices, and whether it is optional or multiple follow from the type of the field.
    """
    return field(default=default, repr=not secret, metadata={"declaration": Declaration(help, **further)})


def option_of(record: type, name: str, *, default: Any, **changes: Any) -> Any:
    """A dataclass field with the declaration of another record's field, except for `changes`, and a default of its own."""
    declared = {each.name: inner for each, inner in declared_fields(record)}[name]
    return field(default=default, metadata={"declaration": replace(declared, **changes)})


def declared_fields(record: Any) -> tuple[tuple[Field[Any], Declaration], ...]:
    """The fields of a dataclass, or of an instance of it, that have a declaration, each with it."""
    of: Any = record if isinstance(record, type) else type(record)
    return _declared_fields(of)


@cache
def _declared_fields(record: type) -> tuple[tuple[Field[Any], Declaration], ...]:
    types = get_type_hints(record)
    return tuple(
        (each, _completed(each.metadata["declaration"], each.name, types[each.name]))
        for each in fields(record)
        if "declaration" in each.metadata
    )


def _completed(declared: Declaration, name: str, hint: Any) -> Declaration:
    """The declaration with what the name and the type of its field say."""
    union = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    (kind,) = (each for each in union if each is not NoneType)
    multiple = get_origin(kind) is tuple and kind not in KINDS
    kind = get_args(kind)[0] if multiple else kind
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return replace(
        declared,
        name=declared.name or name,
        kind="text" if choices else KINDS[kind],
        choices=choices,
        optional=NoneType in union,
        multiple=multiple,
    )


class OptionRecord:
    """Base of a dataclass of options. Raises OptionError for a value of a wrong type or out of range."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check the values."""
        check(self)


def check(record: Any) -> None:
    """Raise OptionError if an option of a dataclass instance has a wrong type or is out of range."""
    for each, declared in declared_fields(record):
        field_name = "" if declared.name == each.name else f" ({type(record).__name__}.{each.name})"
        declared.check(declared.name + field_name, getattr(record, each.name))


def check_text(name: str, value: object) -> str:
    """Return `value`. Raises OptionError unless it is a string."""
    if not isinstance(value, str):
        raise OptionError(f"{name} is {shortened(repr(value))}: it must be a string")
    return value


def checked_path(name: str, value: object) -> Path:
    """Return a path that a user gives. Raises OptionError unless it is a string or a path that a file can have."""
    problem = "it must be a path"
    if isinstance(value, str | os.PathLike) and isinstance(path := os.fspath(value), str):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return Path(path)
        except (OSError, ValueError) as error:
            problem = f"no file can have this path ({getattr(error, 'strerror', None) or error}); give another one"
        else:
            return Path(path)
    raise OptionError(f"{name} is {shortened(repr(value))}: {problem}")


def check_number(name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False) -> None:
    """Raise OptionError unless `value` is a finite number (an integer if `whole`) from `low` to `high`."""
    kind = int if whole else int | float
    if isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high:
        return
    what = "a whole number" if whole else "a number"
    limits = f"from {low} to {high}" if math.isfinite(high) else f"of at least {low}"
    raise OptionError(f"{name} is {shortened(repr(value))}: it must be {what} {limits}")


def check_shape(name: str, value: object) -> None:
    """Raise OptionError unless `value` is the shape of an image tensor: (3, height, width)."""
    if isinstance(value, tuple | list) and len(value) == AXES and value[0] == AXES:
        for side in value[1:]:
            check_number(name, side, 1, whole=True)
        return
    raise OptionError(f"{name} is {shortened(repr(value))}: it must be (3, height, width)")
