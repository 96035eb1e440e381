"""The runtime: identity, ABI, state, events, calls between contracts, governance states, host trouble."""

# ruff: noqa: E501  (contract sources)

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.merkle import leaf_hash, proof, root
from chain.primitives.runtimeport import OK, Call, Outcome, map_key, var_key
from chain.primitives.values import Value, decode_value, encode_value
from contracts.language.faults import ContractRejected, HostTrouble
from contracts.language.limits import ENGINE
from contracts.runtime import ContractRuntime
from contracts.testing import CallFailed, LocalChain, Memory, key_of
from tests.schemas import column, declaring, seal_of

COUNTER = """
total = Var(int, 0)
notes = Map(str, dict)
pairs = Map(tuple[str, int], bytes)
Added = Event(org=subject, amount=int)
Denied = Error("DENIED")

@export
def add(amount: int) -> int:
    require(amount > 0, "BAD_AMOUNT")
    total.set(total.get() + amount)
    Added(org="org:" + name_of(), amount=amount)
    return total.get()

def name_of() -> str:
    name = ctx.org
    return name

@export
def note(key: str, value: dict) -> dict:
    notes[key] = value
    value["changed"] = True
    again = notes[key]
    again["again"] = True
    return notes[key]

@export
def pair(a: str, b: int, data: bytes):
    pairs[a, b] = data
    assert (a, b) in pairs
    del pairs[a, b]
    assert (a, b) not in pairs

@export
def refuse():
    total.set(99)
    raise Denied

@view
def show() -> int:
    return total.get()

@view
def cheat() -> int:
    total.set(5)
    return 1

@view
def shout():
    Added(org="org:x", amount=1)

def hidden() -> int:
    return 1
"""


@pytest.fixture
def chain() -> LocalChain:
    made = LocalChain("bank")
    made.deploy(COUNTER, "counter")
    return made


def code_of(chain: LocalChain, method: str, **args: Value) -> str:
    """Return the code with which a call fails."""
    with pytest.raises(CallFailed) as failed:
        chain.as_("bank").call("counter", method, **args)
    return failed.value.outcome.code


def test_a_call_changes_state_and_emits_events_with_subjects(chain: LocalChain) -> None:
    assert chain.as_("bank").call("counter", "add", amount=5) == 5
    assert chain.variable("counter", "total") == 5
    event = chain.events[-1]
    assert (event.name, event.fields, event.subjects) == (
        "Added",
        {"amount": 5, "org": "org:bank"},
        ("org:bank",),
    )


def test_writes_lie_at_the_documented_keys_as_canonical_values(chain: LocalChain) -> None:
    chain.as_("bank").call("counter", "note", key="k", value={"b": 1, "a": 2})
    stored = chain.state.rows["counter", map_key("notes", "k")]
    assert stored == encode_value({"a": 2, "b": 1})
    chain.as_("bank").call("counter", "add", amount=7)
    assert chain.state.rows["counter", var_key("total")] == encode_value(7)


def test_values_are_copied_in_and_out_of_state(chain: LocalChain) -> None:
    assert chain.as_("bank").call("counter", "note", key="k", value={"x": 1}) == {"x": 1}


def test_compound_keys_and_deletion_work(chain: LocalChain) -> None:
    chain.as_("bank").call("counter", "pair", a="x", b=1, data=b"\x01")
    assert not any(key.startswith(b"pairs/") for name, key in chain.state.rows if name == "counter")


@pytest.mark.parametrize(
    ("method", "args", "code"),
    [
        ("add", {"amount": "5"}, "TYPE_ERROR"),
        ("add", {"amount": True}, "TYPE_ERROR"),
        ("add", {"amount": None}, "TYPE_ERROR"),
        ("add", {}, "BAD_ARGUMENTS"),
        ("add", {"amount": 1, "more": 2}, "BAD_ARGUMENTS"),
        ("add", {"other": 1}, "BAD_ARGUMENTS"),
        ("add", {"amount": 0}, "BAD_AMOUNT"),
        ("refuse", {}, "DENIED"),
        ("hidden", {}, "UNKNOWN_METHOD"),
        ("nothing", {}, "UNKNOWN_METHOD"),
        ("cheat", {}, "READ_ONLY"),
        ("shout", {}, "READ_ONLY"),
    ],
)
def test_a_refused_call_has_its_code_and_changes_nothing(
    chain: LocalChain, method: str, args: dict[str, Value], code: str
) -> None:
    before = dict(chain.state.rows)
    assert code_of(chain, method, **args) == code
    assert chain.state.rows == before
    assert chain.last.writes == {}
    assert chain.last.events == ()


