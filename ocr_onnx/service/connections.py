"""Limits the number of open connections, in total and per client address."""

from __future__ import annotations

import itertools
from collections import Counter
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from typing import Protocol

IPV6_SITE = 64
"""Prefix length of an IPv6 network of one customer, who controls all addresses in it."""


class Received(IntEnum):
    """The part of a request that has been received."""

    NO_HEADER = 0
    """No complete header; also between requests."""
    HEADER = 1
    REQUEST = 2
    """Header and body; the connection now waits for the server."""


class Connection(Protocol):
    """An open connection."""

    @property
    def received(self) -> Received:
        """The part of a request that has been received."""

    def abort(self) -> None:
        """Close the connection immediately."""


class Connections:
    """The open connections. Beyond a limit, a new connection replaces the oldest one that waits for its client.

    Connections without a complete request header are aborted first, then those without a complete body. So a client that
    opens connections and sends nothing, or sends slowly, cannot keep others out. `maximum` limits all connections,
    `per_address` those of one IPv4 address or IPv6 network; 0: no limit.
    """

    def __init__(self, maximum: int, per_address: int) -> None:
        self._maximum, self._per_address = maximum, per_address
        self._open: dict[Connection, str] = {}
        self._addresses: Counter[str] = Counter()

    def add(self, connection: Connection, host: str) -> None:
        """Add a new connection."""
        address = self._open[connection] = client_network(host)
        self._addresses[address] += 1

    def trim(self, newest: Connection) -> None:
        """Abort older connections, first of the same address, until the limits hold again.

        Call this once for each connection, after the server has read the data that had arrived on all connections accepted
        with it. Connections that were accepted later are not aborted: their data may not have arrived yet, and they are
        trimmed themselves.
        """
        address = self._open.get(newest, "")
        for limit, within in ((self._per_address, address), (self._maximum, None)):
            while newest in self._open and 0 < limit <= len(older := self._older(newest, within)):
                oldest = min(older, key=lambda each: each.received)
                chosen = newest if oldest.received is Received.REQUEST else oldest
                self.remove(chosen)
                chosen.abort()

    def response_sent(self, connection: Connection) -> None:
        """Treat a connection as the newest, because it now waits for its next request."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection; an unknown one is ignored."""
        address = self._open.pop(connection, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _older(self, newest: Connection, address: str | None) -> list[Connection]:
        """The connections before `newest`, of one address or of all."""
        older = itertools.takewhile(lambda each: each is not newest, self._open)
        return [each for each in older if address in {None, self._open[each]}]


def client_network(host: str) -> str:
    """The address that limits a connection: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> (128 - IPV6_SITE):x}::/{IPV6_SITE}"
