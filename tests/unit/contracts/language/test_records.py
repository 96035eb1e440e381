"""Records: their fields are checked where they are made, set, stored, read, passed and announced."""

# ruff: noqa: E501  (contracts)

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives.values import encode_value
from contracts.check import check_source, run_source
from contracts.language.limits import ALLOCATION_MAX
from contracts.language.program import compile_source
from contracts.testing import CallFailed, LocalChain

TERM = """class Term(Record):
    start: int
    end: int | None = None

"""
GRANTS = (
    TERM
    + '''class Grant(Record):
    """What an owner allows."""

    owner: str
    rows: int = 5
    term: Term | None = None

grants = Map(str, Grant, ordered=True)
best = Var(Grant | None, None)
LEAST = Grant("nobody", 1)
Made = Event(grant=Grant, by=subject)

@export
def make(name: str, rows: int) -> Grant:
    grant = Grant(ctx.org, rows=rows)
    grant.rows += 1
    grant.term = Term(1)
    grants[name] = grant
    Made(grant=grant, by=f"org:{ctx.org}")
    return grant

@export(nested=True)
def put(name: str, grant: Grant):
    grants[name] = grant

@export
def crown():
    best.set(max([grants[name] for name in grants.page()], key=lambda grant: grant.rows))

@view
def rows_of(names: list[str]) -> int:
    return sum((grants.get(name) or LEAST).rows for name in names)

@view
def ends() -> list[int]:
    found = []
    for name, grant in {name: grants[name] for name in grants.page()}.items():
        if grant.term is not None and grant.term.end is not None:
            found.append(grant.term.end)
    return found

@export
def plain(owner: Value) -> Grant:
    return {"owner": owner, "rows": 1, "term": None}
'''
)


def chain_of(source: str) -> LocalChain:
    """Return a chain with this contract, called c."""
    chain = LocalChain("bank", "bureau")
    chain.deploy(source, "c")
    return chain


def test_a_record_is_made_changed_stored_read_and_announced_with_its_fields() -> None:
    chain = chain_of(GRANTS)
    made = {"owner": "bank", "rows": 4, "term": {"start": 1, "end": None}}
    assert chain.as_("bank").call("c", "make", name="a", rows=3) == made
    assert chain.entry("c", "grants", "a") == made
    assert chain.events[-1].fields == {"grant": made, "by": "org:bank"}
    chain.call("c", "crown")
    assert chain.variable("c", "best") == made
    assert chain.view("c", "rows_of", names=["a", "nothing"]) == 5


def test_a_field_that_arguments_leave_out_gets_its_default() -> None:
    chain = chain_of(GRANTS)
    chain.call("c", "put", name="b", grant={"owner": "x", "term": {"start": 7}})
    whole = {"owner": "x", "rows": 5, "term": {"start": 7, "end": None}}
    assert chain.entry("c", "grants", "b") == whole
    chain.call("c", "put", name="d", grant={**whole, "term": {"start": 7, "end": 9}})
    assert chain.view("c", "ends") == [9]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (5, "not int"),
        ({}, "not a dict without owner"),
        ({"owner": "a", "row": 1}, 'not a dict with "row", which is no field'),
        ({"owner": 1}, "not a dict whose owner is int, not str"),
        ({"owner": "a", "rows": True}, "not a dict whose rows is bool, not int"),
        (
            {"owner": "a", "term": {"start": "x"}},
            "not a dict whose term is a dict whose start is str, not int, not Term | None",
        ),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_by_its_field(given: Any, text: str) -> None:
    chain = chain_of(GRANTS)
    with pytest.raises(CallFailed) as failed:
        chain.call("c", "put", name="b", grant=given)
    assert failed.value.outcome.code == "TYPE_ERROR"
    assert failed.value.outcome.why == f"put(): argument grant is Grant, {text}"


def test_a_dict_that_is_not_a_record_is_none_of_its_results() -> None:
    chain = chain_of(GRANTS)
    assert chain.call("c", "plain", owner="x") == {"owner": "x", "rows": 1, "term": None}
    with pytest.raises(CallFailed, match="returns a dict whose owner is int, not str, not Grant"):
        chain.call("c", "plain", owner=1)


