"""Where members are at home: networks whose connections strangers elsewhere cannot keep out; no IO."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chain.primitives.networks import UNKNOWN, network_of
from chain.primitives.settings import split_address

NETWORKS_MAX = 8
"""Of one member's name: whoever answers for it names no more."""


class Whereabouts:
    """The networks of each member: where it is registered to listen, and where its last link came from."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._addresses: dict[bytes, str] = {}
        self._listens: dict[bytes, frozenset[str]] = {}
        self._came: dict[bytes, str] = {}
        self._all: frozenset[str] = frozenset()

    def set_members(self, members: Mapping[bytes, str]) -> None:
        """Forget who is no member any more, and what moved; an address is "host:port" or ""."""
        for key in [key for key, address in self._addresses.items() if members.get(key) != address]:
            self._listens.pop(key, None)
        self._came = {key: network for key, network in self._came.items() if key in members}
        self._addresses = dict(members)
        for key, address in members.items():
            if address and (network := network_of(split_address(address)[0])) != UNKNOWN:
                self._listens[key] = frozenset({network})
        self._sum_up()

    def resolved(self, key: bytes, hosts: Iterable[str]) -> None:
        """Note the addresses for which the name of a member's registered address stands."""
        if key in self._addresses:
            networks = dict.fromkeys(map(network_of, hosts))
            networks.pop(UNKNOWN, None)
            self._listens[key] = frozenset(list(networks)[:NETWORKS_MAX])
            self._sum_up()

    def came(self, key: bytes, host: str) -> None:
        """Note the address from which a member's link came."""
        network = network_of(host)
        if key in self._addresses and network != UNKNOWN and self._came.get(key) != network:
            self._came[key] = network
            self._sum_up()

    def __contains__(self, network: object) -> bool:
        return network in self._all

    def _sum_up(self) -> None:
        self._all = frozenset(self._came.values()).union(*self._listens.values())
