"""Columns, spanning lines, tables, footnotes, skew, and the scripts that run otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import (
    HEIGHT,
    LAYOUTS,
    PITCH,
    SIZE,
    Layout,
    blocks_of,
    newspaper,
    order_of,
    split,
    table_between,
    turned,
    two_columns,
)

from ocr_onnx import TextBox, TextLine
from ocr_onnx.stages import page_frame, reading_order
from ocr_onnx.stages.blocks import find_blocks
from ocr_onnx.types import Columns

seeds = st.integers(0, 10_000)
layouts = st.sampled_from(LAYOUTS)

LEAST_PAIRS = 0.97


def pairs_kept(order: list[int]) -> float:
    """The share of lines that are followed by the line that follows them on the page."""
    return sum(b == a + 1 for a, b in pairwise(order)) / (len(order) - 1)


def texts(lines: list[TextLine], order: list[int]) -> list[str]:
    return [lines[i].text for i in order]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lines_follow_each_other_as_on_the_page(layout: Callable[[int], Layout]) -> None:
    kept = [pairs_kept(order_of(layout(seed).lines)) for seed in range(5)]
    assert min(kept) >= LEAST_PAIRS


@given(layouts, seeds, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_order_of_the_input(
    layout: Callable[[int], Layout], seed: int, shuffle: random.Random
) -> None:
    lines = layout(seed).lines
    mixed = list(lines)
    shuffle.shuffle(mixed)
    assert texts(mixed, order_of(mixed)) == texts(lines, order_of(lines))


@given(layouts, seeds, st.floats(-3, 3))
def test_a_turn_by_three_degrees_changes_nothing(layout: Callable[[int], Layout], seed: int, degrees: float) -> None:
    lines = layout(seed).lines
    assert order_of(turned(lines, degrees)) == order_of(lines)


@given(st.sampled_from([two_columns, newspaper]), seeds, st.floats(0.2, 0.8))
def test_a_line_in_two_boxes_is_read_as_one(layout: Callable[[int], Layout], seed: int, share: float) -> None:
    lines = layout(seed).lines
    chosen = [i for i in range(seed % 7, len(lines), 7) if " " in lines[i].text]
    divided = [part for i, line in enumerate(lines) for part in (split(line, share) if i in chosen else [line])]
    words = [" ".join(block.text for block in blocks_of(each)).split() for each in (lines, divided)]
    assert words[0] == words[1]


def test_a_row_of_a_table_stays_a_row() -> None:
    (table,) = [block for block in blocks_of(table_between(1).lines) if block.kind == "table"]
    rows = [row[0].text for row in table.rows]
    assert rows == [str(year) for year in range(1890, 1902)]
    assert {len(row) for row in table.rows} == {4}
    assert table.text.splitlines()[0].startswith("1890 ")


def test_a_cell_that_wraps_stays_in_its_row() -> None:
    page = Layout()
    for i, name in enumerate(["Salt", "Wheat", "Oil", "Wine"]):
        page.line(100, 100 + 3 * i * PITCH, 300, f"{name} that was carried")
        page.line(900, 100 + 3 * i * PITCH, 80, str(17 * i + 3))
        page.line(110, 100 + (3 * i + 1) * PITCH, 200, "down the river")
    (table,) = blocks_of(page.lines)
    assert table.text.splitlines()[1] == "Wheat that was carried down the river 20"


def test_a_footnote_does_not_interrupt_a_sentence() -> None:
    page = Layout()
    for i in range(20):
        page.line(100, 100 + i * PITCH, 680, "the boats went on and on until the")
        page.line(820, 100 + i * PITCH, 680, "river was low and they stopped there")
    page.line(100, 140 + 20 * PITCH, 600, "1 The names of the boats are lost", 22)
    blocks = blocks_of(page.lines)
    assert blocks[-1].text == "1 The names of the boats are lost"


def test_a_line_that_reaches_into_the_gutter_does_not_cut_the_columns() -> None:
    page = two_columns(3)
    page.lines[20].box.quad[1:3, 0] = 835
    assert pairs_kept(order_of(page.lines)) >= LEAST_PAIRS


def test_a_box_across_the_gutter_is_divided_between_its_columns() -> None:
    page = Layout()
    for i in range(12):
        left, right = f"left words of row {i:02}", f"right words of row {i:02}"
        page.line(100, 100 + i * PITCH, 900, f"{left} {right}")
    characters = tuple(page.lines[0].text)
    half = len(characters) // 2
    positions = tuple(10 * i + (60 if i >= half else 0) for i in range(len(characters)))
    columns = [Columns(tuple(line.text), positions, 10 * len(characters) + 60) for line in page.lines]
    blocks, order = find_blocks(page.lines, SIZE, columns)
    assert [block.text.count("left") for block in blocks] == [12, 0]
    assert order == tuple(range(12))
    assert blocks[0].box[:, 0].max() < blocks[1].box[:, 0].min()


def of_equal_width(line: TextLine) -> Columns:
    """The positions of characters that have the same width."""
    return Columns(tuple(line.text), tuple(range(len(line.text))), len(line.text))


@pytest.mark.parametrize("whole", [set(), {0, 1, 2, 3}, {3, 7}, set(range(12)) - {11}])
def test_a_box_across_a_narrow_gutter_is_divided_where_other_lines_end_or_have_a_gap(whole: set[int]) -> None:
    page = Layout()
    for i in range(12):
        left, right = (f"{side} {page.sentence(800)}"[:35].rstrip().ljust(35, "s") for side in ("Left", "right"))
        if i in whole:
            page.line(100, 100 + i * PITCH, 35 * 20, left)
            page.line(100 + 36 * 20, 100 + i * PITCH, 35 * 20, right)
        else:
            page.line(100, 100 + i * PITCH, 71 * 20, f"{left} {right}")
    columns = [of_equal_width(line) for line in page.lines]
    text = " ".join(block.text for block in find_blocks(page.lines, SIZE, columns)[0])
    assert (text.count("Left"), text.count("right")) == (12, 12)
    assert text.rindex("Left") < text.index("right")


def test_marks_of_list_items_are_no_column() -> None:
    page = Layout()
    for i in range(12):
        page.line(100, 100 + i * PITCH, 700, f"• {page.sentence(700)}")
    blocks = find_blocks(page.lines, SIZE, [of_equal_width(line) for line in page.lines])[0]
    assert [block.text.count("• ") for block in blocks] == [12]


@pytest.mark.parametrize(("rows", "height"), [((1, 20, 38), HEIGHT), ((20,), 900)])
def test_marks_at_the_side_of_a_page_make_no_table_of_it(rows: tuple[int, ...], height: int) -> None:
    page = two_columns(2)
    count, first = len(page.lines), page.lines[0].box.quad[0, 1]
    for row in rows:
        page.line(1560, first + row * PITCH + (HEIGHT - height) / 2, 30, "C", height)
    order = [i for i in order_of(page.lines) if i < count]
    assert pairs_kept(order) >= LEAST_PAIRS


def test_running_heads_come_first_and_page_numbers_last() -> None:
    page = two_columns(5)
    page.line(100, 20, 300, "Chapter Two")
    page.line(1200, 20, 300, "The River")
    texts = [page.lines[i].text for i in order_of(page.lines)]
    assert (texts[:2], texts[-1]) == (["Chapter Two", "The River"], "17")


def test_lines_without_text_are_last_and_in_no_block() -> None:
    page = two_columns(1)
    page.line(100, 100, 50, "")
    blocks, order = find_blocks(page.lines, SIZE)
    assert order[-1] == len(page.lines) - 1
    assert all(line.text for block in blocks for line in block.lines)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_lines_are_ordered(count: int) -> None:
    page = Layout()
    for i in range(count):
        page.line(100, 100 + i * PITCH, 400, f"line {i}")
    assert order_of(page.lines) == list(range(count))


@given(st.lists(st.tuples(*[st.integers(0, 1000)] * 2, *[st.integers(1, 300)] * 2), max_size=60))
def test_every_line_is_in_exactly_one_place(boxes: list[tuple[int, int, int, int]]) -> None:
    page = Layout()
    for left, top, width, height in boxes:
        page.line(left, top, width, f"word{left}", height)
    found, order = find_blocks(page.lines, SIZE)
    assert sorted(order) == list(range(len(boxes)))
    assert sorted(line.text for block in found for line in block.lines) == sorted(line.text for line in page.lines)


def test_the_work_grows_no_faster_than_the_lines_with_their_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for pages in (1, 4):
        lines = [
            TextLine(line.text, 0.9, TextBox(line.box.quad + np.array([0, k * 2200], np.int32), 0.9))
            for k in range(pages)
            for line in two_columns(k).lines
        ]
        counts.append(_comparisons(lines, monkeypatch))
    assert counts[1] < 4 * 2 * counts[0]


def _comparisons(lines: list[TextLine], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the center of a line is computed."""
    count = 0

    def x(piece: page_frame.Piece) -> float:
        nonlocal count
        count += 1
        return (piece.left + piece.right) / 2

    with monkeypatch.context() as patch:
        patch.setattr(page_frame.Piece, "x", property(x))
        reading_order.regions(page_frame.pieces([(line.box.quad, line.text) for line in lines], SIZE))
    return count


