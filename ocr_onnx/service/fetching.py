"""Addresses that strangers give, fetched from the hosts that the operator allows, and from no other place.

A name is resolved once. Every address it has is checked, and the connection is made to one that was checked, so that it
does not matter what the name says a moment later; each redirect begins anew. The environment's proxies are not used.
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
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ocr_onnx.errors import FetchRefusedError, InputDownloadError, InputError, OptionError
from ocr_onnx.inputs.http import ConnectionHandler, Deadline, fetch_with_redirects
from ocr_onnx.inputs.urls import is_url
from ocr_onnx.models.download import OFFLINE_VARIABLE, offline
from ocr_onnx.options import InputOptions, check_number

logger: logging.Logger = logging.getLogger(__name__)

Address: TypeAlias = IPv4Address | IPv6Address

Resolve: TypeAlias = Callable[[str, int], list[str]]
"""The addresses of a host and port; raises OSError where there are none."""

ANY = "*"

LONGEST = 8192
"""Characters of an address; Python keeps those it took apart."""

NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""A name that resolvers take for an address written in another way: 2130706433, 0x7f.1, 0177.0.0.1."""

METADATA = frozenset(
    map(
        ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
            *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        ),
    )
)
"""Where clouds give out credentials and settings to their machines; never fetched from."""

NETWORKS = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
PRIVATE = tuple(map(ip_network, NETWORKS))
"""What `FetchPolicy.private` opens."""

MISLEADING = tuple(
    map(ip_network, ("64:ff9b:1::/48", "2001::/32", "2002::/16", "3fff::/20", "fec0::/10", "192.88.99.0/24"))
)
"""Tunnels (Teredo, 6to4, local NAT64) that end who knows where, and networks that Python 3.11 takes for public."""

NAT64 = ip_network("64:ff9b::/96")
"""How machines without IPv4 reach it: the address stands in the last 32 bits (RFC 6052)."""


RESOLVERS = 32
"""Names that are resolved at a time: the machine's resolver goes on after its request has ended, for half a minute or so."""

