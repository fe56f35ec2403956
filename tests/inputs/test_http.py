"""Addresses: what is fetched, where they may point, and where fetching stops. All against a real server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PAGES, only
from webserver import PNG, Request, serving

from ocr_onnx import InputOptions
from ocr_onnx.errors import DownloadError, InputDownloadError, InputError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.inputs import sources


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server."""
    for variable in ("http_proxy", "HTTP_PROXY", "OCR_ONNX_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    with serving() as port:
        yield f"http://127.0.0.1:{port}"


def refusal(url: str, options: InputOptions | None = None) -> str:
    with pytest.raises(InputDownloadError) as caught:
        list(sources.read_pages(url, options))
    return str(caught.value)


def test_a_picture_is_fetched_and_named_by_its_address(host: str) -> None:
    (page,) = sources.read_pages(f"{host}/picture.png?size=1 2#top")
    assert page.image.shape == only(PNG).shape
    assert page.path == f"{host}/picture.png?size=1 2#top"
    assert Request.asked == ["/picture.png?size=1%202"]


def test_the_pages_of_a_document_are_fetched_once(host: str) -> None:
    assert [page.index for page in sources.read_pages(f"{host}/document")] == [0, 1]
    assert len(Request.asked) == 1


def test_urls_and_other_inputs_can_be_mixed(host: str) -> None:
    assert len(list(sources.read_pages([PAGES / "tiny.png", f"{host}/picture", PNG]))) == 3


def test_an_input_is_downloaded_only_when_its_page_is_requested(host: str) -> None:
    pages = sources.read_pages([f"{host}/picture", f"{host}/document"])
    next(pages)
    assert Request.asked == ["/picture"]


def test_a_chinese_url_is_escaped(host: str) -> None:
    assert "returned 404" in refusal(f"{host}/登机牌.png")
    assert Request.asked == ["/%E7%99%BB%E6%9C%BA%E7%89%8C.png"]


def test_offline_nothing_is_downloaded(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    assert "OCR_ONNX_OFFLINE is set: unset it, or give a file" in refusal(f"{host}/picture")
    assert Request.asked == []


def test_the_number_of_redirects_is_limited(host: str) -> None:
    assert only(f"{host}/to?{host}/to?/picture").shape == only(PNG).shape
    with pytest.raises(InputDownloadError, match="more than 1 redirects"):
        list(sources.read_pages(f"{host}/to?{host}/to?/picture", InputOptions(max_redirects=1)))


def test_a_redirect_loop_ends(host: str) -> None:
    assert "more than 5 redirects" in refusal(f"{host}/round?0")
    assert len(Request.asked) == 6


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "data:image/png;base64,AAAA"])
def test_redirects_to_other_schemes_are_refused(host: str, target: str) -> None:
    assert f"redirects to {target}, which is not followed: only http and https" in refusal(f"{host}/to?{target}")


def test_redirects_from_https_to_http_are_refused() -> None:
    from ocr_onnx.inputs import http

    assert http._redirected("http://a/b", "https://a/c") == "https://a/c"
    with pytest.raises(InputDownloadError, match="never from https to http"):
        http._redirected("https://a/b", "http://a/c")


@pytest.mark.parametrize("path", ["endless", "liar"])
def test_too_many_bytes_are_refused(host: str, path: str) -> None:
    assert "larger than 300000 bytes: raise max_bytes" in refusal(f"{host}/{path}", InputOptions(max_bytes=300_000))


@pytest.mark.parametrize("path", ["slow", "drip"])
def test_a_very_slow_server_is_abandoned_at_the_deadline(host: str, path: str) -> None:
    assert "took longer than 0.5 seconds" in refusal(f"{host}/{path}", InputOptions(download_timeout=0.5))
    assert Request.dripped == []


def test_an_incomplete_download_is_an_error(host: str) -> None:
    assert "cannot be downloaded: IncompleteRead" in refusal(f"{host}/short")


def test_an_error_contains_the_http_status(host: str) -> None:
    assert "returned 404 Not Found: check the URL" in refusal(f"{host}/nowhere.png")


def test_a_download_that_is_not_an_image_gets_the_error_of_a_file(host: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"/text is neither a PDF nor an image"):
        only(f"{host}/text")


@pytest.mark.parametrize(
    "url", ["http://", "http://127.0.0.1:1/a.png", "http://127.0.0.1:port/a.png", "http://[/a.png", "http://a..b/"]
)
def test_invalid_urls_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)
    assert "cannot be downloaded" in refusal(url)


@pytest.mark.parametrize("path", ["noise", "reason", "away", "coding", "nowhere/" + "a" * 9000])
def test_what_a_server_sends_and_a_long_url_are_shortened_in_the_error(host: str, path: str) -> None:
    message = refusal(f"{host}/{path}")
    assert len(message) < 400
    assert message.isprintable()


@pytest.mark.parametrize("url", ["ftp://host/a.png", "file:///etc/hosts", "s3://bucket/a.png"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(UnsupportedInputError, match="is not supported: give a path, or an http or https URL"):
        only(url)


def test_the_error_is_of_both_kinds(host: str) -> None:
    for kind in (InputError, DownloadError):
        with pytest.raises(kind):
            only(f"{host}/nowhere.png")


def test_results_of_addresses_have_plain_names(tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture) -> None:
    from ocr_onnx.outputs.saving import file_stem

    with caplog.at_level(logging.WARNING):
        (page,) = sources.read_pages(f"{host}/picture.png?signature=a/b.c")
    assert file_stem(page) == "picture"
    assert not caplog.records