def piece(left: float, top: float, text: str = "word", width: float = 40, line: int = 0) -> page_frame.Piece:
    """A piece of 10 pixels in height."""
    return page_frame.Piece(left, top, left + width, top + 10, line, 0, text)


@pytest.mark.parametrize(
    ("text", "ends"),
    [("It is.", True), ('He said "No!")', True), ("十。", True), ("one, two", False), ("2.X", False), ("", False)],
)
def test_a_sentence_ends_at_a_full_stop_also_before_quotation_marks(text: str, ends: bool) -> None:
    assert reading_order._ends_sentence(text) is ends


@pytest.mark.parametrize(
    ("starts", "runs"), [("aaaBBBBBBB", True), ("aaBBBBBBBB", False), ("aB1234567", True), ("12漢", True), ("B", False)]
)
def test_text_runs_on_if_three_of_ten_lines_begin_with_a_small_letter(starts: str, runs: bool) -> None:
    """Of the lines that begin with a letter that can be small."""
    rows = [(piece(0, 12 * i, start + "xyz"),) for i, start in enumerate(starts)]
    assert reading_order._runs_on(rows) is runs


@pytest.mark.parametrize(("left", "below"), [(97, False), (97.5, True), (100, True), (139, True), (140, False)])
def test_a_piece_is_below_a_cell_if_it_begins_within_it_or_a_quarter_of_its_height_before(
    left: float, below: bool
) -> None:
    assert reading_order._is_below(piece(left, 20), piece(100, 0)) is below


