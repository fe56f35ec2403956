"""docling, with the plug-in and with the service. `make docling` runs it in an environment of its own.

docling downloads the model that finds the regions of a page; here a model without regions takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pypdfium2
import pytest
from conftest import PAGES

pytest.importorskip("docling", reason="docling has an environment of its own: make docling")

from docling.datamodel.base_models import InputFormat, LayoutPrediction
from docling.datamodel.pipeline_options import BaseLayoutOptions, OcrMode, PdfPipelineOptions
from docling.document_converter import DocumentConverter, PdfFormatOption
from docling.models.base_layout_model import BaseLayoutModel
from docling.models.factories import get_layout_factory

from ocr_onnx import OCR
from ocr_onnx.integrations.docling import OnnxOcrOptions
from ocr_onnx.service import engine

HOW_TO = Path(__file__).parents[2] / "docs" / "ocr-for-docling.md"


# docling's own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class NoLayoutOptions(BaseLayoutOptions):  # type: ignore[misc]
    kind = "none"


class NoLayout(BaseLayoutModel):  # type: ignore[misc]
    """Finds no regions: docling then takes each line for a paragraph."""

    def __init__(self, **_: Any) -> None:
        pass

    @classmethod
    def get_options_type(cls) -> type[BaseLayoutOptions]:
        return NoLayoutOptions

    def predict_layout(self, conv_res: Any, pages: Sequence[Any]) -> list[LayoutPrediction]:  # noqa: ARG002 its interface
        return [LayoutPrediction() for _ in pages]


@pytest.fixture(scope="module", autouse=True)
def layout() -> None:
    for allowed in (True, False):
        get_layout_factory(allow_external_plugins=allowed).register(NoLayout, "tests", "tests")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("docling") / "scan.pdf"
    with PIL.Image.open(PAGES / "letter.png") as image:
        image.convert("RGB").save(file, "PDF", resolution=150)
    return file


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    from served import running

    ocr = OCR()
    with running(engine.from_pipeline(ocr, ocr.options).read) as server:
        yield server.port


SCRIPTS = re.findall(r"^```python\n(.*?)^```", HOW_TO.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=["plug-in", "service"])
def test_the_scripts_of_the_how_to_page_read_a_scan(
    script: str, scan: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scan.parent)
    without_models = "PdfPipelineOptions(\n    layout_options=no_layout, do_table_structure=False,"
    script = script.replace("PdfPipelineOptions(\n", f"{without_models}\n").replace("8080", str(port))
    assert without_models in script
    exec(script, {"no_layout": NoLayoutOptions()})  # noqa: S102 the page's own
    text = capsys.readouterr().out
    assert all(part in text for part in ("Dear Ms. Lindqvist", "1,274.50", "J. Okafor"))


def test_cells_are_at_their_places_in_the_page(scan: Path) -> None:
    options = PdfPipelineOptions(
        allow_external_plugins=True,
        layout_options=NoLayoutOptions(),
        do_table_structure=False,
        ocr_options=OnnxOcrOptions(mode=OcrMode.FULL_PAGE),
    )
    converter = DocumentConverter(format_options={InputFormat.PDF: PdfFormatOption(pipeline_options=options)})
    cells = converter.convert(scan).document.texts
    (expected,) = (line for line in OCR().predict(PAGES / "letter.png")[0].lines if "Lindqvist" in line.text)
    (found,) = (cell for cell in cells if "Lindqvist" in cell.text)
    box = found.prov[0].bbox.to_top_left_origin(found_height(scan))
    left, top = expected.box.quad.min(axis=0) * 72 / 150
    assert (box.l, box.t) == pytest.approx((left, top), abs=3)


def found_height(scan: Path) -> float:
    return float(pypdfium2.PdfDocument(scan)[0].get_height())
