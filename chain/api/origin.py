"""Which `Host` and `Origin` a request may carry: no web page of elsewhere reaches the node through a browser.

A browser names in `Host` the name that it resolved, so a page whose own name was made to point here (DNS
rebinding) gives itself away; an address cannot be made to point anywhere. `Origin` is the page that asks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

LOCAL_NAME = "localhost"
HOSTS_KEPT = 256


@lru_cache(HOSTS_KEPT)
def host_name(host: str) -> str | None:
    """Return the name or address of a `Host` field without its port, in lower case; None when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    if not parts.hostname or parts.netloc != host or parts.username is not None:
        return None
    return parts.hostname.rstrip(".")


def is_address(name: str) -> bool:
    """Tell whether a name is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_fault(host: str, own: Collection[str]) -> str:
    """Return "" for a `Host` that means this node, else what is wrong; `own` are its names."""
    name = host_name(host)
    if name is not None and (name == LOCAL_NAME or name in own or is_address(name)):
        return ""
    return (
        f"Host {host[:256]!r} is not a name of this node; ask by its address, "
        "or add the name to rpc.hosts in node.toml"
    )


def origin_fault(origin: str | None, host: str) -> str:
    """Return "" when no page or one of this very node asks, else what is wrong."""
    if origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return ""
    return f"Origin {origin[:256]!r}: pages of other sites get no answer from a node"
