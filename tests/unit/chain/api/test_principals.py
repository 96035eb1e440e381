"""A port with principals answers those it knows, within their scopes and bounds; strangers learn nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from chain.api.methods.table import method_table
from chain.api.principals import (
    ALL_SCOPES,
    GRANTABLE,
    STRANGER_BODY_MAX,
    AccessScope,
    KnownPrincipals,
    Principal,
    write_operator_token,
)
from chain.api.tokens import SCOPE_NAMES, Token, TokenFile, save_tokens, secret_hash
from chain.ledger.testing import ToyChain
from chain.primitives.errors import ConfigError
from tests.unit.chain.api.rpc_port import JSON, Answer, Port, a_call, get, post, serving

END = 1_000_000
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


class NoSessions:
    def find(self, _: bytes) -> None: ...

    def sweep(self) -> None: ...


class Clock:
    now = 0

    def wall_ms(self) -> int:
        return self.now


def a_token(name: str, *scopes: str, **more: Any) -> Token:
    """A token whose secret is its name."""
    given = {"scopes": scopes, "created": 0, "expires": END} | more
    return Token(name=name, secret_sha256=secret_hash(name).hex(), **given)


@asynccontextmanager
async def known(folder: Path, *tokens: Token, **settings: Any) -> AsyncIterator[tuple[Port, Clock]]:
    """Serve a port that knows the operator, by "root", and these tokens."""
    clock = Clock()
    save_tokens(folder / "tokens.json", tokens)
    who = KnownPrincipals(TokenFile(folder / "tokens.json"), "root", NoSessions(), clock.wall_ms)
    async with serving(who, **settings) as port:
        yield port, clock


def bearer(secret: str) -> str:
    return f"Authorization: Bearer {secret}"


async def answered(port: Port, request: bytes) -> Answer:
    async with await port.open() as connection:
        connection.send(request)
        return await connection.answer()


async def called(port: Port, body: bytes, *fields: str) -> Any:
    answer = await answered(port, post(body, *fields))
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


async def test_nobody_gets_the_same_refusal_whatever_he_asks_for(tmp_path: Path) -> None:
    async with known(tmp_path) as (port, _):
        asked = [
            a_call("x"),
            a_call(method="hang"),
            a_call(method="none"),
            a_call(5),
            a_call(method="subscribe"),
        ]
        errors = [(await called(port, body))["error"] for body in asked]
        assert len({json.dumps(error) for error in errors}) == 1
        assert errors[0]["data"] == {"code": "unauthorized"}
        assert port.asked == []


async def test_nobody_gets_no_websocket_no_metrics_no_room_and_not_why_a_node_is_not_ready(
    tmp_path: Path,
) -> None:
    async with known(tmp_path) as (port, _):
        large = post(a_call("x" * STRANGER_BODY_MAX))
        for request in (get("/ws", *UPGRADE), get("/metrics"), large):
            answer = await answered(port, request)
            assert answer.status == 401
            assert "WWW-Authenticate: Bearer" in answer.head
        port.server._behind.page.__self__._ready = lambda: "halted by a fault"  # type: ignore[attr-defined]
        assert json.loads((await answered(port, get("/ready"))).body) == {"ready": False, "reason": ""}
        told = await answered(port, get("/ready", bearer("root")))
        assert json.loads(told.body)["reason"] == "halted by a fault"
        assert (await answered(port, get("/health"))).status == 200


async def test_a_principal_does_what_its_scopes_say_and_is_told_what_it_lacks(tmp_path: Path) -> None:
    async with known(tmp_path, a_token("ci", "read"), a_token("box", "operate")) as (port, _):
        assert (await called(port, a_call("x"), bearer("ci")))["result"] == "x"
        refused = (await called(port, a_call(method="hang"), bearer("ci")))["error"]
        assert refused["data"] == {"code": "forbidden"}
        assert "token:ci may read, and this needs 'audit'" in refused["message"]
        assert (await called(port, a_call(method="none"), bearer("ci")))["error"]["code"] == -32601
        assert (await answered(port, get("/metrics", bearer("ci")))).status == 403
        assert (await answered(port, get("/metrics", bearer("box")))).status == 200
        assert (await answered(port, get("/ws", *UPGRADE, bearer("box")))).status == 403
        assert (await called(port, a_call("x"), bearer("root")))["result"] == "x"


@pytest.mark.parametrize("given", ["Bearer other", "Bearer", "Basic ci", "ci", "Bearer ci,ci", "Bearer \xff"])
async def test_who_is_not_known_is_refused_by_the_head_alone(tmp_path: Path, given: str) -> None:
    async with known(tmp_path, a_token("ci", "read")) as (port, _):
        answer = await answered(port, post(a_call("x"), f"Authorization: {given}"))
        assert answer.status == 401
        assert port.asked == []


async def test_a_token_that_is_over_or_removed_counts_no_more_and_its_websocket_ends(tmp_path: Path) -> None:
    tokens = [a_token("short", "read", expires=1_000), a_token("long", "read")]
    async with known(tmp_path, *tokens) as (port, clock), aiohttp.ClientSession() as session:
        sockets = [
            await session.ws_connect(port.url + "/ws", headers={"Authorization": f"Bearer {name}"})
            for name in ("short", "long")
        ]
        clock.now = 1_000
        port.pass_time(1)
        assert (await sockets[0].receive()).type is aiohttp.WSMsgType.CLOSED
        assert (await answered(port, post(a_call("x"), bearer("short")))).status == 401
        assert (await called(port, a_call("x"), bearer("long")))["result"] == "x"
        save_tokens(tmp_path / "tokens.json", ())
        port.pass_time(1)
        assert (await sockets[1].receive()).type is aiohttp.WSMsgType.CLOSED
        assert (await answered(port, post(a_call("x"), bearer("long")))).status == 401


async def test_a_file_of_tokens_that_is_damaged_while_a_node_runs_lets_nobody_in_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with known(tmp_path, a_token("ci", "read")) as (port, _):
        (tmp_path / "tokens.json").write_text("{")
        port.pass_time(1)
        assert (await answered(port, post(a_call("x"), bearer("ci")))).status == 401
        assert "no token is valid until this is mended" in caplog.text
        assert "assent node token new" in caplog.text
        save_tokens(tmp_path / "tokens.json", (a_token("ci", "read"),))
        port.pass_time(1)
        assert (await called(port, a_call("x"), bearer("ci")))["result"] == "x"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[]", "damaged"),
        ('{"kind": "other"}', "kind = 'other'"),
        ('{"tokens": [{}]}', "tokens.0.name: required"),
        (b"\xff", "damaged"),
        ("[" * 9_000, "damaged"),
    ],
)
def test_a_node_does_not_start_over_a_damaged_file_of_tokens(
    tmp_path: Path, content: str | bytes, fault: str
) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=fault) as caught:
        TokenFile(path)
    assert str(path) in str(caught.value)


async def test_a_principal_that_floods_uses_up_its_own_bounds_and_not_those_of_its_address(
    tmp_path: Path,
) -> None:
    async with known(tmp_path, a_token("loud", "read"), a_token("calm", "read")) as (port, _):
        connections = [await port.open() for _ in range(3)]
        for connection in connections:
            connection.send(post(a_call("x"), bearer("loud")))
            assert (await connection.answer()).status == 200
        door = port.server.door
        assert door.connections._of("token:loud") == 3
        assert door.connections._of("127.0.0.1") == 0
        connections[0].send(post(a_call("x"), bearer("calm")))  # as a proxy would, for another
        assert (await connections[0].answer()).status == 200
        assert (door.connections._of("token:loud"), door.connections._of("token:calm")) == (2, 1)
        connections[0].send(post(a_call("x" * 5)))
        assert (await connections[0].answer()).status == 200
        assert door.connections._of("127.0.0.1") == 1


async def test_a_principal_with_too_many_connections_loses_its_own_oldest(tmp_path: Path) -> None:
    tokens = a_token("loud", "read"), a_token("calm", "read")
    async with known(tmp_path, *tokens, max_connections=16) as (port, _):
        calm = await port.open()
        calm.send(post(a_call("first"), bearer("calm")))
        await calm.answer()
        for _ in range(30):
            loud = await port.open()
            loud.send(post(a_call("x"), bearer("loud")))
            assert (await loud.answer()).status == 200
        calm.send(post(a_call("still"), bearer("calm")))
        assert json.loads((await calm.answer()).body)["result"] == "still"


async def test_a_token_may_have_a_rate_of_its_own(tmp_path: Path) -> None:
    async with known(tmp_path, a_token("slow", "read", requests_per_second=1)) as (port, _):
        turns = port.server.door.turns
        assert (await called(port, a_call("x"), bearer("slow")))["result"] == "x"
        assert turns.owed("token:slow") > 0
        assert (await called(port, a_call("x"), bearer("root")))["result"] == "x"
        assert turns.owed("operator") == 0


async def test_the_rate_of_a_token_holds_for_the_calls_of_a_batch(tmp_path: Path) -> None:
    """What a batch took beyond the bound was forgotten but for a second's worth."""
    token = a_token("slow", "read", requests_per_second=2)
    async with known(tmp_path, token, request_timeout_ms=400) as (port, _):
        batch = b"[" + b",".join([a_call("x")] * 200) + b"]"
        answers = await called(port, batch, bearer("slow"))
        assert 1 <= sum("result" in answer for answer in answers) <= 3
        assert len(answers) == 200
        turns = port.server.door.turns
        assert "token:slow may make 2 requests a second" in turns.refusal("token:slow")
        assert "rpc.requests_per_second" in turns.refusal("operator")


