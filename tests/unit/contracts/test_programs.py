"""Compiled code: what is in force is kept and compiled once, proposals are paid for and leave nothing."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from chain.primitives.runtimeport import Call, map_key, var_key
from chain.primitives.values import Value, encode_value
from contracts import engines, system
from contracts.language.faults import ContractRejected, OutOfGas
from contracts.language.front.tokens import precheck
from contracts.language.library import Find, Library
from contracts.language.limits import (
    CONSTANT_GAS,
    ENGINE,
    GAS_COMPILE,
    GAS_COMPILE_BYTE,
    GAS_COMPILE_TOKEN,
    SOURCE_TOKENS_MAX,
)
from contracts.language.program import Program, Watcher, compile_library, compile_source
from contracts.language.run.machine import Machine
from contracts.language.run.scratch import scratch_machine
from contracts.programs import CODE_BYTES_MAX, Programs
from contracts.runtime import ContractRuntime
from contracts.testing import LocalChain, Memory

ORGS = ("bank", "bureau", "registry")
SOURCE = "@export\ndef answer() -> int:\n    return {}\n"
PLENTY = 10_000_000


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each source was compiled, by hash."""
    counted: Counter[str] = Counter()

    def contract(
        source: str, name: str, watcher: Watcher | None, payer: Machine | None, find: Find
    ) -> Program:
        counted[source] += 1
        return compile_source(source, name, watcher, payer, find)

    def library(source: str, name: str, watcher: Watcher | None, payer: Machine | None, room: int) -> Library:
        counted[source] += 1
        return compile_library(source, name, watcher, payer, room)

    monkeypatch.setattr(engines, "ENGINES", {ENGINE: engines.Compilers(contract, library)})
    return counted


def test_proposals_do_not_push_out_the_code_that_members_call(compiled: Counter[str]) -> None:
    chain = LocalChain.consortium(*ORGS)
    chain.adopt(SOURCE.format(42), "oracle")
    bank = chain.as_("bank")
    bank.call("oracle", "answer")
    before = dict(compiled)
    machine = Machine(10**12, Memory(), chain.runtime)
    for n in range(300):
        chain.runtime.compile_source(machine, SOURCE.format(1_000 + n))
    assert bank.call("oracle", "answer") == 42
    assert {source: count for source, count in compiled.items() if source in before} == before


def test_a_proposal_costs_the_same_on_every_node_whatever_it_compiled_before() -> None:
    used = []
    for known in (False, True):
        chain = LocalChain.consortium(*ORGS)
        if known:
            chain.runtime.program(SOURCE.format(1))
            chain.adopt(SOURCE.format(1), "first")
        content: dict[str, Value] = {
            "name": "second",
            "source": SOURCE.format(1),
            "arguments": {},
            "terms": {},
        }
        call = Call(
            "lifecycle",
            "propose",
            encode_value(content),
            chain.as_("bank").public,
            bytes(32),
            PLENTY,
            9,
            10**12,
        )
        outcomes = [runtime.execute(call, chain.state) for runtime in (chain.runtime, ContractRuntime())]
        assert outcomes[0] == outcomes[1]
        used.append(_compile_gas(chain.runtime, SOURCE.format(1)))
    assert used[0] == used[1] == _compile_gas(ContractRuntime(), SOURCE.format(1))


def _compile_gas(runtime: ContractRuntime, source: str) -> int:
    machine = Machine(PLENTY, Memory(), runtime)
    runtime.compile_source(machine, source)
    return PLENTY - machine.gas


def _gas_of(source: str) -> int:
    payer = scratch_machine(PLENTY)
    compile_source(source, payer=payer)
    return PLENTY - payer.gas


def test_compilation_is_paid_by_bytes_then_by_tokens_then_by_constants() -> None:
    plain = SOURCE.format(1)
    scan = precheck(plain)
    flat = GAS_COMPILE + GAS_COMPILE_BYTE * len(plain) + GAS_COMPILE_TOKEN * scan.tokens
    assert _gas_of(plain) == flat
    assert _gas_of(plain + "# a comment\n\n\n") == flat + GAS_COMPILE_BYTE * len("# a comment\n\n\n")
    field = "@export\ndef answer(a: int) -> str:\n    return f'{}'\n"
    assert _gas_of(field.format("{a}")) - _gas_of(field.format("aaa")) == 3 * GAS_COMPILE_TOKEN
    constants = plain + "X = [0] * 9_999 == [0] * 9_999\n"
    assert _gas_of(constants) > flat + 2 * 5 * 9_999


