"""Addresses that an organisation tells others: a DNS name, an IPv4 or an IPv6 address, and a port."""

from __future__ import annotations

import ipaddress
import re

from chain.primitives.settings import check_address, join_address, split_address

LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
"""Of a DNS name (RFC 1123); names of hosts in containers have underscores, too."""
NAME_CHARS_MAX = 253


def check_advertised(text: str) -> str:
    """Return an address that others can dial, unchanged; raise ValueError saying what is expected.

    It has one spelling, so that the same address is seen to be the same.
    """
    check_address(text)
    host, port = split_address(text)
    if port == 0:
        raise ValueError("a port in 1..65535, which others can dial")
    number = _number(host)
    if number is not None:
        _check_number(number)
        host = str(number)
    else:
        _check_name(host)
    if text != join_address(host, port):
        raise ValueError(f"the usual spelling of it: {join_address(host, port)!r}")
    return text


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_number(number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if number.is_unspecified or number.is_multicast or str(number) == "255.255.255.255":
        raise ValueError("an address of one host: others dial it; `listen` may be every address of the host")
    if isinstance(number, ipaddress.IPv6Address) and (number.is_link_local or number.scope_id):
        raise ValueError("an address that is no link-local one: others cannot dial it")


def _check_name(host: str) -> None:
    labels = host.split(".")
    if len(host) > NAME_CHARS_MAX or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError(
            'a DNS name in lower case ("node.bank.example:30300"), an IPv4 address, or an IPv6 address in '
            'brackets ("[2001:db8::1]:30300")'
        )
    if labels[-1].isdigit():
        raise ValueError("an IPv4 address of four numbers in 0..255, or a DNS name that does not end in one")


def is_local(address: str) -> bool:
    """Tell whether an address is dialled on its own machine alone: a loopback address, or localhost."""
    host = split_address(address)[0]
    number = _number(host)
    return host == "localhost" or host.endswith(".localhost") or (number is not None and number.is_loopback)


def listen_for(address: str) -> str:
    """Return where to listen, unless told otherwise, for others to reach this address.

    That is every address of the host: which of its own a name or a router leads to is not known here.
    """
    host, port = split_address(address)
    number = _number(host)
    if is_local(address):
        return join_address("127.0.0.1" if number is None else host, port)
    return join_address("::" if number is not None and number.version == 6 else "0.0.0.0", port)


def beside(listen: str, step: int) -> str:
    """Return the loopback address whose port is so many above that of another."""
    return join_address("127.0.0.1", split_address(listen)[1] + step)
