"""Libraries: what they may hold, how contracts name and use them, what they cost, where they are kept."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from chain.primitives.values import encode_value
from contracts.check import check_library, check_source, run_source
from contracts.coverage import Coverage
from contracts.language.faults import ContractRejected, OutOfGas
from contracts.language.front.tokens import precheck
from contracts.language.ir import source_hash
from contracts.language.library import Library
from contracts.language.limits import (
    CONSTANT_ALLOCATION_MAX,
    ENGINE,
    GAS_COMPILE,
    GAS_COMPILE_BYTE,
    GAS_COMPILE_TOKEN,
    LIBRARIES_MAX,
    SOURCE_TOKENS_MAX,
)
from contracts.language.program import compile_library, compile_source
from contracts.language.run.scratch import scratch_machine
from contracts.programs import Programs
from contracts.replicas import Replicas
from contracts.runtime import ContractRuntime
from contracts.testing import LocalChain

ROLES = """
class Grant(Record):
    org: str
    until: int | None = None

LIMIT = 3
NAMES = ["bank", "bureau"]
_SECRET = 7

def has(grants: list[Grant], org: str, now: int = 0) -> bool:
    return any(grant.org == org and _open(grant, now) for grant in grants)

def _open(grant: Grant, now: int) -> bool:
    return grant.until is None or now <= grant.until

def rank(grant: Grant) -> int:
    return len(grant.org)

def add(grants: list, org: str) -> list:
    grants.append(Grant(org))
    return grants

def few(count: int):
    require(count < LIMIT, "TOO_MANY")

def deep(n: int) -> int:
    return 0 if n == 0 else deep(n - 1)
