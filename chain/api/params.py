"""The parameters of every RPC method; field names are the JSON names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from chain.primitives.settings import Section

BATCH_MAX = 1_000
WAIT_MS_MAX = 20_000

HashText = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
HexText = Annotated[str, pydantic.Field(pattern=r"^([0-9a-f]{2})*$")]
HeightNumber = Annotated[int, pydantic.Field(ge=0)]


class Nothing(Section):
    pass


class AtHeight(Section):
    height: HeightNumber


class AboveHeight(Section):
    aboveHeight: HeightNumber = 0


class ByHash(Section):
    hash: HashText


class SendOne(Section):
    transaction: HexText
    mode: Literal["sync", "async", "commit"] = "sync"
    timeoutMs: Annotated[int, pydantic.Field(ge=0, le=WAIT_MS_MAX)] = 10_000


class SendMany(Section):
    transactions: Annotated[list[HexText], pydantic.Field(min_length=1, max_length=BATCH_MAX)]


class ById(Section):
    id: HashText
    withProof: bool = False


class ReceiptOf(ById):
    waitMs: Annotated[int, pydantic.Field(ge=0, le=WAIT_MS_MAX)] = 0


class CallView(Section):
    contract: str
    method: str
    args: Any = pydantic.Field(default_factory=dict)


class ContractName(Section):
    contract: str


class StateEntry(Section):
    contract: str
    map: str
    key: Any
    height: HeightNumber | None = None
    withProof: bool = False


class StateRange(Section):
    contract: str
    map: str
    after: HexText | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=1_000)] = 100


class EventQuery(Section):
    subject: str | None = None
    contract: str | None = None
    name: str | None = None
    fromHeight: HeightNumber = 0
    toHeight: HeightNumber | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=1_000)] = 100
    after: HexText | None = None


class History(Section):
    subject: str
    fromHeight: HeightNumber = 0
    toHeight: HeightNumber | None = None