async def test_calls_are_counted_by_principal(tmp_path: Path) -> None:
    async with known(tmp_path, a_token("ci", "read")) as (port, _):
        await called(port, a_call("x"), bearer("ci"))
        text = port.metrics.render().decode()
        assert 'assent_rpc_principal_calls_total{principal="token:ci"} 1.0' in text


async def test_a_port_without_principals_takes_whoever_reaches_it_for_its_operator() -> None:
    async with serving() as port, aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": "Bearer whatever"}):
            answer = await session.post(port.url + "/", data=a_call("x"), headers=JSON | headers)
            assert (await answer.json())["result"] == "x"


def test_every_method_states_its_scope_and_only_proving_a_key_needs_none() -> None:
    node: Any = SimpleNamespace(ledger=ToyChain().ledger, pool=None, status=None, sessions=None)
    table = method_table(node)
    assert {name for name, method in table.items() if method.scope is AccessScope.OPEN} == {
        "getChallenge",
        "openSession",
    }
    assert {method.scope for method in table.values()} == set(AccessScope)
    writes = {name for name, method in table.items() if method.scope is AccessScope.SUBMIT}
    assert writes == {"sendTransaction", "sendTransactions"}


def test_scopes_of_tokens_are_the_scopes_of_methods() -> None:
    assert tuple(scope.value for scope in GRANTABLE) == SCOPE_NAMES
    everything = Principal("x", "x", ALL_SCOPES)
    for scope in AccessScope:
        everything.require(scope)


def test_the_operators_secret_is_new_at_each_start_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.token"
    first, second = write_operator_token(path), write_operator_token(path)
    assert first != second
    assert path.read_text() == second + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
