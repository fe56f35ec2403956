"""Shards in Parquet, with the programs that read them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PAGES, PATIENCE

from ocr_onnx import OCR
from ocr_onnx.batch.shards import read_rows, schema

duckdb = pytest.importorskip("duckdb")
pandas = pytest.importorskip("pandas")
pq = pytest.importorskip("pyarrow.parquet")


NAMES = ("letter.png", "receipt.png", "sign.png")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a batch of three pages, two to a shard, with the boxes of words."""
    folder = tmp_path_factory.mktemp("parquet")
    names = [str(PAGES / name) for name in NAMES]
    options = ["--format", "parquet", "--shard_pages", "2", "--preset", "fast", "--return_word_box", "True"]
    command = [sys.executable, "-P", "-m", "ocr_onnx", "batch", *names, "-o", str(folder / "out"), *options]
    subprocess.run(command, check=True, timeout=PATIENCE)
    return folder / "out"


def test_the_columns_are_those_of_the_documentation(out: Path) -> None:
    for path in out.glob("pages/*.parquet"):
        assert pq.read_schema(path).equals(schema())


def test_the_rows_are_the_results_of_the_pipeline(out: Path) -> None:
    rows = [row for path in sorted(out.glob("pages/*.parquet")) for row in read_rows(path)]
    row = next(row for row in rows if row["path"].endswith("letter.png"))
    result = OCR(preset="fast").predict(row["path"])[0].to_dict()
    assert row["text"] == result["text"]
    assert [line["quad"] for line in row["lines"]] == [line["quad"] for line in result["lines"]]
    assert all(line["words"] for line in row["lines"])


def test_duckdb_reads_them(out: Path) -> None:
    found = duckdb.sql(f"SELECT path, unnest(lines).text FROM '{out}/pages/*.parquet'").fetchall()  # noqa: S608
    assert len({path for path, _ in found}) == 3
    assert all(text for _, text in found)


def test_pandas_reads_them(out: Path) -> None:
    table = pandas.read_parquet(out / "pages")
    assert len(table) == 3
    assert list(table.columns) == schema().names
    assert table["text"].str.len().sum() > 0