"""
HASH = source_hash(ROLES).hex()
HEAD = f'roles = Library("{HASH}")\n'


def ran(body: str, *, head: str = "", args: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the body of a function of a contract that names the library."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    return run_source(f"{HEAD}{head}\ndef main():\n{lines}", "main", args or {}, libraries=[ROLES])


def rules(source: str, *libraries: str) -> list[str]:
    return [item.rule for item in check_source(source, "x.py", libraries).diagnostics]


def find_in(*sources: str) -> Callable[[bytes, int], Library | None]:
    by_hash = {source_hash(text): text for text in sources}

    def find(wanted: bytes, room: int) -> Library | None:
        return compile_library(by_hash[wanted], room=room) if wanted in by_hash else None

    return find


# --- use -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ('return roles.has([roles.Grant("bank")], "bank")', True),
        ('return roles.has(org="bank", grants=[roles.Grant("bank", until=4)], now=5)', False),
        ("return roles.LIMIT", 3),
        ("return roles.NAMES", ["bank", "bureau"]),
        ("names = roles.NAMES\nnames.append('x')\nreturn [len(names), len(roles.NAMES)]", [3, 2]),
        ("return [name for name in roles.NAMES if name in roles.NAMES]", ["bank", "bureau"]),
        ("return DOUBLE", 6),
        ("return FIRST.org", "x"),
        ('g: roles.Grant = roles.Grant("bank")\ng.until = 4\nreturn g', {"org": "bank", "until": 4}),
        ('return max([roles.Grant("a"), roles.Grant("abc")], key=roles.rank).org', "abc"),
        ('return sorted([roles.Grant("abc"), roles.Grant("a")], key=roles.rank)[0].org', "a"),
        ('rows = roles.add([], "x")\nreturn rows[0]["org"]', "x"),
        ('return [own(roles.Grant("a")), own(None)]', ["a", ""]),
    ],
)
def test_functions_records_and_constants_of_a_library_are_used_by_its_name(body: str, result: Any) -> None:
    head = (
        'DOUBLE = roles.LIMIT * 2\nFIRST = roles.Grant("x")\n'
        'def own(g: roles.Grant | None) -> str:\n    return "" if g is None else g.org\n'
    )
    found = ran(body, head=head)
    assert (found["status"], found["result"]) == ("ok", result), found


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("return roles.nothing(1)", "UNKNOWN_NAME"),
        ("return roles.NOTHING", "UNKNOWN_NAME"),
        ("return roles._SECRET", "UNKNOWN_NAME"),
        ('return roles._open(roles.Grant("a"), 1)', "UNKNOWN_NAME"),
        ("return roles.LIMIT(1)", "NOT_A_FUNCTION"),
        ("return roles.has", "FUNCTION_VALUE"),
        ("return roles.Grant", "NOT_A_VALUE"),
        ("return roles", "NOT_A_VALUE"),
        ("roles = 1\nreturn roles", "HIDDEN_NAME"),
        ("roles.LIMIT = 4", "TARGET"),
        ("roles.LIMIT += 4", "TARGET"),
        ("for roles.LIMIT in [4]:\n    pass", "TARGET"),
        ("roles.NAMES[0] = 'x'", "LOST_CHANGE"),
        ("del roles.NAMES[0]", "LOST_CHANGE"),
        ("raise roles.LIMIT", "RAISE"),
        ("return roles.has.x", "ATTRIBUTE"),
        ("return [roles for roles in [1]]", "HIDDEN_NAME"),
        ("return roles.has([])", "ARGUMENTS"),
        ('return roles.has([], "a", 1, 2)', "ARGUMENTS"),
        ('return roles.has(3, "a")', "HINT"),
        ("return roles.Grant(org=3)", "HINT"),
        ('return roles.Grant("a").rows', "UNKNOWN_FIELD"),
        ('roles.NAMES.append("x")', "LOST_CHANGE"),
        ('roles.add(roles.NAMES, "x")', "LOST_CHANGE"),
        ('roles.add(rows["a"], "x")', "LOST_CHANGE"),
        ("x: roles.Nothing = 1\nreturn x", "HINT"),
    ],
)
def test_what_a_library_does_not_have_or_cannot_take_is_refused_where_it_is_written(
    body: str, rule: str
) -> None:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    assert rules(f"{HEAD}rows = Map(str, list)\ndef f():\n{lines}", ROLES) == [rule]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return lib.add(1)", 124),
        ("return lib.add(1, c=5)", 26),
        ("return lib.add(c=5, a=1)", 26),
        ("return min([3, 2], key=lib.add)", 2),
        ("return lib.Row(1)", {"a": 1, "b": 2, "c": "x"}),
        ('return lib.Row(1, c="y")', {"a": 1, "b": 2, "c": "y"}),
        ("return Own()", {"row": {"a": 7, "b": 2, "c": "x"}, "n": 3}),
        ("return own()", 3),
    ],
)
def test_what_a_call_of_a_library_leaves_out_has_the_librarys_default(body: str, result: Any) -> None:
    library = (
        "N = 3\n\nclass Row(Record):\n    a: int\n    b: int = 2\n    c: str = 'x'\n\n"
        "def add(a: int, b: int = 20, c: int = N + 100) -> int:\n    return a + b + c\n"
    )
    source = (
        f'lib = Library("{source_hash(library).hex()}")\n'
        "class Own(Record):\n    row: lib.Row | None = None\n    n: int = lib.N\n"
        f"def own(n: int = lib.N) -> int:\n    return n\ndef main():\n    {body}\n"
    ).replace("Own()", "Own(lib.Row(7))")
    found = run_source(source, "main", {}, libraries=[library])
    assert (found["status"], found["result"]) == ("ok", result), found


def test_a_constant_cannot_stand_on_a_function_of_a_library() -> None:
    assert rules(f"{HEAD}X = roles.rank(roles.Grant('a'))\n", ROLES) == ["TOP_LEVEL"]
    assert rules(f"{HEAD}X = sorted([roles.Grant('a')], key=roles.rank)\n", ROLES) == ["TOP_LEVEL"]


def test_a_misspelt_name_is_answered_with_the_nearest_of_the_library() -> None:
    (item,) = check_source(f"{HEAD}def f():\n    return roles.hass([], 'a')\n", "x.py", [ROLES]).diagnostics
    assert (item.line, item.instead) == (3, "roles.has")


def test_calls_through_a_library_count_against_the_depth_of_the_transaction() -> None:
    assert ran("return roles.deep(60)")["status"] == "ok"
    found = ran("return roles.deep(64)")
    assert (found["status"], found["code"]) == ("limit", "CALL_DEPTH")


def test_arguments_and_fields_are_checked_by_the_hints_of_the_library() -> None:
    head = "def give(x: Value) -> Value:\n    return x\n"
    assert ran("return roles.has(give(3), 'a')", head=head)["code"] == "TYPE_ERROR"
    assert ran("return roles.has([give(3)], 'a')", head=head)["code"] == "TYPE_ERROR"


def test_a_call_costs_what_a_call_of_an_own_function_costs() -> None:
    own = run_source("def one(x: int) -> int:\n    return x\ndef main():\n    return one(1)\n", "main", {})
    library = "def one(x: int) -> int:\n    return x\n"
    linked = f'lib = Library("{source_hash(library).hex()}")\ndef main():\n    return lib.one(1)\n'
    assert run_source(linked, "main", {}, libraries=[library])["gas"] == own["gas"]


# --- what a library may hold -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "m = Map(str, int)",
        "v = Var(int, 0)",
        "E = Event(x=int)",
        'c = Contract("other")',
        f'l = Library("{HASH}")',
        "class P(Protocol):\n    def f(self) -> int: ...",
        "@export\ndef g():\n    return 1",
        "@view\ndef g():\n    return 1",
        "@init\ndef g():\n    pass",
        "def g():\n    return ctx.org",
        'def g():\n    return Contract("a").b()',
        'def g():\n    return compile_contract("")',
        'def g():\n    return compile_library("")',
        'def g():\n    return trace_page("", [], {}, "")',
        'def g(h: bytes):\n    return call_init("a", h, {})',
    ],
)
def test_whatever_reaches_beyond_arguments_is_no_part_of_a_library(line: str) -> None:
    found = check_library(f"def f():\n    return 1\n{line}\n", "lib.py")
    assert {item.rule for item in found.diagnostics} == {"LIBRARY"}
    assert all(item.line >= 3 and item.reason and item.instead for item in found.diagnostics)


@pytest.mark.parametrize("source", ["", "# nothing\n", "_X = 1\n", "def _f():\n    return 1\n"])
def test_a_library_without_a_name_for_contracts_is_refused(source: str) -> None:
    assert [item.rule for item in check_library(source, "lib.py").diagnostics] == ["LIBRARY"]


@pytest.mark.parametrize(
    "source", ["x = ", "import os\n", "def f():\n    return y\n", "def f(x):\n    return x / 2\n"]
)
def test_a_source_that_the_language_refuses_is_no_library_either(source: str) -> None:
    assert check_library(source, "lib.py").program is None


# --- naming a library ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('a = Library("roles")', "LIBRARY"),
        (f'a = Library("{HASH.upper()}")', "LIBRARY"),
        (f'a = Library("{HASH[:-1]}")', "LIBRARY"),
        (f'a = Library("{HASH}", 1)', "LIBRARY"),
        (f'a = Library(digest="{HASH}")', "LIBRARY"),
        ("a = Library(1)", "LIBRARY"),
        (f'a: int = Library("{HASH}")', "LIBRARY"),
        (f'def f():\n    return Library("{HASH}")', "DECLARATION"),
        (f'a = Library("{"0" * 64}")', "UNKNOWN_LIBRARY"),
        (f'a = Library("{HASH}")\nb = Library("{HASH}")', "TWICE"),
        (f'a = Library("{HASH}")\na = 1', "TWICE"),
        (f'len = Library("{HASH}")', "RESERVED_NAME"),
    ],
)
def test_a_library_is_named_once_by_its_hash_at_the_top_level(line: str, rule: str) -> None:
    assert rules(f"{line}\n", ROLES) == [rule]


def test_a_library_is_found_by_the_hash_of_its_text_whatever_a_file_claims() -> None:
    lying = ROLES.replace("LIMIT = 3", "LIMIT = 4")
    assert rules(f"{HEAD}def f():\n    return roles.LIMIT\n", lying) == ["UNKNOWN_LIBRARY"]


def test_libraries_that_name_one_another_are_refused_before_anything_is_looked_up() -> None:
    other = f"{HEAD}def f():\n    return 1\n"
    named = f'b = Library("{source_hash(other).hex()}")\ndef g():\n    return b.f()\n'
    (item,) = check_source(named, "x.py", [other, ROLES]).diagnostics
    assert (item.rule, item.line) == ("LIBRARY", 1)
    assert "line 1" in item.reason


def test_a_contract_names_a_bounded_number_of_libraries() -> None:
    libraries = [f"X = {n}\n" for n in range(LIBRARIES_MAX + 1)]
    lines = [f'l{n} = Library("{source_hash(text).hex()}")\n' for n, text in enumerate(libraries)]
    use = "def f():\n    return l0.X\n"
    assert rules("".join(lines[:-1]) + use, *libraries) == []
    assert rules("".join(lines) + use, *libraries) == ["LIBRARY"]


def test_a_contract_and_its_libraries_have_the_tokens_of_one_source() -> None:
    head = "def f(a): a"
    half = head + ";a" * (SOURCE_TOKENS_MAX // 4) + "\n"
    other = half.replace("f(a)", "g(a)")
    names = [f'l{n} = Library("{source_hash(text).hex()}")\n' for n, text in enumerate((half, other))]
    assert rules(names[0] + "def h():\n    return l0.f(1)\n", half, other) == []
    (item,) = check_source(
        names[0] + names[1] + "def h():\n    return l1.g(1)\n", "x", [half, other]
    ).diagnostics
    assert (item.rule, item.line) == ("LIBRARY", 2)
    assert "tokens" in item.reason


def test_a_contract_and_its_libraries_have_the_constants_of_one_contract() -> None:
    texts = [f"X{n} = '{chr(97 + n)}' * 60_000\n" for n in range(20)]
    first = "".join(texts).replace("X", "Y")
    assert CONSTANT_ALLOCATION_MAX // 2 < 20 * 60_000
    library = f'lib = Library("{source_hash(first).hex()}")\n'
    assert rules("".join(texts)) == []
    assert rules(library + texts[0], first) == []
    assert set(rules(library + "".join(texts), first)) == {"CONSTANT"}


@pytest.mark.parametrize("refused", ["x = ", "m = Map(str, int)\n", "X = 'a' * 10 ** 9\n"])
def test_a_refused_library_is_told_with_its_line_and_only_where_it_is_named(refused: str) -> None:
    named = f'lib = Library("{source_hash(refused).hex()}")\ndef main():\n    return lib.X\n'
    found = run_source(named, "main", {}, libraries=[refused])
    assert (found["status"], found["code"], found["line"]) == ("rejected", "LIBRARY", 1)
    assert "is refused, line 1" in found["detail"]
    assert run_source("def main():\n    return 1\n", "main", {}, libraries=[refused])["status"] == "ok"


def test_four_byte_characters_count_in_bytes() -> None:
    text = f"# {chr(0x1F600) * 16_500}\nX = 1\n"
    assert len(text) < 65_536 < len(text.encode())
    (item,) = check_library(text, "lib.py").diagnostics
    assert "65536 bytes" in item.reason
    smaller = f"X = '{chr(0x1F600) * 100}'\n"
    body = f'lib = Library("{source_hash(smaller).hex()}")\ndef main() -> str:\n    return lib.X\n'
    assert run_source(body, "main", {}, libraries=[smaller])["result"] == chr(0x1F600) * 100


# --- cost and memory -------------------------------------------------------------------------------------


def paid(source: str, *libraries: str) -> int:
    payer = scratch_machine(10**9)
    find = {source_hash(text): text for text in libraries}
    compile_source(
        source, payer=payer, find=lambda wanted, room: compile_library(find[wanted], payer=payer, room=room)
    )
    return 10**9 - payer.gas


def test_a_library_costs_a_proposal_what_compiling_it_costs() -> None:
    source = f"{HEAD}def f():\n    return 1\n"
    own = GAS_COMPILE + GAS_COMPILE_BYTE * len(source) + GAS_COMPILE_TOKEN * precheck(source).tokens
    payer = scratch_machine(10**9)
    compile_library(ROLES, payer=payer)
    assert paid(source, ROLES) == own + 10**9 - payer.gas


def test_every_gas_limit_below_the_need_ends_out_of_gas() -> None:
    source = f"{HEAD}def f():\n    return roles.LIMIT\n"
    need = paid(source, ROLES)
    for gas in [*range(0, need, need // 25), need - 1]:
        payer = scratch_machine(gas)
        with pytest.raises(OutOfGas):
            compile_source(
                source, payer=payer, find=lambda _, room, m=payer: compile_library(ROLES, payer=m, room=room)
            )


def test_two_contracts_share_one_compiled_library_as_long_as_one_is_kept() -> None:
    kept = Programs()
    library = compile_library(ROLES)
    programs = [
        compile_source(f"{HEAD}def f():\n    return roles.LIMIT + {n}\n", find=lambda *_: library)
        for n in range(2)
    ]
    for program in programs:
        kept.keep(program)
        assert program.libraries["roles"] is kept.library(library.source_hash, ENGINE) is library
        assert program.size > library.size


def test_a_library_goes_with_the_last_program_that_names_it() -> None:
    first, second = (
        compile_source(source, find=find_in(ROLES))
        for source in (f"{HEAD}X = 1\n", f"Y = '{'y' * 60_000}'\n")
    )
    kept = Programs(second.size)
    kept.keep(first)
    assert kept.library(bytes.fromhex(HASH), ENGINE) is not None
    kept.keep(second)
    del first
    gc.collect()
    assert kept.library(bytes.fromhex(HASH), ENGINE) is None


def test_a_node_compiles_a_library_once_for_all_contracts_that_name_it() -> None:
    compiled: list[str] = []

    def watcher(source: str, _: Any) -> Callable[[int], None]:
        compiled.append(source)
        return lambda _: None

    chain = LocalChain("bank")
    chain.library(ROLES)
    for n in range(3):
        body = f"@view\ndef f() -> int:\n    return roles.LIMIT + {n}\n"
        chain.deploy(f"{HEAD}{body}", f"c{n}")
    chain.runtime = ContractRuntime(watcher=watcher)
    assert [chain.view(f"c{n}", "f") for n in (0, 1, 2, 0, 1, 2)] == [3, 4, 5, 3, 4, 5]
    assert compiled.count(ROLES) == 1
    assert len(compiled) == 4


@pytest.mark.parametrize(
    "library",
    [
        "".join(f"def f{n}(): 1\n" for n in range(600)),
        "".join(f"def f{n}(a): a\n" for n in range(600)),
        "".join(f"class R{n}(Record):\n    a: int\n" for n in range(500)),
        "".join(f"c{n} = [[]]\n" for n in range(500)),
    ],
    ids=["functions", "parameters", "records", "constants"],
)
def test_a_node_keeps_of_a_library_and_a_contract_no_more_than_their_size(library: str) -> None:
    """`lifecycle` bounds the memory of all code in force by these sizes (`CODE_FULL`)."""
    source = f'lib = Library("{source_hash(library).hex()}")\ndef main():\n    return 1\n'
    compile_source(source, find=find_in(library))
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    program = compile_source(source, find=find_in(library))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= program.size


def test_a_short_contract_may_name_what_a_long_library_has() -> None:
    """Records and constants of a library are parts of the contract's IR, and its own tokens pay for those."""
    records = "".join(
        f"class R{n}(Record):\n" + "".join(f"    f{place}: int = 0\n" for place in range(200))
        for n in range(10)
    )
    tables = "".join(f"c{n} = [{n}]\n" for n in range(1_000))
    for library, used, result in ((records, "R9().f7", 0), (tables, "c999", [999])):
        source = f'lib = Library("{source_hash(library).hex()}")\ndef main():\n    return lib.{used}\n'
        assert run_source(source, "main", {}, libraries=[library])["result"] == result


