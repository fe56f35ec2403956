"""How the page's files are served."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ocr_onnx.service import site

FILES = site.load_files()


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    site.add_page(app)
    return TestClient(app)


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
def test_every_file_is_served_as_what_it_is_and_under_the_policy(client: TestClient, path: str) -> None:
    answer = client.get(path)
    file = FILES[path.removeprefix("/page/") if path != "/" else "index.html"]
    assert (answer.status_code, answer.content) == (200, file.content)
    assert answer.headers["content-type"] == file.media_type
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert client.head(path).headers["content-length"] == str(len(file.content))


def test_what_a_browser_has_already_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/page/page.js").headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        answer = client.get("/page/page.js", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert client.get("/page/page.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fsite.py", "%2e%2e/site.py", "page/page.js"])
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404


def test_every_file_that_the_page_names_is_there_and_none_lies_elsewhere() -> None:
    text = FILES["index.html"].content.decode()
    named = {name.removeprefix("page/") for name in re.findall(r'(?:href|src)="([^"]+)"', text)}
    for name, file in FILES.items():
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', file.content.decode()))
    assert named == FILES.keys() - {"index.html"}


def test_the_page_is_small() -> None:
    assert sum(len(file.content) for file in FILES.values()) < 43_000


def test_no_text_becomes_markup() -> None:
    scripts = b"".join(file.content for name, file in FILES.items() if name.endswith(".js"))
    assert not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|srcdoc", scripts)
