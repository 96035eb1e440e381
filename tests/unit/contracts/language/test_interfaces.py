"""Interfaces: a call of another contract is held against what its caller declared, at check and at run time."""

# ruff: noqa: E501  (contracts)

from __future__ import annotations

from typing import Any

import pytest

from contracts.check import check_source
from contracts.language.program import compile_source
from contracts.testing import CallFailed, LocalChain

CALLER = '''class Job(Record):
    id: str
    rows: int = 1

class Policy(Protocol):
    """What this contract asks."""

    def allow(self, job: Job, phase: str = ...) -> bool:
        """Whether it may go on."""

    def limits(self) -> dict[str, int]: ...

policy: Policy = Contract("policy")

@export
def ask(rows: int) -> bool:
    return policy.allow(Job("j", rows), phase="proposed")

@export
def ask_any(name: Value, rows: Value) -> bool:
    chosen: Policy = Contract(name)
    return chosen.allow({"id": "j", "rows": rows})

@view
def most() -> int:
    return sum(policy.limits().values())
'''
ANSWER = """class Job(Record):
    id: str
    rows: int

@view
def allow(job: Job, phase: str = "none") -> bool:
    return job.rows > 3

@view
def limits() -> dict[str, int]:
    return {"a": 2, "b": 3}
"""


def chain_with(answer: str) -> LocalChain:
    """Return a chain with the caller, and this contract as what it calls."""
    chain = LocalChain("bank")
    chain.deploy(answer, "policy")
    chain.deploy(CALLER, "c")
    return chain


def why(chain: LocalChain, method: str, **args: Any) -> tuple[str, str]:
    """Return the code and the reason of a call that fails."""
    with pytest.raises(CallFailed) as failed:
        chain.call("c", method, **args)
    return failed.value.outcome.code, failed.value.outcome.why


def test_a_contract_that_is_as_its_interface_says_is_called() -> None:
    chain = chain_with(ANSWER)
    assert [chain.call("c", "ask", rows=rows) for rows in (3, 4)] == [False, True]
    assert chain.call("c", "ask_any", name="policy", rows=9) is True
    assert chain.view("c", "most") == 5


SHAPE = "Policy.allow(job: Job, phase: str) -> bool is wanted of policy"


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (ANSWER.replace("def allow", "def permit"), "UNKNOWN_METHOD", f"contract policy exports no method allow; {SHAPE}"),
        (ANSWER.replace(', phase: str = "none"', ""), "BAD_ARGUMENTS", f"allow(job): given phase; {SHAPE}"),
        (ANSWER.replace("job: Job, ph", "job: int, ph").replace("job.rows", "job"), "TYPE_ERROR", f"allow(): argument job is int, not dict; {SHAPE}"),
        (ANSWER.replace("job.rows > 3", "1").replace("bool", "int"), "TYPE_ERROR", "Policy.allow() gives bool, and contract policy gave int"),
        (ANSWER.replace("@view\ndef allow", "@export\ndef allow"), "DIRECT_ONLY", f"policy.allow answers members alone; @export(nested=True) lets contracts call it; {SHAPE}"),
    ],
)  # fmt: skip
def test_a_contract_that_is_not_as_its_interface_says_is_refused_with_what_was_wanted(
    answer: str, code: str, text: str
) -> None:
    found = why(chain_with(answer), "ask", rows=1)
    assert found[0] == code
    assert found[1] == text


def test_an_error_within_the_called_contract_is_its_own() -> None:
    chain = chain_with(ANSWER.replace("return job.rows > 3", "return [] + 1"))
    assert why(chain, "ask", rows=1) == ("TYPE_ERROR", "list + int")


def test_arguments_are_held_against_the_interface_when_the_call_runs() -> None:
    chain = chain_with(ANSWER)
    expected = "Policy.allow(): argument job is Job, not a dict whose rows is str, not int"
    assert why(chain, "ask_any", name="policy", rows="many") == ("TYPE_ERROR", expected)
    assert why(chain, "ask_any", name=5, rows=1) == (
        "TYPE_ERROR",
        "Contract() takes the name of a contract, not int",
    )