def test_a_library_is_no_program_and_no_program_a_library() -> None:
    plain = "def f():\n    return 1\n"
    assert (compile_source(plain).ir[0], compile_library(plain).ir[0]) == ("program", "library")
    assert compile_source(plain).ir_hash != compile_library(plain).ir_hash
    assert compile_source(plain).source_hash == compile_library(plain).source_hash


def test_the_hash_of_a_contract_covers_what_its_library_computes() -> None:
    other = ROLES.replace("LIMIT = 3", "LIMIT = 4")
    source = f"{HEAD}def f():\n    return 1\n"
    first = compile_source(source, find=find_in(ROLES))
    second = compile_source(source.replace(HASH, source_hash(other).hex()), find=find_in(other))
    assert first.ir_hash != second.ir_hash
    assert first.source_hash != second.source_hash


# --- tools -----------------------------------------------------------------------------------------------


def test_coverage_tells_the_lines_of_the_library() -> None:
    chain = LocalChain("bank", coverage=Coverage())
    assert chain.library(ROLES) == HASH
    chain.deploy(f"{HEAD}@export\ndef f() -> bool:\n    return roles.has([], 'a')\n", "c")
    chain.as_("bank").call("c", "f")
    found = {file.name: file for file in chain.coverage()}
    assert 11 in found["library"].ran
    assert 14 in found["library"].missed


