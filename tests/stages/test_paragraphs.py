"""How lines become paragraphs, headings and lists, and how their text is joined."""

from __future__ import annotations

import pytest
from layouts import HEIGHT, PITCH, Layout, blocks_of

from ocr_onnx.stages.blocks import text_of
from ocr_onnx.stages.joining import join, text_width, vocabulary


def column(*texts: str, widths: tuple[int, ...] = (), height: int = HEIGHT) -> Layout:
    """Lines below each other, 600 pixels wide unless another width is given."""
    page = Layout()
    for i, text in enumerate(texts):
        page.line(100, 100 + i * PITCH, widths[i] if widths else 600, text, height)
    return page


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("the river", "was low", "the river was low"),
        ("an exam-", "ple of it", "an example of it"),
        ("an exam\u2010", "ple of it", "an example of it"),
        ("soft\u00ad", "ware", "software"),
        ("the Anglo-", "Saxon towns", "the Anglo-Saxon towns"),
        ("in 1990-", "2000 it was", "in 1990-2000 it was"),
        ("the third-", "highest town", "the third-highest town"),
        ("state-of-the-", "art boats", "state-of-the-art boats"),
        ("pre- and post-", "war", "pre- and postwar"),
        ("Haupt-", "und Nebensatz", "Haupt- und Nebensatz"),
        ("it was low -", "or so they said", "it was low - or so they said"),
        ("a pause\u2014", "then boats", "a pause\u2014then boats"),
        ("春の海は", "ひねもす", "春の海はひねもす"),
        ("第三章。", "Gate 7", "第三章。 Gate 7"),
        ("강은 조용", "했다", "강은 조용 했다"),
        ("", "alone", "alone"),
    ],
)
def test_two_lines_are_joined_by_the_rule_of_their_script(before: str, after: str, joined: str) -> None:
    assert join(before, after) == joined


def test_the_words_of_the_page_decide_about_a_hyphen() -> None:
    words = vocabulary(["a well known and long-lived river is known", "the rewritten text was here"])
    assert join("the well-", "known river", words) == "the well-known river"
    assert join("the long-", "lived river", words) == "the long-lived river"
    assert join("the re-", "written text", words) == "the rewritten text"


def test_the_last_part_of_a_compound_can_be_divided() -> None:
    words = vocabulary(["it is an art of a kind"])
    assert join("the state-of-the-", "art boat", words) == "the state-of-the-art boat"
    assert join("all IB-vacci-", "nations were", words) == "all IB-vaccinations were"


def test_words_at_the_ends_of_lines_are_no_evidence() -> None:
    assert vocabulary(["mentally it was in-", "crementally done"]) == {"it", "was"}


def test_full_lines_are_one_paragraph_and_a_short_line_ends_it() -> None:
    page = column("the river was", "low in winter.", "Boats came with", "salt and wheat", widths=(600, 300, 600, 500))
    assert (
        text_of(blocks_of(page.lines), page.lines) == "the river was low in winter.\n\nBoats came with salt and wheat"
    )


def test_double_spaced_lines_are_one_paragraph() -> None:
    page = column(*["the river was low in winter and the boats"] * 6)
    for i, line in enumerate(page.lines):
        line.box.quad[:, 1] += i * PITCH
    (block,) = blocks_of(page.lines)
    assert "\n" not in block.text


def test_an_indent_begins_a_paragraph() -> None:
    page = column("the river was", "low in the winter", "Boats came with it", "and with salt")
    page.lines[2].box.quad[[0, 3], 0] += 2 * HEIGHT
    assert [block.text for block in blocks_of(page.lines)] == [
        "the river was low in the winter",
        "Boats came with it and with salt",
    ]


def test_lines_that_end_on_purpose_keep_their_breaks() -> None:
    page = column(
        "River Trading Co", "17 Salt Road", "Lower Town", "a line as wide as the column is", widths=(300, 250, 200, 600)
    )
    assert blocks_of(page.lines)[0].text.splitlines()[:3] == ["River Trading Co", "17 Salt Road", "Lower Town"]


def test_items_of_a_list_are_lines_of_one_block() -> None:
    page = column(
        "1. salt from the hills and", "wheat from the plain", "2. boats", "3. oil", widths=(600, 400, 200, 200)
    )
    (block,) = blocks_of(page.lines)
    assert (block.kind, block.text) == ("list", "1. salt from the hills and wheat from the plain\n2. boats\n3. oil")


def test_a_larger_line_is_a_heading() -> None:
    page = column("the river was", "low in the winter", "when boats came", "and with salt")
    page.line(100, 30, 500, "The Boats", 2 * HEIGHT)
    blocks = blocks_of(page.lines)
    assert blocks[0].text == "The Boats"
    assert [block.kind for block in blocks] == ["heading", "paragraph"]


def test_centered_lines_of_a_heading_are_joined() -> None:
    page = column("the river was", "low in the winter", "when boats came", "and with salt")
    page.line(100, -130, 700, "The Boats of the River and", 2 * HEIGHT)
    page.line(300, -70, 300, "its Towns", 2 * HEIGHT)
    assert blocks_of(page.lines)[0].text == "The Boats of the River and its Towns"


def test_centered_lines_keep_their_breaks() -> None:
    page = column("THE RIVER STORE COMPANY", "17 SALT ROAD", "boats and wheat and oil and salt", widths=(500, 260, 600))
    for line in page.lines:
        line.box.quad[:, 0] += 400 - round(line.box.quad[:, 0].mean())
    assert blocks_of(page.lines)[0].text.splitlines() == [
        "THE RIVER STORE COMPANY",
        "17 SALT ROAD",
        "boats and wheat and oil and salt",
    ]


def test_a_sentence_goes_on_in_the_next_column() -> None:
    page = Layout()
    for left, last in ((100, "the river went by the hospi-"), (820, "tals of the town")):
        for i in range(8):
            page.line(left, 100 + i * PITCH, 680, "the boats went on and on until the")
        page.line(left, 100 + 8 * PITCH, 680, last)
    page.lines.insert(9, page.lines.pop())
    page.lines[9].box.quad[:, 1] = page.lines[0].box.quad[:, 1] - PITCH
    assert "by the hospitals of the town the boats" in text_of(blocks_of(page.lines), page.lines)


def test_the_box_of_a_block_is_around_its_lines() -> None:
    page = column("the river was", "low in the winter")
    (block,) = blocks_of(page.lines)
    assert block.box.tolist() == [[100, 100], [700, 100], [700, 100 + PITCH + HEIGHT], [100, 100 + PITCH + HEIGHT]]
    assert [line.text for line in block.lines] == ["the river was", "low in the winter"]


def test_characters_of_east_asia_are_twice_as_wide() -> None:
    assert text_width("Gate 渡轮") == 9
