"""File descriptors are budgeted at the start: the limit is raised, or the process says why it ends."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.server import OVER_MAX
from chain.config import CacheSection, NodeConfig, RpcSection
from chain.ledger.store.leveldb import DATABASES_MAX, OPEN_FILES_MAX
from chain.node.budget import LOWER, descriptor_parts, memory_warning
from chain.primitives.descriptors import RESERVE, TooFewDescriptors, limit_for, needed

NONE = resource.RLIM_INFINITY
PARTS = {"clients (rpc.max_connections)": 320, "LevelDB": 256}
NEED = 320 + 256 + RESERVE


@pytest.mark.parametrize(
    ("soft", "hard", "limit"),
    [
        (NEED, NEED, NEED),
        (NEED - 1, NEED, NEED),
        (256, 4_096, NEED),
        (256, NONE, NEED),
        (4_096, 4_096, 4_096),
        (NONE, NONE, NONE),
    ],
)
def test_the_soft_limit_is_raised_to_what_is_needed_and_never_lowered(
    soft: int, hard: int, limit: int
) -> None:
    assert limit_for(PARTS, soft, hard, LOWER) == limit


def test_a_hard_limit_below_the_need_is_refused_with_limit_need_and_remedy() -> None:
    with pytest.raises(TooFewDescriptors) as caught:
        limit_for(PARTS, 256, NEED - 1, LOWER, 1)
    text = str(caught.value)
    for part in (f"{NEED} are needed", "320 for clients (rpc.max_connections)", "256 for LevelDB",
                 f"the hard limit of this process is {NEED - 1}", f"ulimit -Hn {NEED}",
                 f"LimitNOFILE={NEED}", "or lower rpc.max_connections"):  # fmt: skip
        assert part in text


def test_a_setting_is_named_only_if_lowering_it_suffices() -> None:
    with pytest.raises(TooFewDescriptors) as caught:
        limit_for(PARTS, 256, NEED - 241, LOWER, 240)
    assert "lower" not in str(caught.value)


def test_without_a_setting_to_lower_none_is_named() -> None:
    with pytest.raises(TooFewDescriptors) as caught:
        limit_for(PARTS, 1, 2, "")
    assert "lower" not in str(caught.value)


@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_whatever_the_limits_the_process_gets_what_it_needs_or_an_error(soft: int, hard: int) -> None:
    soft = min(soft, hard)
    try:
        assert needed(PARTS) <= limit_for(PARTS, soft, hard, LOWER) <= hard
    except TooFewDescriptors:
        assert hard < needed(PARTS)


def test_a_node_counts_its_clients_its_peers_and_its_files() -> None:
    small = descriptor_parts(NodeConfig(), 4)
    assert small["clients (rpc.max_connections)"] == 256 + OVER_MAX
    assert small["LevelDB"] == DATABASES_MAX * OPEN_FILES_MAX
    assert (
        needed(descriptor_parts(NodeConfig(rpc=RpcSection(max_connections=1_000)), 4)) - needed(small) == 744
    )
    assert needed(descriptor_parts(NodeConfig(), 104)) - needed(small) == 200


def test_the_default_settings_of_a_small_consortium_fit_what_every_linux_allows() -> None:
    """The usual soft limit is 1,024, which is raised; the usual hard limit is 4,096 or more."""
    assert needed(descriptor_parts(NodeConfig(), 16)) <= 2_048


def test_caches_that_the_host_has_no_memory_for_are_warned_of_in_its_figures() -> None:
    """65,536 MiB were taken on any host without a word."""
    gib = 1_073_741_824
    assert memory_warning(NodeConfig(), gib) == ""
    said = memory_warning(NodeConfig(cache=CacheSection(leveldb_mib=65_536)), 16 * gib)
    assert "cache.leveldb_mib = 65536" in said
    assert "this host has 16,384 MiB" in said
    assert "leveldb_write_buffer_mib = 4096" in memory_warning(
        NodeConfig(cache=CacheSection(leveldb_write_buffer_mib=4_096)), 16 * gib
    )
