"""Whatever a method is given, it answers with a result or a declared error, within the bound of answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.api.framing import INTERNAL_ERROR
from chain.config import RpcSection
from tests.fuzz.targets import _Anybody, _rpc

ROOM = RpcSection().max_answer_bytes + 4_096
HEX = st.binary(max_size=80).map(bytes.hex)
NAMES = st.sampled_from(["orgs", "governance", "keys", "nodes", "org:bank", "bank", "setup", "", "\0"])
FITTING: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 12) | st.integers(0, 2**64 - 1),
    bool: st.booleans(),
    str: NAMES | HEX | st.binary(min_size=32, max_size=32).map(bytes.hex) | st.text(max_size=300),
}
"""What a field of a type may be that gets past the look at its shape."""
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | HEX,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HOSTILE = JSON | st.sampled_from(
    [{"$bytes": "zz"}, {"$bytes": "00"}, -(2**70), "\ud800", [[[[]]]], "9" * 5_000]
)
METHODS = sorted(_rpc()[0]._methods)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_method_answers_hostile_parameters_with_a_result_or_a_declared_error(
    name: str, data: st.DataObject
) -> None:
    calls, loop = _rpc()
    shape = calls._methods[name].params
    params: dict[str, Any] = {}
    for field in shape.model_fields:
        if data.draw(st.booleans()):
            fits = FITTING.get(shape.model_fields[field].annotation, st.one_of(*FITTING.values()))
            params[field] = data.draw(fits if data.draw(st.integers(0, 3)) else HOSTILE)
    given_ = params if data.draw(st.booleans()) else data.draw(HOSTILE | st.just(list(params.values())))
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": given_}).encode()
    answer = loop.run_until_complete(calls.answer(body, _Anybody()))
    assert len(answer) <= ROOM
    assert json.loads(answer).get("error", {}).get("code") != INTERNAL_ERROR, (given_, answer[:300])
