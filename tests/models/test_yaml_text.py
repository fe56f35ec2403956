"""YAML files from strangers: bombs, tags with values that do not fit, and what a careful user writes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import hypothesis
import pytest
import yaml
from hypothesis import strategies

from ocr_onnx.converters.paddle import PaddleModel
from ocr_onnx.errors import ConversionError, OptionError
from ocr_onnx.models import yaml_text
from ocr_onnx.models.yaml_text import load_yaml
from ocr_onnx.paddle import pipeline_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12)
)

BAD = {
    "aliases that multiply": LAUGHS,
    "an alias within its own part": "a: &a [*a]",
    "an alias of nothing": "a: *b",
    "brackets": "[" * 100_000,
    "mappings": "{a: " * 100_000,
    "dashes": "- " * 100_000,
    "a boolean that is none": "a: !!bool x",
    "an integer that is none": "a: !!int ''",
    "an integer of many digits": f"a: {'9' * 5000}",
    "a date that is none": "a: 2021-99-99",
    "a time that is none": "a: !!timestamp x",
    "binary that is none": "a: !!binary é",
    "a Python object": "a: !!python/object/apply:os.system [id]",
    "a list as a key": "? [a]\n: b",
    "a control character": "a: \x00",
    "two documents": "a: 1\n---\nb: 2",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_wrong_is_an_error_of_the_file(tmp_path: Path, text: str) -> None:
    for name in ("inference.yml", "inference.json", "inference.pdiparams"):
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)
    with pytest.raises(OptionError, match=r"inference\.yml is not a pipeline file: "):
        pipeline_yaml.load(tmp_path / "inference.yml")
    with pytest.raises(ConversionError, match=r"inference\.yml is not valid YAML: "):
        _ = PaddleModel.at(tmp_path).config


def test_lists_and_mappings_are_nested_at_most_a_hundred_times() -> None:
    """The compiled parser of an old PyYAML crashes for many thousands, and takes minutes to read them."""
    assert load_yaml("[" * 100 + "]" * 100)
    for text in ("[" * 101 + "]" * 101, "{a: " * 101 + "}" * 101):
        with pytest.raises(yaml.YAMLError, match="more than 100 levels"):
            load_yaml(text)


def test_a_file_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MAX_CHARACTERS", 9)
    with pytest.raises(yaml.YAMLError, match="more than 9 characters"):
        load_yaml("a: 123456789")


@pytest.mark.parametrize(
    ("text", "values"),
    [("a: &a [1, 2]\nb: *a", 6), ("[a, b]", 2), ("a: &a x\nb: [*a, *a]", 5), ("a: &a [&b [1], *b]\nb: [*a, *b]", 7)],
)
def test_values_are_counted_with_what_aliases_stand_for(
    text: str, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_text, "MAX_VALUES", values)
    load_yaml(text)
    monkeypatch.setattr(yaml_text, "MAX_VALUES", values - 1)
    with pytest.raises(yaml.YAMLError, match=f"more than {values - 1} values"):
        load_yaml(text)


def test_a_file_of_the_largest_length_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MAX_CHARACTERS", 9)
    assert load_yaml("a: 123456") == {"a": 123456}


def test_aliases_are_read_if_they_stay_small() -> None:
    assert load_yaml("a: &a [1, 2]\nb: *a\nc: &c x\nd: *c") == {"a": [1, 2], "b": [1, 2], "c": "x", "d": "x"}


def test_a_dictionary_keeps_its_strings() -> None:
    assert load_yaml("[y, 1, '*', '&', ~]", "BaseLoader") == ["y", "1", "*", "&", "~"]


@hypothesis.given(strategies.text(alphabet="ab:[]{}&*!-'\"\n ,?|>#%@0.~", max_size=60))
def test_any_text_is_read_or_an_error_of_yaml(text: str) -> None:
    with contextlib.suppress(yaml.YAMLError):
        load_yaml(text)
