"""Fetching for strangers: each test an attack, against a real server; what a name resolves to is given by a function."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from conftest import PATIENCE
from hypothesis import given
from hypothesis import strategies as st
from webserver import PNG, Request, serving

from ocr_onnx.errors import FetchRefusedError, InputDownloadError, InputError, OptionError
from ocr_onnx.service.fetching import FetchPolicy, Resolve, fetch, reachable

INTERNAL = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fc00::1", "fd12::1"),
    *("::ffff:10.0.0.1", "64:ff9b::10.0.0.1"),
]
NOWHERE = [
    *("0.0.0.0", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16"),  # noqa: S104
    *(
        "100.100.100.200",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.88.99.1",
        "fec0::1",
    ),
    *("::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::", "2002:808:808::1"),
    *("2001:0:7f00:1::1", "::127.0.0.1", "::8.8.8.8", "2001:db8::1", "3fff::1", "4000::1", "fe80::1%eth0"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "OCR_ONNX_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as found:
        yield found


def at(*addresses: str) -> Resolve:
    """A resolver that knows one answer."""
    return lambda *_: list(addresses)


def policy(*hosts: str, private: bool = True, **limits: float) -> FetchPolicy:
    return FetchPolicy(hosts, private=private, **limits)  # type: ignore[arg-type]


def refusal(url: str, allowed: FetchPolicy, resolver: Resolve) -> str:
    with pytest.raises(InputError) as caught:
        fetch(url, allowed, resolver)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_an_allowed_host_is_downloaded_from_by_its_name(port: int) -> None:
    url = f"http://Pictures.Example.:{port}/picture?a=1 2#top"
    assert fetch(url, policy(f"pictures.example:{port}"), at("127.0.0.1")) == PNG
    assert Request.asked == ["/picture?a=1%202"]
    assert Request.named == [f"Pictures.Example.:{port}"]


def test_a_host_that_is_not_allowed_is_not_resolved(port: int) -> None:
    resolved: list[str] = []

    def spy(host: str, port: int) -> list[str]:
        resolved.append(host)
        return ["127.0.0.1"]

    for host in (
        "other.example",
        "pictures.example.evil.example",
        "evilpictures.example",
        "example",
        "a.pictures.example",
    ):
        text = refusal(f"http://{host}:{port}/picture", policy(f"pictures.example:{port}"), spy)
        assert text.startswith("FetchRefusedError")
        assert "add it with --allow-url" in text
    assert resolved == Request.asked == []


def test_a_star_matches_subdomains_and_not_the_domain_itself() -> None:
    below = policy("*.example.com")
    assert below.admits("a.example.com", 443, 443)
    assert below.admits("a.b.example.com", 443, 443)
    assert not below.admits("example.com", 443, 443)
    assert not below.admits("evilexample.com", 443, 443)
    assert not below.admits("a.example.com", 8443, 443)


def test_a_host_without_a_port_allows_only_the_default_port_of_the_scheme() -> None:
    plain = policy("example.com")
    assert plain.admits("example.com", 80, 80)
    assert plain.admits("example.com", 443, 443)
    assert not plain.admits("example.com", 22, 80)
    assert not plain.admits("example.com", 80, 443)


def test_a_star_alone_matches_any_name_and_no_ip_address() -> None:
    anything = policy("*", private=False)
    assert anything.admits("example.com", 443, 443)
    assert not anything.admits("93.184.216.34", 443, 443)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://pictures.example/", "ftp://pictures.example/a", "data:,a"]
)
def test_other_schemes_are_refused(url: str) -> None:
    assert "only http and https" in refusal(url, policy("pictures.example"), at("127.0.0.1"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://pictures.example/", "ftp://pictures.example/a"])
def test_redirects_to_other_schemes_are_refused(port: int, target: str) -> None:
    url = f"http://pictures.example:{port}/to?{target}"
    assert "only http and https" in refusal(url, policy(f"pictures.example:{port}"), at("127.0.0.1"))


@pytest.mark.parametrize("user", ["user", "user:password", ":", "pictures.example", "", "a%40b"])
def test_urls_with_user_names_are_refused(port: int, user: str) -> None:
    allowed = policy(f"pictures.example:{port}")
    assert "a user name or password" in refusal(
        f"http://{user}@pictures.example:{port}/picture", allowed, at("127.0.0.1")
    )
    assert Request.asked == []


def test_redirects_with_user_names_are_refused(port: int) -> None:
    url = f"http://pictures.example:{port}/to?http://user@pictures.example:{port}/picture"
    assert "a user name or password" in refusal(url, policy(f"pictures.example:{port}"), at("127.0.0.1"))
    assert Request.asked == [f"/to?http://user@pictures.example:{port}/picture"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.0.1.", "0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"),
        *(
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.⓪.⓪.①",
            "[::1%25lo]",
            "0x7f.0x0.0x0.0x1",
            "127.0.0.0x1",
            "%31%32%37.0.0.1",
        ),
    ],
)
def test_ip_addresses_in_any_notation_are_refused(port: int, host: str) -> None:
    everything = FetchPolicy(("*", f"*:{port}"))
    text = refusal(f"http://{host}:{port}/picture", everything, lambda host, _: [host])
    assert text.startswith(("FetchRefusedError", "InputDownloadError"))
    assert Request.asked == []


@pytest.mark.parametrize("address", INTERNAL + NOWHERE)
def test_names_with_internal_addresses_are_refused_without_revealing_the_address(
    port: int, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = policy(f"pictures.example:{port}", private=False)
    with caplog.at_level(logging.WARNING):
        text = refusal(f"http://pictures.example:{port}/picture", allowed, at(address))
    assert text.startswith("FetchRefusedError")
    assert str(ip_address(address)) not in text
    assert str(ip_address(address)) in caplog.text
    assert Request.asked == []


@pytest.mark.parametrize("address", NOWHERE)
def test_some_addresses_are_refused_on_private_networks_too(address: str) -> None:
    assert not reachable(ip_address(address), private=True)


@pytest.mark.parametrize("address", INTERNAL)
def test_only_the_operator_can_allow_private_networks(address: str) -> None:
    assert reachable(ip_address(address), private=True)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_addresses_are_fetched_from(address: str) -> None:
    assert reachable(ip_address(address), private=False)


@given(st.ip_addresses())
def test_addresses_that_python_classifies_as_special_are_never_reachable(address: object) -> None:
    found = ip_address(str(address))
    if reachable(found, private=False):
        inner = getattr(found, "ipv4_mapped", None) or found
        assert inner.is_global
        assert not inner.is_loopback
        assert not inner.is_link_local
        assert not inner.is_multicast


def test_one_internal_address_among_public_ones_is_refused(port: int) -> None:
    allowed = policy(f"pictures.example:{port}", private=False)
    text = refusal(f"http://pictures.example:{port}/picture", allowed, at("93.184.216.34", "127.0.0.1"))
    assert "no public address" in text
    assert Request.asked == []


def test_a_name_that_does_not_exist_gets_the_same_error_as_an_internal_one() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    texts = {
        refusal("http://pictures.example/", policy("pictures.example", private=False), resolver)
        for resolver in (unknown, at("10.0.0.1"), at())
    }
    assert len(texts) == 1


def test_a_name_is_resolved_only_once(port: int) -> None:
    answers = ["127.0.0.1", "169.254.169.254", "10.0.0.1"]
    asked = []

    def changing(host: str, port: int) -> list[str]:
        asked.append(host)
        return [answers.pop(0)]

    assert fetch(f"http://pictures.example:{port}/picture", policy(f"pictures.example:{port}"), changing) == PNG
    assert asked == ["pictures.example"]


def test_a_name_is_resolved_and_checked_anew_at_each_redirect(port: int) -> None:
    answers = ["127.0.0.1", "169.254.169.254"]
    url = f"http://pictures.example:{port}/to?/picture"
    text = refusal(url, policy(f"pictures.example:{port}"), lambda *_: [answers.pop(0)])
    assert "no public address" in text
    assert Request.asked == ["/to?/picture"]


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/picture", "http://other.example:{port}/picture", "//2130706433:{port}/picture"]
)
def test_redirects_to_hosts_that_are_not_allowed_are_refused(port: int, target: str) -> None:
    url = f"http://pictures.example:{port}/to?" + target.format(port=port)
    text = refusal(url, policy(f"pictures.example:{port}"), at("127.0.0.1"))
    assert text.startswith("FetchRefusedError")
    assert len(Request.asked) == 1


def test_the_number_of_redirects_is_limited(port: int) -> None:
    url = f"http://pictures.example:{port}/to?/to?/picture"
    assert fetch(url, policy(f"pictures.example:{port}"), at("127.0.0.1")) == PNG
    text = refusal(url, policy(f"pictures.example:{port}", max_redirects=1), at("127.0.0.1"))
    assert "more than 1 redirects" in text


def test_the_next_address_is_tried_if_one_does_not_answer(port: int) -> None:
    allowed = policy(f"pictures.example:{port}")
    assert fetch(f"http://pictures.example:{port}/picture", allowed, at("::1", "127.9.9.9", "127.0.0.1")) == PNG


def test_an_allowed_ip_address_may_be_private(port: int) -> None:
    allowed = policy(f"127.0.0.1:{port}", private=False)
    assert fetch(f"http://127.0.0.1:{port}/picture", allowed) == PNG
    text = refusal(f"http://pictures.example:{port}/picture", allowed, at("127.0.0.1"))
    assert text.startswith("FetchRefusedError")


def test_proxies_of_the_environment_are_not_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetch(f"http://pictures.example:{port}/picture", policy(f"pictures.example:{port}"), at("127.0.0.1")) == PNG


def test_nothing_is_fetched_offline(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    text = refusal(f"http://pictures.example:{port}/picture", policy(f"pictures.example:{port}"), at("127.0.0.1"))
    assert "OCR_ONNX_OFFLINE is set" in text
    assert Request.asked == []


@pytest.mark.parametrize("path", ["endless", "liar"])
def test_a_download_above_the_size_limit_is_aborted(port: int, path: str) -> None:
    allowed = policy(f"pictures.example:{port}", max_bytes=300_000)
    assert "larger than 300000 bytes" in refusal(f"http://pictures.example:{port}/{path}", allowed, at("127.0.0.1"))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_compressed_responses_are_refused(port: int, coding: str) -> None:
    url = f"http://pictures.example:{port}/packed?{coding.replace(' ', '')}"
    assert "Content-Encoding" in refusal(url, policy(f"pictures.example:{port}"), at("127.0.0.1"))


@pytest.mark.parametrize(("path", "status"), [("nowhere", 404), ("part", 206)])
def test_an_incomplete_response_is_refused(port: int, path: str, status: int) -> None:
    url = f"http://pictures.example:{port}/{path}"
    assert f"returned {status}" in refusal(url, policy(f"pictures.example:{port}"), at("127.0.0.1"))


@pytest.mark.parametrize("path", ["slow", "drip"])
def test_a_very_slow_server_is_abandoned_at_the_deadline(port: int, path: str) -> None:
    allowed = policy(f"pictures.example:{port}", timeout=0.5)
    text = refusal(f"http://pictures.example:{port}/{path}", allowed, at("127.0.0.1"))
    assert "took longer than 0.5 seconds" in text
    assert Request.dripped == []


def test_a_resolver_that_does_not_answer_is_abandoned_at_the_deadline() -> None:
    over, answered = threading.Event(), threading.Event()

    def silent(host: str, port: int) -> list[str]:
        over.wait(PATIENCE)
        answered.set()
        return ["127.0.0.1"]

    text = refusal("http://pictures.example/", policy("pictures.example", timeout=0.3), silent)
    assert "took longer than 0.3 seconds" in text
    assert not answered.is_set()
    over.set()


def test_an_endless_tls_handshake_is_abandoned_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        text = refusal(
            f"https://pictures.example:{port}/", policy(f"pictures.example:{port}", timeout=0.4), at("127.0.0.1")
        )
    assert "took longer than 0.4 seconds" in text


def test_the_error_does_not_quote_a_server_that_does_not_use_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 secret\r\n")

        threading.Thread(target=greet, daemon=True).start()
        text = refusal(f"http://pictures.example:{port}/", policy(f"pictures.example:{port}"), at("127.0.0.1"))
    assert "cannot be downloaded: check the URL" in text
    assert "SSH" not in text


@pytest.mark.parametrize(
    "url", ["http://", "http:///a", "http://[/a", "http://a..b/", "http://a:b/", "http://" + "a" * 300]
)
def test_invalid_urls_are_refused(url: str) -> None:
    assert refusal(url, FetchPolicy(("*",)), at("127.0.0.1"))


@pytest.mark.parametrize("tail", ["\r\nX-Injected: yes", " HTTP/1.1\r\nHost: evil", "\tb", "/\x00"])
def test_a_url_cannot_inject_headers_into_the_request(port: int, tail: str) -> None:
    url = f"http://pictures.example:{port}/picture?{tail}"
    with suppress(InputDownloadError):
        fetch(url, policy(f"pictures.example:{port}"), at("127.0.0.1"))
    assert Request.named in ([], [f"pictures.example:{port}"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for pictures.example that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"]
    subprocess.run([*command, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@pytest.fixture
def secure_port(certificate: Path) -> Iterator[tuple[int, list[str | None]]]:
    """The port, and the names that clients ask for."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: names.append(name)
    with serving(context) as port:
        yield port, names


