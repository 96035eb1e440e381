"""What the RPC port says of parameters that are wrong: our words, with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from chain.api.framing import Refused
from chain.api.params import AtHeight, EventQuery, ReceiptOf, SendMany, StateEntry
from chain.api.principals import AccessScope
from chain.api.rpc import Method, RpcCall, _params
from chain.primitives.settings import Section


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        (AtHeight, {"height": 10**20}, "height: expected a height in 0..18446744073709551615"),
        (AtHeight, {"height": -1}, "height: expected a height in 0..18446744073709551615"),
        (AtHeight, {"height": "7"}, "a whole number without quotes, such as 1"),
        (StateEntry, {"contract": "c", "var": "v", "height": 2**64}, "height: expected a height in 0.."),
        (EventQuery, {"limit": 1_001}, "limit: expected entries in 1..1000"),
        (ReceiptOf, {"id": "xy"}, "id: expected 64 hex digits, in lower case"),
        (ReceiptOf, {"id": "00" * 32 + "\n"}, "id: expected 64 hex digits, in lower case"),
        (ReceiptOf, {"id": "00" * 32, "waitMs": -1}, "waitMs: expected milliseconds in 0..20000"),
        (SendMany, {"transactions": ["0"]}, "transactions.0: expected bytes as hex"),
        (StateEntry, {"contract": "c"}, "expected give `map` and `key`"),
    ],
)
def test_a_wrong_parameter_is_told_what_is_allowed(shape: type[Section], given: Any, said: str) -> None:
    """Operators read the words of a library for programmers, such as "string should match pattern"."""
    call = RpcCall(1, "ask", given)
    with pytest.raises(Refused) as caught:
        _params(call, Method(AccessScope.READ, shape, None))  # type: ignore[arg-type]
    assert said in str(caught.value)