def test_a_later_version_adds_a_field_with_a_default_and_reads_what_was_stored() -> None:
    first = "class G(Record):\n    a: int\n\ng = Map(str, G)\n\n@export\ndef put(k: str, a: int):\n    g[k] = G(a)\n"
    then = (
        "class G(Record):\n    a: int\n    b: str = 'new'\n    c: tuple[int, ...] = ()\n\ng = Map(str, G)\n\n"
        "@view\ndef get(k: str) -> G:\n    return g[k]\n"
    )
    other = then.replace("a: int", "a: str")
    chain = LocalChain.consortium("bank", "bureau")
    chain.adopt(first, "c")
    chain.advance(height=1)
    chain.as_("bank").call("c", "put", k="x", a=3)
    chain.adopt(then, "c")
    chain.advance(height=1)
    assert chain.as_("bank").view("c", "get", k="x") == {"a": 3, "b": "new", "c": ()}
    chain.adopt(other, "c")
    chain.advance(height=1)
    with pytest.raises(CallFailed) as failed:
        chain.as_("bank").view("c", "get", k="x")
    assert failed.value.outcome.why == (
        "g[…] was stored as a dict whose a is int, not str, and is G now: @migrate changes it"
    )


@pytest.mark.parametrize(
    ("line", "rule", "reason"),
    [
        ("x = Term(1).strat", "UNKNOWN_FIELD", "Term has no field strat"),
        ("x = Term()", "ARGUMENTS", "Term() misses start"),
        ("x = Term(1, 2, 3)", "ARGUMENTS", "Term() takes 2 arguments, not 3"),
        ("x = Term(1, finish=2)", "ARGUMENTS", "Term(): argument finish is unknown"),
        ("x = Term('a')", "HINT", "Term.start is int, not str"),
        ("x = Term(1)\n    x.end = b''", "HINT", "Term.end is int | None, not bytes"),
        ("x = Term(1)['start']", "RECORD", "Term is a record, whose fields have names"),
        ("x = Term(1)\n    x['start'] = 'a'", "RECORD", "Term is a record, whose fields have names"),
        ("x = Term(1)\n    x.update({'start': 'a'})", "RECORD", "Term is a record, whose fields have names"),
        ("x = n.start", "ATTRIBUTE", "values have no attributes such as .start"),
        ("x = Term", "NOT_A_VALUE", "Term is a record, not a value"),
        ("for x in [Term(1)]:\n        y = x.begin", "UNKNOWN_FIELD", "Term has no field begin"),
        ("x = [y.begin for y in [Term(1)]]", "UNKNOWN_FIELD", "Term has no field begin"),
        ("x = sorted([Term(1)], key=lambda y: y.begin)", "UNKNOWN_FIELD", "Term has no field begin"),
        (
            "terms['a'].start = 1",
            "LOST_CHANGE",
            "a change would be lost: an entry of a Map is a copy of what is stored",
        ),
        ("ctx.org = 'a'", "TARGET", "ctx cannot be changed"),
        ("class T(Record):\n        a: int", "CLASS", "a class inside a def is not in the language"),
    ],
)
def test_check_finds_the_field_that_is_not_there_or_cannot_hold_that(
    line: str, rule: str, reason: str
) -> None:
    source = f"{TERM}terms = Map(str, Term)\n\ndef f(n):\n    {line}\n"
    found = check_source(source, "x.py").diagnostics
    assert [(item.rule, item.reason) for item in found] == [(rule, reason)]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("class A:\n    a: int\n", "CLASS"),
        ("class A(B):\n    a: int\n", "CLASS"),
        ("class A(Record, B):\n    a: int\n", "CLASS"),
        ("class A(Record, metaclass=B):\n    a: int\n", "CLASS"),
        ("@export\nclass A(Record):\n    a: int\n", "CLASS"),
        ("class A(Record):\n    pass\n", "RECORD"),
        ("class A(Record):\n    'nothing'\n", "RECORD"),
        ("class A(Record):\n    a = 1\n", "RECORD"),
        ("class A(Record):\n    def f(self):\n        pass\n", "RECORD"),
        ("class A(Record):\n    a: int = 1\n    b: int\n", "RECORD"),
        ("class A(Record):\n    a: int\n    a: str\n", "TWICE"),
        ("class A(Record):\n    _a: int\n", "UNDERSCORE_NAME"),
        ("class A(Record):\n    a: float\n", "HINT"),
        ("class A(Record):\n    a: A\n", "HINT"),
        ("class A(Record):\n    a: int = 'x'\n", "HINT"),
        ("class A(Record):\n    a: list[int] = []\n", "DEFAULT"),
        ("class Map(Record):\n    a: int\n", "RESERVED_NAME"),
        ("class A(Record):\n    a: int\n\nA = 1\n", "TWICE"),
        ("m = Map(A, int)\n\nclass A(Record):\n    a: int\n", "HINT"),
        ("class A(Record):\n    a: int\n\nm = Map(A, int)\n", "HINT"),
        ("class A(Record):\n" + "".join(f"    a{n}: int\n" for n in range(251)), "RECORD"),
    ],
)
def test_a_class_that_is_no_record_is_refused_with_the_way_to_write_one(source: str, rule: str) -> None:
    assert [item.rule for item in check_source(source, "x.py").diagnostics] == [rule]


