"""Every setting of `node.toml` and `agent.toml` changes something, and the test that sees it is named here.

A setting was read once and nothing came of it: what each row names runs the part that obeys the setting. The
node below is a real one, made of a file in which nothing has its default.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plyvel
import pydantic
import pytest

from chain.cli.init import create_solo
from chain.config import NodeConfig, RpcSection, load_node_config
from chain.ledger.genesis import load_genesis
from chain.mempool.mempool import PoolBounds
from chain.node.node import Node
from privcompute.config import AgentConfig

TESTS = Path(__file__).resolve().parents[1]
LIVE, MEMBERS = "functional/test_settings.py", "functional/test_membership.py"
TIMERS = "unit/consensus/test_driver_time.py"
PLACES = f"{LIVE}::test_a_node_lives_at_the_paths_and_ports_that_are_set"
POOL = f"{LIVE}::test_the_pool_of_a_node_that_orders_nothing_keeps_its_bounds"
PRUNES = f"{LIVE}::test_a_running_node_prunes_and_archives_what_is_beyond_keep_blocks"
LIMITS, SHARES = "unit/chain/api/test_limits.py", "unit/chain/api/test_shares.py"
OPENING = "functional/test_opening_the_port.py"
ACCESS = "unit/chain/client/test_access.py"
REACHES = "unit/test_every_setting.py::test_what_sets_pace_and_bounds_reaches_the_part_that_keeps_it"
AGENT = f"{LIVE}::test_an_agent_lives_at_the_paths_and_ports_that_are_set"
POLICY = "unit/privcompute/job/test_task.py::test_what_an_owner_demands_beyond_the_chain_ends_a_job"
PATH = "unit/privcompute/job/test_task.py"

NODE = {
    "files.data_dir": [PLACES],
    "files.genesis": [PLACES],
    "files.key": [PLACES],
    "files.next_key": [f"{MEMBERS}::test_a_validator_goes_on_under_its_next_key_by_itself"],
    "files.rpc_certificate": [
        f"{ACCESS}::test_a_certificate_or_key_that_cannot_be_used_is_named_with_what_to_do",
    ],
    "files.rpc_key": [f"{ACCESS}::test_a_certificate_or_key_that_cannot_be_used_is_named_with_what_to_do"],
    "files.tokens": [f"{OPENING}::test_an_operator_opens_the_port_to_a_colleague_as_the_document_says"],
    "files.access_log": [f"{LIVE}::test_who_asked_what_stands_in_the_access_log_which_reopen_opens_anew"],
    "network.listen": [PLACES],
    "network.introducers": [
        REACHES,
        "unit/chain/network/test_link.py::test_an_introducer_is_dialled_and_let_in_whoever_the_members_are",
    ],
    "network.send_queue_bytes": [
        REACHES,
        "unit/chain/network/test_link.py::test_gossip_to_a_slow_peer_is_dropped_within_the_bound_and_counted",
    ],
    "rpc.listen": [PLACES],
    "rpc.hosts": [PLACES, f"{LIMITS}::test_the_host_must_be_an_address_or_a_name_of_this_node"],
    "rpc.tls": [f"{OPENING}::test_an_operator_opens_the_port_to_a_colleague_as_the_document_says"],
    "rpc.principals": [f"{OPENING}::test_an_operator_opens_the_port_to_a_colleague_as_the_document_says"],
    "rpc.members": [
        "unit/chain/api/test_sessions.py::"
        "test_a_key_of_another_member_opens_one_only_where_all_are_admitted_and_never_operates",
    ],
    "rpc.max_request_bytes": [
        PLACES, f"{LIMITS}::test_a_body_beyond_the_bound_is_refused_and_the_client_reads_why",
    ],
    "rpc.max_answer_bytes": [
        PLACES, f"{LIMITS}::test_one_answer_beyond_the_bytes_is_an_error_that_names_the_setting",
    ],
    "rpc.request_timeout_ms": [
        PLACES, f"{LIMITS}::test_a_request_is_answered_within_its_time_however_many_calls_it_has",
    ],
    "rpc.header_timeout_ms": [
        REACHES, f"{LIMITS}::test_a_connection_that_sends_nothing_or_half_a_head_is_closed_in_time",
    ],
    "rpc.transfer_timeout_ms": [
        REACHES, f"{LIMITS}::test_a_body_that_drips_in_at_the_least_rate_still_ends_in_time",
    ],
    "rpc.idle_timeout_ms": [REACHES, f"{LIMITS}::test_an_idle_connection_is_closed_in_time"],
    "rpc.least_bytes_per_second": [
        REACHES, f"{LIMITS}::test_a_body_that_stalls_is_given_up_in_time_with_what_is_expected",
    ],
    "rpc.max_connections": [REACHES, f"{LIMITS}::test_ten_times_the_connections_keep_nobody_out"],
    "rpc.requests_per_second": [
        REACHES, f"{SHARES}::test_a_turn_that_does_not_come_in_time_is_refused_and_names_the_setting",
    ],
    "rpc.access_lines_per_second": [
        REACHES,
        "unit/chain/api/test_accesslog.py::"
        "test_a_flood_fills_no_disk_and_keeps_no_other_principal_out_of_the_log",
    ],
    "mempool.max_transactions": [POOL],
    "mempool.max_bytes": [POOL],
    "mempool.max_per_sender": [POOL],
    "consensus.batch_interval_ms": [
        REACHES, f"{LIVE}::test_proposals_keep_the_batch_interval_that_is_set",
    ],
    "consensus.view_timeout_ms": [
        REACHES, f"{TIMERS}::test_a_primary_is_suspected_when_its_time_is_up_and_not_before",
    ],
    "consensus.view_timeout_max_ms": [
        REACHES,
        f"{TIMERS}::test_the_time_doubles_with_every_view_that_was_wasted_up_to_a_bound",
    ],
    "sync.snapshot_blocks": [
        REACHES,
        "unit/chain/network/test_statesync.py::test_a_small_gap_is_closed_by_blocks_and_a_state_never_fetched",
    ],
    "storage.keep_blocks": [PRUNES],
    "storage.archive_dir": [PRUNES],
    "cache.leveldb_mib": [REACHES],
    "cache.leveldb_write_buffer_mib": [REACHES],
    "log.level": [f"{LIVE}::test_a_debug_log_tells_heights_and_sighup_opens_the_log_anew"],
    "solo.organisation": [PLACES],
}  # fmt: skip
AGENTS = {
    "organisation": [AGENT],
    "node": [AGENT],
    "node_key": [f"{ACCESS}::test_an_agent_knows_its_node_by_the_key_or_the_authority_that_is_set"],
    "node_ca": [f"{ACCESS}::test_an_agent_knows_its_node_by_the_key_or_the_authority_that_is_set"],
    "files.genesis": [AGENT],
    "files.key": [AGENT],
    "files.data_dir": [AGENT],
    "peers.listen": [AGENT],
    "policy.refused_purposes": [POLICY],
    "policy.refused_organisations": [POLICY],
    "policy.min_joined_rows": [POLICY],
    "policy.exact_pages": [
        "unit/privcompute/job/test_exposure.py::test_an_owner_may_let_more_pages_ask_about_groups",
    ],
    "policy.reveal_wait_ms": [f"{PATH}::test_a_grant_may_be_revoked_while_an_owner_waits_before_the_reveal"],
    "policy.jobs_at_once": [f"{PATH}::test_an_agent_with_two_slots_computes_two_jobs_at_once"],
    "policy.max_waiting_jobs": [
        f"{PATH}::test_one_organisations_proposals_take_no_more_than_their_share_of_an_agent",
    ],
    "policy.max_jobs_per_organisation": [
        f"{PATH}::test_one_organisations_proposals_take_no_more_than_their_share_of_an_agent",
    ],
    "policy.job_time_max_ms": [
        f"{PATH}::test_a_party_that_never_connects_holds_a_job_no_longer_than_the_owner_allows",
    ],
    "policy.job_memory_max_mib": [
        "unit/privcompute/job/test_size.py::test_a_job_that_needs_more_memory_than_we_allow_is_refused",
    ],
    "policy.keep_shares_ms": [
        f"{PATH}::test_what_is_held_is_handed_out_from_the_reveal_to_the_end_of_its_time_and_always_the_same",
    ],
    "policy.max_party_rows": [POLICY],
    "datasets.id": [AGENT],
    "datasets.path": [AGENT],
    "datasets.schema_file": [AGENT],
    "log.level": [AGENT],
}


def settings_of(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a model's settings, those of tables and of lists of tables within it."""
    for name, field in model.model_fields.items():
        inner = next(iter(_models(field.annotation)), None)
        if inner is None:
            yield prefix + name
        else:
            yield from settings_of(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def source_of(where: str) -> str:
    """Return the source of the test named "file::function"; raise AssertionError where there is none."""
    path, _, name = where.partition("::")
    text = (TESTS / path).read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return "\n".join([*map(ast.unparse, node.decorator_list), ast.unparse(node)])
    raise AssertionError(f"{where}: no such test")


@pytest.mark.parametrize(("model", "table"), [(NodeConfig, NODE), (AgentConfig, AGENTS)])
def test_every_setting_names_the_tests_that_see_what_it_changes(
    model: type[pydantic.BaseModel], table: dict[str, list[str]]
) -> None:
    assert list(settings_of(model)) == list(table)
    for setting, tests in table.items():
        assert tests, setting
        for test in tests:
            assert source_of(test), setting


UNLIKE = """
[files]
access_log = "access.log"
[network]
listen = "127.0.0.1:0"
send_queue_bytes = 2000000
introducers = ["abababababababababababababababababababababababababababababababab@127.0.0.1:9"]
[rpc]
listen = "127.0.0.1:0"
max_connections = 48
header_timeout_ms = 1001
transfer_timeout_ms = 1002
idle_timeout_ms = 1003
least_bytes_per_second = 1004
requests_per_second = 1005
access_lines_per_second = 1006
[mempool]
max_transactions = 101
max_bytes = 1048577
max_per_sender = 102
[consensus]
batch_interval_ms = 21
view_timeout_ms = 222
view_timeout_max_ms = 2222
[sync]
snapshot_blocks = 77
[cache]
leveldb_mib = 3
leveldb_write_buffer_mib = 2
[solo]
organisation = "acme"
"""
REACH: dict[str, tuple[Callable[[Node], Any], Any]] = {
    "introducers": (lambda node: node._peers._introducers, {b"\xab" * 32: "127.0.0.1:9"}),
    "send_queue_bytes": (lambda node: node._peers._queue_bytes, 2_000_000),
    "pool": (lambda node: node.pool._bounds, PoolBounds(101, 1_048_577, 102)),
    "batch_interval_ms": (lambda node: node._core.driver._timers._timing.batch_interval_ms, 21),
    "view_timeout_ms": (lambda node: node._core.driver._timers._timing.timeout_ms, 222),
    "view_timeout_max_ms": (lambda node: node._core.driver._timers._timing.timeout_max_ms, 2_222),
    "snapshot_blocks": (lambda node: node._core.sync._snapshot_lag, 77),
}
DOOR: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "header_timeout_ms": (lambda door: door.header_s, 1.001),
    "transfer_timeout_ms": (lambda door: door._transfer_s, 1.002),
    "idle_timeout_ms": (lambda door: door.idle_s, 1.003),
    "least_bytes_per_second": (lambda door: door._rate, 1_004),
    "max_connections": (lambda door: door.connections.most, 48),
    "requests_per_second": (lambda door: door.turns._rate, 1_005),
    "access_lines_per_second": (lambda door: door.access._all._rate, 1_006),
}


async def test_what_sets_pace_and_bounds_reaches_the_part_that_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests of those parts see what they do with it."""
    path = tmp_path / "node.toml"
    path.write_text(UNLIKE)
    config, files = load_node_config(path)
    create_solo(config, files)
    opened: list[dict[str, Any]] = []
    really = plyvel.DB

    def opening(*args: Any, **named: Any) -> Any:
        opened.append(named)
        return really(*args, **named)

    monkeypatch.setattr(plyvel, "DB", opening)
    node = Node(config, files, load_genesis(files.genesis))
    try:
        assert {name: read(node) for name, (read, _) in REACH.items()} == {
            name: value for name, (_, value) in REACH.items()
        }
        sizes = [(each["lru_cache_size"], each["write_buffer_size"]) for each in opened]
        assert sizes == [(2 << 20, 1 << 20)] * 2, "rows and records have a half each, rounded up"
        await node._rpc.start()
        assert {name: read(node._rpc.door) for name, (read, _) in DOOR.items()} == {
            name: value for name, (_, value) in DOOR.items()
        }
        assert DOOR.keys() <= RpcSection.model_fields.keys()
    finally:
        await node._close([])
