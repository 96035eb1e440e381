"""A node is asked from its own host at an address that can be dialled."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.cli.init import create_consortium
from chain.cli.layout import OrgFolder
from chain.client.options import own_url
from chain.config import load_node_config
from chain.primitives.settings import dialled


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("0.0.0.0:30301", "127.0.0.1:30301"),
        ("[::]:30301", "[::1]:30301"),
        ("192.0.2.7:30301", "192.0.2.7:30301"),
        ("[2001:db8::7]:30301", "[2001:db8::7]:30301"),
        ("node.bank.example:30301", "node.bank.example:30301"),
    ],
)
def test_what_listens_on_every_address_is_dialled_on_the_loopback_one(listen: str, address: str) -> None:
    assert dialled(listen) == address


def test_the_address_of_an_own_node_that_listens_on_all_is_told_as_one_to_dial(tmp_path: Path) -> None:
    org = OrgFolder(create_consortium(tmp_path / "c", ["bank"], [], 0, "alone").path / "bank")
    text = org.node_config.read_text()
    lines = ['listen = "0.0.0.0:30301"\ntls = true\nprincipals = true', 'listen = "127.0.0.1:30301"']
    for line, url in zip(lines, ["https://127.0.0.1:30301", "http://127.0.0.1:30301"], strict=True):
        before, _, after = text.partition("[rpc]\n")
        org.node_config.write_text(f"{before}[rpc]\n{line}\n{after.partition(chr(10))[2]}")
        assert own_url(load_node_config(org.node_config)[0]) == url
