"""Which connection is closed when there are too many."""

from __future__ import annotations

import pytest

from ocr_onnx.service.connections import Connections, Received, client_network


class Peer:
    """A connection without a socket."""

    def __init__(self, received: Received = Received.NO_HEADER) -> None:
        self.received = received
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def filled(connections: Connections, *peers: Peer, host: str = "192.0.2.1") -> None:
    for peer in peers:
        connections.add(peer, host)
        connections.trim(peer)


def cut(peers: list[Peer]) -> list[bool]:
    return [peer.is_cut for peer in peers]


def test_the_oldest_connection_without_a_header_is_closed_before_one_without_a_body() -> None:
    connections = Connections(3, 0)
    peers = [Peer(Received.REQUEST), Peer(Received.HEADER), Peer()]
    filled(connections, *peers)
    filled(connections, Peer(Received.REQUEST))
    assert cut(peers) == [False, False, True]
    filled(connections, Peer(Received.REQUEST))
    assert cut(peers) == [False, True, True]


def test_if_all_connections_have_a_request_the_newest_is_closed() -> None:
    connections = Connections(2, 0)
    peers = [Peer(Received.REQUEST) for _ in range(3)]
    filled(connections, *peers)
    assert cut(peers) == [False, False, True]
    connections.remove(peers[0])
    later = Peer(Received.REQUEST)
    filled(connections, later)
    assert not later.is_cut


def test_connections_accepted_together_are_closed_only_after_all_were_read() -> None:
    connections = Connections(2, 0)
    peers = [Peer() for _ in range(6)]
    for peer in peers:
        connections.add(peer, "192.0.2.1")
    peers[0].received = Received.REQUEST
    for peer in peers:
        connections.trim(peer)
    peers += [Peer(Received.REQUEST), Peer(Received.REQUEST)]
    filled(connections, *peers[-2:])
    for peer in peers:
        connections.trim(peer)
    assert (cut(peers).count(False), peers[0].is_cut) == (2, False)


@pytest.mark.parametrize(("most", "per_address"), [(2, 0), (100, 2)])
def test_a_connection_that_still_waits_for_its_request_is_not_closed_for_an_older_one(
    most: int, per_address: int
) -> None:
    connections = Connections(most, per_address)
    slow, earlier, later = [Peer(Received.HEADER), Peer(Received.HEADER)], Peer(Received.HEADER), Peer()
    filled(connections, *slow)
    for peer in (earlier, later):
        connections.add(peer, "192.0.2.1")
    connections.trim(earlier)
    later.received = Received.REQUEST
    connections.trim(later)
    assert (cut(slow), earlier.is_cut, later.is_cut) == ([True, True], False, False)


def test_a_slow_body_is_closed_before_a_new_connection() -> None:
    connections = Connections(2, 0)
    slow, new = [Peer(Received.HEADER), Peer(Received.HEADER)], Peer()
    filled(connections, *slow, new)
    assert (cut(slow), new.is_cut) == ([True, False], False)


def test_an_idle_connection_that_sent_nothing_is_closed_before_one_that_was_just_answered() -> None:
    connections = Connections(2, 0)
    peers = [Peer(), Peer()]
    filled(connections, *peers)
    connections.response_sent(peers[0])
    filled(connections, Peer())
    assert cut(peers) == [False, True]


def test_an_address_at_its_limit_loses_only_its_own_connections() -> None:
    connections = Connections(10, 2)
    other, mine = Peer(), [Peer(), Peer()]
    filled(connections, other, host="192.0.2.2")
    filled(connections, *mine, Peer(Received.REQUEST))
    assert (cut(mine), other.is_cut) == ([True, False], False)


def test_a_burst_from_one_address_does_not_close_the_connection_of_another() -> None:
    connections = Connections(10, 2)
    other, burst = Peer(), [Peer() for _ in range(20)]
    connections.add(other, "192.0.2.2")
    for peer in burst:
        connections.add(peer, "192.0.2.1")
    # Connections that are accepted together are trimmed after all of them were added.
    for peer in [other, *burst]:
        connections.trim(peer)
    assert (cut(burst), other.is_cut) == ([True] * 18 + [False] * 2, False)


def test_a_closed_connection_is_not_counted() -> None:
    connections = Connections(1, 1)
    first, second = Peer(), Peer(Received.REQUEST)
    filled(connections, first, second)
    connections.remove(first)
    connections.remove(second)
    connections.remove(second)
    third, fourth = Peer(Received.REQUEST), Peer(Received.REQUEST)
    filled(connections, third, fourth)
    assert cut([third, fourth]) == [False, True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "192.0.2.1", False),
    ],
)
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (client_network(one) == client_network(other)) is same
