"""How the page's files are served."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI

from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.service import page_route

FILES = page_route.load_files()

APP = FastAPI(docs_url=None)
page_route.add_page(APP)


def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://here") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(answer())


@pytest.mark.parametrize("path", ["/", "/docs", *(f"/page/{name}" for name in FILES)])
def test_every_file_is_served_with_its_media_type_and_the_security_policy(path: str) -> None:
    answer = ask(path)
    file = FILES[{"/": "index.html", "/docs": "docs.html"}.get(path, path.removeprefix("/page/"))]
    assert (answer.status_code, answer.content) == (200, file.content)
    assert answer.headers["content-type"] == file.media_type
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert ask(path, "HEAD").headers["content-length"] == str(len(file.content))


def test_a_cached_file_is_not_sent_again() -> None:
    tag = ask("/page/page.js").headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        answer = ask("/page/page.js", **{"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert ask("/page/page.js", **{"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fsite.py", "%2e%2e/site.py", "page/page.js"])
def test_other_files_are_not_served(name: str) -> None:
    assert ask(f"/page/{name}").status_code == 404


def test_the_page_refers_to_every_file_and_to_no_other() -> None:
    text = FILES["index.html"].content.decode() + FILES["docs.html"].content.decode()
    named = {name.removeprefix("page/") for name in re.findall(r'(?:href|src)="([^"]+)"', text)}
    assert {"docs", "./", "openapi.json"} <= named
    named -= {"docs", "./", "openapi.json"}
    for name, file in FILES.items():
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', file.content.decode()))
    assert named == FILES.keys() - {"index.html", "docs.html"}


def test_the_page_offers_every_output_format_of_the_service() -> None:
    offered = re.findall(r'<option value="(\w+)" data-suffix="(\.\w+)">', ask("/").text)
    assert offered == [(writer.name, writer.suffix) for writer in FORMATS.values()]


def test_the_page_is_small() -> None:
    assert sum(len(file.content) for file in FILES.values()) < 48_000


def test_scripts_never_convert_text_to_markup() -> None:
    scripts = b"".join(file.content for name, file in FILES.items() if name.endswith(".js"))
    assert not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|srcdoc", scripts)
