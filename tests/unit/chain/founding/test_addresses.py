"""Addresses of a card are ones that others can dial, each in one spelling."""

from __future__ import annotations

import pytest

from chain.founding.addresses import beside, check_advertised, is_local, listen_for

GOOD = [
    "node.bank.example:30300",
    "node:1",
    "my_node.local:65535",
    "192.0.2.7:30300",
    "[2001:db8::1]:30300",
    "[::1]:30300",
    "localhost:30300",
    "xn--bcher-kva.example:30300",
]
BAD = {
    "node.bank.example": "host:port",
    "node.bank.example:0": "1..65535",
    "node.bank.example:65536": "0..65535",
    "node.bank.example:030300": "usual spelling",
    "Node.Bank.Example:30300": "lower case",
    "node..example:1": "DNS name",
    "node.example.:1": "DNS name",
    "-node.example:1": "DNS name",
    "node example:1": "DNS name",
    "bücher.example:1": "DNS name",
    "a" * 64 + ".example:1": "DNS name",
    ".".join(["a" * 60] * 5) + ":1": "DNS name",
    "http://node.example:1": "brackets",
    "user@node.example:1": "DNS name",
    "node.example/x:1": "DNS name",
    "\x1b[2J.example:1": "brackets",
    "300.1.1.1:1": "0..255",
    "010.0.0.1:1": "0..255",
    "1.2.3:1": "0..255",
    "0.0.0.0:1": "one host",
    "[::]:1": "one host",
    "224.0.0.1:1": "one host",
    "255.255.255.255:1": "one host",
    "[ff02::1]:1": "one host",
    "[fe80::1]:1": "link-local",
    "[fe80::1%eth0]:1": "link-local",
    "[2001:DB8::1]:1": "'[2001:db8::1]:1'",
    "[2001:db8:0:0::1]:1": "'[2001:db8::1]:1'",
    "2001:db8::1:1": "brackets",
    "[192.0.2.7]:1": "brackets",
    ":1": "host:port",
    "": "host:port",
}


@pytest.mark.parametrize("address", GOOD)
def test_names_and_addresses_that_others_can_dial_are_taken(address: str) -> None:
    assert check_advertised(address) == address


@pytest.mark.parametrize("address", BAD)
def test_what_cannot_be_dialled_or_has_another_spelling_is_refused_with_what_is_expected(
    address: str,
) -> None:
    with pytest.raises(ValueError) as refused:
        check_advertised(address)
    assert BAD[address] in str(refused.value)


def test_a_node_listens_where_its_address_can_lead_unless_it_is_local() -> None:
    assert listen_for("node.bank.example:30300") == "0.0.0.0:30300"
    assert listen_for("192.0.2.7:30300") == "0.0.0.0:30300"
    assert listen_for("[2001:db8::1]:30300") == "[::]:30300"
    assert listen_for("localhost:30300") == "127.0.0.1:30300"
    assert listen_for("[::1]:30300") == "[::1]:30300"
    assert beside("0.0.0.0:30300", 1) == "127.0.0.1:30301"
    assert all(map(is_local, ("localhost:1", "a.localhost:1", "127.9.9.9:1", "[::1]:1")))
    assert not is_local("node.bank.example:1")