def test_a_view_answers_anyone_and_refuses_writes(chain: LocalChain) -> None:
    chain.as_("bank").call("counter", "add", amount=3)
    stranger = PrivateKey(bytes(32)).public
    assert chain.ask(stranger, "counter", "show", {}) == 3
    for method, code in (("cheat", "READ_ONLY"), ("shout", "READ_ONLY"), ("refuse", "NOT_A_VIEW")):
        with chain.expect_revert(code):
            chain.view("counter", method)


def _send(chain: LocalChain, sender: bytes, args: bytes, gas: int = 100_000) -> Outcome:
    return chain.execute(Call("counter", "add", args, sender, bytes(32), gas, chain.height, chain.time))


def test_an_unknown_sender_is_refused(chain: LocalChain) -> None:
    outcome = _send(chain, PrivateKey(bytes(32)).public, encode_value({"amount": 1}))
    assert (outcome.status, outcome.code) == ("reverted", "UNKNOWN_SENDER")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("active", ""),
        ("revoked", "KEY_REVOKED"),
        ("suspended", "ORG_SUSPENDED"),
        ("expelled", "ORG_EXPELLED"),
        ("of a later version of orgs", "KEY_REVOKED"),
    ],
)
def test_a_key_signs_only_while_it_is_active_and_is_told_why_not(
    chain: LocalChain, status: str, code: str
) -> None:
    sender = key_of("bank").public
    record = {"org": "bank", "roles": ["admin"], "status": status, "since": 0, "until": chain.height}
    chain.write({("orgs", map_key("keys", sender.hex())): encode_value(record)})
    assert _send(chain, sender, encode_value({"amount": 1})).code == code


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x81\xa6amount\xcc\x01", b"\x91\x01", b"\x81\x01\x01", b"\x81\xa6amount\xcb" + bytes(8)],
    ids=["empty", "invalid", "not canonical", "a list", "an int name", "a float"],
)
def test_arguments_that_are_not_canonical_are_refused(chain: LocalChain, data: bytes) -> None:
    outcome = _send(chain, key_of("bank").public, data)
    assert (outcome.status, outcome.code) == ("reverted", "BAD_ARGUMENTS")


def test_the_context_is_the_callers(chain: LocalChain) -> None:
    chain.deploy(
        """
@export
def who() -> list:
    return [ctx.caller, ctx.signer, ctx.org, list(ctx.roles), ctx.height, ctx.block_time, len(ctx.tx_id), ctx.contract]
""",
        "who",
    )
    told = chain.as_("telecom").call("who", "who")
    signer = key_of("telecom").public.hex()
    roles = ["admin", "steward", "agent"]
    assert told == ["org:telecom", signer, "telecom", roles, chain.height, chain.time, 64, "who"]


# --- contracts that call contracts ---

CALLER = """
known = Contract("callee")
seen = Var(int, 0)
Denied = Error("OUTER")

@export
def through(n: int) -> list:
    seen.set(n)
    data = {"n": [n]}
    told = known.bump(data=data)
    return [told, data, known.last(), Contract("cal" + "lee").last()]

@export
def refused(n: int):
    seen.set(n)
    known.refuse()

@export
def back():
    known.call_back()

@view
def peek() -> int:
    return known.last()

@view
def poke():
    known.bump(data={"n": [1]})

@export
def hidden():
    known.internal()

@export
def wrong():
    known.bump(5)

@export
def other(n: int) -> str:
    return known.whose()
"""
CALLEE = """
state = Var(int, 0)
outer = Contract("caller")
Refused = Error("INNER_NO")

@export(nested=True)
def bump(data: dict) -> dict:
    data["n"].append(ctx.caller)
    state.set(state.get() + 1)
    return data

@view
def last() -> int:
    return state.get()

@export(nested=True)
def refuse():
    state.set(99)
    raise Refused

@export(nested=True)
def call_back():
    outer.peek()

def internal():
    pass

@view
def whose() -> str:
    return ctx.caller + " " + ctx.org + " " + ctx.contract
"""


@pytest.fixture
def two() -> LocalChain:
    made = LocalChain("bank")
    made.deploy(CALLEE, "callee")
    made.deploy(CALLER, "caller")
    return made


