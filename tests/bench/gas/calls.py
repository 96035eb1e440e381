"""Time and gas of what surrounds the work of one contract: transactions, arguments, results, other contracts,
deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import OK, Call, StateKey
from chain.primitives.values import Value, encode_value
from contracts import system
from contracts.runtime import ContractRuntime, library_rows
from contracts.system import standard_pages
from contracts.testing import LocalChain, key_of
from tests.bench.gas.measure import PLENTY, Cost, least, machine

CALLEE = """
@export(nested=True)
def ping() -> int:
    return 1

@export(nested=True)
def echo(x: Value) -> Value:
    return x
"""
CALLER = """
other = Contract("callee")

class Callee(Protocol):
    def echo(self, x: Value) -> Value: ...

asked: Callee = Contract("callee")

@export
def nothing():
    pass

@export
def take(x: Value):
    pass

@export
def give(n: int) -> list:
    return [i for i in range(n)]

@export
def make(n: int):
    x = [i for i in range(n)]

@export
def idle(n: int, x: Value):
    for i in range(n):
        pass

@export
def ping(n: int, x: Value):
    for i in range(n):
        other.ping()

@export
def echo(n: int, x: Value):
    for i in range(n):
        other.echo(x)

@export
def echo_as(n: int, x: Value):
    for i in range(n):
        asked.echo(x)