@pytest.mark.parametrize("constants", ["", "X = [0] * 9_999 == [0] * 9_999\n"])
def test_every_gas_limit_below_the_need_ends_before_the_next_stage(constants: str) -> None:
    source = SOURCE.format(1) + constants
    need = _gas_of(source)
    for gas in [*range(0, need, max(1, need // 40)), need - 1]:
        with pytest.raises(OutOfGas):
            compile_source(source, payer=scratch_machine(gas))
    payer = scratch_machine(need)
    assert compile_source(source, payer=payer).functions.keys() == {"answer"}
    assert payer.gas == 0


def test_constants_beyond_their_cap_are_refused_however_much_gas_there_is() -> None:
    source = SOURCE.format(1) + "X = [[0] * 9_999 == [0] * 9_999, [0] * 9_999 == [0] * 9_999]\n"
    for gas in (2 * CONSTANT_GAS + 100_000, 10**9):
        with pytest.raises(ContractRejected, match="CONSTANT"):
            compile_source(source, payer=scratch_machine(gas))


def test_a_source_at_the_bound_of_tokens_compiles_and_one_more_is_refused() -> None:
    head = "def f(a): a"
    count = SOURCE_TOKENS_MAX - precheck(head + "\n").tokens
    assert count % 2 == 0
    assert precheck(head + ";a" * (count // 2) + "\n").tokens == SOURCE_TOKENS_MAX
    compile_source(head + ";a" * (count // 2) + "\n")
    with pytest.raises(ContractRejected, match="TOO_MANY_TOKENS"):
        compile_source(head + ";a" * (count // 2) + ";a\n")


def test_of_too_many_programs_the_least_recently_used_goes() -> None:
    made = [compile_source(SOURCE.format(n)) for n in range(4)]
    kept = Programs(3 * made[0].size)
    for program in made[:3]:
        kept.keep(program)
    assert kept.get(made[0].source_hash, ENGINE) is made[0]
    kept.keep(made[3])
    held = [kept.get(program.source_hash, ENGINE) is program for program in made]
    assert held == [True, False, True, True]


def test_a_program_is_kept_once_however_often_it_comes_into_force() -> None:
    first, second = compile_source(SOURCE.format(1)), compile_source(SOURCE.format(2))
    kept = Programs(first.size + second.size)
    for program in (second, first, first, first):
        kept.keep(program)
    assert kept.get(second.source_hash, ENGINE) is second


def test_the_lifecycle_and_the_runtime_agree_on_how_much_code_nodes_keep() -> None:
    said = re.search(r"^CODE_BYTES_MAX = (\d+)$", system.sources()["lifecycle"], re.MULTILINE)
    assert said is not None
    assert int(said[1]) == CODE_BYTES_MAX


class Code:
    """A consortium and what its lifecycle says about the code in force."""

    def __init__(self) -> None:
        self.chain = LocalChain.consortium(*ORGS)
        self.system = self.total()

    def total(self) -> int:
        found = self.chain.variable("lifecycle", "code_bytes")
        assert isinstance(found, int)
        return found

    def of(self, name: str) -> Value:
        return self.chain.entry("lifecycle", "numbers", name)["code"]


def test_code_in_force_is_counted_with_what_runs_until_its_successor_begins() -> None:
    code = Code()
    assert code.system == sum(compile_source(source).size for source in system.sources().values())
    first, second = SOURCE.format(1), SOURCE.format(2) + "X = 1\n"
    sizes = [compile_source(source).size for source in (first, second)]
    code.chain.adopt(first, "oracle")
    assert (code.of("oracle"), code.total()) == (sizes[0], code.system + sizes[0])
    code.chain.adopt(second, "oracle")
    assert (code.of("oracle"), code.total()) == (sum(sizes), code.system + sum(sizes))
    code.chain.advance(height=5)
    code.chain.adopt(first, "oracle")
    assert (code.of("oracle"), code.total()) == (sum(sizes), code.system + sum(sizes))


def test_a_revoked_contract_counts_no_more() -> None:
    code = Code()
    code.chain.adopt(SOURCE.format(1), "oracle")
    for org in ORGS[:2]:
        code.chain.as_(org).call("lifecycle", "revoke", name="oracle", seq=1, reason="wrong")
    assert (code.of("oracle"), code.total()) == (0, code.system)


def test_code_beyond_what_nodes_keep_does_not_come_into_force() -> None:
    code = Code()
    size = compile_source(SOURCE.format(1)).size
    place = ("lifecycle", var_key("code_bytes"))
    code.chain.write({place: encode_value(CODE_BYTES_MAX - size + 1)})
    with code.chain.expect_revert("CODE_FULL"):
        code.chain.adopt(SOURCE.format(1), "oracle")
    assert code.chain.entry("lifecycle", "active", "oracle") is None
    code.chain.write({place: encode_value(CODE_BYTES_MAX - size)})
    code.chain.as_("bank").call("lifecycle", "commit", name="oracle", seq=1)
    assert code.total() == CODE_BYTES_MAX
    assert ("lifecycle", map_key("active", "oracle")) in code.chain.state.rows