def test_arguments_and_results_cross_as_copies_and_the_callee_sees_its_caller(two: LocalChain) -> None:
    told, mine, one, same = two.as_("bank").call("caller", "through", n=1)
    assert told == {"n": [1, "contract:caller"]}
    assert mine == {"n": [1]}
    assert (one, same) == (1, 1)
    assert two.as_("bank").call("caller", "other", n=1) == "contract:caller  callee"


def test_a_callees_refusal_undoes_the_whole_transaction_and_keeps_its_code(two: LocalChain) -> None:
    with two.expect_revert("INNER_NO"):
        two.as_("bank").call("caller", "refused", n=5)
    assert two.variable("caller", "seen") is None
    assert two.variable("callee", "state") is None
    assert "refuse" in two.last.detail
    assert "refused" in two.last.detail


@pytest.mark.parametrize(
    ("method", "code"), [("back", "REENTRANT"), ("hidden", "UNKNOWN_METHOD"), ("wrong", "TYPE_ERROR")]
)
def test_a_bad_call_between_contracts_is_refused(two: LocalChain, method: str, code: str) -> None:
    with two.expect_revert(code):
        two.as_("bank").call("caller", method)


def test_a_view_stays_a_view_across_contracts(two: LocalChain) -> None:
    assert two.view("caller", "peek") == 0
    with two.expect_revert("READ_ONLY"):
        two.view("caller", "poke")


def test_at_most_eight_contracts_call_one_another() -> None:
    chain = LocalChain("bank")
    for place in range(9):
        following = f'return Contract("c{place + 1}").go() + 1' if place < 8 else "return 1"
        chain.deploy(f"@view\ndef go() -> int:\n    {following}\n", f"c{place}")
    assert chain.view("c1", "go") == 8
    with chain.expect_revert("CONTRACT_DEPTH"):
        chain.view("c0", "go")


# --- governance states ---


def _record(chain: LocalChain, **over: Value) -> None:
    place = ("lifecycle", map_key("active", "counter"))
    record = decode_value(chain.state.rows[place], max_bytes=10_000)
    chain.write({place: encode_value({**record, **over})})


def test_a_frozen_contract_answers_views_only_until_the_freeze_lapses(chain: LocalChain) -> None:
    _record(chain, status="frozen", frozen_until=0)
    assert code_of(chain, "add", amount=1) == "CONTRACT_FROZEN"
    assert chain.view("counter", "show") == 0
    _record(chain, status="frozen", frozen_until=chain.height + 1)
    assert code_of(chain, "add", amount=1) == "CONTRACT_FROZEN"
    assert chain.as_("bank").call("counter", "add", amount=1) == 1


def test_a_revoked_contract_answers_nothing(chain: LocalChain) -> None:
    _record(chain, status="revoked")
    assert code_of(chain, "add", amount=1) == "CONTRACT_REVOKED"
    with chain.expect_revert("CONTRACT_REVOKED"):
        chain.view("counter", "show")


def test_a_contract_is_silent_before_its_height(chain: LocalChain) -> None:
    _record(chain, active_at=chain.height + 2)
    assert code_of(chain, "add", amount=1) == "NOT_YET_ACTIVE"
    assert chain.as_("bank").call("counter", "add", amount=1) == 1


def test_an_engine_that_this_node_lacks_is_host_trouble_not_a_verdict(chain: LocalChain) -> None:
    _record(chain, engine=ENGINE + 1)
    with pytest.raises(HostTrouble):
        chain.as_("bank").call("counter", "add", amount=1)


def test_a_failing_host_is_host_trouble_not_a_verdict(chain: LocalChain) -> None:
    class Broken(Memory):
        def get(self, namespace: str, key: bytes) -> bytes | None:
            if namespace == "counter":
                raise MemoryError
            return super().get(namespace, key)

    broken = Broken()
    broken.rows = chain.state.rows
    chain.state = broken
    with pytest.raises(HostTrouble, match="MemoryError"):
        chain.as_("bank").call("counter", "add", amount=1)


def test_init_runs_once_with_its_arguments_and_never_by_a_call() -> None:
    source = 'v = Var(str, "")\n@init\ndef setup(word: str):\n    v.set(word)\n@view\ndef get() -> str:\n    return v.get()\n'
    chain = LocalChain("bank")
    chain.deploy(source, "c", {"word": "hello"})
    assert chain.view("c", "get") == "hello"
    with chain.expect_revert("UNKNOWN_METHOD"):
        chain.call("c", "setup", word="again")