def test_lines_over_the_first_column_are_above_and_below_a_table() -> None:
    title, wide = (piece(0, 0, "title", 200),), (piece(0, 60, "note", 104),)
    cells = [
        (piece(0, 20, width=104), piece(108, 20)),
        (piece(0, 25), piece(100, 25)),
        (piece(0, 30, "Single"),),
        (piece(0, 40, width=104), piece(104, 40)),
    ]
    found = list(reading_order._table([title, *cells, wide]))
    assert [(region.rows, region.is_table) for region in found] == [
        ((title,), False),
        (tuple(cells), True),
        ((wide,), False),
    ]
    assert list(reading_order._table(cells)) == found[1:2]
    narrow = [(piece(0, 0),), (piece(0, 20),)]
    assert list(reading_order._table(narrow)) == [reading_order.Region(tuple(narrow), is_table=True)]


def test_a_cell_that_goes_on_below_is_moved_behind_the_cell() -> None:
    above, second = (
        (piece(0, 0), piece(100, 0, "begins"), piece(200, 0)),
        (piece(0, 30), piece(100, 30), piece(200, 30)),
    )
    rest = piece(102, 10, "and ends")
    assert reading_order.with_wrapped_cells([above, (rest,), second]) == [(*above[:2], rest, above[2]), second]
    for kept in (piece(102, 10, "Begins"), piece(150, 10, "beside"), piece(60, 10, "beside")):
        assert reading_order.with_wrapped_cells([above, (kept,), second]) == [above, (kept,), second]
    # A row of one cell is no table.
    assert reading_order.with_wrapped_cells([(piece(0, 0),), (piece(0, 10, "text"),)]) == [
        (piece(0, 0),),
        (piece(0, 10, "text"),),
    ]


