"""Download URLs from untrusted requests, only from hosts that the operator allows.

A name is resolved once, all its addresses are checked, and the connection uses a checked address, so that DNS rebinding has
no effect; each redirect is checked again. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import logging
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ocr_onnx.declarations import check_number
from ocr_onnx.errors import FetchRefusedError, InputDownloadError, InputError, OptionError, shortened
from ocr_onnx.inputs.http import ConnectionHandler, Deadline, fetch_with_redirects
from ocr_onnx.inputs.urls import is_url
from ocr_onnx.models.download import OFFLINE_VARIABLE, offline
from ocr_onnx.options import InputOptions

logger: logging.Logger = logging.getLogger(__name__)

Address: TypeAlias = IPv4Address | IPv6Address

Resolve: TypeAlias = Callable[[str, int], list[str]]
"""Resolves a host and port to addresses; raises OSError if there are none."""

ANY = "*"

MAX_URL = 8192
"""Characters; Python caches parsed URLs."""

NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""A name that resolvers parse as an IPv4 address: 2130706433, 0x7f.1, 0177.0.0.1."""

METADATA = frozenset(
    map(
        ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
            *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        ),
    )
)
"""Metadata services of clouds, which return credentials; always refused."""

NETWORKS = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
PRIVATE = tuple(map(ip_network, NETWORKS))
"""The networks that `FetchPolicy.private` allows."""

OTHER_NON_PUBLIC = tuple(
    map(ip_network, ("64:ff9b:1::/48", "2001::/32", "2002::/16", "3fff::/20", "fec0::/10", "192.88.99.0/24"))
)
"""Tunnels (Teredo, 6to4, local NAT64) with unknown endpoints, and networks that Python 3.11 classifies as public."""

NAT64 = ip_network("64:ff9b::/96")
"""IPv4 over NAT64: the last 32 bits are the IPv4 address (RFC 6052)."""


RESOLVERS = 32
"""Names resolved at a time. The resolver cannot be canceled: it continues for about 30 seconds after its request."""

RESOLVING = threading.BoundedSemaphore(RESOLVERS)


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """The allowed hosts and the limits of a download. Raises OptionError for an invalid host or a value out of range."""

    hosts: tuple[str, ...]
    """`example.com`, `*.example.com` (its subdomains), `*` (any name), `192.0.2.7`, `[2001:db8::7]`.

    With `:8443` only that port, else 80 for http and 443 for https. An IP address is allowed only if it is listed; it may
    then be in a private network.
    """
    max_bytes: int = 2**26
    timeout: float = 20
    """Seconds for the whole download."""
    max_redirects: int = 3
    private: bool = False
    """Allow names with addresses in private networks or of this machine. Not with `*`."""

    def __post_init__(self) -> None:
        self.limits()
        for host in self.hosts:
            entry = _entry(host)
            address = _address(entry.host)
            if address is not None and _inner(address) in METADATA:
                raise OptionError(
                    f"allow_url has {host}, the metadata service of a cloud, which returns credentials: remove it"
                )
            if entry.host == ANY and self.private:
                raise OptionError(
                    "allow_private with the host '*' would allow every private host: name the hosts in allow_url"
                )

    def limits(self) -> InputOptions:
        """The limits as InputOptions."""
        check_number("timeout", self.timeout, 0.001, 86_400)
        return InputOptions(max_bytes=self.max_bytes, download_timeout=self.timeout, max_redirects=self.max_redirects)

    def admits(self, host: str, port: int, default: int) -> bool:
        """Whether `hosts` allows a host and port; `default` is the port of entries without one."""
        for entry in map(_entry, self.hosts):
            if port != (default if entry.port is None else entry.port):
                continue
            if host == entry.host or (_address(host) is None and _below(host, entry.host)):
                return True
        return False


