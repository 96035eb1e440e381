"""The bench of gas: every operation runs, and the schedule's order of magnitude holds wherever tests run."""

from __future__ import annotations

import statistics

from contracts.check import run_source
from contracts.language.back.table import TABLE
from contracts.language.ir import Node
from contracts.language.program import compile_source
from contracts.language.run.builtins import FUNCTIONS
from contracts.language.run.methods import METHODS
from tests.bench.gas.calls import bench_chain, sources, transaction
from tests.bench.gas.measure import main_of, measure, once
from tests.bench.gas.operations import Operation, effects, everything
from tests.bench.gas.typical import SOURCE, plain

OPERATIONS = [*everything(), *effects()]


def test_every_operation_runs_and_pays() -> None:
    idle = {setup: once(main_of(setup, "pass", 1), 1)[1] for setup in {item.setup for item in OPERATIONS}}
    for operation in OPERATIONS:
        assert once(main_of(operation.setup, operation.repeated, 1), 1)[1] > idle[operation.setup], operation


def _used(node: Node) -> set[str]:
    found: set[str] = {node[0]} if node and isinstance(node[0], str) else set()
    if found & {"method", "builtin", "lazy", "host"}:
        found.add(f"{node[0]} {node[1]}")
    return found.union(*[_used(part) for part in node if isinstance(part, tuple)])


def test_every_effect_runs_as_often_as_the_bench_repeats_it() -> None:
    """A transaction's bounds, such as those of events in other contracts' histories, are above that."""
    for operation in effects():
        assert measure(operation, 1).gas > 0, operation


def test_every_kind_of_node_builtin_and_method_is_measured() -> None:
    used: set[str] = set()
    for operation in OPERATIONS:
        used |= _used(_ir(operation))
    wanted = {*TABLE, *[f"method {name}" for name in METHODS]}
    wanted |= {
        f"builtin {name}" for name in FUNCTIONS if name not in ("range", "enumerate", "zip", "reversed")
    }
    others = {
        "map_has",
        "remote",
        "remote_as",
        "host compile_contract",
        "host call_init",
        "host call_migrate",
    }
    assert sorted(wanted - used - others) == []


def _ir(operation: Operation) -> Node:
    from tests.bench.gas.operations import HELPERS

    lines = "".join(f"    {line}\n" for line in f"{operation.setup}\n{operation.repeated}".split("\n"))
    return compile_source(f"{HELPERS}\ndef main():\n{lines}").ir


def test_time_per_gas_of_a_sample_is_within_a_wide_factor() -> None:
    """The real bound is measured by `scripts/bench gas` on a quiet machine; this one finds gross mistakes."""
    found = [measure(operation, 3).ns_per_gas for operation in OPERATIONS[::23]]
    median = statistics.median(found)
    assert max(found) < 15 * median


def test_transactions_and_deployments_of_the_bench_work() -> None:
    chain = bench_chain()
    for method, value in (("take", [1]), ("ping", None), ("echo", (1, 2))):
        args = {"x": value} if method == "take" else {"n": 1, "x": value}
        assert transaction(chain, method, args)() > 600
    assert {
        name for name, source in sources().items() if run_source(source, "none", {})["status"] == "rejected"
    } == {"refused", "refused by the tokens"}


def test_the_typical_call_does_what_its_plain_twin_does() -> None:
    balance = {"alice": 7}
    events: list[object] = []
    assert plain(balance, events, "alice", "bob", 5) == 5
    assert balance == {"alice": 2, "bob": 5}
    verdict = run_source(SOURCE, "move", {"source": "alice", "target": "bob", "amount": 5})
    assert verdict["result"] == 5
