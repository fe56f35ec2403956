"""The zoo's records, the files behind them, and what a model file says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from ocr_onnx import OCR, Models
from ocr_onnx.cli import diagnosis
from ocr_onnx.errors import ModelError, ModelNotFoundError, OptionError
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata
from ocr_onnx.models.zoo import Mirror, ModelSpec, Version, Zoo
from ocr_onnx.runtime.session import Session

EMBEDDED = [spec.name for spec in zoo.models().values() if spec.embedded]


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_is_what_its_record_says(name: str) -> None:
    spec = zoo.models()[name]
    metadata = ModelMetadata.from_properties(Session(store.find(name)).properties, name)
    assert (metadata.name, metadata.task) == (spec.name, spec.task)
    assert metadata.source == spec.mirrors[0].files
    assert set(metadata.converter) == {"onnx", "onnxslim", "paddle2onnx", "paddlepaddle"}


def test_a_recognition_model_carries_its_characters() -> None:
    metadata = ModelMetadata.from_properties(Session(store.find("PP-OCRv5_mobile_rec")).properties, "rec")
    assert len(metadata.charset) == 18384
    assert metadata.charset[-1] == " "
    assert {"a", "登", "ほ", "€"} <= set(metadata.charset)


def test_a_misspelled_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"^unknown model 'PP-OCRv5_mobil_det'; did you mean 'PP-OCRv5_mobile_det'"
    ):
        store.find("PP-OCRv5_mobil_det")


def test_a_name_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(ModelNotFoundError, match=r"; run 'ocr-onnx models list' for the list$"):
        store.find("zzz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"mine\.onnx does not exist"):
        store.find(str(tmp_path / "mine.onnx"))


def test_a_model_may_be_a_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(store.find("PP-LCNet_x1_0_doc_ori").read_bytes())
    ocr = OCR(models=Models(doc_orientation=mine))
    assert ocr.classify_page is not None
    assert ocr.classify_page.metadata.name == "PP-LCNet_x1_0_doc_ori"


def test_a_model_in_the_wrong_place_is_refused() -> None:
    with pytest.raises(ModelError, match="PP-OCRv5_mobile_rec is a model for text_recognition, not for text_detection"):
        OCR(models=Models(text_detection="PP-OCRv5_mobile_rec"))


@pytest.mark.parametrize(
    "change", [{"task": "translation"}, {"mirrors": [{}]}, {"surprise": 1}, {"verified": "yes"}], ids=str
)
def test_malformed_records_are_refused(change: dict[str, object]) -> None:
    record = {
        "task": "text_detection",
        "family": "PP-OCRv5",
        "licence": "Apache-2.0",
        "verified": "none",
        "mirrors": [{"package": "a==1", "directory": "d", "files": {}}],
    }
    zoo._spec("good", dict(record))
    with pytest.raises(ModelError, match=r"the record of bad (has the unknown keys surprise|is malformed)"):
        zoo._spec("bad", record | change)


def test_a_foreign_model_says_how_to_make_it_ours() -> None:
    with pytest.raises(ModelError, match="ocr-onnx convert"):
        ModelMetadata.from_properties({"author": "somebody"}, "theirs.onnx")


@pytest.mark.parametrize("text", ['{"format": 99, "task": "text_detection"}', '{"format": 1, "task": "dance"}'])
def test_a_record_of_another_version_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="another version"):
        ModelMetadata.from_properties({PROPERTY: text}, "new.onnx")


@pytest.mark.parametrize("text", ["{", "{}", "[]", "7", '{"format": 1, "task": "text_detection"}'])
def test_a_damaged_record_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="convert it again"):
        ModelMetadata.from_properties({PROPERTY: text}, "bad.onnx")


def test_notice_names_every_model_of_the_package() -> None:
    notice = (Path(__file__).parents[2] / "NOTICE").read_text("utf-8")
    named = {line.strip() for line in notice.splitlines() if line.startswith("    ")}
    assert named == {spec.name for spec in zoo.models().values() if spec.embedded}


def test_detection_cannot_be_left_out() -> None:
    with pytest.raises(OptionError, match="the model's name is None"):
        OCR(models=Models(text_detection=None))  # type: ignore[arg-type]


def test_a_record_says_nothing_of_later_fields_it_does_not_need() -> None:
    record = ModelMetadata("x", "textline_orientation", "BGR", 1.0, (0.5,) * 3, (0.5,) * 3, (3, 80, 160))
    assert "keep_ratio" not in record.to_json()
    kept = replace(record, keep_ratio=True)
    assert ModelMetadata.from_properties({PROPERTY: kept.to_json()}, "x") == kept


def test_a_record_survives_its_journey_through_a_file() -> None:
    before = ModelMetadata(
        "x", "text_recognition", "BGR", 1.0, (0.5,) * 3, (0.5,) * 3, (3, 48, 320), charset=("é", "登", " ")
    )
    assert ModelMetadata.from_properties({PROPERTY: before.to_json()}, "x") == before


@pytest.mark.parametrize("chosen", [None, "~nobody-has-this-name/models"])
def test_a_user_without_a_home_has_the_embedded_models(chosen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    monkeypatch.delenv(store.HOME_VARIABLE, raising=False)
    if chosen is not None:
        monkeypatch.setenv(store.HOME_VARIABLE, chosen)
    monkeypatch.setattr(platformdirs, "user_cache_path", refuse)
    with pytest.raises(ModelNotFoundError, match=f"no home directory: set {store.HOME_VARIABLE}"):
        store.home()
    assert "PP-OCRv5_mobile_rec" in store.installed()
    assert store.verify("PP-OCRv5_mobile_rec")
    fact = diagnosis._home()
    assert (fact.value, fact.state) == ("none", "warning")


def test_a_program_frozen_without_the_data_files_says_how_to_add_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "PACKAGE", tmp_path / "ocr_onnx")
    zoo.zoo.cache_clear()
    with pytest.raises(ModelError, match=r"model_zoo\.yaml is missing.*--collect-data ocr_onnx"):
        zoo.zoo()
    zoo.zoo.cache_clear()


def contents() -> dict[str, Any]:
    """A small model_zoo.yaml."""
    record = {"family": "PP-OCRv9", "licence": "Apache-2.0", "verified": "none"}
    mirror = {"package": "a==1", "directory": "d", "files": {"inference.pdiparams": "12ab"}}
    return {
        "hosts": {"bos": "https://example.com/{name}/{file}"},
        "wheels": {"a==1": "34cd"},
        "versions": {"v9": {"text_detection": "det9", "text_recognition": ["rec9", "en_rec9"]}},
        "models": {
            "det9": record | {"task": "text_detection", "mirrors": [mirror], "thresholds": {"thresh": 0.2}},
            "rec9": record | {"task": "text_recognition", "languages": ["ch", "en"], "calibration": [2.0, -1.0]},
            "en_rec9": record | {"task": "text_recognition"},
        },
    }


def test_the_contents_of_a_zoo_become_its_records() -> None:
    usual: dict[str, Any] = {"family": "PP-OCRv9", "licence": "Apache-2.0", "verified": "none"}
    mirror = Mirror("a==1", "d", {"inference.pdiparams": "12ab"})
    assert zoo.parse(contents()) == Zoo(
        hosts={"bos": "https://example.com/{name}/{file}"},
        versions={"v9": Version("det9", ("rec9", "en_rec9"))},
        models={
            "det9": ModelSpec("det9", "text_detection", **usual, mirrors=(mirror,), thresholds={"thresh": 0.2}),
            "rec9": ModelSpec(
                "rec9", "text_recognition", **usual, languages=("ch", "en"), calibration=(2.0, -1.0), mirrors=()
            ),
            "en_rec9": ModelSpec("en_rec9", "text_recognition", **usual, languages=(), calibration=()),
        },
        wheels={"a==1": "34cd"},
    )


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("versions", "v9", "text_detection"), "det8", "version v9 contains det8, which has no record: add it below"),
        (("versions", "v9", "text_recognition"), ["rec9", "x"], "version v9 contains x, which has no record"),
        (("versions", "v9"), {}, "is malformed (KeyError: 'text_detection'): reinstall ocr-onnx"),
        (("models",), [], "is malformed (AttributeError: 'list' object has no attribute 'items'): reinstall"),
        (("models", "det9", "b"), 1, "the record of det9 has the unknown keys b: remove them"),
        (("models", "det9"), {"b": 1, "a": 2}, "the record of det9 has the unknown keys a, b: remove them"),
        (
            ("models", "det9", "task"),
            "translation",
            "the record of det9 is malformed: task is 'translation'; it must be one of doc_orientation, ",
        ),
        (
            ("models", "det9", "verified"),
            "yes",
            "the record of det9 is malformed: verified is 'yes'; it must be one of real, transplanted, synthetic, rebuilt",
        ),
    ],
)
def test_the_wrong_part_of_a_zoo_is_named(place: tuple[str, ...], value: object, message: str) -> None:
    whole = contents()
    part = whole
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(ModelError, match=r"^model_zoo\.yaml") as refused:
        zoo.parse(whole)
    assert message in str(refused.value)


def test_a_record_is_found_by_its_name() -> None:
    assert zoo.spec("PP-OCRv5_mobile_det") is zoo.models()["PP-OCRv5_mobile_det"]
    assert zoo.spec("PP-OCRv5_mobile_det").name == "PP-OCRv5_mobile_det"


def test_only_the_nearest_name_is_offered() -> None:
    assert zoo.nearest("rec_a", ["rec_b", "rec_c", "rec_ab"], "list") == "did you mean 'rec_ab'?"


def test_a_data_file_of_the_package_comes_before_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ocr_onnx"
    package.mkdir()
    monkeypatch.setattr(zoo, "PACKAGE", package)
    assert zoo.data_file("x.yaml") == tmp_path / "x.yaml"
    (package / "x.yaml").touch()
    assert zoo.data_file("x.yaml") == package / "x.yaml"


def test_without_the_files_of_a_model_new_ones_must_be_accepted() -> None:
    whole = zoo.parse(contents()).models
    assert whole["det9"].pull_command == "ocr-onnx models pull det9"
    assert whole["rec9"].pull_command == "ocr-onnx models pull --accept-new rec9"
