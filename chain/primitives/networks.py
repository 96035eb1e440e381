"""Which addresses are one host's: what bounds of strangers are counted by, at every port."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

NETWORK_BITS_V6 = 64
"""Who has one IPv6 address has all of its network."""
NETWORKS_KEPT = 1_024
UNKNOWN = "unknown"
"""The network of what is no address: a name, or nothing."""


@lru_cache(NETWORKS_KEPT)
def network_of(host: str) -> str:
    """Return the network that an address stands for: an IPv4 address itself, or 64 bits of an IPv6 one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == 4 or address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, NETWORK_BITS_V6), strict=False))