RESOLVING = threading.BoundedSemaphore(RESOLVERS)


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What is fetched, and where fetching stops. Raises OptionError for a host that cannot be read or a number out of range."""

    hosts: tuple[str, ...]
    """`example.com`, `*.example.com` (what is below it, not itself), `*` (any name), `192.0.2.7`, `[2001:db8::7]`.

    With `:8443` that port alone, else 80 for http and 443 for https. An address is only fetched from where it is written
    here as such, and may then be of a private network.
    """
    max_bytes: int = 2**26
    timeout: float = 20
    """Seconds within which all bytes must be there."""
    max_redirects: int = 3
    private: bool = False
    """Names may have addresses of private networks and of this machine. Not with `*`."""

    def __post_init__(self) -> None:
        self.limits()
        for host in self.hosts:
            entry = _entry(host)
            address = _address(entry.host)
            if address is not None and _inner(address) in METADATA:
                raise OptionError(f"{host} gives out credentials of this machine, and is never fetched from: remove it")
            if entry.host == ANY and self.private:
                raise OptionError("private opens all of a network together with the host '*': name the hosts")

    def limits(self) -> InputOptions:
        """The same limits, as the library has them."""
        check_number("timeout", self.timeout, 0.001, 86_400)
        return InputOptions(max_bytes=self.max_bytes, download_timeout=self.timeout, max_redirects=self.max_redirects)

    def admits(self, host: str, port: int, default: int) -> bool:
        """Whether one of `hosts` is this one; `default` is the port of entries without one."""
        for entry in map(_entry, self.hosts):
            if port != (default if entry.port is None else entry.port):
                continue
            if host == entry.host or (_address(host) is None and _below(host, entry.host)):
                return True
        return False


def resolve(host: str, port: int) -> list[str]:
    """The addresses that the machine's resolver knows."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def fetch(url: str, policy: FetchPolicy, resolver: Resolve = resolve, deadline: Deadline | None = None) -> bytes:
    """The bytes at an address; `deadline` replaces the policy's timeout.

    Raises FetchRefusedError for what the policy does not allow, and InputDownloadError for what cannot be had. Neither
    tells what a name resolves to; the log does.
    """
    if offline():
        raise FetchRefusedError(
            f"{url} is not fetched, as {OFFLINE_VARIABLE} is set: unset it, or send the file itself"
        )
    if not is_url(url):
        raise FetchRefusedError("only http and https addresses are fetched: give one, or send the file itself")
    if len(url) > LONGEST:
        raise FetchRefusedError(
            f"the address has more than {LONGEST} characters: give a shorter one, or send the file itself"
        )
    try:
        return fetch_with_redirects(url, policy.limits(), partial(_opener, policy, resolver), deadline)
    except InputError:
        raise
    except TimeoutError as error:
        raise InputDownloadError(
            f"{url} took longer than {policy.timeout:g} seconds: try again, send the file itself, or raise the server's timeout"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        logger.info("an address cannot be fetched: %s", error)
        raise InputDownloadError(f"{url} cannot be fetched: check the address, or send the file itself") from error


def reachable(address: Address, *, private: bool) -> bool:
    """Whether a name may have this address: a public one, or one of a private network where those are allowed."""
    inner = _inner(address)
    if inner in METADATA or inner.is_multicast or inner.is_unspecified or inner.is_link_local:
        return False
    if any(inner in network for network in PRIVATE):
        return private
    return inner.is_global and not inner.is_reserved and not any(inner in network for network in MISLEADING)


def _inner(address: Address) -> Address:
    """The IPv4 address within one of IPv6, where it is reached by it."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


class _Entry(NamedTuple):
    host: str
    """As `_plain` writes it, or with a star."""
    port: int | None


def _entry(text: str) -> _Entry:
    """One of `FetchPolicy.hosts`."""
    try:
        if _address(text) is not None:
            return _Entry(_plain(text), None)
        parts = urlsplit(f"//{text}")
        host = parts.hostname or ""
        bare = "@" not in parts.netloc and parts.netloc == text
        star = f"{ANY}." if host.startswith(f"{ANY}.") else ""
        plain = ANY if host == ANY else star + _plain(host.removeprefix(star))
        if bare and not (star and _address(plain.removeprefix(star))):
            return _Entry(plain, parts.port)
    except (InputError, ValueError) as error:
        raise OptionError(f"{text!r} is no host: give example.com, *.example.com, or example.com:8443") from error
    raise OptionError(f"{text!r} is no host: give example.com, *.example.com, or example.com:8443")


def _below(host: str, pattern: str) -> bool:
    return pattern == ANY or (pattern.startswith(f"{ANY}.") and host.endswith(pattern.removeprefix(ANY)))


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _plain(host: str) -> str:
    """A host as it is resolved: in small ASCII letters, without a last dot; an address in its shortest form."""
    found = _address(host)
    if found is not None and "%" not in host:
        return str(found)
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise FetchRefusedError(f"{host!r} is no host's name: check the address") from error
    if not NAME.fullmatch(name):
        raise FetchRefusedError(f"{host!r} is no host's name: check the address")
    if NUMBER.fullmatch(name):
        raise FetchRefusedError(f"{host!r} is an address in an unusual form: give the host's name")
    return name


def _places(host: str, port: int, default: int, policy: FetchPolicy, ask: Resolve) -> list[Address]:
    """The addresses to connect to, in order; raises FetchRefusedError where a single one of them is out of bounds."""
    name = _plain(host)
    if not policy.admits(name, port, default):
        raise FetchRefusedError(
            f"{name}:{port} is not among the hosts fetched from: add it to --allow-url, or send the file"
        )
    explicit = _address(name)
    if explicit is not None:
        return [explicit]
    try:
        found = list(dict.fromkeys(map(ip_address, ask(name, port))))
    except (TimeoutError, InputError):
        raise
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be resolved: %s", name, error)
        found = []
    refused = [str(address) for address in found if not reachable(address, private=policy.private)]
    if refused:
        logger.warning("%s is not fetched from: it has the addresses %s", name, ", ".join(refused))
    if refused or not found:
        raise FetchRefusedError(f"{name} has no public address: give another, or send the file itself")
    return found


def _patiently(deadline: Deadline, ask: Resolve, host: str, port: int) -> list[str]:
    """Resolve for as long as there is time: the machine's resolver knows no limit of ours."""
    answers: SimpleQueue[list[str] | Exception] = SimpleQueue()
    if not RESOLVING.acquire(blocking=False):
        raise FetchRefusedError("too many names are being resolved: try again, or send the file itself")

    def work() -> None:
        try:
            answers.put(ask(host, port))
        except (OSError, ValueError) as error:
            answers.put(error)
        finally:
            RESOLVING.release()

    deadline.on_expiry(partial(answers.put, TimeoutError()))
    threading.Thread(target=work, name="ocr-onnx-resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except Empty as error:
        raise TimeoutError from error
    if isinstance(answer, Exception):
        raise answer
    return answer


class _Pinned(http.client.HTTPConnection):
    """Connects to addresses that were checked."""

    def __init__(self, host: str, *, deadline: Deadline, policy: FetchPolicy, ask: Resolve, **settings: Any) -> None:
        super().__init__(host, **settings)
        self._deadline, self._policy = deadline, policy
        self._ask = partial(_patiently, deadline, ask)

    def connect(self) -> None:
        places = _places(self.host, self.port, self.default_port, self._policy, self._ask)
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
        """A connection, which the deadline can cut while it is being made."""
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
    """The same, encrypted, with a certificate for the name."""

    def connect(self) -> None:
        super().connect()
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        tls = context.wrap_socket(self.sock, server_hostname=_plain(self.host), do_handshake_on_connect=False)
        self.sock = tls
        self._deadline.shut_down_on_expiry(tls)
        tls.do_handshake()


class _Guard(ConnectionHandler):
    """Opens addresses without user and password."""

    def do_open(self, http_class: Any, req: urllib.request.Request, **settings: Any) -> http.client.HTTPResponse:
        if "@" in req.host:
            raise FetchRefusedError("an address with a user or a password is not fetched: send the file itself")
        return super().do_open(http_class, req, **settings)


def _opener(policy: FetchPolicy, ask: Resolve, deadline: Deadline) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    settings: dict[str, Any] = {"deadline": deadline, "policy": policy, "ask": ask}
    opener.add_handler(_Guard(partial(_Pinned, **settings), partial(_PinnedTLS, **settings)))
    return opener
