"""The page at `/`, in a real browser, with a real service behind it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import browsing
import PIL.Image
import pypdfium2
import pytest
from browsing import Visitor
from conftest import PAGES, encoded
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

from ocr_onnx import OCR, OCRResult
from ocr_onnx.outputs.paddle import bounding_box

KEY = "a-key-that-is-long-enough"
SIGN = PAGES / "sign.png"
NAMES = ("letter", "sign", "cjk")
PHONE = (375, 667)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def ocr() -> OCR:
    """The engine with the defaults of `ocr-onnx serve`."""
    return OCR()


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chrome, Path]]:
    lacking = browsing.lacking()
    if lacking:
        reason = f"no {' and no '.join(lacking)} here: apt-get install chromium chromium-driver"
        if os.environ.get("OCR_ONNX_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("chromium")
    with browsing.chromium(folder) as driver:
        yield driver, folder / "downloads"


@pytest.fixture(scope="module")
def address(chrome: tuple[Chrome, Path]) -> Iterator[str]:
    with browsing.service() as found:
        yield found


@pytest.fixture
def page(chrome: tuple[Chrome, Path], address: str) -> Iterator[Visitor]:
    """The page, freshly opened; at the end nothing may stand in the console, nor another host have been asked."""
    visitor = Visitor(chrome[0], address, chrome[1])
    yield visitor
    assert visitor.complaints == []
    asked = {urlsplit(url).netloc for url in visitor.requests if url.startswith(("http", "ws"))}
    assert asked == {urlsplit(address).netloc}
    visitor.close()


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PDF of three pages."""
    first, *others = [PIL.Image.open(PAGES / f"{name}.png").convert("RGB") for name in NAMES]
    file = tmp_path_factory.mktemp("document") / "three pages.pdf"
    # Rendered as the service does it, a page has the picture's own pixels.
    first.save(file, save_all=True, append_images=others, resolution=144)
    return file


@pytest.fixture(scope="module")
def read(document: Path, ocr: OCR) -> list[OCRResult]:
    """What the library says of it."""
    return ocr.predict(document)


def texts(results: list[OCRResult]) -> list[list[str]]:
    return [[line.text for line in result.lines] for result in results]


def boxes(results: list[OCRResult]) -> list[list[list[list[float]]]]:
    return [[line.box.quad.tolist() for line in result.lines] for result in results]


def pdf_text(data: bytes) -> list[list[str]]:
    document = pypdfium2.PdfDocument(data)
    return [page.get_textpage().get_text_range().split("\r\n") for page in document]


@pytest.mark.parametrize(
    "name", ["sign.png", "vertical.png", "turned-90.png", "turned-180.png", "noisy.jpg", "blank.png"]
)
def test_a_picture_shows_the_texts_and_boxes_of_the_library(page: Visitor, ocr: OCR, name: str) -> None:
    page.give(PAGES / name)
    results = ocr.predict(PAGES / name)
    assert (page.error, page.texts, page.boxes) == ("", texts(results), boxes(results))


@pytest.mark.parametrize("name", ["turned-90.png", "turned-180.png", "turned-270.png"])
def test_a_turned_page_stands_upright_under_its_boxes(page: Visitor, ocr: OCR, name: str) -> None:
    page.give(PAGES / name)
    (result,) = ocr.predict(PAGES / name)
    height, width = result.page.image.shape[:2]
    view = page.find("figure svg").get_dom_attribute("viewBox")
    size = [page.find("figure img").get_property(side) for side in ("naturalWidth", "naturalHeight")]
    assert (view, size) == (f"0 0 {width} {height}", [width, height])
    shown = page.chrome.execute_script("""
        const image = document.querySelector("figure img");
        const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
        canvas.getContext("2d").drawImage(image, 0, 0, 32, 32);
        return [...canvas.getContext("2d").getImageData(0, 0, 32, 32).data].filter((_, at) => at % 4 === 0);""")
    expected = (
        PIL.Image.fromarray(result.page.image[:, :, ::-1]).convert("L").resize((32, 32), PIL.Image.Resampling.BOX)
    )
    difference = sum(abs(a - b) for a, b in zip(shown, expected.tobytes(), strict=True)) / len(shown)
    assert difference < 12


