"""Declarations of options: what follows from the type of the field, and what is checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from ocr_onnx.declarations import OptionRecord, Shape, declared_fields, option
from ocr_onnx.errors import OptionError


@dataclass(frozen=True, slots=True)
class Sample(OptionRecord):
    """A record with a field of each kind."""

    on: bool = option("A switch.", default=True)
    count: int | None = option("A count.", name="sample_count", default=None, minimum=1)
    ratio: float = option("A ratio.", default=0.5, maximum=1)
    side: Literal["left", "right"] | None = option("A side.", default=None)
    names: tuple[str, ...] = option("Names.", default=())
    shape: Shape | None = option("A shape.", default=None)
    file: Path | None = option("A file.", default=None)
    undeclared: object = None


def test_kind_name_and_choices_of_an_option_follow_from_its_field() -> None:
    declared = [(d.name, d.kind, d.choices, d.optional, d.multiple) for _, d in declared_fields(Sample)]
    assert declared == [
        ("on", "boolean", (), False, False),
        ("sample_count", "integer", (), True, False),
        ("ratio", "number", (), False, False),
        ("side", "text", ("left", "right"), True, False),
        ("names", "text", (), False, True),
        ("shape", "shape", (), True, False),
        ("file", "path", (), True, False),
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"on": 1}, "on is 1: it must be True or False"),
        ({"count": 0}, "sample_count (Sample.count) is 0: it must be a whole number of at least 1"),
        ({"count": 1.5}, "sample_count (Sample.count) is 1.5"),
        ({"ratio": 2}, "ratio is 2: it must be a number"),
        ({"ratio": None}, "ratio is None"),
        ({"side": "top"}, "side is 'top': it must be 'left' or 'right'"),
        ({"names": "a"}, "names is 'a': it must be a tuple"),
        ({"names": (1,)}, "names has the type int: it must be a string"),
        ({"shape": (3, 0, 1)}, "shape is 0"),
        ({"file": "a"}, "file has the type str: it must be a Path, or None"),
    ],
)
def test_a_value_of_a_wrong_type_or_out_of_range_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError) as refused:
        Sample(**values)
    assert str(refused.value).startswith(problem)
