"""A method answers members; contracts call what lets them; what a method sees is its caller, nobody else."""

# ruff: noqa: E501  (one case a line)

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.primitives.runtimeport import Call
from chain.primitives.values import decode_stored, encode_value
from contracts.check import check_source, run_source
from contracts.cli import contract
from contracts.language.program import analyse
from contracts.starter import CONTRACT as STARTER
from contracts.testing import LocalChain, key_of

QUOTA = Path(__file__).parents[3] / "contracts/README.md"
SEEN = "[ctx.caller, ctx.org, list(ctx.roles), ctx.signer, ctx.origin]"
INNER = f"""
total = Var(int, 0)

@export
def direct() -> list:
    return {SEEN}

@export(nested=True)
def nested() -> list:
    return helper()

@view
def asked() -> list:
    return helper()

@export
def outer_of_all() -> list:
    return nested()

def helper() -> list:
    return {SEEN}
"""
OUTER = f"""
inner = Contract("inner")

@export(nested=True)
def through(method: str) -> list:
    before = {SEEN}
    if method == "direct":
        found = inner.direct()
    elif method == "nested":
        found = inner.nested()
    else:
        found = inner.asked()
    require(before == {SEEN}, "NOT_RESTORED")
    return found
"""
MIDDLE = 'outer = Contract("outer")\n\n@export\ndef through(method: str) -> list:\n    return outer.through(method)\n'


@pytest.fixture
def chain() -> LocalChain:
    made = LocalChain("bank", "telecom")
    for name, source in (("inner", INNER), ("outer", OUTER), ("middle", MIDDLE)):
        made.deploy(source, name)
    return made


def member(org: str) -> list[object]:
    """Return what a method sees of a member that calls it."""
    return [f"org:{org}", org, ["admin", "steward", "agent"], key_of(org).public.hex(), f"org:{org}"]


# --- the story ---


def test_another_contract_cannot_use_up_a_members_quota() -> None:
    """A friendly contract that a member calls takes from the quota of README's first contract in its name."""
    text = QUOTA.read_text(encoding="utf-8")
    quota = text.split("```python quota.py\n")[1].split("```")[0]
    friendly = (
        'quota = Contract("quota")\n\n@export\ndef hello() -> str:\n    for i in range(3):\n'
        '        quota.take(item="pen")\n    return "hello"\n'
    )
    chain = LocalChain("bank")
    chain.deploy(quota, "quota", {"opened": True})
    chain.deploy(friendly, "friendly")
    with chain.expect_revert("DIRECT_ONLY"):
        chain.as_("bank").call("friendly", "hello")
    assert chain.view("quota", "left_of", org="bank") == 3
    assert chain.as_("bank").call("quota", "take", item="pen") == 2


# --- who may call, and whom a method sees ---


def test_an_export_answers_members_alone_unless_it_says_otherwise(chain: LocalChain) -> None:
    bank = chain.as_("bank")
    assert bank.call("inner", "direct") == member("bank")
    with chain.expect_revert("DIRECT_ONLY"):
        bank.call("outer", "through", method="direct")
    assert "inner.direct answers members alone" in chain.last.why
    with chain.expect_revert("DIRECT_ONLY"):
        bank.call("middle", "through", method="direct")


@pytest.mark.parametrize("method", ["nested", "asked"])
def test_a_nested_call_shows_the_contract_that_calls_and_no_member(chain: LocalChain, method: str) -> None:
    bank = chain.as_("bank")
    assert bank.call("outer", "through", method=method) == ["contract:outer", "", [], "", "org:bank"]
    assert bank.call("middle", "through", method=method) == ["contract:outer", "", [], "", "org:bank"]
    assert chain.as_("telecom").call("inner", method if method == "nested" else "direct") == member("telecom")


def test_a_contract_calls_its_own_exports_as_functions(chain: LocalChain) -> None:
    assert chain.as_("bank").call("inner", "outer_of_all") == member("bank")


def test_a_view_off_chain_sees_the_member_who_asks_or_nobody(chain: LocalChain) -> None:
    assert chain.as_("bank").view("inner", "asked") == member("bank")
    call = Call("inner", "asked", encode_value({}), bytes(32), bytes(32), 100_000, chain.height, chain.time)
    outcome = chain.runtime.view(call, chain.state)
    assert decode_stored(outcome.result)[:3] == ["", "", []]
    assert decode_stored(outcome.result)[4] == ""


def test_the_interface_says_what_contracts_may_call() -> None:
    methods = check_source(INNER, "inner").to_json()["abi"]["methods"]
    assert {name: method["nested"] for name, method in methods.items()} == {
        "direct": False,
        "nested": True,
        "asked": True,
        "outer_of_all": False,
    }


@pytest.mark.parametrize(
    "decorator",
    [
        "export()", "export(nested=False)", "export(nested=1)", "export(True)", "export(nested=True, x=1)",
        "export(direct=True)", "view(nested=True)", "init()", "migrate(nested=True)", "other", "other(nested=True)",
        "export.nested", "export\n@view", "export(nested=True)\n@view", "export(**{'nested': True})",
    ],
)  # fmt: skip
def test_there_is_one_way_to_say_it(decorator: str) -> None:
    found = analyse(f"@{decorator}\ndef f():\n    pass\n")[2]
    assert [item.rule for item in found] in (["DECORATOR"], ["DECORATOR", "DECORATOR"], ["STAR"])
    assert analyse("@export(nested=True)\ndef f():\n    pass\n")[2] == []