def test_records_within_records_nest_as_deep_as_values_do_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        lines = ["class R1(Record):\n    a: int\n"]
        lines += [f"class R{n}(Record):\n    a: R{n - 1}\n    b: R{n - 1}\n" for n in range(2, depth + 1)]
        return "\n".join(lines)

    assert check_source(nested(32), "x.py").diagnostics == ()
    assert [item.rule for item in check_source(nested(33), "x.py").diagnostics] == ["RECORD"]
    made = "".join(f"    x = R{n}(x, x)\n" for n in range(2, 33))
    shared = run_source(f"{nested(32)}\ndef f():\n    x = R1(1)\n{made}    return 1\n", "f", {})
    assert shared["status"] == "out_of_gas"


def test_a_record_is_paid_for_and_booked_before_it_is_made() -> None:
    source = f"{TERM}def f(n: int):\n    xs = [Term(i) for i in range(n)]\n    return len(xs)\n"
    used = [run_source(source, "f", {"n": n})["gas"] for n in (100, 200)]
    assert used[1] - used[0] > 100 * 20
    most = ALLOCATION_MAX // (160 + 2 * 110 + 40)
    often = source.replace("xs = ", "for _ in range(2):\n        xs = ")
    assert run_source(often, "f", {"n": most // 2 - 10}, gas=10**7)["status"] == "ok"
    assert run_source(often, "f", {"n": most // 2}, gas=10**7)["code"] == "ALLOCATION"


def test_a_check_pays_for_every_record_that_it_looks_at() -> None:
    source = f"{TERM}@export\ndef put(terms: list[Term]):\n    pass\n"
    chain = chain_of(source)
    used = []
    for count in (100, 1_100):
        chain.call("c", "put", terms=[{"start": 1, "end": 2}] * count)
        used.append(chain.gas_of() - len(encode_value({"terms": [{"start": 1, "end": 2}] * count})) // 4)
    assert used[1] - used[0] > 1_000 * 2 * (6 + 10)


def test_the_abi_says_what_a_record_holds() -> None:
    abi: Any = compile_source(GRANTS).abi
    assert abi["records"]["Term"] == {
        "fields": [["start", "int"], ["end", "int | None"]],
        "defaults": {"end": None},
    }
    assert abi["methods"]["put"]["params"] == [["name", "str"], ["grant", "Grant"]]
    assert abi["maps"]["grants"] == ["str", "Grant"]


def test_a_type_that_an_author_doubles_line_by_line_costs_the_check_no_more_than_its_lines() -> None:
    lines = "".join(
        f"    x{n} = (x{n - 1}, x{n - 1})\n    y{n} = (y{n - 1}, y{n - 1})\n" for n in range(1, 200)
    )
    source = f"def f(a: int):\n    x0 = (a, a)\n    y0 = (a, a)\n{lines}    x = x199\n    x = y199\n    return [x199, y199]\n"
    assert check_source(source, "x.py").diagnostics == ()