def test_bootstrap_refuses_a_bad_source_and_unknown_arguments() -> None:
    runtime, state = ContractRuntime(), Memory()
    with pytest.raises(ContractRejected, match="bad:1:1: IMPORT"):
        runtime.bootstrap({"bad": "import os\n"}, {}, time=1, state=state)
    outcome = runtime.bootstrap({"fine": "x = 1\n"}, {}, time=1, state=state)
    assert outcome.status == OK
    assert ("lifecycle", map_key("active", "fine")) in outcome.writes


def test_the_lifecycle_compiles_starts_and_migrates_contracts() -> None:
    lifecycle = """
sources = Map(bytes, str)
active = Map(str, dict)

@export
def put(name: str, source: str, args: dict, upgrade: bool) -> dict:
    made = compile_contract(source)
    sources[made["source_hash"]] = source
    active[name] = {"source_hash": made["source_hash"], "engine": made["engine"], "active_at": 0, "status": "active",
        "frozen_until": 0, "access": {}, "libraries": made["libraries"], "next": {}}
    if upgrade:
        call_migrate(name, made["source_hash"], args)
    else:
        call_init(name, made["source_hash"], args)
    return made["abi"]["methods"]
"""
    first = 'v = Var(int, 0)\n@init\ndef setup(n: int):\n    require(ctx.caller == "contract:lifecycle", "WHO")\n    v.set(n)\n@view\ndef get() -> int:\n    return v.get()\n'
    second = "v = Var(int, 0)\n@migrate\ndef move():\n    v.set(v.get() * 10)\n@view\ndef get() -> int:\n    return v.get() + 1\n"
    chain = LocalChain("bank")
    chain.deploy(lifecycle, "lifecycle")
    methods = chain.call("lifecycle", "put", name="c", source=first, args={"n": 4}, upgrade=False)
    assert methods["get"] == {"kind": "view", "nested": True, "params": [], "returns": "int"}
    assert chain.view("c", "get") == 4
    chain.call("lifecycle", "put", name="c", source=second, args={}, upgrade=True)
    assert chain.view("c", "get") == 41
    with chain.expect_revert("REJECTED_SOURCE"):
        chain.call("lifecycle", "put", name="d", source="import os\n", args={}, upgrade=False)
    assert "IMPORT" in chain.last.detail
    with chain.expect_revert("UNKNOWN_METHOD"):
        chain.call("lifecycle", "put", name="d", source="x = 1\n", args={"n": 1}, upgrade=False)


def test_hints_are_enforced_on_arguments_results_stores_and_helpers() -> None:
    source = """
names = Map(str, list[str])
level = Var(int | None, None)
E = Event(n=int, orgs=list[subject])

@export
def store(value: Value):
    names["k"] = value

@export
def level_of(value: Value) -> int | None:
    level.set(value)
    return level.get()

@export
def emit(value: Value):
    E(n=1, orgs=value)

@export
def result(value: Value) -> dict[str, int]:
    return value

@export
def helped(value: Value) -> int:
    return helper(value)

def helper(value: tuple[int, ...]) -> int:
    return len(value)

@export
def deep(value: dict[str, list[tuple[int, str]]]) -> int:
    return len(value)
"""
    chain = LocalChain("bank")
    chain.deploy(source, "c")
    good: list[tuple[str, Any]] = [
        ("store", ["a"]), ("level_of", None), ("level_of", 3), ("emit", ["org:a", "org:b", "org:a"]),
        ("result", {"a": 1}), ("helped", (1, 2)), ("deep", {"a": [(1, "x")]}),
    ]  # fmt: skip
    for method, value in good:
        chain.call("c", method, value=value)
    assert chain.events[-1].subjects == ("org:a", "org:b")
    bad: list[tuple[str, Any]] = [
        ("store", ["a", 1]), ("store", ("a",)), ("level_of", True), ("level_of", "x"), ("emit", ["nobody"]),
        ("emit", "org:a"), ("result", {"a": "b"}), ("result", {1: 1}), ("helped", [1]), ("helped", (1, "x")),
        ("deep", {"a": [(1,)]}), ("deep", {"a": [[1, "x"]]}),
    ]  # fmt: skip
    for method, value in bad:
        with chain.expect_revert("TYPE_ERROR"):
            chain.call("c", method, value=value)


