"""The parameters of every RPC method; field names are the JSON names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from chain.primitives.codec import U64_MAX
from chain.primitives.settings import Section, matching, within

BATCH_MAX = 1_000
WAIT_MS_MAX = 20_000


def _stated(pattern: str) -> pydantic.WithJsonSchema:
    """State the pattern of the whole of a text in the OpenRPC document."""
    return pydantic.WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


_HASH, _HEX, _CHALLENGE, _SIGNATURE = "[0-9a-f]{64}", "([0-9a-f]{2})*", "[0-9a-f]{80}", "[0-9a-f]{128}"
HashText = Annotated[str, matching(_HASH, "64 hex digits, in lower case"), _stated(_HASH)]
HexText = Annotated[str, matching(_HEX, "bytes as hex, two digits in lower case each"), _stated(_HEX)]
HeightNumber = Annotated[int, within(0, U64_MAX, "a height")]
NAME_BYTES_MAX = 255


def _name(text: str) -> str:
    if len(text.encode()) > NAME_BYTES_MAX:
        raise ValueError(f"at most {NAME_BYTES_MAX} bytes of UTF-8")
    return text


NameText = Annotated[
    str,
    pydantic.AfterValidator(_name),
    pydantic.WithJsonSchema({"type": "string", "maxLength": NAME_BYTES_MAX}),
]
"""Name of a contract, method, map, event or subject."""


class Nothing(Section):
    """A method without parameters."""


class AtHeight(Section):
    """One height."""

    height: HeightNumber


class AboveHeight(Section):
    """Everything above a height."""

    aboveHeight: HeightNumber = 0


class AfterEvidence(Section):
    """A page of evidence after one that is known."""

    after: Annotated[str, pydantic.StringConstraints(max_length=128)] = ""
    """"KEY/KIND" of the last that is known."""


class ByHash(Section):
    """A block, by the hash of its header."""

    hash: HashText


class SessionRequest(Section):
    """A member's key, and its signature of a challenge of this node."""

    key: HashText
    challenge: Annotated[
        str, matching(_CHALLENGE, "80 hex digits, as getChallenge answers"), _stated(_CHALLENGE)
    ]
    signature: Annotated[str, matching(_SIGNATURE, "128 hex digits"), _stated(_SIGNATURE)]


class SendOne(Section):
    """One encoded transaction; the answer waits for nothing (async), the pool (sync) or a block (commit)."""

    transaction: HexText
    mode: Literal["sync", "async", "commit"] = "sync"
    timeoutMs: Annotated[int, within(0, WAIT_MS_MAX, "milliseconds")] = 10_000


class SendMany(Section):
    """Encoded transactions, `BATCH_MAX` at most."""

    transactions: Annotated[list[HexText], pydantic.Field(min_length=1, max_length=BATCH_MAX)]


class ById(Section):
    """A transaction, by its id."""

    id: HashText
    withProof: bool = False


class ReceiptOf(ById):
    """A receipt, by the transaction's id, and how long to wait for it."""

    waitMs: Annotated[int, within(0, WAIT_MS_MAX, "milliseconds")] = 0


class CallView(Section):
    """A read-only call of a contract with named arguments."""

    contract: NameText
    method: NameText
    args: Any = pydantic.Field(default_factory=dict)


class ContractName(Section):
    """A contract, by its name."""

    contract: NameText


class StateEntry(Section):
    """An entry of a Map (`map` and `key`), or a Var (`var`)."""

    contract: NameText
    map: NameText | None = None
    key: Any = None
    var: NameText | None = None
    height: HeightNumber | None = None
    withProof: bool = False

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> StateEntry:
        if (self.map is None) == (self.var is None):
            raise ValueError("`map` and `key` for an entry of a Map, or `var` for a Var")
        return self


class StateRange(Section):
    """A page of the entries of a Map, after a key."""

    contract: NameText
    map: NameText
    after: HexText | None = None
    limit: Annotated[int, within(1, 1_000, "entries")] = 100


class EventQuery(Section):
    """A page of events, filtered by subject, contract, name and heights."""

    subject: NameText | None = None
    contract: NameText | None = None
    name: NameText | None = None
    fromHeight: HeightNumber = 0
    toHeight: HeightNumber | None = None
    limit: Annotated[int, within(1, 1_000, "entries")] = 100
    after: HexText | None = None


class History(Section):
    """All events of a subject between two heights, inclusive."""

    subject: NameText
    fromHeight: HeightNumber = 0
    toHeight: HeightNumber | None = None
