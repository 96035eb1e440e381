"""Settings that do not go together are refused by name, and addresses are written so that they are one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.config import load_node_config
from chain.primitives.errors import ConfigError
from chain.primitives.settings import check_address, join_address, split_address


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "[consensus]\nview_timeout_ms = 60000\nview_timeout_max_ms = 1000",
            "consensus.view_timeout_max_ms = 1000: at least view_timeout_ms, which is 60000",
        ),
        ("[consensus]\nview_timeout_ms = 60000", "consensus.view_timeout_max_ms = 30000: at least"),
        (
            "[consensus]\nview_timeout_ms = 500\nbatch_interval_ms = 500",
            "consensus.batch_interval_ms = 500: less than view_timeout_ms, which is 500",
        ),
        ("[storage]\narchive_dir = 'old'", "storage.archive_dir = 'old': nothing goes there while"),
        (
            "[network]\nlisten = '127.0.0.1:8545'",
            "network.listen and rpc.listen = 127.0.0.1:8545: two different addresses",
        ),
        ("[files]\nkey = 'a.key'\nnext_key = './a.key'", "files.key and files.next_key"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    """The greatest time limit was raised without a word, and an archive that nobody writes was accepted."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_node_config(path)
    assert f"node.toml: {fault}" in str(caught.value)


def test_free_ports_of_one_host_may_be_asked_for_twice(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text("[network]\nlisten = '127.0.0.1:0'\n[rpc]\nlisten = '127.0.0.1:0'\n")
    load_node_config(path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::1:19019", '"[::1]:19019"'),
        ("fe80::2:30300", '"[fe80::2]:30300"'),
        (":::30300", '"[::]:30300"'),
        ("a:b:1", '"[::1]:8545"'),
        ("[::1:19019", "brackets are for IPv6"),
        ("[localhost]:1", "brackets are for IPv6"),
    ],
)
@pytest.mark.parametrize("setting", ["rpc", "network"])
def test_an_ipv6_address_without_brackets_is_refused_with_the_way_to_write_it(
    tmp_path: Path, setting: str, written: str, meant: str
) -> None:
    """The node listened, and every client's URL of that address was refused as a bad one."""
    path = tmp_path / "node.toml"
    path.write_text(f"[{setting}]\nlisten = '{written}'\n")
    with pytest.raises(ConfigError) as caught:
        load_node_config(path)
    assert f"{setting}.listen = '{written}': expected an address" in str(caught.value)
    assert meant in str(caught.value)


def test_an_introducer_with_a_bare_ipv6_address_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(f"[network]\nintroducers = ['{'ab' * 32}@::1:30300']\n")
    with pytest.raises(ConfigError, match=r"\[::1\]:30300"):
        load_node_config(path)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:8545", "ledger.example:65535"])
def test_an_address_comes_apart_and_together_again(address: str) -> None:
    assert join_address(*split_address(check_address(address))) == address
