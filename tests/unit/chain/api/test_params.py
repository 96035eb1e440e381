"""What the RPC port says of parameters that are wrong: our words, with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from chain.api.framing import Refused
from chain.api.params import (
    AfterEvidence,
    AtHeight,
    CallView,
    EventQuery,
    ReceiptOf,
    SendMany,
    SendOne,
    StateEntry,
)
from chain.api.principals import AccessScope
from chain.api.rpc import Method, RpcCall, _params
from chain.primitives.settings import Section


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        (AtHeight, {"height": 10**20}, f"height = {10**20}: expected a height in 0..18446744073709551615"),
        (AtHeight, {"height": -1}, "height = -1: expected a height in 0..18446744073709551615"),
        (AtHeight, {"height": "7"}, "a whole number without quotes, such as 1"),
        (
            StateEntry,
            {"contract": "c", "var": "v", "height": 2**64},
            f"height = {2**64}: expected a height in 0..",
        ),
        (EventQuery, {"limit": 1_001}, "limit = 1001: expected entries in 1..1000"),
        (ReceiptOf, {"id": "xy"}, "id = 'xy': expected 64 hex digits, in lower case"),
        (ReceiptOf, {"id": "00" * 32 + "\n"}, f"id = '{'0' * 56}...: expected 64 hex digits, in lower case"),
        (ReceiptOf, {"id": "00" * 32, "waitMs": -1}, "waitMs = -1: expected milliseconds in 0..20000"),
        (ReceiptOf, {"id": "00" * 32, "withProof": 1}, "withProof = 1: expected true or false"),
        (ReceiptOf, {"ids": "00" * 32}, "id: required, but not given; ids: unknown key; remove it"),
        (SendMany, {"transactions": ["0"]}, "transactions.0 = '0': expected bytes as hex"),
        (SendMany, {"transactions": "00"}, "transactions = '00': expected a list"),
        (
            SendMany,
            {"transactions": ["00"] * 1_001},
            "transactions = [1,001 items]: 1,001 items, at most 1,000",
        ),
        (SendMany, {"transactions": []}, "transactions = [0 items]: 0 items, at least 1"),
        (SendOne, {"transaction": "00", "mode": "now"}, "mode = 'now': expected 'sync', 'async' or 'commit'"),
        (SendOne, {"transaction": ["00"]}, "transaction = [1 items]: expected a text"),
        (SendOne, "00", "ask: params: expected a table of names and values"),
        (AfterEvidence, {"after": "k" * 129}, f"after = '{'k' * 56}...: 129 characters, at most 128"),
        (CallView, {"contract": "c" * 256, "method": "m"}, "expected at most 255 bytes of UTF-8"),
        (StateEntry, {"contract": "c"}, "params: expected `map` and `key` for an entry of a Map, or `var`"),
    ],
)
def test_a_wrong_parameter_is_told_what_is_allowed(shape: type[Section], given: Any, said: str) -> None:
    """Operators read the words of a library for programmers, such as "string should match pattern"."""
    call = RpcCall(1, "ask", given)
    with pytest.raises(Refused) as caught:
        _params(call, Method(AccessScope.READ, shape, None))  # type: ignore[arg-type]
    assert said in str(caught.value)
