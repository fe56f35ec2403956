"""The connections that one process holds: bounded in number, in all and for each client address."""

from __future__ import annotations

import itertools
from collections import Counter
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from typing import Protocol

IPV6_SITE = 64
"""Bits of an IPv6 address that name a customer's network; one customer has all addresses within it."""


class Received(IntEnum):
    """How much of a request has come on a connection."""

    NO_HEADER = 0
    """Nothing, or a part of the header; also after an answer, until the next request."""
    HEADER = 1
    REQUEST = 2
    """Header and body: only the server can delay the answer."""


class Connection(Protocol):
    """An open connection."""

    @property
    def received(self) -> Received:
        """How much of a request has come."""

    def cut(self) -> None:
        """Close it at once."""


class Connections:
    """Holds connections; above a limit, the oldest one that waits for its client is cut in favor of the newest.

    First those without a complete request header are cut, then those without a complete body. So a client that opens
    connections and sends nothing, or sends slowly, cannot keep others out. `most` bounds all connections, `per_address`
    those of one client address (of one IPv6 network); 0: no such bound.
    """

    def __init__(self, most: int, per_address: int) -> None:
        self._most, self._per_address = most, per_address
        self._open: dict[Connection, str] = {}
        self._addresses: Counter[str] = Counter()

    def add(self, connection: Connection, host: str) -> None:
        """Count a new connection."""
        address = self._open[connection] = client_network(host)
        self._addresses[address] += 1

    def trim(self, newest: Connection) -> None:
        """Cut older connections in favor of a new one, of its address and of all, until they are within the limits.

        Call this once for each connection, after the server has read the data that had arrived on all connections accepted
        with it. Connections that were accepted later are not cut: their data may not have arrived yet, and they are trimmed
        themselves.
        """
        address = self._open.get(newest, "")
        while 0 < self._per_address < self._addresses[address] and self._cut(newest, address):
            pass
        while len(self._open) > self._most and self._cut(newest, None):
            pass

    def answered(self, connection: Connection) -> None:
        """Note that a connection begins to wait for its next request: it counts as the newest."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)

    def forget(self, connection: Connection) -> None:
        """Count a connection no longer; one that is not counted is passed over."""
        address = self._open.pop(connection, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _cut(self, newest: Connection, address: str | None) -> bool:
        """Cut an older connection of an address, or of any: the newest if all older ones have sent complete requests.

        Returns whether one was cut. None is if `newest` is closed, or if there is no older connection.
        """
        if newest not in self._open:
            return False
        older = itertools.takewhile(lambda each: each is not newest, self._open)
        others = (each for each in older if address in {None, self._open[each]})
        oldest = min(others, key=lambda each: each.received, default=None)
        if oldest is None:
            return False
        chosen = newest if oldest.received is Received.REQUEST else oldest
        self.forget(chosen)
        chosen.cut()
        return True


def client_network(host: str) -> str:
    """The address that a connection is counted for: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> (128 - IPV6_SITE):x}::/{IPV6_SITE}"
