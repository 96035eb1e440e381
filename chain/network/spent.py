"""Which networks have had handshakes lately, so that those which had none go first; no IO, no clock.

Whoever has one address has many of its neighbourhood more often than many all over the world. So the
neighbourhoods of a network have had their part, too, after so many handshakes.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network

KEPT_MAX = 65_536
"""Networks and neighbourhoods remembered, about 150 bytes each; the longest ago are forgotten."""
NEIGHBOURHOODS = {4: ((24, 16), (16, 256)), 6: ((48, 16), (32, 256))}
"""By version of the protocol: bits of a neighbourhood, and the handshakes after which it has had its part."""
CACHED = 1_024


@lru_cache(CACHED)
def parts_of(network: str) -> tuple[tuple[str, int], ...]:
    """Return a network and its neighbourhoods, each with how many handshakes are its part."""
    try:
        known = ip_network(network)
    except ValueError:
        return ((network, 1),)
    wider = [(str(known.supernet(new_prefix=bits)), most) for bits, most in NEIGHBOURHOODS[known.version]]
    return ((network, 1), *wider)


class Spent:
    """Counts handshakes by network and neighbourhood."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: dict[str, int] = {}
        """The longest ago first."""

    def count(self, network: str) -> None:
        """Note that a network had a handshake."""
        for name, _ in parts_of(network):
            self._counts[name] = self._counts.pop(name, 0) + 1
        while len(self._counts) > KEPT_MAX:
            del self._counts[next(iter(self._counts))]

    def __contains__(self, network: str) -> bool:
        return any(self._counts.get(name, 0) >= most for name, most in parts_of(network))