"""
FUNCTION = "@export\ndef f(a, b):\n"
LOCALS = [f"x{n}" for n in range(3_000)]
TURNS = 200
_METHODS = {"int": "ping", "through an interface": "echo_as"}
"""Calls of small values, which are repeated more often."""
Args = Mapping[str, Value]


def bench_chain() -> LocalChain:
    """Return a chain with both contracts."""
    chain = LocalChain("bank")
    chain.deploy(CALLEE, "callee")
    chain.deploy(CALLER, "caller")
    return chain


def transaction(chain: LocalChain, method: str, args: Args, times: int = 1) -> Callable[[], int]:
    """Return what runs one transaction (several times) and returns the gas of all."""
    data = encode_value(dict(args))
    call = Call("caller", method, data, key_of("bank").public, bytes(32), PLENTY, 5, 10**12)

    def work() -> int:
        for _ in range(times):
            outcome = chain.runtime.execute(call, chain.state)
        assert outcome.status == OK, outcome.detail
        return outcome.gas_used * times

    return work


def _difference(
    chain: LocalChain, name: str, of: tuple[str, Args], less: tuple[str, Args], times: int, repeats: int
) -> Cost:
    """Return the cost of one call less that of another."""
    ns, gas = least(transaction(chain, *of, times), repeats)
    base_ns, base_gas = least(transaction(chain, *less, times), repeats)
    return Cost("call", name, (gas - base_gas) / times, (ns - base_ns) / times)


def calls(repeats: int) -> list[Cost]:
    """Measure transactions, arguments, results and calls between contracts."""
    chain = bench_chain()
    ns, gas = least(transaction(chain, "nothing", {}, 300), repeats)
    found = [Cost("call", "a transaction", gas / 300, ns / 300)]
    shapes: dict[str, Value] = {
        "ints": list(range(2_000)),
        "texts": ["abcdefgh"] * 500,
        "one text": "a" * 8_000,
        "records": [{"name": "bank", "amount": 5}] * 200,
        "tuples": [(1, 2)] * 400,
        "shared texts": [["a" * 1_000] * 10] * 10,
        "wide texts": ["\N{GRINNING FACE}" * 200] * 20,
        "large numbers": [2**4_000] * 40,
    }
    for name, value in shapes.items():
        pair = ("take", {"x": value}), ("take", {"x": 1})
        cost = _difference(chain, f"arguments: {name}", *pair, 20, repeats)
        found.append(replace(cost, size=len(encode_value(value))))
    pair = ("give", {"n": 2_000}), ("make", {"n": 2_000})
    found.append(_difference(chain, "result: ints", *pair, 5, repeats))
    for name, value in {"int": 5, "through an interface": 5, **shapes}.items():
        method = _METHODS.get(name, "echo")
        turns = TURNS if name in _METHODS else 20
        cost = _difference(
            chain,
            f"contract call: {name}",
            (method, {"n": turns, "x": value}),
            ("idle", {"n": turns, "x": value}),
            2,
            repeats,
        )
        found.append(replace(cost, gas=cost.gas / turns, ns=cost.ns / turns))
    return found


def sources() -> dict[str, str]:
    """Return sources of several makes: as people write them, and as dense as the language allows."""
    largest = max(system.sources().values(), key=len)
    return {
        "smallest": "@export\ndef f():\n    pass\n",
        "a system contract": largest,
        "assignments": "@export\ndef f():\n    a = 1\n" + "    a = a + 1\n" * 3_000,
        "one-letter names": "def f(a):\n" + "    a\n" * 9_000,
        "constants": "".join(f"c{n} = ({n}, {n})\n" for n in range(2_000)),
        "lists": "X = [" + "1," * 9_999 + "]\n@export\ndef f():\n    pass\n",
        "functions": "".join(f"def f{n}(a: int) -> int:\n    return a\n" for n in range(900)),
        "declarations": "".join(f"m{n} = Map(str, dict[str, int])\n" for n in range(1_500)),
        "brackets": FUNCTION + f"    {'[' * 24}a{']' * 24}\n" * 480,
        "f-strings": FUNCTION + "    f'{a}{b}{a}{b}'\n" * 1_700,
        "one-line ifs": FUNCTION + "    if a: b\n" * 4_000,
        "branches over many locals": FUNCTION + f"    {', '.join(LOCALS)} = a\n" + "    if a: b\n" * 2_800,
        "expressions of one letter": FUNCTION + "    a" + ";a" * 12_000 + "\n",
        "one-line strings": FUNCTION + "    'a'\n" * 7_000,
        "a constant used": f"X = ({'1, ' * 60})\n" + FUNCTION + "    X\n" * 10_500,
        "a long hint used": f"m = Map(tuple[{'int, ' * 4_000}int], int)\n" + FUNCTION + "    m[a]\n" * 3_000,
        "tables": "".join(f"c{n} = [{n}, [{n}]]\n" for n in range(1_200)),
        "comments": "# nothing\n" * 6_000,
        "a long text": f"X = '{'a' * 60_000}'\n",
        "refused by the tokens": FUNCTION + "    a" + ";a" * 12_000 + ")\n",
        "refused": "@export\ndef f():\n" + "    a = b\n" * 3_000,
    }


def libraries() -> dict[str, str]:
    """Return libraries of different make."""
    return {
        "many small functions": "".join(f"def f{n}(a: int) -> int:\n    return a\n" for n in range(1_500)),
        "records of many fields": "".join(
            f"class R{n}(Record):\n" + "".join(f"    f{place}: int\n" for place in range(240))
            for n in range(20)
        ),
        "constants": "".join(f"c{n} = [{n}, [{n}]]\n" for n in range(1_200)),
    }


def deployments(repeats: int) -> list[Cost]:
    """Measure compilation for the lifecycle, refusals included, and of contracts that name a library."""
    found = []
    for name, source in libraries().items():
        library = ContractRuntime().library(source)
        proposed = f'lib = Library("{library.source_hash.hex()}")\n{FUNCTION}    a\n'
        rows = library_rows(library, source)
        for what, work in (("publish", partial(_publish, source)), ("name", partial(_name, proposed, rows))):
            ns, gas = least(work, max(2, repeats // 2))
            found.append(Cost("library", f"{what} {name}, {len(source)} bytes", gas, ns))
    for name, source in standard_pages().items():
        ns, gas = least(partial(_trace, source), max(2, repeats // 2))
        found.append(Cost("page", f"trace {name}, {len(source)} bytes", gas, ns))
    for name, source in sources().items():
        ns, gas = least(partial(_compile, source), max(2, repeats // 2))
        found.append(Cost("deploy", f"{name}, {len(source)} bytes", gas, ns))
    return found


def _publish(source: str) -> int:
    m = machine()
    ContractRuntime().compile_library(m, source)
    return PLENTY - m.gas


def _trace(source: str) -> int:
    m = machine()
    ContractRuntime().trace_page(m, source, [], {}, "")
    return PLENTY - m.gas


def _name(source: str, rows: Mapping[StateKey, bytes]) -> int:
    """Compile a contract that names a library on the ledger."""
    m = machine()
    m.writes.update(rows)
    ContractRuntime().compile_source(m, source)
    return PLENTY - m.gas


def _compile(source: str) -> int:
    m = machine()
    with suppress(AssentError):
        ContractRuntime().compile_source(m, source)
    return PLENTY - m.gas
