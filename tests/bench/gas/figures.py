"""The figures of `scripts/bench gas`: time per gas of every operation class, with the ledger's share."""

from __future__ import annotations

import statistics
from dataclasses import asdict, replace
from typing import Any

from contracts.language.limits import DEFAULT_GAS
from tests.bench.gas.calls import calls, deployments
from tests.bench.gas.effects import LedgerCost, ledger_cost
from tests.bench.gas.measure import Cost, exhaust, measure
from tests.bench.gas.operations import Operation, effects, everything
from tests.bench.gas.typical import call_us

NEAR, FAR = 3, 5
"""Within what factor of the median every class should be, and must be."""
WORST = 12
"""Classes that a whole transaction is spent on."""


def measure_gas(repeats: int) -> dict[str, Any]:
    """Measure every class; return the figures of the report."""
    pure = everything()
    ledger = ledger_cost(repeats)
    costs = [measure(operation, repeats) for operation in pure]
    costs += [_with_ledger(measure(operation, repeats), operation, ledger) for operation in effects()]
    costs += [_call_with_ledger(cost, ledger) for cost in calls(repeats)] + deployments(repeats)
    median = statistics.median(cost.ns_per_gas for cost in costs)
    ratios = [cost.ns_per_gas / median for cost in costs]
    named = {operation.name: operation for operation in pure}
    slowest = sorted((cost for cost in costs if cost.name in named), key=lambda cost: -cost.ns_per_gas)
    spent = {cost.name: round(exhaust(named[cost.name], DEFAULT_GAS), 1) for cost in slowest[:WORST]}
    return {
        "median_ns_per_gas": round(median, 1),
        "classes": len(costs),
        "within_3": sum(1 / NEAR <= ratio <= NEAR for ratio in ratios),
        "within_5": sum(1 / FAR <= ratio <= FAR for ratio in ratios),
        "highest_ratio": round(max(ratios), 2),
        "lowest_ratio": round(min(ratios), 2),
        "default_limit_ms": spent,
        "typical_call_us": call_us(repeats),
        "ledger_ns": {name: round(value, 1) for name, value in asdict(ledger).items()},
        "costs": [_row(cost, median) for cost in sorted(costs, key=lambda cost: -cost.ns_per_gas)],
    }


def _row(cost: Cost, median: float) -> dict[str, Any]:
    return {
        "group": cost.group,
        "name": cost.name,
        "gas": round(cost.gas, 1),
        "ns": round(cost.ns, 1),
        "ns_per_gas": round(cost.ns_per_gas, 1),
        "ratio": round(cost.ns_per_gas / median, 2),
    }


def _with_ledger(cost: Cost, operation: Operation, ledger: LedgerCost) -> Cost:
    """Add what the ledger does with the effect: a read finds its row outside the caches."""
    extra = {
        "read": ledger.cold_read + ledger.read_byte * operation.size,
        "write": ledger.write + ledger.write_byte * operation.size,
        "update": ledger.cold_read + ledger.write + ledger.write_byte * operation.size,
        "delete": ledger.delete,
        "event": ledger.event + ledger.event_byte * operation.size,
        "filed": ledger.event_subject + ledger.event_byte * operation.size,
    }[operation.group]
    return replace(cost, ns=cost.ns + extra)


def _call_with_ledger(cost: Cost, ledger: LedgerCost) -> Cost:
    if cost.name == "a transaction":
        return replace(cost, ns=cost.ns + ledger.transaction)
    return replace(cost, ns=cost.ns + ledger.args_byte * cost.size)