def test_nothing_survives_a_call_except_state() -> None:
    source = """
T = {"xs": []}

@export
def grow(xs: list) -> list:
    t = T
    t["xs"].append(1)
    xs.append(1)
    return [t["xs"], xs]
"""
    chain = LocalChain("bank")
    chain.deploy(source, "c")
    for _ in range(3):
        assert chain.call("c", "grow", xs=[]) == [[1], [1]]


def test_merkle_proofs_and_signatures_are_checked() -> None:
    source = """
@view
def proved(root: bytes, leaf: bytes, index: int, count: int, path: list) -> bool:
    return merkle_verify(root, leaf, index, count, path)

@view
def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    return verify_signature(key, message, signature)
"""
    chain = LocalChain("bank")
    chain.deploy(source, "c")
    leaves = [leaf_hash(bytes([n])) for n in range(5)]
    path = list(proof(leaves, 3))
    assert chain.view("c", "proved", root=root(leaves), leaf=leaves[3], index=3, count=5, path=path) is True
    assert chain.view("c", "proved", root=root(leaves), leaf=leaves[2], index=3, count=5, path=path) is False
    key = PrivateKey(bytes(32))
    signature = key.sign(b"hello")
    assert chain.view("c", "signed", key=key.public, message=b"hello", signature=signature) is True
    assert chain.view("c", "signed", key=key.public, message=b"hullo", signature=signature) is False


def test_snapshots_bring_back_state_time_and_events(chain: LocalChain) -> None:
    kept = chain.snapshot()
    chain.as_("bank").call("counter", "add", amount=5)
    chain.restore(kept)
    assert chain.view("counter", "show") == 0
    assert chain.events == []
    assert chain.height == kept.height


def test_a_failure_names_contract_function_line_and_code(chain: LocalChain) -> None:
    with pytest.raises(CallFailed, match=r"counter\.add, counter:10\n(.*\n)+BAD_AMOUNT"):
        chain.as_("bank").call("counter", "add", amount=0)


def test_a_consortium_boots_with_the_system_contracts() -> None:
    chain = LocalChain.consortium("bank", "bureau", "registry")
    assert chain.entry("orgs", "orgs", "bank")["name"] == "bank"
    columns = [column("id", "integer", "identifier")]
    ((method, args),) = declaring(columns)
    chain.as_("bank").call("datasets", method, **args)
    chain.as_("bank").call(
        "datasets", "register", id="bank/credit", schema=seal_of(columns),
        root=bytes(32), size_bucket="1k", approvers=["bank"], threshold=1, description="",
    )  # fmt: skip
    assert chain.entry("datasets", "datasets", "bank/credit")["owner"] == "bank"
    stranger = chain.as_("stranger")
    with chain.expect_revert("UNKNOWN_SENDER"):
        stranger.call("datasets", "retire", id="bank/credit", reason="")


VIEWS = """
total = Var(int, 0)
rows = Map(int, int, ordered=True)
Seen = Event(n=int)

def store(n: int) -> int:
    total.set(n)
    return n

def maybe(n: int, write: bool) -> int:
    if write:
        total.set(n)
    return n

@view
def sets() -> int:
    total.set(total.get() + 1)
    return 1

@view
def through(n: int) -> int:
    return store(n)

@view
def emits(n: int = 0) -> int:
    Seen(n=n)
    return n

@view
def drops(n: int) -> int:
    del rows[n]
    return n

@view
def reads(n: int) -> int:
    return maybe(n, False)

@export
def act(which: str) -> list:
    rows[1] = 1
    if which == "sets":
        return [sets()]
    if which == "through":
        return [through(5)]
    if which == "emits":
        return [emits()]
    if which == "drops":
        return [drops(1)]
    if which == "key":
        return sorted([2, 1], key=emits)
    if which == "extreme":
        return [max([2, 1], key=through)]
    return [reads(store(7)), *sorted([3, 2], key=reads), maybe(9, True), store(total.get() + 1)]
"""


@pytest.mark.parametrize("which", ["sets", "through", "emits", "drops", "key", "extreme"])
def test_a_view_changes_nothing_where_its_own_contract_calls_it(which: str) -> None:
    chain = LocalChain("bank")
    chain.deploy(VIEWS, "c")
    with chain.expect_revert("READ_ONLY"):
        chain.call("c", "act", which=which)


def test_a_contract_writes_before_and_after_its_views_and_in_what_they_share() -> None:
    chain = LocalChain("bank")
    chain.deploy(VIEWS, "c")
    assert chain.call("c", "act", which="") == [7, 2, 3, 9, 10]
    assert chain.variable("c", "total") == 10
