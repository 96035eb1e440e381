"""The OpenRPC document says what methods take, answer and refuse, and calls drawn from it find nothing."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chain.api.methods.table import method_table
from chain.api.params import EventQuery
from chain.api.principals import AccessScope
from chain.api.rpc import SOCKET_METHODS
from chain.ledger.testing import ToyChain
from tests.fuzz import targets
from tests.openrpc import HostileCalls, answer_faults, faults, resolved, text_of

GOLDEN = Path(__file__).resolve().parents[4] / "docs" / "openrpc.json"
STUBS = ("getNodeInfo", "getConsensusStatus", "getSyncStatus")
"""What the node behind these calls does not have; `tests/functional/test_openrpc.py` asks a real one."""
CALLS, SEED, ONE_CALL_S = 2_500, 20261130, 5.0


async def discovered() -> Any:
    node: Any = SimpleNamespace(ledger=ToyChain().ledger, pool=None, status=None, sessions=None)
    return await method_table(node)["rpc.discover"].answer(None)


async def test_the_file_of_the_document_is_what_a_node_serves() -> None:
    """Write it again with: python tests/unit/chain/api/test_openrpc.py."""
    assert GOLDEN.read_text(encoding="utf-8") == text_of(await discovered())


async def test_the_document_has_every_method_with_its_scope_words_parameters_and_answer() -> None:
    document = await discovered()
    node: Any = SimpleNamespace(ledger=ToyChain().ledger, pool=None, status=None, sessions=None)
    table = method_table(node)
    told = {item["name"]: item for item in document["methods"]}
    assert set(told) == {*table, *SOCKET_METHODS}
    for name, item in told.items():
        assert item["summary"].endswith("."), name
        assert item["x-scope"] in {scope.value for scope in AccessScope}
        assert item["result"]["schema"] or name == "getABI", f"{name}: what does it answer?"
        for error in item["errors"]:
            assert resolved(document, error["$ref"])["message"]
    for name, method in table.items():
        assert told[name]["x-scope"] == method.scope.value
        assert [item["name"] for item in told[name]["params"]] == list(method.params.model_fields)


async def test_bounds_and_patterns_of_parameters_stand_in_the_document() -> None:
    told = {item["name"]: item for item in (await discovered())["methods"]}
    limit = next(item for item in told["getEvents"]["params"] if item["name"] == "limit")
    assert limit == {
        "name": "limit", "required": False,
        "schema": {"default": EventQuery().limit, "maximum": 1_000, "minimum": 1, "type": "integer"},
    }  # fmt: skip
    (found,) = told["getBlockByHash"]["params"]
    assert found["schema"] == {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    assert {"$ref": "#/components/errors/pool_full"} in told["sendTransaction"]["errors"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"height": 1, "proof": "0g"}, "$.proof: '0g' is not"),
        ({"height": True, "proof": ""}, "$.height: bool, not integer"),
        ({"height": -1, "proof": ""}, "$.height: -1"),
        ({"height": 1}, "$: lacks proof"),
        ({"height": 1, "proof": "", "more": 1}, "$: has more"),
    ],
)
async def test_the_check_of_answers_finds_what_is_not_as_stated(value: Any, fault: str) -> None:
    document = await discovered()
    schema = next(item for item in document["methods"] if item["name"] == "getHistory")["result"]["schema"]
    (told,) = faults(document, schema, value)
    assert told.startswith(fault)
    assert not list(faults(document, schema, {"height": 1, "proof": "00"}))


def test_no_call_drawn_from_the_document_finds_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Every answer is a result as stated, or an error that is stated; nothing is logged and nothing hangs."""
    calls, loop = targets._rpc()
    anybody = targets._Anybody()
    document = loop.run_until_complete(calls._methods["rpc.discover"].answer(None))
    document["methods"] = [item for item in document["methods"] if item["name"] not in SOCKET_METHODS]
    drawn, ended = HostileCalls(document, SEED), {"result": 0, "error": 0}
    with caplog.at_level(logging.WARNING):
        for number in range(CALLS):
            call = next(drawn)
            begin = time.monotonic()
            answer = json.loads(loop.run_until_complete(calls.answer(json.dumps(call).encode(), anybody)))
            took = time.monotonic() - begin
            stub = call["method"] in STUBS and "result" in answer
            told = [] if stub else answer_faults(document, call, answer)
            assert told == [], f"seed {SEED}, call {number}: {str(call)[:400]}"
            assert took < ONE_CALL_S, f"seed {SEED}, call {number}: {took} s for {str(call)[:400]}"
            ended["result" if "result" in answer else "error"] += 1
    assert caplog.records == []
    assert min(ended.values()) > CALLS // 10, ended


if __name__ == "__main__":
    import asyncio

    GOLDEN.write_text(text_of(asyncio.run(discovered())), encoding="utf-8")