HEAD = """class Policy(Protocol):
    def allow(self, job: dict, phase: str = ...) -> bool: ...

policy: Policy = Contract("policy")

"""


@pytest.mark.parametrize(
    ("line", "rule", "reason"),
    [
        ("policy.alow({})", "UNKNOWN_METHOD", "Policy has no method alow"),
        ("policy.allow()", "ARGUMENTS", "Policy.allow() misses job"),
        ("policy.allow({}, 'a', 3)", "ARGUMENTS", "Policy.allow() takes 2 arguments, not 3"),
        ("policy.allow({}, stage='a')", "ARGUMENTS", "Policy.allow(): argument stage is unknown"),
        ("policy.allow(job='j')", "HINT", "Policy.allow(): argument job is dict, not str"),
        ("policy.allow({}, n.x)", "ATTRIBUTE", "values have no attributes such as .x"),
        ("x = policy.allow({}) + Policy", "NOT_A_VALUE", "Policy is an interface, not a value"),
        ("x = Policy('a')", "INTERFACE", "Policy is an interface, which nothing makes"),
        ("x: Policy = n", "INTERFACE", "Policy is an interface: only a contract is called through it"),
        ("x: Policy = Contract('a')\n    y = x", "NOT_A_VALUE", "x is a contract, not a value"),
        ("x: Policy = Contract('a')\n    x.alow({})", "UNKNOWN_METHOD", "Policy has no method alow"),
        ("x: Policy = Contract('a')\n    x = 5", "INTERFACE", "x is a contract here"),
        ("x: Policy = Contract()", "ARGUMENTS", "Contract() takes 1 arguments, not 0"),
    ],
)
def test_check_finds_the_call_that_the_interface_does_not_have(line: str, rule: str, reason: str) -> None:
    found = check_source(f"{HEAD}def f(n):\n    {line}\n", "x.py").diagnostics
    assert [(item.rule, item.reason) for item in found] == [(rule, reason)]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("    pass\n", "INTERFACE"),
        ("    a: int\n", "INTERFACE"),
        ("    'nothing'\n", "INTERFACE"),
        ("    def f(): ...\n", "INTERFACE"),
        ("    def f(job): ...\n", "INTERFACE"),
        ("    def f(self, *job): ...\n", "INTERFACE"),
        ("    def f(self):\n        return 1\n", "INTERFACE"),
        ("    @view\n    def f(self): ...\n", "INTERFACE"),
        ("    def f(self, a: int = 3): ...\n", "INTERFACE"),
        ("    def f(self, a: int, a: int): ...\n", "TWICE"),
        ("    def f(self): ...\n    def f(self): ...\n", "TWICE"),
        ("    def _f(self): ...\n", "UNDERSCORE_NAME"),
        ("    def f(self, a: float): ...\n", "HINT"),
    ],
)
def test_a_class_that_is_no_interface_is_refused_with_the_way_to_write_one(body: str, rule: str) -> None:
    found = check_source(f"class P(Protocol):\n{body}", "x.py").diagnostics
    assert [item.rule for item in found] == [rule]
    if rule == "INTERFACE":
        assert found[0].instead.startswith(("class Policy(Protocol):", "limit: int = ..."))


def test_the_abi_says_which_contract_is_called_through_which_interface() -> None:
    abi: Any = compile_source(CALLER).abi
    assert abi["seen_as"] == {"policy": "Policy"}
    assert abi["interfaces"]["Policy"]["allow"] == {
        "params": [["job", "Job"], ["phase", "str"]],
        "optional": ["phase"],
        "returns": "bool",
    }


def test_what_goes_into_another_contract_is_no_lost_change() -> None:
    source = (
        HEAD
        + "rows = Map(str, dict)\n\ndef f(n: str):\n    row = rows[n]\n    row['a'] = 1\n    policy.allow(row)\n"
    )
    report = check_source(source, "x.py")
    assert (report.diagnostics, report.warnings) == ((), ())