def resolve(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def fetch(url: str, policy: FetchPolicy, resolver: Resolve = resolve, deadline: Deadline | None = None) -> bytes:
    """Download a URL; `deadline` replaces the policy's timeout.

    Raises FetchRefusedError if the policy does not allow it, and InputDownloadError if the download fails. Their messages
    do not contain resolved addresses; the log does.
    """
    if offline():
        raise FetchRefusedError(
            f"{shortened(url)} was not downloaded because {OFFLINE_VARIABLE} is set: unset it, or send the file itself"
        )
    if not is_url(url):
        raise FetchRefusedError("only http and https URLs are downloaded: use one, or send the file itself")
    if len(url) > MAX_URL:
        raise FetchRefusedError(
            f"the URL has more than {MAX_URL} characters: use a shorter one, or send the file itself"
        )
    try:
        return fetch_with_redirects(url, policy.limits(), partial(_opener, policy, resolver), deadline)
    except InputError:
        raise
    except TimeoutError as error:
        raise InputDownloadError(
            f"{shortened(url)} took longer than {policy.timeout:g} seconds: try again, send the file itself, or raise the server's timeout"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        logger.info("a URL cannot be downloaded: %s", error)
        raise InputDownloadError(
            f"{shortened(url)} cannot be downloaded: check the URL, or send the file itself"
        ) from error


def reachable(address: Address, *, private: bool) -> bool:
    """Whether an address may be connected to: a public one, or with `private` one of a private network."""
    inner = _inner(address)
    if inner in METADATA or inner.is_multicast or inner.is_unspecified or inner.is_link_local:
        return False
    if any(inner in network for network in PRIVATE):
        return private
    return inner.is_global and not inner.is_reserved and not any(inner in network for network in OTHER_NON_PUBLIC)


def _inner(address: Address) -> Address:
    """The IPv4 address that is mapped into an IPv6 address or reached by NAT64; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


class _Entry(NamedTuple):
    host: str
    """Normalized by `_plain`, or a pattern with `*`."""
    port: int | None


def _entry(text: str) -> _Entry:
    """Parse one of `FetchPolicy.hosts`."""
    with suppress(InputError, ValueError):
        if _address(text) is not None:
            return _Entry(_plain(text), None)
        parts = urlsplit(f"//{text}")
        host = parts.hostname or ""
        bare = "@" not in parts.netloc and parts.netloc == text
        star = f"{ANY}." if host.startswith(f"{ANY}.") else ""
        plain = ANY if host == ANY else star + _plain(host.removeprefix(star))
        if bare and not (star and _address(plain.removeprefix(star))):
            return _Entry(plain, parts.port)
    raise OptionError(
        f"allow_url has {text!r}, which is not a host: use example.com, *.example.com, or example.com:8443"
    )


def _below(host: str, pattern: str) -> bool:
    return pattern == ANY or (pattern.startswith(f"{ANY}.") and host.endswith(pattern.removeprefix(ANY)))


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _plain(host: str) -> str:
    """Normalize a host: lowercase ASCII (IDNA), without a trailing dot; an address in its shortest form."""
    found = _address(host)
    if found is not None and "%" not in host:
        return str(found)
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise FetchRefusedError(f"{host!r} is not a host name: check the URL") from error
    if not NAME.fullmatch(name):
        raise FetchRefusedError(f"{host!r} is not a host name: check the URL")
    if NUMBER.fullmatch(name):
        raise FetchRefusedError(f"{host!r} is an IP address in a nonstandard notation: use the host's name")
    return name


def _places(host: str, port: int, default: int, policy: FetchPolicy, resolver: Resolve) -> list[Address]:
    """The addresses to connect to, in order. Raises FetchRefusedError if any of them is not allowed."""
    name = _plain(host)
    if not policy.admits(name, port, default):
        raise FetchRefusedError(
            f"{name}:{port} is not an allowed host: add it with --allow-url, or send the file itself"
        )
    explicit = _address(name)
    if explicit is not None:
        return [explicit]
    try:
        found = list(dict.fromkeys(map(ip_address, resolver(name, port))))
    except (TimeoutError, InputError):
        raise
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be resolved: %s", name, error)
        found = []
    refused = [str(address) for address in found if not reachable(address, private=policy.private)]
    if refused:
        logger.warning("%s is refused because of its addresses %s", name, ", ".join(refused))
    if refused or not found:
        raise FetchRefusedError(f"{name} has no public address: use another host, or send the file itself")
    return found


def _resolve_within(deadline: Deadline, resolver: Resolve, host: str, port: int) -> list[str]:
    """Resolve a name within the deadline, which the system's resolver does not know."""
    results: SimpleQueue[list[str] | Exception] = SimpleQueue()
    if not RESOLVING.acquire(blocking=False):
        raise FetchRefusedError("too many names are being resolved: try again, or send the file itself")

    def work() -> None:
        try:
            results.put(resolver(host, port))
        except (OSError, ValueError) as error:
            results.put(error)
        finally:
            RESOLVING.release()

    deadline.on_expiry(partial(results.put, TimeoutError()))
    threading.Thread(target=work, name="ocr-onnx-resolver", daemon=True).start()
    try:
        result = results.get(timeout=deadline.remaining())
    except Empty as error:
        raise TimeoutError from error
    if isinstance(result, Exception):
        raise result
    return result


class _Pinned(http.client.HTTPConnection):
    """Connects only to checked addresses."""

    def __init__(
        self, host: str, *, deadline: Deadline, policy: FetchPolicy, resolver: Resolve, **settings: Any
    ) -> None:
        super().__init__(host, **settings)
        self._deadline, self._policy = deadline, policy
        self._resolver = partial(_resolve_within, deadline, resolver)

    def connect(self) -> None:
        places = _places(self.host, self.port, self.default_port, self._policy, self._resolver)
        for left in range(len(places), 0, -1):
            try:
                self.sock = self._connected(places[-left], self._deadline.remaining() / left)
            except OSError:
                if left == 1:
                    raise
            else:
                break
        self.sock.settimeout(self._deadline.remaining())

    def _connected(self, place: Address, timeout: float) -> socket.socket:
        """Connect; the deadline can abort it."""
        connection = socket.socket(socket.AF_INET if place.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            self._deadline.shut_down_on_expiry(connection)
            connection.settimeout(timeout)
            connection.connect((str(place), self.port))
        except OSError:
            connection.close()
            raise
        return connection


class _PinnedTLS(_Pinned, http.client.HTTPSConnection):
    """The same with TLS; the certificate must match the name."""

    def connect(self) -> None:
        super().connect()
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        tls = context.wrap_socket(self.sock, server_hostname=_plain(self.host), do_handshake_on_connect=False)
        self.sock = tls
        self._deadline.shut_down_on_expiry(tls)
        tls.do_handshake()


class _NoUserInfo(ConnectionHandler):
    """Refuses URLs with a user name or password."""

    def do_open(self, http_class: Any, req: urllib.request.Request, **settings: Any) -> http.client.HTTPResponse:
        if "@" in req.host:
            raise FetchRefusedError("a URL with a user name or password is not downloaded: send the file itself")
        return super().do_open(http_class, req, **settings)


def _opener(policy: FetchPolicy, resolver: Resolve, deadline: Deadline) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    settings: dict[str, Any] = {"deadline": deadline, "policy": policy, "resolver": resolver}
    opener.add_handler(_NoUserInfo(partial(_Pinned, **settings), partial(_PinnedTLS, **settings)))
    return opener
