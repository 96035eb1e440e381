"""What each RPC method answers with, as JSON Schema (draft 2020-12): the OpenRPC document states it.

`tests/functional/test_openrpc.py` holds answers of a running node to it. An object has exactly the members
that stand here, unless it is one whose members are names.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number", "minimum": 0}
BOOL: Schema = {"type": "boolean"}
ANY: Schema = {}
HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
KEY_OR_NONE: Schema = {"type": "string", "pattern": "^([0-9a-f]{64})?$"}
HEX: Schema = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}


def listed(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def by_name(schema: Schema) -> Schema:
    """Return the schema of an object whose members are names, each with such a value."""
    return {"type": "object", "additionalProperties": schema}


def maybe(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(at_times: Schema | None = None, /, **members: Schema) -> Schema:
    """Return the schema of an object with these members, and those of `at_times` at times."""
    return {
        "type": "object",
        "properties": members | (at_times or {}),
        "required": list(members),
        "additionalProperties": False,
    }


def ref(name: str) -> Schema:
    """Return the schema that stands under a name in COMPONENTS."""
    return {"$ref": f"#/components/schemas/{name}"}


HEADER = record(
    height=WHOLE,
    parent=HASH,
    time=WHOLE,
    view=WHOLE,
    base=WHOLE,
    proposer=HASH,
    batchRoot=HASH,
    stateRoot=HASH,
    receiptsRoot=HASH,
    validatorsHash=HASH,
    protocolVersion=WHOLE,
    skip=maybe(HASH),
)
SKIP_MEMBERS: Schema = {
    "height": WHOLE,
    "batch": HASH,
    "attempt": WHOLE,
    "transactions": listed(HASH),
    "reason": TEXT,
    "signers": listed(HASH),
}
EVENT_MEMBERS: Schema = {
    "contract": TEXT,
    "name": TEXT,
    "fields": ANY,
    "subjects": listed(TEXT),
    "foreign": listed(TEXT),
}
RECEIPT_MEMBERS: Schema = {
    "id": HASH,
    "height": WHOLE,
    "index": WHOLE,
    "status": TEXT,
    "code": TEXT,
    "result": ANY,
    "gasUsed": WHOLE,
    "events": listed(record(**EVENT_MEMBERS)),
}
TRANSACTION_MEMBERS: Schema = {
    "id": HASH,
    "sender": HASH,
    "contract": TEXT,
    "method": TEXT,
    "args": ANY,
    "gasLimit": WHOLE,
    "validUntil": WHOLE,
    "raw": HEX,
}
COMPONENTS = {
    "Header": HEADER,
    "Skip": record(**SKIP_MEMBERS),
    "Block": record(
        height=WHOLE,
        hash=HASH,
        header=ref("Header"),
        transactions=listed(HASH),
        signers=listed(HASH),
        skip=maybe(ref("Skip")),
    ),
    "Entry": record(height=WHOLE, txId=HASH, index=WHOLE, raw=HEX, **EVENT_MEMBERS),
    "Peer": record(
        name=TEXT,
        key=HASH,
        address=TEXT,
        connected=BOOL,
        votes=BOOL,
        connectedSeconds=NUMBER,
        roundTripMs=maybe(NUMBER),
        queuedBytes=WHOLE,
        drops=by_name(WHOLE),
        trouble=TEXT,
        awaySeconds=NUMBER,
        offence=TEXT,
        twins=TEXT,
        spentSeconds=by_name(NUMBER),
        unhandled=by_name(WHOLE),
    ),
}
"""What several answers hold."""
BLOCK, PEERS = ref("Block"), listed(ref("Peer"))
PROOF = record(proof=HEX)
DECISION = maybe(record(proof=HEX, **SKIP_MEMBERS))
VALIDATORS = listed(record(name=TEXT, org=TEXT, key=HASH, address=TEXT))
SET_CHANGES = listed(record(first=WHOLE, validators=listed(HASH), proof=HEX))
CHALLENGE = record(challenge=HEX, expires=WHOLE, chainId=HASH, node=HASH)
SESSION = record(token=TEXT, expires=WHOLE, principal=TEXT, scopes=listed(TEXT))
EVIDENCE = listed(record(accused=TEXT, key=HASH, kind=TEXT, slot=listed(WHOLE), first=HEX, second=HEX))
SYNC = record(
    height=WHOLE,
    provedHeight=WHOLE,
    bufferedBlocks=WHOLE,
    requests=WHOLE,
    sources=listed(TEXT),
    blocksPerSecond=NUMBER,
    snapshot=maybe(record(height=WHOLE, share=NUMBER)),
    trouble=TEXT,
)
CONSENSUS = record(
    height=WHOLE,
    executed=WHOLE,
    delivered=WHOLE,
    uncertified=listed(WHOLE),
    epoch=WHOLE,
    consensus_window=WHOLE,
    view=WHOLE,
    active=BOOL,
    primary=TEXT,
    passed_over=listed(TEXT),
    validator=BOOL,
    validators=WHOLE,
    quorum=WHOLE,
    phase=TEXT,
    says=TEXT,
    missing=listed(TEXT),
    asked=listed(TEXT),
    headers=by_name(HASH),
    since_ms=WHOLE,
    heard_ms=by_name(WHOLE),
    pending=BOOL,
    in_flight=WHOLE,
    accused=WHOLE,
    halted=TEXT,
    announced=listed(record(first=WHOLE, validators=listed(TEXT), quorum=WHOLE, away=listed(TEXT))),
    refused=ANY,
    stall=TEXT,
)
NODE = record(
    version=TEXT,
    chainId=HASH,
    chainName=TEXT,
    key=HASH,
    keys=listed(HASH),
    lostVotes=BOOL,
    spareKey=KEY_OR_NONE,
    spareProof=HEX,
    spareFile=TEXT,
    seatMoves=KEY_OR_NONE,
    name=TEXT,
    org=TEXT,
    role=TEXT,
    height=WHOLE,
    executed=WHOLE,
    blocksFrom=WHOLE,
    view=WHOLE,
    primary=TEXT,
    peers=WHOLE,
    pool=WHOLE,
    phase=TEXT,
    stall=TEXT,
    notes=listed(TEXT),
    offences=listed(TEXT),
)
GENESIS = {"type": "object"}
SENT = record(
    {"outcome": {"enum": ["certified", "unknown"]}, "receipt": maybe(record(**RECEIPT_MEMBERS))}, id=HASH
)
SENT_MANY = listed({"anyOf": [record(id=HASH), record(error=record(code=TEXT, message=TEXT))]})
TRANSACTION = maybe(
    record(
        TRANSACTION_MEMBERS | {"proof": HEX},
        status={"enum": ["committed", "pending"]},
        height=maybe(WHOLE),
        index=maybe(WHOLE),
    )
)
RECEIPT = maybe(record({"skip": ref("Skip"), "proof": HEX}, raw=HEX, **RECEIPT_MEMBERS))
EXPLANATION = record(
    contract=maybe(TEXT),
    method=maybe(TEXT),
    args=ANY,
    sender=maybe(HASH),
    id=HASH,
    height=WHOLE,
    status=TEXT,
    code=TEXT,
    gasUsed=WHOLE,
    line=WHOLE,
    why=TEXT,
    trace=listed(record(contract=TEXT, function=TEXT, line=WHOLE, library=TEXT)),
)
TOTALS = record(height=WHOLE, transactions=WHOLE, failed=WHOLE, events=WHOLE)
VIEW = record(result=ANY, raw=HEX, gasUsed=WHOLE)
CODE = record(contract=TEXT, source=TEXT, active={"type": "object"})
ENTRY = record({"proof": HEX}, height=WHOLE, value=ANY, raw=maybe(HEX))
RANGE = record(entries=listed(record(key=HEX, value=ANY, raw=HEX)), next=maybe(HEX))
EVENTS = record(entries=listed(ref("Entry")), next=maybe(HEX), height=WHOLE)
HISTORY = record(height=WHOLE, proof=HEX)
DOCUMENT = {"type": "object"}