def test_empty_strips_are_those_that_no_line_reaches_into() -> None:
    assert reading_order._strips([(0, 10), (10, 20), (25, 60), (30, 40), (62, 70)]) == [(2, 5), (4, 2)]


@pytest.mark.parametrize(("value", "distance"), [(-5, 5), (0, 0), (4, 4), (6, 4), (10, 0), (33, 3), (50, 20)])
def test_the_distance_is_that_to_the_nearest(value: float, distance: float) -> None:
    assert reading_order._distance(value, [0, 10, 30]) == distance


def test_pieces_at_one_height_beside_each_other_are_a_row() -> None:
    first, second, third = piece(100, 3, line=0), piece(0, 0, line=1), piece(200, 6, line=2)
    assert reading_order.rows([first, second, third]) == [(second, first, third)]
    # The distance from the middle of the row is half the height, and one that is over another.
    below, over = piece(200, 6.5, line=3), piece(10, 1, line=4)
    assert reading_order.rows([first, second, below]) == [(second, first), (below,)]
    assert reading_order.rows([second, over]) == [(second,), (over,)]


def column(texts: list[str], top: float = 0, width: float = 200, height: float = 10) -> list[page_frame.Piece]:
    """Lines below each other, 12 pixels apart."""
    return [
        page_frame.Piece(0, y, width, y + height, i, 0, text) for i, text in enumerate(texts) for y in [top + 12 * i]
    ]


def in_rows(lines: list[page_frame.Piece]) -> list[reading_order.Row]:
    return [(line,) for line in lines]


SIZES = [9.0, 5.0]
"""Below a height of 9 pixels and a width of 5 pixels for each character, type is small."""

FIFTY = "x" * 50


@pytest.mark.parametrize(
    ("lines", "height", "width", "are_notes"),
    [(2, 8, 200, True), (3, 8, 200, False), (2, 9, 200, False), (2, 8, 250, False)],
)
def test_the_last_lines_are_notes_in_smaller_and_narrower_type_if_they_are_a_third_of_the_column(
    lines: int, height: float, width: float, are_notes: bool
) -> None:
    above, below = in_rows(column([FIFTY] * 4)), in_rows(column([FIFTY] * lines, 60, width, height))
    assert reading_order._are_notes(above, below, SIZES, goes_on=False) is are_notes


@pytest.mark.parametrize(
    ("last", "width", "below", "are_notes"),
    [
        ("and the", 200, ["1 A note of 1890"], True),
        ("and the", 200, ["2 A note,"], False),
        ("and the", 200, ["2 A note 1-"], False),
        ("and the", 200, ["2 A note"], False),
        ("and the", 200, ["2 A note of 1890, "], False),
        ("and the", 200, ["2 A note of page 2a"], False),
        ("and the", 200, ["", "x"], False),
        ("and the.", 200, ["1 A note of 1890"], False),
        ("and the", 200, ["A note."], True),
        ("and the", 170, ["A note."], False),
        ("and the", 171, ["A note."], True),
        ("and the", 200, ["A note"], False),
        ("and the", 200, ["A", "note", "of."], False),
    ],
)
def test_lines_between_two_parts_of_a_sentence_are_notes_if_they_have_a_mark_or_are_a_sentence(
    last: str, width: float, below: list[str], are_notes: bool
) -> None:
    """The mark's last line must not go on, and a sentence without a mark must follow a full line."""
    above = [*column(["the boats"] * 3), *column([last], 36, width)]
    rows = in_rows(above), in_rows(column(below, 60))
    assert reading_order._are_notes(*rows, SIZES, goes_on=True) is are_notes
    assert not reading_order._are_notes(*rows, SIZES, goes_on=False)


