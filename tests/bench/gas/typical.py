"""The typical call: two reads, two writes, one check, one event and a loop of three turns, on warm state."""

from __future__ import annotations

import time
from collections.abc import Callable

from chain.primitives.runtimeport import OK, Call
from chain.primitives.values import encode_value
from contracts.testing import LocalChain

CALLS = 1_000
SOURCE = """
balance = Map(str, int)
Moved = Event(source=str, target=str, amount=int)

@export
def move(source: str, target: str, amount: int) -> int:
    left = balance.get(source, 0)
    right = balance.get(target, 0)
    require(amount > 0, "BAD_AMOUNT")
    weight = 0
    for i in range(3):
        weight += i * amount
    balance[source] = left - amount
    balance[target] = right + amount
    Moved(source=source, target=target, amount=weight)
    return right + amount
"""


def plain(balance: dict[str, int], events: list[object], source: str, target: str, amount: int) -> int:
    """Do the same in plain Python."""
    left = balance.get(source, 0)
    right = balance.get(target, 0)
    if amount <= 0:
        raise ValueError("BAD_AMOUNT")
    weight = 0
    for i in range(3):
        weight += i * amount
    balance[source] = left - amount
    balance[target] = right + amount
    events.append(("Moved", {"source": source, "target": target, "amount": weight}))
    return right + amount


def call_us(repeats: int) -> dict[str, float]:
    """Return the least CPU µs of a call: from decoded transaction to outcome, and of the plain function."""
    chain = LocalChain("bank")
    chain.deploy(SOURCE, "typical")
    account = chain.as_("bank")
    account.call("typical", "move", source="alice", target="bob", amount=5)
    args = encode_value({"source": "alice", "target": "bob", "amount": 5})
    call = Call("typical", "move", args, account.public, bytes(32), 1_000_000, 5, 10**12)
    assert chain.runtime.execute(call, chain.state).status == OK
    balance: dict[str, int] = {}
    return {
        "contract": round(_least(lambda: chain.runtime.execute(call, chain.state), repeats), 2),
        "plain_python": round(_least(lambda: plain(balance, [], "alice", "bob", 5), repeats), 2),
    }


def _least(work: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time_ns()
        for _ in range(CALLS):
            work()
        best = min(best, time.process_time_ns() - begin)
    return best / CALLS / 1e3
