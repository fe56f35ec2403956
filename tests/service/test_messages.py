"""The wire: every field of the request, its default and null; every part of the answers."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pypdfium2
import pytest
from conftest import encoded, pdf
from served import SIGN, Running, base64_of, problems, read, running

from ocr_onnx import OCROptions
from ocr_onnx.inputs import sources
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.service.messages import FULL_REQUEST, WHITE, OCRResponse


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as server:
        yield server


def frames(count: int) -> bytes:
    first, *rest = [PIL.Image.new("RGB", (30 + i, 20), "white") for i in range(count)]
    return encoded(first, "TIFF", save_all=True, append_images=rest)


def picture(text: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_a_request_with_only_a_file_uses_the_servers_settings(server: Running) -> None:
    answer = server.post()
    assert answer.status_code == 200
    expected = dataclasses.replace(
        OCROptions(), detection=dataclasses.replace(OCROptions().detection, max_candidates=1000)
    )
    assert server.seen[-1] == expected


FIELDS: dict[str, tuple[Any, str]] = {
    "useDocOrientationClassify": (False, "use_doc_orientation_classify"),
    "useDocUnwarping": (True, "use_doc_unwarping"),
    "useTextlineOrientation": (False, "use_textline_orientation"),
    "textDetLimitSideLen": (960, "detection.limit_side_len"),
    "textDetLimitType": ("max", "detection.limit_type"),
    "textDetThresh": (0.0, "detection.thresh"),
    "textDetBoxThresh": (0.0, "detection.box_thresh"),
    "textDetUnclipRatio": (0.0, "detection.unclip_ratio"),
    "docOrientationClassifyScoreThresh": (0.4, "page_orientation.score_thresh"),
    "textlineOrientationScoreThresh": (0.4, "line_orientation.score_thresh"),
    "textRecScoreThresh": (0.5, "recognition.score_thresh"),
    "returnWordBox": (True, "return_word_box"),
    "readingOrder": ("columns", "reading_order"),
    "pdfText": ("redo", "input.pdf_text"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_reaches_the_pipeline_and_null_means_the_servers_setting(server: Running, name: str) -> None:
    value, place = FIELDS[name]

    def seen() -> object:
        found: object = server.seen[-1]
        for step in place.split("."):
            found = getattr(found, step)
        return found

    assert server.post(**{name: None}).status_code == 200
    usual = seen()
    assert server.post(**{name: value}).status_code == 200
    assert (seen(), usual != value) == (value, True)


def test_every_field_of_the_request_is_tested() -> None:
    named = {field.alias for field in FULL_REQUEST.model_fields.values()}
    assert named == {*FIELDS, "file", "fileType", "visualize", "logId", "format"}


def test_the_text_is_in_the_answer_if_columns_are_requested(server: Running) -> None:
    pages = [server.post(readingOrder=order).json()["result"]["ocrResults"] for order in ("columns", "paddle", None)]
    assert [page.get("text") for (page,) in pages] == ["page None", None, None]


def test_a_response_contains_the_text_of_the_page(server: Running) -> None:
    content = server.post(returnWordBox=True).json()
    OCRResponse.model_validate(content)
    assert list(content) == ["logId", "errorCode", "errorMsg", "result"]
    assert (content["errorCode"], content["errorMsg"]) == (0, "Success")
    assert uuid.UUID(content["logId"]).version == 4
    assert list(content["result"]) == ["ocrResults", "dataInfo"]
    assert content["result"]["dataInfo"] == {"width": 640, "height": 420, "type": "image"}
    (page,) = content["result"]["ocrResults"]
    assert list(page) == ["prunedResult"]
    pruned = page["prunedResult"]
    assert (pruned["rec_texts"], pruned["text_word"]) == (["page None"], [["page", " ", "None"]])
    assert not {"input_path", "page_index"} & {*pruned, *pruned["doc_preprocessor_res"]}


def test_images_are_returned_unless_the_request_or_the_server_disables_them(server: Running) -> None:
    (page,) = server.post(visualize=None).json()["result"]["ocrResults"]
    sizes = {name: picture(page[name]).size for name in ("ocrImage", "docPreprocessingImage", "inputImage")}
    assert sizes == {"ocrImage": (1280, 420), "docPreprocessingImage": (1280, 420), "inputImage": (640, 420)}
    assert {picture(page[name]).format for name in sizes} == {"JPEG"}
    (page,) = server.post(visualize=True, useDocOrientationClassify=False).json()["result"]["ocrResults"]
    assert set(page) == {"prunedResult", "ocrImage", "inputImage"}
    with running(visualize=False, max_output_size=(100, 200)) as quiet:
        (page,) = quiet.post(visualize=None).json()["result"]["ocrResults"]
        assert list(page) == ["prunedResult"]
        (page,) = quiet.post(visualize=True).json()["result"]["ocrResults"]
        assert picture(page["ocrImage"]).size == (200, 65)
        assert picture(page["inputImage"]).size == (152, 100)


PAGES_OF_TWO = base64_of(pdf((50, 60), (40, 30)))
READS_JSON = ("*/*", "application/json", "application/json, text/plain, */*", "text/html, */*;q=0.8")


@pytest.mark.parametrize(
    ("name", "media_type"), [(name, writer.media_type) for name, writer in FORMATS.items() if name != "pdf"]
)
def test_a_request_chooses_an_output_format_by_name(server: Running, name: str, media_type: str) -> None:
    answer = server.post(file=PAGES_OF_TWO, format=name)
    assert answer.headers["content-type"].partition(";")[0] == media_type
    # The service sends what the command line writes.
    pages = list(sources.read_pages(base64.b64decode(PAGES_OF_TWO)))
    results = [read(dataclasses.replace(page, content=None), server.seen[-1]) for page in pages]
    assert answer.text == "".join(FORMATS[name].write(results))


def test_a_form_chooses_an_output_format_too(server: Running) -> None:
    answer = httpx.post(f"{server.url}/ocr", data={"format": "text"}, files={"file": SIGN}, timeout=30)
    assert (answer.text, answer.headers["content-type"]) == ("page None\n", "text/plain; charset=utf-8")


def test_accept_chooses_an_output_format_if_the_client_reads_no_json(server: Running) -> None:
    assert server.post({"Accept": "text/plain"}).text == "page None\n"
    for accept in READS_JSON:
        assert server.post({"Accept": accept}).json()["errorCode"] == 0
    line = server.post({"Accept": "application/x-ndjson"}).text.splitlines()[0]
    assert list(json.loads(line)) == ["page", "result"]


@pytest.mark.parametrize("name", ["text", "pdf"])
def test_errors_are_json_in_every_format(server: Running, name: str) -> None:
    assert problems(server.post(format="docx")) == {"body.format": "literal_error"}
    refused = server.post(format=name, file=base64_of(b"no image"))
    assert (refused.status_code, refused.json()["errorCode"]) == (422, 422)


def texts_of(data: bytes) -> list[str]:
    """Texts without spaces: those of lines that are 4 pixels high are too narrow for PDFium."""
    return [page.get_textpage().get_text_range().replace(" ", "") for page in pypdfium2.PdfDocument(data)]


@pytest.mark.parametrize(("file", "texts"), [(PAGES_OF_TWO, ["page0", "page1"]), (base64_of(SIGN), ["pageNone"])])
def test_a_file_becomes_a_searchable_pdf(server: Running, file: str, texts: list[str]) -> None:
    answer = server.post(file=file, format="pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert texts_of(answer.content) == texts
    assert texts_of(server.post({"Accept": "application/pdf"}, file=file).content) == texts


def test_a_format_whose_package_is_missing_is_refused_before_a_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pikepdf", None)
    with running() as server:
        for headers, fields in (({}, {"format": "pdf"}), ({"Accept": "application/pdf"}, {})):
            answer = server.post(headers, **fields)
            assert answer.status_code == 422
            assert "searchable PDFs need pikepdf and img2pdf: pip install " in answer.json()["errorMsg"]
        assert server.seen == []
        assert server.post(format="text").status_code == 200


def test_pages_of_a_tiff_become_a_searchable_pdf(server: Running) -> None:
    answer = server.post(file=base64_of(frames(2)), format="pdf")
    assert texts_of(answer.content) == ["page0", "page1"]


def test_a_request_chooses_what_happens_to_pages_that_have_text(server: Running) -> None:
    first = base64_of(server.post(file=PAGES_OF_TWO, format="pdf").content)
    assert texts_of(server.post(file=first, format="pdf", pdfText="force").content) == ["page0", "page1"]
    assert server.seen[-1].input.pdf_text == "force"


@pytest.mark.parametrize(("policy", "expected"), [(None, False), ("force", False), ("auto", True), ("skip", True)])
def test_the_text_of_a_pdf_is_taken_if_the_request_says_so(server: Running, policy: str | None, expected: bool) -> None:
    first = base64_of(server.post(file=PAGES_OF_TWO, format="pdf").content)
    lines = server.post(file=first, format="native", pdfText=policy).text.splitlines()
    assert [json.loads(line)["from_pdf"] for line in lines] == [expected] * 2


def test_the_first_ten_pages_of_a_document_are_read(server: Running) -> None:
    content = server.post(file=base64_of(pdf(*[(50, 60)] * 12)), fileType=0).json()["result"]
    assert [page["prunedResult"]["rec_texts"] for page in content["ocrResults"]] == [[f"page {i}"] for i in range(10)]
    assert content["dataInfo"] == {"numPages": 10, "pages": [{"width": 100, "height": 120}] * 10, "type": "pdf"}
    with running(max_pages=0) as whole:
        content = whole.post(file=base64_of(pdf(*[(50, 60)] * 12)), fileType=0).json()["result"]
        assert content["dataInfo"]["numPages"] == 12


def test_a_document_of_one_page_is_still_a_document(server: Running) -> None:
    content = server.post(file=base64_of(pdf((50, 60)))).json()["result"]
    assert content["dataInfo"] == {"numPages": 1, "pages": [{"width": 100, "height": 120}], "type": "pdf"}


def test_the_pages_of_a_tiff_are_read(server: Running) -> None:
    content = server.post(file=base64_of(frames(2)), fileType=1).json()["result"]
    sizes = [{"width": 30, "height": 20}, {"width": 31, "height": 20}]
    assert content["dataInfo"] == {"numPages": 2, "pages": sizes, "type": "tiff"}
    single = server.post(file=base64_of(frames(1)), fileType=1).json()["result"]["dataInfo"]
    assert single == {"width": 30, "height": 20, "type": "image"}


@pytest.mark.parametrize(("data", "kind"), [(SIGN, 0), (pdf((50, 60)), 1)])
def test_a_file_must_match_file_type(server: Running, data: bytes, kind: int) -> None:
    answer = server.post(file=base64_of(data), fileType=kind)
    assert (answer.status_code, "fileType" in answer.json()["errorMsg"]) == (422, True)


@pytest.mark.parametrize("kind", [0, 1, None])
def test_the_type_of_a_file_is_detected_if_it_is_not_given(server: Running, kind: int | None) -> None:
    data = pdf((50, 60)) if kind == 0 else SIGN
    assert server.post(file=base64_of(data), fileType=kind).status_code == 200


@pytest.mark.parametrize(
    "form", ["data:image/png;base64,{}", "DATA:;base64,{}", "\n{}\n", "data:image/png;a=b;base64,{}"]
)
def test_base64_may_be_a_data_url_or_contain_line_breaks(server: Running, form: str) -> None:
    assert server.post(file=form.format(base64_of(SIGN))).status_code == 200
    assert server.post(file=base64.encodebytes(SIGN).decode()).status_code == 200


@pytest.mark.parametrize(
    "file", ["====", "äöü", "AAA", "AA=A", "_-_-", "/etc/passwd", "file:///etc/passwd", "a" * 5, "\x00"]
)
def test_a_file_that_is_not_base64_is_refused(server: Running, file: str) -> None:
    answer = server.post(file=file)
    assert (answer.status_code, answer.json()["errorMsg"].startswith("file is neither Base64")) == (422, True)


@pytest.mark.parametrize("file", ["  ", "data:;base64,"])
def test_an_empty_file_is_refused(server: Running, file: str) -> None:
    assert server.post(file=file).json()["errorMsg"] == "file is empty"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("file", None, "string_type"),
        ("file", "", "string_too_short"),
        ("fileType", 2, "literal_error"),
        ("useDocUnwarping", "maybe", "bool_parsing"),
        ("textDetLimitSideLen", 4001, "less_than_equal"),
        ("textDetLimitSideLen", 0, "greater_than_equal"),
        ("textDetLimitSideLen", 1.5, "int_from_float"),
        ("textDetLimitType", "foo", "literal_error"),
        ("textDetThresh", 1.1, "less_than_equal"),
        ("textDetBoxThresh", -0.1, "greater_than_equal"),
        ("textDetUnclipRatio", 1e9, "less_than_equal"),
        ("textRecScoreThresh", 2, "less_than_equal"),
        ("logId", "../../etc/passwd", "string_pattern_mismatch"),
        ("logId", "a\r\nSet-Cookie: x", "string_pattern_mismatch"),
        ("logId", "a\n", "string_pattern_mismatch"),
        ("logId", "", "string_pattern_mismatch"),
        ("logId", "a" * 65, "string_pattern_mismatch"),
    ],
)
def test_values_out_of_range_are_refused(server: Running, name: str, value: object, problem: str) -> None:
    assert problems(server.post(None, **{name: value})) == {f"body.{name}": problem}


def test_an_error_contains_nothing_of_the_request(server: Running) -> None:
    answer = server.post(textDetLimitType="s3cret", useDocUnwarping="s3cret")
    assert "s3cret" not in answer.text
    assert set(problems(answer)) == {"body.textDetLimitType", "body.useDocUnwarping"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"file": "\xff"}', b'{"file": "\\ud800"}', b"[" * 100_000, b'{"file": NaN}', b"\x00"],
    ids=repr,
)
def test_a_body_that_is_not_a_json_object_is_refused(server: Running, body: bytes) -> None:
    answer = server.send("POST", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (422, ["logId", "errorCode", "errorMsg"])
    assert server.answers_at_once()


def test_unknown_fields_are_ignored(server: Running) -> None:
    assert server.post(other={"deep": [1]}, useTable=True).status_code == 200


def test_log_id_is_returned_also_with_an_error(server: Running) -> None:
    assert server.post(logId="Order_7.a-b").json()["logId"] == "Order_7.a-b"
    assert server.post(logId="mine", textDetThresh=7).json()["logId"] == "mine"
    assert server.post(logId="mine", file="AAAA").json()["logId"] == "mine"
    assert uuid.UUID(server.post(logId="../x").json()["logId"])


def test_a_form_may_carry_the_file_as_an_upload(server: Running) -> None:
    fields = {
        "visualize": "false",
        "logId": "form",
        "textDetThresh": "0.4",
        "useDocUnwarping": "",
        "textDetLimitType": "null",
    }
    answer = server.send("POST", data=fields, files={"file": ("../../a.png", SIGN)})
    assert (answer.status_code, answer.json()["logId"]) == (200, "form")
    assert (server.seen[-1].detection.thresh, server.seen[-1].use_doc_unwarping) == (0.4, False)
    typed = server.send("POST", data={"fileType": "0", "visualize": "0"}, files={"file": pdf((50, 60))})
    assert typed.json()["result"]["dataInfo"]["type"] == "pdf"
    text = server.send("POST", data={"visualize": "false"}, files={"file": (None, base64_of(SIGN))})
    assert text.status_code == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"x"),
        ("multipart/form-data; boundary=a", b"--a\r\n\r\n--a--"),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n\r\n--a--\r\n',
        ),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--a--\r\n',
        ),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(server: Running, kind: str, body: bytes) -> None:
    answer = server.send("POST", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["errorCode"]) == (422, 422)


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}])
def test_other_content_types_are_refused(server: Running, headers: dict[str, str]) -> None:
    assert server.send("POST", content=b"{}", headers=headers).status_code == 415


def test_lines_are_sent_page_by_page(server: Running) -> None:
    answer = server.post({"Accept": "application/x-ndjson"}, file=base64_of(pdf(*[(50, 60)] * 3)), logId="lines")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    *pages, last = [json.loads(line) for line in answer.text.splitlines()]
    assert [(page["page"], page["result"]["prunedResult"]["rec_texts"]) for page in pages] == [
        (i, [f"page {i}"]) for i in range(3)
    ]
    assert last == {
        "logId": "lines",
        "errorCode": 0,
        "errorMsg": "Success",
        "dataInfo": {"numPages": 3, "pages": [{"width": 100, "height": 120}] * 3, "type": "pdf"},
    }


def test_a_request_for_lines_that_fails_before_the_first_page_has_the_status_of_the_error(server: Running) -> None:
    assert server.post({"Accept": "application/x-ndjson"}, file="AAAA").status_code == 422


def test_the_example_of_the_document_works(server: Running) -> None:
    document = server.get("/openapi.json").json()
    content = document["paths"]["/ocr"]["post"]["requestBody"]["content"]
    (example,) = content["application/json"]["examples"].values()
    assert server.send("POST", json=example["value"]).status_code == 200
    assert np.asarray(picture(WHITE)).min() == 255
    assert set(content) == {"application/json", "multipart/form-data"}
    assert set(document["paths"]["/ocr"]["post"]["responses"]) == {
        *("200", "400", "401", "403", "408", "413", "415", "421", "422", "429", "500", "503", "504")
    }
