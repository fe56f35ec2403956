"""The web page at `/`: static files, with a policy that allows only files of this server and requests to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from html import escape
from importlib import resources

from fastapi import FastAPI, HTTPException, Request, Response

from ocr_onnx.outputs.formats import FORMATS

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types of the page's files by suffix."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The Content-Security-Policy."""

FORMATS_PLACE = b"<!-- formats -->"
"""The place of the output formats in index.html and docs.html."""

FORMAT_ELEMENTS = {
    "index.html": '<option value="{name}" data-suffix="{suffix}">{name}: {help}</option>',
    "docs.html": "<li><code>{name}</code>: {help}</li>",
}
"""The element for each output format, by file."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Caches may store the files but must revalidate them."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page."""

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """The ETag: a digest of the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    def response(self, request: Request) -> Response:
        """The file; 304 if the client has it."""
        headers = {**HEADERS, "ETag": self.etag}
        known = request.headers.get("if-none-match", "").replace("W/", "").split(",")
        if self.etag in {tag.strip() for tag in known}:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def load_files() -> dict[str, PageFile]:
    """The page's files by name, with the output formats of the service."""
    folder = resources.files("ocr_onnx.service").joinpath("page")
    files = {
        file.name: PageFile(file.read_bytes(), media_type)
        for file in folder.iterdir()
        for suffix, media_type in MEDIA_TYPES.items()
        if file.name.endswith(suffix)
    }
    return files | {name: with_formats(files[name], element) for name, element in FORMAT_ELEMENTS.items()}


def with_formats(file: PageFile, element: str) -> PageFile:
    """The file with an element for each output format of the service: `element` has {name}, {suffix} and {help}."""
    elements = (
        element.format(name=writer.name, suffix=writer.suffix, help=escape(writer.help)) for writer in FORMATS.values()
    )
    return replace(file, content=file.content.replace(FORMATS_PLACE, "".join(elements).encode()))


def add_page(app: FastAPI) -> None:
    """Serve the page at `/`, examples of requests at `/docs`, and their other files under `/page/`."""
    files = load_files()

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index(request: Request) -> Response:
        return files["index.html"].response(request)

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs(request: Request) -> Response:
        return files["docs.html"].response(request)

    @app.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def part(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "Not Found")
        return files[name].response(request)