def test_init_sees_the_same_in_a_test_at_genesis_and_on_a_chain() -> None:
    source = f"""
seen = Var(list, [])
Set = Event(by=subject)

@init
def setup():
    seen.set({SEEN})
    Set(by=ctx.caller)

@view
def look() -> list:
    return seen.get()
"""
    alone = LocalChain("bank")
    alone.deploy(source, "c")
    consortium = LocalChain.consortium("bank", "telecom", "registry")
    consortium.adopt(source, "c")
    consortium.advance(height=1)
    expected = ["contract:lifecycle", "", [], "", ""]
    assert alone.view("c", "look") == expected
    assert consortium.as_("bank").view("c", "look") == expected


def test_the_author_s_run_calls_anything_as_a_member() -> None:
    for call in ("direct", "nested", "helper"):
        assert run_source(INNER, call, {})["result"][:3] == ["org:tester", "tester", ["admin"]]


# --- what check warns of ---

RISKY = {
    "NESTED_IDENTITY": "@export(nested=True)\ndef f():\n    require(ctx.caller != '', 'X')\n    return ctx.org\n",
    "NESTED_IDENTITY roles": "@export(nested=True)\ndef f():\n    return g()\ndef g():\n    return 'admin' in ctx.roles\n",
    "NESTED_IDENTITY view": "@view\ndef f():\n    return ctx.signer\n",
    "ORIGIN_DECIDES": "@export(nested=True)\ndef f():\n    require(ctx.origin == 'org:bank', 'X')\n",
    "ORIGIN_DECIDES key": "m = Map(str, int)\n@export(nested=True)\ndef f():\n    c = ctx.caller\n    m[ctx.origin] = 1\n",
    "ORIGIN_DECIDES helper": "@view\ndef f():\n    return g()\ndef g():\n    x = ctx.origin\n    return x\n",
    "ORIGIN_DECIDES argument": "@view\ndef f():\n    return g(ctx.origin)\ndef g(by: str):\n    return by == 'org:bank'\n",
    "ANY_CALLER": "v = Var(int, 0)\n@export(nested=True)\ndef f():\n    g()\ndef g():\n    v.set(1)\n",
    "ANY_CALLER event": "E = Event(n=int)\n@export(nested=True)\ndef f():\n    E(n=1)\n",
    "NOBODY_CALLS": "v = Var(str, '')\n@init\ndef f():\n    v.set(ctx.org)\n",
    "NOBODY_CALLS origin": "v = Var(str, '')\n@migrate\ndef f():\n    g()\ndef g():\n    v.set(ctx.origin)\n",
    "CHOSEN_CONTRACT": "@export\ndef f(name: str):\n    Contract(name).go()\n",
    "UNSTORED_CHANGE": "m = Map(str, list)\n@export\ndef f():\n    x = m['a']\n    x.append(1)\n",
}
SAFE = [
    "@export\ndef f():\n    return [ctx.org, ctx.roles, ctx.signer, ctx.origin]\n",
    "E = Event(by=subject)\nm = Map(str, dict)\n@export(nested=True)\ndef f():\n    require(ctx.caller == 'contract:a', 'X')\n"
    "    E(by=ctx.origin)\n    m['a'] = {'by': ctx.origin}\n",
    "E = Event(by=subject)\n@export(nested=True)\ndef f():\n    require(ctx.caller == 'contract:a', 'X')\n    tell(ctx.origin)\n"
    "def tell(by: str):\n    E(by=by)\n",
    "v = Var(int, 0)\n@init\ndef f(org: str):\n    v.set(ctx.height)\n",
    "@export(nested=True)\ndef f():\n    return 1\n",
    "v = Var(str, '')\n@export\ndef f():\n    Contract(v.get()).go()\n",
]  # fmt: skip


@pytest.mark.parametrize("name", RISKY)
def test_check_warns_of_what_deploys_and_may_not_be_meant(name: str) -> None:
    report = check_source(RISKY[name], "c.py")
    assert report.program is not None
    assert {item.rule for item in report.warnings} == {name.split()[0]}


@pytest.mark.parametrize("source", SAFE)
def test_check_does_not_warn_of_what_is_safe(source: str) -> None:
    report = check_source(source, "c.py")
    assert report.program is not None
    assert report.warnings == ()


def test_warnings_are_printed_and_refuse_nothing(tmp_path: Path) -> None:
    file = tmp_path / "c.py"
    file.write_text(RISKY["ORIGIN_DECIDES"])
    done = CliRunner().invoke(contract, ["check", str(file)])
    assert done.exit_code == 0
    assert "  @export(nested=True) f()\n" in done.output
    assert f"{file}:3:13: warning ORIGIN_DECIDES: contracts may call f(), and ctx.origin" in done.output
    found = json.loads(CliRunner().invoke(contract, ["check", str(file), "--json"]).output)
    assert (found["status"], [item["rule"] for item in found["warnings"]]) == ("ok", ["ORIGIN_DECIDES"])
    assert found["diagnostics"] == []


def test_system_contracts_examples_and_starter_have_no_warning() -> None:
    root = Path(__file__).parents[3]
    files = [*root.glob("contracts/system/[!_]*.py"), *root.glob("examples/contracts/*/contract.py")]
    files.append(root / "examples/contracts/purpose_hours.py")
    for source in [*[file.read_text(encoding="utf-8") for file in files], STARTER]:
        report = check_source(source, "c.py")
        assert report.program is not None
        assert report.warnings == ()