def test_a_photograph_on_its_side_is_shown_as_it_was_read(page: Visitor, ocr: OCR, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "photograph.jpg"
    picture = PIL.Image.open(SIGN).convert("RGB").transpose(PIL.Image.Transpose.ROTATE_90)
    file.write_bytes(encoded(picture, "JPEG", exif=exif, quality=95))
    page.give(file)
    results = ocr.predict(file)
    assert (page.texts, page.boxes) == (texts(results), boxes(results))
    height, width = results[0].page.image.shape[:2]
    assert page.find("figure svg").get_dom_attribute("viewBox") == f"0 0 {width} {height}"
    assert page.find("figure img").get_property("naturalWidth") == width


def test_a_tiff_that_the_browser_cannot_show_is_shown_by_the_server(page: Visitor, ocr: OCR, tmp_path: Path) -> None:
    file = tmp_path / "scan.tiff"
    frames = [PIL.Image.open(PAGES / f"{name}.png").convert("RGB") for name in ("sign", "letter")]
    frames[0].save(file, save_all=True, append_images=frames[1:])
    page.give(file)
    results = ocr.predict(file)
    assert (page.texts, page.boxes) == (texts(results), boxes(results))
    assert [image.get_property("naturalWidth") for image in page.all("figure img")] == [f.width for f in frames]


def test_the_pages_of_a_pdf_stand_one_below_the_other(page: Visitor, document: Path, read: list[OCRResult]) -> None:
    page.give(document)
    assert (page.texts, page.boxes) == (texts(read), boxes(read))
    assert [heading.text for heading in page.all("h2")] == ["Page 1", "Page 2", "Page 3"]
    tops = [section.location["y"] for section in page.all(".page")]
    assert tops == sorted(set(tops))


def test_boxes_fit_a_picture_that_the_server_made_smaller(page: Visitor, ocr: OCR, tmp_path: Path) -> None:
    file = tmp_path / "large.pdf"
    PIL.Image.open(SIGN).convert("RGB").resize((1100, 825)).save(file)
    page.give(file)
    (result,) = ocr.predict(file)
    height, width = result.page.image.shape[:2]
    assert width > 2000 >= int(str(page.find("figure img").get_property("naturalWidth")))
    assert page.find("figure svg").get_dom_attribute("viewBox") == f"0 0 {width} {height}"


def test_a_picture_is_pasted(page: Visitor, ocr: OCR) -> None:
    page.paste(SIGN.read_bytes())
    assert page.texts == texts(ocr.predict(SIGN))


def test_a_picture_is_dropped(page: Visitor, ocr: OCR) -> None:
    page.drop(SIGN)
    assert page.texts == texts(ocr.predict(SIGN))


def test_a_document_is_dropped(page: Visitor, document: Path, read: list[OCRResult]) -> None:
    page.drop(document)
    assert page.texts == texts(read)


def test_the_text_is_copied(page: Visitor, document: Path, read: list[OCRResult]) -> None:
    page.give(document)
    page.find("#copy").click()
    page.wait(lambda: "clipboard" in page.status)
    copied = page.chrome.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == "\n\n".join(result.text for result in read)


def test_without_a_clipboard_the_text_is_there_to_be_copied(page: Visitor, ocr: OCR) -> None:
    denied = {"origin": page.address, "permission": {"name": "clipboard-write"}, "setting": "denied"}
    page.chrome.execute_cdp_cmd("Browser.setPermission", denied)
    page.give(SIGN)
    page.find("#copy").click()
    page.wait(lambda: page.find("#text").is_displayed())
    assert page.find("#text").get_property("value") == ocr.predict(SIGN)[0].text
    assert page.chrome.execute_script("return getSelection().toString()") == ocr.predict(SIGN)[0].text


def test_the_json_equals_the_result_of_the_library(page: Visitor, document: Path, read: list[OCRResult]) -> None:
    page.give(document)
    answer = json.loads(page.download("#json"))
    found = [element["prunedResult"] for element in answer["result"]["ocrResults"]]
    assert [each["rec_texts"] for each in found] == texts(read)
    assert [each["rec_polys"] for each in found] == boxes(read)
    assert [each["rec_scores"] for each in found] == [result.json["res"]["rec_scores"] for result in read]
    sizes = [{"width": result.source.image.shape[1], "height": result.source.image.shape[0]} for result in read]
    assert answer["result"]["dataInfo"] == {"numPages": 3, "pages": sizes, "type": "pdf"}
    assert (answer["errorCode"], answer["errorMsg"]) == (0, "Success")


def test_the_table_has_a_row_for_each_line(page: Visitor, document: Path, read: list[OCRResult]) -> None:
    page.give(document)
    head, *rows = [row.split("\t") for row in page.download("#tsv").decode().splitlines()]
    assert head == ["page", "line", "left", "top", "width", "height", "score", "text"]
    expected = []
    for number, result in enumerate(read, 1):
        for place, line in enumerate(result.lines, 1):
            left, top, right, bottom = bounding_box(line.box.quad)
            expected.append((number, place, left, top, right - left, bottom - top, line.score, line.text))
    found = [(*map(int, row[:6]), float(row[6]), row[7]) for row in rows]
    assert found == expected


def test_the_result_is_downloaded_in_an_output_format_of_the_server(
    page: Visitor, document: Path, read: list[OCRResult]
) -> None:
    page.give(document)
    assert page.download("#other").decode() == "\f".join(f"{result.text}\n" for result in read)
    assert page.status == "three pages.txt created"


def test_trusted_types_block_markup_from_strings(page: Visitor) -> None:
    script = "try { document.body.innerHTML = '<b>'; return 'set'; } catch (error) { return error.name; }"
    assert page.chrome.execute_script(script) == "TypeError"
    assert all("TrustedHTML" in line for line in page.complaints)


TABLE = """
const [texts, done] = arguments;
const lines = texts.map((text) => ({ text, score: 0.5, quad: [[1, 2], [9, 2], [9, 6], [1, 6]] }));
import("/page/take.js").then(({ tsv }) => done(tsv([{ number: 1, lines }])));
"""


def test_no_text_is_a_formula_in_the_table_and_none_breaks_its_rows(page: Visitor) -> None:
    formulas = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1", '="a"\t"b"']
    plain = ['"begins', 'a"b', "a\tb", "a\nb\r\nc", "100-200", "a=b", "'quoted", "全角\u3000空白", ""]
    table = page.chrome.execute_async_script(TABLE, formulas + plain)
    _, *rows = csv.reader(io.StringIO(table, newline=""), "excel-tab")
    assert [row[:7] for row in rows] == [["1", str(at), "1", "2", "8", "4", "0.5"] for at in range(1, 19)]
    assert [row[7] for row in rows] == [f"'{text}" for text in formulas] + plain


@pytest.mark.parametrize("name", ["sign.png", "cjk.png", "vertical.png", "turned-90.png", "tilted.png"])
def test_the_searchable_pdf_holds_the_texts_in_their_places(page: Visitor, ocr: OCR, name: str) -> None:
    page.give(PAGES / name)
    data = page.download("#pdf")
    (result,) = ocr.predict(PAGES / name)
    if name == "tilted.png":
        # The rows of tilted text overlap, and PDFium takes them for one.
        assert pdf_text(data) == [[" ".join(line.text for line in result.lines)]]
    elif name == "vertical.png":
        # PDFium reads columns from the left.
        assert [sorted(lines) for lines in pdf_text(data)] == [sorted(lines) for lines in texts([result])]
    else:
        assert pdf_text(data) == texts([result])
    (sheet,) = pypdfium2.PdfDocument(data)
    height, width = result.page.image.shape[:2]
    assert sheet.get_size() == (width / 2, height / 2)
    layer = sheet.get_textpage()
    for line in result.lines:
        left, top, right, bottom = [side / 2 for side in bounding_box(line.box.quad)]
        inside = layer.get_text_bounded(left - 2, height / 2 - bottom - 2, right + 2, height / 2 - top + 2)
        assert line.text in inside


def test_the_searchable_pdf_of_a_document_shows_its_pages(page: Visitor, document: Path, read: list[OCRResult]) -> None:
    page.give(document)
    data = page.download("#pdf")
    made = pypdfium2.PdfDocument(data)
    given = pypdfium2.PdfDocument(document)
    assert pdf_text(document.read_bytes()) == [[""]] * 3
    assert pdf_text(data) == texts(read)
    for mine, theirs in zip(made, given, strict=True):
        assert mine.get_size() == theirs.get_size()
        pictures = [p.render(scale=0.5).to_pil().convert("L").resize((48, 48)).tobytes() for p in (mine, theirs)]
        assert sum(abs(a - b) for a, b in zip(*pictures, strict=True)) / 48**2 < 3


def test_pointing_at_a_box_shows_its_text(page: Visitor, ocr: OCR) -> None:
    page.give(SIGN)
    (result,) = ocr.predict(SIGN)
    for at, line in enumerate(result.lines):
        ActionChains(page.chrome).move_to_element(page.all("polygon.box")[at]).perform()
        assert page.find(".tip").text.splitlines()[0] == line.text
        assert f"score {line.score:.3f}, box {line.box.score:.3f}" in page.find(".tip").text
        assert [e.text.splitlines()[0] for e in page.all(".lines .chosen")] == [line.text]
    ActionChains(page.chrome).move_to_element(page.find("h1")).perform()
    assert not page.find(".tip").is_displayed()
    ActionChains(page.chrome).move_to_element(page.all(".lines li")[2]).perform()
    assert page.all("polygon.box")[2].get_attribute("class") == "box chosen"


def test_a_click_on_a_box_goes_to_its_line_and_enlarges_it(page: Visitor) -> None:
    page.give(SIGN)
    page.all("polygon.box")[1].click()
    assert page.focused == page.all(".lines li")[1]
    assert page.focused.find_element(By.CSS_SELECTOR, "canvas").size["height"] > 20


def test_lines_that_scored_low_are_marked(page: Visitor, ocr: OCR) -> None:
    page.give(SIGN)
    scores = [line.score for line in ocr.predict(SIGN)[0].lines]
    assert page.all(".low") == []
    page.find("summary").click()
    page.find("#low").clear()
    limit = round((min(scores) + max(scores)) / 2, 5)
    page.find("#low").send_keys(str(limit))
    low = [score < limit for score in scores]
    assert True in low
    assert False in low
    assert ["low" in str(e.get_attribute("class")) for e in page.all(".lines li")] == low
    assert ["low" in str(e.get_attribute("class")) for e in page.all("polygon.box")] == low


def test_options_of_the_page_are_sent_to_the_server(page: Visitor, ocr: OCR) -> None:
    page.give(PAGES / "turned-180.png")
    page.find("summary").click()
    page.find("select[name=useDocOrientationClassify]").send_keys("no")
    page.find("input[name=textRecScoreThresh]").send_keys("0.9")
    before = page.boxes
    page.find("#again").click()
    page.wait(lambda: page.boxes != before)
    page.settle()
    answer = json.loads(page.download("#json"))
    (found,) = [element["prunedResult"] for element in answer["result"]["ocrResults"]]
    assert found["text_rec_score_thresh"] == 0.9
    assert found["model_settings"]["use_doc_preprocessor"] is False


def test_the_servers_error_for_an_invalid_file_is_shown(page: Visitor, tmp_path: Path) -> None:
    file = tmp_path / "<b>no picture<b>.png"
    file.write_bytes(b"this is no picture")
    page.give(file)
    assert "picture" in page.error or "image" in page.error.lower()
    assert page.all(".error b") == []
    assert not page.find("#take").is_displayed()
    assert all("422" in line for line in page.complaints)
    page.give(SIGN)
    assert (page.error, len(page.texts)) == ("", 1)


def test_reading_is_cancelled(page: Visitor, document: Path) -> None:
    script = """
        const cancel = document.getElementById("cancel");
        new MutationObserver(() => { if (!cancel.hidden) cancel.click(); }).observe(cancel, { attributes: true });"""
    page.chrome.execute_script(script)
    page.find("#file").send_keys(str(document))
    page.wait(lambda: page.status.startswith("Cancelled"))
    assert not page.find("#progress").is_displayed()
    assert page.error == ""


def test_the_page_can_be_used_with_the_keyboard(page: Visitor, ocr: OCR) -> None:
    page.press(Keys.TAB)
    assert page.focused == page.find("#file")
    page.focused.send_keys(str(SIGN))
    page.settle()
    seen = []
    for _ in range(10):
        page.press(Keys.TAB)
        seen.append(page.focused.get_attribute("id") or page.focused.tag_name)
        assert page.chrome.execute_script("return document.activeElement.matches(':focus-visible')")
        outline = page.focused.value_of_css_property("outline-style")
        assert outline != "none", seen[-1]
        if seen[-1] == "li":
            break
    assert seen == ["summary", "again", "copy", "json", "tsv", "pdf", "format", "other", "li"]
    lines = [line.text for line in ocr.predict(SIGN)[0].lines]
    for key, at in ((Keys.ARROW_DOWN, 1), (Keys.END, 2), (Keys.ARROW_DOWN, 2), (Keys.ARROW_UP, 1), (Keys.HOME, 0)):
        page.press(key)
        assert page.focused == page.all(".lines li")[at]
        assert page.find(".tip").text.splitlines()[0] == lines[at]
        assert [e.get_attribute("aria-selected") for e in page.all(".lines li")].index("true") == at
    for _ in range(6):
        page.press(Keys.SHIFT, Keys.TAB)
    before = set(page.downloads.iterdir())
    page.press(Keys.TAB)
    assert page.focused.get_attribute("id") == "json"
    page.press(Keys.ENTER)
    page.wait(lambda: page.new(before))


def test_every_element_has_an_accessible_name(page: Visitor) -> None:
    page.give(SIGN)
    page.find("summary").click()
    tree = page.chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "textbox", "combobox", "spinbutton", "option", "listbox", "image", "heading"}
    nodes = [n for n in tree if not n["ignored"] and n["role"]["value"] in wanted]
    assert {"button", "combobox", "spinbutton", "option", "listbox", "heading", "image"} <= {
        n["role"]["value"] for n in nodes
    }
    assert [n for n in nodes if not n["name"]["value"]] == []
    assert page.find("#status").get_attribute("role") == "status"
    assert page.find("#error").get_attribute("role") == "alert"


