"""The tools of the Model Context Protocol, with a real client. `make integrations` runs it in an environment of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import PAGES, PATIENCE

pytest.importorskip("mcp.server.mcpserver", reason="the MCP server has an environment of its own: make integrations")

import anyio
import PIL.Image
import pypdfium2
from mcp import Client, StdioServerParameters, stdio_client

from benchmarks.processes import free_port
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


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of a server over HTTP."""
    port = free_port()
    command = [sys.executable, "-m", "ocr_onnx", "mcp", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < end:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def session(folder: Path, transport: str, talk: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    """Start the server, as a client does with stdio, and talk to it."""
    program = StdioServerParameters(command=sys.executable, args=["-m", "ocr_onnx", "mcp", str(folder)])

    async def run(server: Any) -> None:
        async with Client(server) as client:
            await talk(client)

    with nullcontext() if transport == "stdio" else served(folder) as port:
        anyio.run(run, stdio_client(program) if port is None else f"http://127.0.0.1:{port}/mcp")


both_transports = pytest.mark.parametrize("transport", ["stdio", "http"])


def text_of(answer: Any) -> str:
    return "".join(part.text for part in answer.content)


@both_transports
def test_a_client_lists_the_tools_reads_a_page_and_makes_a_pdf(folder: Path, transport: str) -> None:
    async def talk(client: Client) -> None:
        tools = await client.list_tools()
        assert {tool.name for tool in tools.tools} == {"ocr", "searchable_pdf"}
        answer = await client.call_tool("ocr", {"path": "sign.png"})
        assert text_of(answer).startswith("FERRY TERMINAL")
        answer = await client.call_tool("ocr", {"path": "sign.png", "format": "hocr"})
        assert "ocrx_word" in text_of(answer)
        answer = await client.call_tool("searchable_pdf", {"path": "sign.png", "output": "sign.pdf"})
        assert text_of(answer) == str(folder / "sign.pdf")

    session(folder, transport, talk)
    page = pypdfium2.PdfDocument(folder / "sign.pdf")[0]
    assert "FERRY TERMINAL" in page.get_textpage().get_text_range()


@both_transports
def test_errors_say_what_is_wrong(folder: Path, transport: str) -> None:
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

    session(folder, transport, talk)
    assert [path.name for path in folder.parent.iterdir() if path.suffix == ".pdf"] == []


def test_a_page_in_a_browser_cannot_use_the_server_by_another_name(folder: Path) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "ocr", "arguments": {"path": "sign.png"}},
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with served(folder) as port:
        for name, value in (("Host", f"attacker.example:{port}"), ("Origin", "https://attacker.example")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("POST", "/mcp", json.dumps(call), headers | {name: value})
            assert connection.getresponse().status in {403, 421}
            connection.close()


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "link.png", "a/../../secret.png"])
def test_paths_outside_of_the_folders_are_refused(folder: Path, path: str) -> None:
    with pytest.raises(InputNotFoundError, match="none of the folders"):
        confined(path, [folder.resolve()])


def test_a_page_that_cannot_be_read_costs_no_other_page(folder: Path) -> None:
    pages = [PIL.Image.open(PAGES / "sign.png").convert(mode) for mode in ("RGB", "F", "RGB")]
    pages[0].save(folder / "three.tif", save_all=True, append_images=pages[1:])
    pages[1].save(folder / "unreadable.tif")

    async def talk(client: Client) -> None:
        answer = await client.call_tool("ocr", {"path": "three.tif"})
        text, error = (part.text for part in answer.content)
        assert text.count("FERRY TERMINAL") == 2
        assert error.startswith("page 2 of")
        answer = await client.call_tool("searchable_pdf", {"path": "three.tif", "output": "three.pdf"})
        assert [part.text[:9] for part in answer.content] == [str(folder)[:9], "page 2 of"]
        answer = await client.call_tool("ocr", {"path": "unreadable.tif"})
        assert answer.is_error

    session(folder, "stdio", talk)
