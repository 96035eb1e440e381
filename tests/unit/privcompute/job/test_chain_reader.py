"""An agent asks its own node until it has a proved answer, and sends until the outcome is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chain.client.answers import NodeUnreachable
from chain.client.signing import OutcomeUnknown, TransactionFailed
from chain.ledger.block import Receipt
from chain.primitives.errors import ProofInvalid
from privcompute.job import chain_reader
from privcompute.job.chain_reader import ChainReader, send_until_known
from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobMalformed, job_id_of


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record waits instead of waiting."""
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return seen


class ScriptedNode:
    """Answers `state` and `send` with what a script says: a value, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    def _next(self) -> Any:
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def state(self, *_: str) -> Any:
        return self._next()

    async def send(self, *_: Any, **__: Any) -> Any:
        return self._next()


def refused(code: str, status: str = "reverted") -> TransactionFailed:
    return TransactionFailed(Receipt(bytes(32), 1, 0, status, code, b"", 0, ()), "jobs.accept")


async def test_a_node_that_is_away_is_asked_again_ever_less_often(pauses: list[float]) -> None:
    node: Any = ScriptedNode(*[NodeUnreachable("away")] * 8, {"owner": "bank"})
    assert await ChainReader(node).state("datasets", "datasets", "credit") == {"owner": "bank"}
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


async def test_an_answer_whose_proof_does_not_hold_is_no_answer(pauses: list[float]) -> None:
    node: Any = ScriptedNode(ProofInvalid("state root"), None)
    assert await ChainReader(node).state("grants", "grants", "g1") is None
    assert len(pauses) == 1


async def test_an_unknown_outcome_is_sent_again_and_a_refusal_is_final(pauses: list[float]) -> None:
    account: Any = ScriptedNode(OutcomeUnknown("late"), NodeUnreachable("away"), object())
    assert await send_until_known(account, "jobs", "bind", {}) == ""
    assert account.calls == 3
    account = ScriptedNode(refused("QUOTA_EXHAUSTED"))
    assert await send_until_known(account, "jobs", "accept", {}) == "QUOTA_EXHAUSTED"
    account = ScriptedNode(refused("", "out_of_gas"))
    assert await send_until_known(account, "jobs", "accept", {}) == "OUT_OF_GAS"
    assert len(pauses) == 2


async def test_a_spec_that_does_not_hash_to_the_job_is_refused() -> None:
    node: Any = ScriptedNode({"id": "ab" * 32}, {"program": "another"})
    with pytest.raises(JobMalformed, match="does not hash"):
        await ChainReader(node).job("ab" * 32)


@pytest.mark.parametrize("broken", [lambda spec: spec.pop("inputs"), lambda spec: spec.update(inputs=[{}])])
async def test_a_spec_of_another_shape_is_refused(broken: Callable[[dict[str, Any]], Any]) -> None:
    spec: dict[str, Any] = {
        "program": "p",
        "page": bytes(32),
        "plan": bytes(32),
        "parameters": {},
        "purpose": "x",
        "profile": "rep3",
        "min_group": 1,
        "inputs": [],
        "participants": [{"org": "bank", "role": "owner", "agent_key": bytes(32)}],
        "receivers": ["bank"],
    }
    broken(spec)
    node: Any = ScriptedNode({"id": job_id_of(spec)}, spec)
    with pytest.raises(JobMalformed, match="update this agent"):
        await ChainReader(node).job(job_id_of(spec))


async def test_a_peer_without_a_usable_address_is_named() -> None:
    spec: dict[str, Any] = {
        "program": "p",
        "page": bytes(32),
        "plan": bytes(32),
        "parameters": {},
        "purpose": "x",
        "profile": "rep3",
        "min_group": 1,
        "inputs": [],
        "participants": [
            {"org": "bank", "role": "owner", "agent_key": bytes(32)},
            {"org": "bureau", "role": "owner", "agent_key": bytes(32)},
        ],
        "receivers": ["bank"],
    }
    parsed = chain_reader.parse_spec(job_id_of(spec), spec)
    good: Any = ScriptedNode({"agent_address": "10.0.0.1:7000"})
    assert await ChainReader(good).peers(parsed, "bank") == {1: ("10.0.0.1", 7000, bytes(32))}
    bad: Any = ScriptedNode({"agent_address": ""})
    with pytest.raises(JobRefusal, match="AGENT_ADDRESS_UNUSABLE: bureau"):
        await ChainReader(bad).peers(parsed, "bank")