def test_tls_names_the_host_and_checks_its_certificate(
    secure_port: tuple[int, list[str | None]], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, names = secure_port
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    allowed = policy(f"pictures.example:{port}", f"other.example:{port}")
    assert fetch(f"https://Pictures.example:{port}/picture", allowed, at("127.0.0.1")) == PNG
    assert names == ["pictures.example"]
    assert "cannot be downloaded" in refusal(f"https://other.example:{port}/picture", allowed, at("127.0.0.1"))
    assert Request.asked == ["/picture"]


def test_an_untrusted_certificate_is_refused(secure_port: tuple[int, list[str | None]]) -> None:
    port, _ = secure_port
    text = refusal(f"https://pictures.example:{port}/picture", policy(f"pictures.example:{port}"), at("127.0.0.1"))
    assert "cannot be downloaded" in text
    assert Request.asked == []


def test_redirects_from_https_to_http_are_refused(
    secure_port: tuple[int, list[str | None]], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = secure_port
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    url = f"https://pictures.example:{port}/to?http://pictures.example/picture"
    allowed = policy("pictures.example", f"pictures.example:{port}")
    assert "never from https to http" in refusal(url, allowed, at("127.0.0.1"))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "a b",
            "http://example.com",
            "user@example.com",
            "example.com/path",
            "*.",
            "a.*.example",
            "example.com:port",
        ),
        *("2130706433", "*.127.0.0.1", "0x7f.1", "[::1", "example.com:70000"),
    ],
)
def test_invalid_allowed_hosts_are_reported_at_the_start(host: str) -> None:
    with pytest.raises(OptionError, match="is not a host: use"):
        FetchPolicy((host,))


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.169.254:80", "fd00:ec2::254", "[::ffff:169.254.169.254]"])
def test_metadata_services_cannot_be_allowed(host: str) -> None:
    with pytest.raises(OptionError, match="returns credentials"):
        FetchPolicy((host,), private=True)


def test_a_star_cannot_be_combined_with_private_networks() -> None:
    with pytest.raises(OptionError, match="name the hosts"):
        FetchPolicy(("*",), private=True)


@pytest.mark.parametrize(
    "settings",
    [{"max_bytes": 0}, {"timeout": 0}, {"timeout": float("inf")}, {"max_redirects": -1}, {"max_redirects": 1.5}],
)
def test_limits_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(settings))} is"):
        FetchPolicy(("example.com",), **settings)  # type: ignore[arg-type]


def test_refusals_are_input_errors() -> None:
    with pytest.raises(FetchRefusedError):
        fetch("http://example.com/", FetchPolicy(()), at("8.8.8.8"))
    assert issubclass(FetchRefusedError, InputError)


def test_a_very_long_url_is_refused_and_not_cached(port: int) -> None:
    text = refusal(
        f"http://pictures.example:{port}/" + "a" * 100_000, policy(f"pictures.example:{port}"), at("127.0.0.1")
    )
    assert "more than 8192 characters" in text
    assert len(text) < 200