def test_a_phone_shows_it_without_scrolling_sideways(page: Visitor, document: Path) -> None:
    width, height = PHONE
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
    page.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.give(document)
        page.find("summary").click()
        page.all(".lines li")[2].click()
        wide = page.chrome.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide == [width, width]
        picture, lines = page.find("figure"), page.find(".lines")
        assert picture.rect["width"] > 0.9 * width - 24
        assert lines.rect["y"] >= picture.rect["y"] + picture.rect["height"]
        assert min(button.rect["height"] for button in page.all("#take button")) >= 44
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_reduced_motion_and_dark_colors_are_respected(page: Visitor) -> None:
    def ground(scheme: str) -> str:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        return page.find("body").value_of_css_property("background-color")

    assert ground("light") != ground("dark")
    page.give(SIGN)
    assert page.find("polygon").value_of_css_property("transition-duration") == "0s"
    page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_server_with_keys_asks_for_one_and_remembers_it_for_the_tab(
    chrome: tuple[Chrome, Path], ocr: OCR, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    with browsing.service("--api-key-file", str(keys)) as guarded:
        page = Visitor(chrome[0], guarded, chrome[1])
        page.give(SIGN)
        assert page.find("#key").is_displayed()
        assert page.find("#key").get_attribute("type") == "password"
        assert page.focused == page.find("#key")
        assert "key" in page.error
        page.focused.send_keys("a-key-that-nobody-gave-out", Keys.ENTER)
        page.wait(lambda: page.find("#key").is_displayed() and page.error)
        page.find("#key").send_keys(KEY, Keys.ENTER)
        page.wait(lambda: page.texts)
        page.settle()
        assert (page.error, page.texts) == ("", texts(ocr.predict(SIGN)))
        page.give(PAGES / "letter.png")
        assert not page.find("#key").is_displayed()
        assert page.chrome.execute_script("return [localStorage.length, document.cookie]") == [0, ""]
        assert all("401" in line for line in page.complaints)
        page.close()