def test_notes_begin_below_a_wide_gap_in_the_last_two_thirds_of_a_column() -> None:
    text, following = column(["the boats go"] * 4), column(["on and on"] * 6)
    notes = [*column(["1 Of the year 1890"], 52), piece(210, 50, "and 1891", line=1)]
    assert reading_order._without_footnotes([*text, *notes], following) == (text, notes)
    near = column(["1 Of the year 1890"], 50)
    assert reading_order._without_footnotes([*text, *near], following) == ([*text, *near], [])
    early = [*column(["the boats go"] * 2), *column(["1 Of the year 1890", *["2 Of 1891"] * 3], 40)]
    assert reading_order._without_footnotes(early, following) == (early, [])
    assert reading_order._without_footnotes(text[:1], following) == (text[:1], [])
    assert reading_order._without_footnotes([*text, *notes], column(["1a on and on"] * 6)) == ([*text, *notes], [])


@pytest.mark.parametrize(("top", "height", "are_notes"), [(63, 8, True), (62.9, 8, False), (62.5, 9, False)])
def test_small_type_below_a_gap_is_a_note_of_any_number_of_lines(top: float, height: float, are_notes: bool) -> None:
    """The centers of lines are 10 pixels apart, and those of the notes begin 12 pixels below the text."""
    text = [piece(0, y, FIFTY, 200, line=i) for i, y in enumerate(range(0, 60, 10))]
    notes = [page_frame.Piece(0, y, 150, y + height, 9 + i, 0, FIFTY) for i, y in enumerate((top, top + 10))]
    expected = (text, notes) if are_notes else ([*text, *notes], [])
    assert reading_order._without_footnotes([*text, *notes], text) == expected


@pytest.mark.parametrize(("left", "right"), [(3, 0), (0, 3)])
def test_a_column_beside_nothing_is_one_region(left: int, right: int) -> None:
    lines = column(["word"] * 3)
    (region,) = reading_order._columns(lines[:left], lines[:right], 10)
    assert region == reading_order.Region(tuple(in_rows(lines)))


def test_the_width_of_a_character_is_that_of_the_line_divided_by_their_number() -> None:
    assert reading_order._character_width(piece(0, 0, "ab", 30)) == 15


def lines_at(tops: list[float], left: float = 0, text: str = "word") -> list[page_frame.Piece]:
    """Lines with their upper edges at these places."""
    return [piece(left, top, text, line=i) for i, top in enumerate(tops)]


def pitch(count: int, top: float = 0) -> list[float]:
    """The upper edges of lines that are 12 pixels apart."""
    return [top + 12 * i for i in range(count)]


@pytest.mark.parametrize(
    ("left", "right", "middle"),
    [
        ([0, 12, 24, 54, 66], [0, 12, 24, 54, 66], 44),
        ([0, 12, 24, 53.9, 66], [0, 12, 24, 54, 66], None),
        # The strip is below the lines of both columns, whichever of them ends last.
        ([0, 12, 54, 66], [0, 24, 54, 66], 44),
        ([0, 12, 24, 36, 54, 66], [0, 12, 54, 66], None),
        # One column begins or ends at the strip.
        ([0, 12, 24, 54, 66], [54, 66], None),
        ([0, 12, 24], [0, 12, 24, 54, 66], None),
        ([0, 12, 24, 54], [0, 12, 24, 54], 44),
        # Of two strips, the first.
        ([0, 40, 80], [0, 40, 80], 25),
    ],
)
def test_columns_are_divided_by_an_empty_strip_of_two_lines_in_height(
    left: list[float], right: list[float], middle: float | None
) -> None:
    assert reading_order._break(lines_at(left), lines_at(right, 100), 10) == middle


@pytest.mark.parametrize(
    ("tops", "first", "last"),
    [
        ([0, *pitch(9, 20), 138], 1, 10),
        ([0, *pitch(9, 19.9), 135.8], 0, 11),
        ([*pitch(3), *pitch(9, 44), *pitch(3, 160)], 3, 12),
        ([*pitch(4), *pitch(9, 56), *pitch(4, 172)], 0, 17),
        # Only the first strip: what is above the second is no head.
        ([0, 20, *pitch(9, 40)], 1, 11),
        ([*pitch(9), 116, 136], 0, 10),
        # A head is no foot.
        ([0, *pitch(2, 20)], 1, 3),
        ([0, 20], 1, 2),
        # With three strips, a head's is higher than usual.
        ([0, 25, *pitch(5, 45), *pitch(5, 113)], 1, 12),
        ([0, 24.9, *pitch(5, 44.9), *pitch(5, 112.9)], 0, 12),
    ],
)
def test_a_head_and_a_foot_are_up_to_three_rows_beyond_an_empty_strip(tops: list[float], first: int, last: int) -> None:
    assert reading_order._margins(lines_at(tops), 10) == (first, last)


