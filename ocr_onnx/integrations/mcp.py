"""A server of the Model Context Protocol, with tools that read files in named folders. `pip install 'ocr-onnx[mcp,cpu]'`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from ocr_onnx import OCR, InputOptions, OCROptions, OCRResult, __version__, save
from ocr_onnx.errors import InputError, InputNotFoundError, OCRError, OutputError
from ocr_onnx.options import PDFText
from ocr_onnx.outputs.formats import FORMATS

NAME = "ocr-onnx"

Format = Literal["text", "layout", "markdown", "native", "tsv", "hocr", "alto"]


def make_server(ocr: OCR, folders: Sequence[Path]) -> MCPServer:
    """Return a server whose tools reach the files in `folders` and their subfolders, and no others."""
    roots = tuple(folder.resolve(strict=True) for folder in folders)
    named = ", ".join(map(str, roots))
    server = MCPServer(NAME, version=__version__, instructions=f"Reads images and PDFs in {named}.")

    @server.tool(name="ocr")  # type: ignore[untyped-decorator]
    async def read_text(path: str, format: Format = "text", pages: str | None = None) -> list[str]:  # noqa: A002 the command line's word
        """Read the text of an image or a PDF. `pages` chooses pages of a PDF, such as 1-3,7.

        The first part of the answer is the text; a further part is the error of a page that could not be read.
        """
        return await _called(lambda: _read(ocr, confined(path, roots), format, pages))

    @server.tool()  # type: ignore[untyped-decorator]
    async def searchable_pdf(path: str, output: str) -> list[str]:
        """Write an image or a PDF as a searchable PDF, a new file, and return its path.

        A further part of the answer is the error of a page that could not be read; the PDF has it without text.
        """
        return await _called(lambda: _write(ocr, confined(path, roots), confined(output, roots)))

    return server


async def _called(work: Callable[[], list[str]]) -> list[str]:
    """Call a function in a thread. The client gets the message of an OCRError, but of no other."""
    try:
        return list(await anyio.to_thread.run_sync(work))
    except OCRError as error:
        raise ToolError(str(error)) from error


def confined(path: str, roots: Sequence[Path]) -> Path:
    """Return a path inside one of the folders `roots`; a relative path begins at the first. Raises InputNotFoundError for others."""
    resolved = (roots[0] / path).resolve()
    if not any(resolved.is_relative_to(root) for root in roots):
        named = ", ".join(map(str, roots))
        raise InputNotFoundError(f"{path} is in none of the folders that this server may use: {named}")
    return resolved


def _read(ocr: OCR, file: Path, name: Format, pages: str | None) -> list[str]:
    """Return the pages in a format, and the error of each page that could not be read."""
    results, errors = _results(ocr, file, _options(ocr, pages))
    return ["".join(FORMATS[name].write(results)), *errors]


def _write(ocr: OCR, file: Path, target: Path) -> list[str]:
    if target.exists() or target.suffix.lower() != ".pdf":
        raise OutputError(f"{target} exists, or its suffix is not .pdf: give the path of a new PDF")
    results, errors = _results(ocr, file, _options(ocr, None, FORMATS["pdf"].pdf_text(None)))
    return [str(save(results, target)), *errors]


def _results(ocr: OCR, file: Path, options: OCROptions) -> tuple[list[OCRResult], list[str]]:
    """Return the results of the pages of a file, and the errors of the others. Raises the first error if no page could be read."""
    outcomes = list(ocr.predict_iter(_existing(file), options, return_exceptions=True))
    results = [each for each in outcomes if isinstance(each, OCRResult)]
    errors = [each for each in outcomes if isinstance(each, InputError)]
    if errors and not results:
        raise errors[0]
    return results, list(map(str, errors))


def _options(ocr: OCR, pages: str | None, pdf_text: PDFText | None = None) -> OCROptions:
    return replace(ocr.options, input=InputOptions(pdf_pages=pages, pdf_text=pdf_text))


def _existing(file: Path) -> Path:
    """Return a file. Raises InputNotFoundError for a folder or a pattern, which could lead to other files."""
    if not file.is_file():
        raise InputNotFoundError(f"{file} is no file: check the path")
    return file
