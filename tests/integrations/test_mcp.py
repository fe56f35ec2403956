"""The tools of the Model Context Protocol, with a real client. `make integrations` runs it in an environment of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from conftest import PAGES

pytest.importorskip("mcp.server.mcpserver", reason="the MCP server has an environment of its own: make integrations")

import anyio
import pypdfium2
from mcp import Client, StdioServerParameters, stdio_client

from ocr_onnx.errors import InputNotFoundError
from ocr_onnx.integrations.mcp import confined


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    shutil.copy(PAGES / "sign.png", allowed / "sign.png")
    shutil.copy(PAGES / "sign.png", tmp_path / "secret.png")
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    return allowed


def session(folder: Path, talk: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    """Start the server as a client does, and talk to it."""
    program = StdioServerParameters(command=sys.executable, args=["-m", "ocr_onnx", "mcp", str(folder)])

    async def run() -> None:
        async with Client(stdio_client(program)) as client:
            await talk(client)

    anyio.run(run)


def text_of(answer: Any) -> str:
    return "".join(part.text for part in answer.content)


def test_a_client_lists_the_tools_reads_a_page_and_makes_a_pdf(folder: Path) -> None:
    async def talk(client: Client) -> None:
        tools = await client.list_tools()
        assert {tool.name for tool in tools.tools} == {"ocr", "searchable_pdf"}
        answer = await client.call_tool("ocr", {"path": "sign.png"})
        assert text_of(answer).startswith("FERRY TERMINAL")
        answer = await client.call_tool("ocr", {"path": "sign.png", "format": "hocr"})
        assert "ocrx_word" in text_of(answer)
        answer = await client.call_tool("searchable_pdf", {"path": "sign.png", "output": "sign.pdf"})
        assert text_of(answer) == str(folder / "sign.pdf")

    session(folder, talk)
    page = pypdfium2.PdfDocument(folder / "sign.pdf")[0]
    assert "FERRY TERMINAL" in page.get_textpage().get_text_range()


def test_errors_say_what_is_wrong(folder: Path) -> None:
    async def talk(client: Client) -> None:
        for tool, arguments, reason in (
            ("ocr", {"path": "../secret.png"}, "none of the folders"),
            ("ocr", {"path": "missing.png"}, "no file"),
            ("ocr", {"path": "*.png"}, "no file"),
            ("searchable_pdf", {"path": "sign.png", "output": "sign.png"}, "new PDF"),
            ("searchable_pdf", {"path": "sign.png", "output": "../other.pdf"}, "none of the folders"),
        ):
            answer = await client.call_tool(tool, arguments)
            assert answer.is_error
            assert reason in text_of(answer)

    session(folder, talk)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "link.png", "a/../../secret.png"])
def test_paths_outside_of_the_folders_are_refused(folder: Path, path: str) -> None:
    with pytest.raises(InputNotFoundError, match="none of the folders"):
        confined(path, [folder.resolve()])