LONG = "x" * 18


@pytest.mark.parametrize(
    ("text", "rights", "prose"),
    [
        (LONG, [200] * 4 + [170] * 6, True),
        (LONG, [200] * 3 + [170] * 7, False),
        (LONG, [200] * 3 + [171] + [170] * 6, True),
        # One line in ten may be longer than the column.
        (LONG, [300] + [200] * 4 + [170] * 5, True),
        (LONG, [300] * 2 + [200] * 4 + [170] * 4, False),
        (LONG[1:], [200] * 10, False),
        ("012345" + "x" * 14, [200] * 10, True),
        ("0123456" + "x" * 13, [200] * 10, False),
        ("漢" * 9, [200] * 10, True),
        ("漢" * 8, [200] * 10, False),
    ],
)
def test_prose_has_long_lines_that_fill_the_column_and_few_digits(text: str, rights: list[float], prose: bool) -> None:
    rows = [(piece(0, top, text, right),) for top, right in zip(pitch(10), rights, strict=True)]
    assert reading_order.is_prose(rows, 10) is prose


def test_the_pieces_of_a_row_are_one_line_of_prose() -> None:
    def rows(second: str) -> list[reading_order.Row]:
        return [(piece(0, top, LONG[:9], 90), piece(110, top, second, 90)) for top in pitch(10)]

    assert reading_order.is_prose(rows(LONG[:8]), 10)
    assert not reading_order.is_prose(rows(LONG[:7]), 10)


PROSE = "the boats of the harbour"


@pytest.mark.parametrize(
    ("left", "right", "text", "tabular"),
    [
        (pitch(4), pitch(4), "word", True),
        # Three of four rows are aligned, or two of three.
        (pitch(4), [*pitch(3), 41], "word", True),
        (pitch(4), [*pitch(2), 29, 41], "word", False),
        # To less than a quarter of the height.
        (pitch(4), [2.4, 14.4, 26.4, 38.4], "word", True),
        (pitch(4), [2.5, 14.5, 26.5, 38.5], "word", False),
        # Values beside at least 15 % of the rows.
        (pitch(20), [0, 120, 228], "word", True),
        (pitch(21), [0, 120, 240], "word", False),
        (pitch(30), [0, 120, 228], "word", True),
        (pitch(30), [240, 252, 264], "word", True),
        # Values beside prose: one for each line, or fewer.
        (pitch(4), pitch(4), PROSE, False),
        (pitch(4), pitch(3), PROSE, False),
        (pitch(5), pitch(3), PROSE, True),
        (pitch(4), pitch(4), PROSE.capitalize(), True),
    ],
)
def test_columns_with_aligned_lines_are_a_table_unless_they_are_prose(
    left: list[float], right: list[float], text: str, tabular: bool
) -> None:
    texts, values = [piece(0, top, text, 240) for top in left], lines_at(right, 300)
    assert reading_order.is_tabular(texts, values, 10) is tabular
    assert reading_order.is_tabular(values, texts, 10) is tabular


def test_two_columns_of_prose_are_no_table() -> None:
    left, right = ([piece(0, top, text, 240) for top in pitch(5)] for text in (PROSE, PROSE.capitalize()))
    assert not reading_order.is_tabular(left, right, 10)


def test_three_lines_may_be_two_columns_but_two_lines_are_a_row() -> None:
    left, right = lines_at([0, 20]), page_frame.Piece(100, 0, 180, 30, 2, 0, "BIG")
    assert [region.rows for region in reading_order._cut([left[0], right, left[1]], 10)] == [
        ((left[0],), (left[1],)),
        ((right,),),
    ]
    beside = piece(100, 0, line=2)
    assert [region.rows for region in reading_order._cut([left[0], beside], 10)] == [((left[0], beside),)]