def test_a_contract_with_a_library_computes_the_same_on_every_host() -> None:
    with Replicas() as replicas:
        chain = LocalChain("bank", replicas=replicas)
        chain.library(ROLES)
        for name in ("one", "two"):
            body = "@export\ndef f(n: int) -> list:\n    roles.few(n)\n    return roles.NAMES\n"
            chain.deploy(f"{HEAD}# {name}\n{body}", name)
        assert chain.as_("bank").call("one", "f", n=1) == ["bank", "bureau"]
        with chain.expect_revert("TOO_MANY"):
            chain.as_("bank").call("two", "f", n=3)


def test_a_failure_names_library_function_and_line() -> None:
    chain = LocalChain("bank")
    chain.library(ROLES)
    chain.deploy(f"{HEAD}@export\ndef f():\n    roles.few(3)\n", "c")
    with pytest.raises(Exception, match="TOO_MANY") as failed:
        chain.as_("bank").call("c", "f")
    assert f"  c, library {HASH[:16]}: few, library:24\n    require(count < LIMIT" in str(failed.value)
    assert f"few of library {HASH[:16]}, line 24 < f, line 4" in chain.last.detail


def test_a_contract_whose_library_is_not_there_cannot_be_deployed_in_the_kit() -> None:
    chain = LocalChain("bank")
    with pytest.raises(ContractRejected, match=f"UNKNOWN_LIBRARY: there is no library with hash {HASH}"):
        chain.deploy(f"{HEAD}@export\ndef f():\n    return 1\n", "c")


def test_the_interface_of_a_contract_names_its_libraries_and_their_records() -> None:
    abi: Any = compile_source(
        f"{HEAD}m = Map(str, roles.Grant)\ndef f():\n    return 1\n", find=find_in(ROLES)
    ).abi
    assert abi["libraries"] == {"roles": bytes.fromhex(HASH)}
    assert abi["maps"] == {"m": ["str", "roles.Grant"]}
    assert abi["records"]["roles.Grant"]["fields"] == [["org", "str"], ["until", "int | None"]]
    assert encode_value(abi)
