"""A wide schema gets to the ledger whatever interrupts it, is read back whole, and is told in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chain.client.signing import TransactionFailed
from chain.ledger.block import Receipt
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value, decode_stored, encode_value
from contracts.testing import CallFailed, LocalChain
from privcompute.cli.declarations import declare, read_columns, read_schema, withdraw
from privcompute.data.declared import column_words, cut
from privcompute.data.schema import Column, Schema, SchemaInvalid, schema_seal

DAY_MS = 86_400_000
ID = Column("customer", "text", "identifier", normalise=("trim", "nfc"))
WIDE = Schema(
    (ID, *[Column(f"c{n}", "decimal", unit="EUR", low="0", missing="mean") for n in range(199)]),
    ("customer",),
)


class Interrupted(Exception):
    """The machine is gone."""


class Ledger:
    """The system contracts in memory, as a client and an account see them; calls may be interrupted."""

    def __init__(self) -> None:
        self.chain = LocalChain.consortium("bank", "bureau")
        self.sent: list[str] = []
        self.calls_left = 1_000

    @property
    def client(self) -> Ledger:
        return self

    async def state(self, contract: str, map_name: str, key: Value) -> Value | None:
        stored = self.chain.state.get(contract, map_key(map_name, key))
        return None if stored is None else decode_stored(stored)

    async def head(self) -> int:
        return self.chain.height

    async def header(self, _: int) -> Any:
        return type("Header", (), {"time": self.chain.time})

    async def send(self, contract: str, method: str, args: Mapping[str, Value], *, gas_limit: int) -> Receipt:
        if not self.calls_left:
            raise Interrupted
        self.calls_left -= 1
        self.sent.append(method)
        try:
            result = self.chain.as_("bank").call(contract, method, gas=gas_limit, **args)
        except CallFailed as failed:
            receipt = Receipt(bytes(32), 1, 0, failed.outcome.status, failed.outcome.code, b"", 0, ())
            raise TransactionFailed(receipt, method) from None
        return Receipt(bytes(32), 1, 0, "ok", "", encode_value(result), 0, ())

    def register(self, seal: bytes) -> Any:
        plain = {"root": bytes(32), "size_bucket": "", "approvers": ["bank"], "threshold": 1}
        self.chain.as_("bank").call(
            "datasets", "register", id="bank/loans", schema=seal, description="", gas=10**7, **plain
        )
        return self.chain.entry("datasets", "versions", ("bank/loans", 1))


@pytest.fixture
def ledger() -> Any:
    return Ledger()


@pytest.mark.parametrize("calls", range(5))
async def test_a_schema_whose_declaring_was_interrupted_is_completed_by_the_same_command(
    ledger: Any, calls: int
) -> None:
    ledger.calls_left = calls
    if calls < 4:
        with pytest.raises(Interrupted):
            await declare(ledger, "bank", WIDE)
    ledger.calls_left = 1_000
    seal = await declare(ledger, "bank", WIDE)
    assert ledger.sent == ["declare", "extend", "extend", "extend"], "no part is sent twice"
    assert seal == await declare(ledger, "bank", WIDE) == schema_seal(WIDE)
    assert len(ledger.sent) == 4
    version = ledger.register(seal)
    read = await read_schema(ledger, "bank/loans", version)
    assert [column.name for column in read.columns] == WIDE.names
    assert schema_seal(read) == seal


async def test_a_draft_whose_time_is_over_or_that_is_half_withdrawn_is_sent_anew(ledger: Any) -> None:
    for way in ("late", "half withdrawn"):
        ledger.calls_left = 2
        with pytest.raises(Interrupted):
            await declare(ledger, "bank", WIDE)
        ledger.calls_left = 1_000
        if way == "late":
            ledger.chain.advance(time=8 * DAY_MS)
        else:
            await ledger.send(
                "datasets", "withdraw", {"owner": "bank", "schema": schema_seal(WIDE)}, gas_limit=10**7
            )
        ledger.sent.clear()
        await declare(ledger, "bank", WIDE)
        assert ledger.sent[-4:] == ["declare", "extend", "extend", "extend"]
        assert set(ledger.sent[:-4]) == {"withdraw"}
        ledger.chain = LocalChain.consortium("bank", "bureau")


async def test_a_draft_is_withdrawn_as_a_whole(ledger: Any) -> None:
    ledger.calls_left = 3
    with pytest.raises(Interrupted):
        await declare(ledger, "bank", WIDE)
    ledger.calls_left = 1_000
    await withdraw(ledger, "bank", schema_seal(WIDE))
    assert ledger.sent[3:] == ["withdraw"] * 3
    assert await ledger.state("datasets", "schemas", ("bank", schema_seal(WIDE))) is None


async def test_columns_that_a_node_leaves_out_or_changes_are_noticed_by_the_seal(ledger: Any) -> None:
    version = ledger.register(await declare(ledger, "bank", WIDE))
    place = ("datasets", map_key("columns", ("bank", version["schema"], "c7")))
    row = decode_stored(ledger.chain.state.rows[place])
    ledger.chain.write({place: encode_value(row | {"unit": "USD"})})
    with pytest.raises(SchemaInvalid, match="ask another node"):
        await read_schema(ledger, "bank/loans", version)


async def test_some_columns_are_read_and_those_that_are_not_there_left_out(ledger: Any) -> None:
    version = ledger.register(await declare(ledger, "bank", WIDE))
    found = await read_columns(ledger, "bank/loans", version, ["c3", "shoe size", "customer"])
    assert list(found) == ["c3", "customer"]
    assert column_words(found["c3"]) == ["decimal in EUR", "at least 0", "missing cells: mean"]


def test_parts_have_at_most_64_columns_and_64_kib() -> None:
    assert [len(part) for part in cut(WIDE)] == [64, 64, 64, 8]
    words = tuple(f"{number:03}".ljust(64, "w") for number in range(256))
    heavy = Schema(tuple([Column(f"c{n}", "category", categories=words) for n in range(10)]))
    parts = list(cut(heavy))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert all(sum(len(encode_value(column)) for column in part) <= 65_536 for part in parts)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (Column("x", "text"), ["text"]),
        (ID, ["text", "after trim, nfc"]),
        (Column("x", "integer", unit="kg", low="1", high="9"), ["integer in kg", "1 to 9"]),
        (Column("x", "date", high="2024-01-31"), ["date", "at most 2024-01-31"]),
        (
            Column("x", "decimal", edges=("0", "1", "2", "3", "4")),
            ["decimal", "bins at 0, 1, 2, 3 and 1 more"],
        ),
        (
            Column("x", "category", missing="category", categories=("a", "b"), coding=(("1", "a"),)),
            ["category", "one of a, b", "codes 1 = a", "missing cells: category"],
        ),
    ],
)
def test_what_a_column_declares_is_told_in_words(column: Column, words: list[str]) -> None:
    assert column_words(column) == words
