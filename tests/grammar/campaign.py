"""Generated programs against everything that must hold of any program: `scripts/fuzz-contracts`.

Of each program: the source is refused by a rule or runs to a declared verdict; a second run, and a process
with another hash seed, -O and a deep stack, compute the same receipt to the byte, writes and events included;
CPU time stays in proportion to gas; with its functions in a library it comes to the same; and a program of
the common subset does what CPython does.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from grammar import FUNCTIONS, OTHER, Writer
from linked import LIBRARY, linked, unlike
from oracle import SAME, Oracle

from chain.primitives.jsonvalue import to_json
from chain.primitives.runtimeport import LIMIT, OK, OUT_OF_GAS, REVERTED, Call, Outcome
from chain.primitives.values import decode_stored, encode_value
from contracts.check import CheckReport
from contracts.language.faults import ContractRejected
from contracts.language.limits import DEFAULT_GAS
from contracts.replica import checked_bytes
from contracts.replicas import Host, Replicas, outcome_bytes
from contracts.runtime import ContractRuntime, library_rows
from contracts.testing import Memory, key_of

NAME, ORG, NO_ARGUMENTS = "generated", "tester", encode_value({})
UNLIKE = Host("4242", ("-O",), 2_500)
"""The host that follows every program: unlike this process in all that a host can be unlike in."""
RESTART_EVERY = 2_000
"""Programs after which the replicas are started anew: they keep every source that they were given."""
_REVERTED = """NO DENIED TYPE_ERROR KEY_ERROR INDEX_ERROR VALUE_ERROR ZERO_DIVISION UNBOUND ASSERTION
BAD_ARGUMENTS UNKNOWN_METHOD UNKNOWN_CONTRACT READ_ONLY REENTRANT CHANGED_WHILE_WALKED"""
_LIMITS = """INT_BITS TEXT_LENGTH ENCODED_BYTES ELEMENTS NESTING CALL_DEPTH ALLOCATION WRITTEN_BYTES
KEY_LENGTH RESULT_BYTES COPY_BYTES EVENT_BYTES EVENTS SUBJECTS FOREIGN_EVENTS"""
CODES = {
    OK: [""],
    REVERTED: re.split(r"\s", _REVERTED),
    OUT_OF_GAS: ["OUT_OF_GAS"],
    LIMIT: re.split(r"\s", _LIMITS),
}
"""The verdicts that contracts/README.md declares and that a generated program can have."""
OWN_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
RULE = re.compile(r"[A-Z_]{2,40}")
BOUNDS = frozenset({"TOO_LONG_EXPRESSION", "TOO_DEEP", "SOURCE_TOO_LONG", "TOO_MANY_TOKENS"})
"""Rules by which even a program of the common subset may be refused."""
SECONDS_FLAT = 0.01
SECONDS_PER_GAS = 1e-6
"""Four times the budget of 250 ms for a million gas: this machine has other work."""
TIMED_FROM = 20_000
"""Gas from which a call's time per gas means something."""


class Finding(AssertionError):
    """A program of which something does not hold; the text has all that is needed to run it again."""


@dataclass(slots=True)
class Tally:
    """What a campaign saw."""

    programs: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    """Programs whose result or exception CPython confirmed."""
    linked: int = 0
    """Programs that came to the same with their functions in a library."""
    slowest: float = 0.0
    """Most seconds per gas of a call of at least `TIMED_FROM` gas."""
    slowest_seed: str = ""
    gas: int = 0
    seconds: float = 0.0


class Campaign:
    """Runs programs; a context manager around the processes that it compares with."""

    def __init__(self, host: Host | None = UNLIKE) -> None:
        """Compare with this host, or with none."""
        self.tally = Tally()
        self._host = host
        self._stack = ExitStack()
        self._replicas: Replicas | None = None
        self._oracle: Oracle | None = None

    def __enter__(self) -> Campaign:
        """Start the oracle; replicas start with the first program."""
        self._oracle = self._stack.enter_context(Oracle())
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        self._end_replicas()
        self._stack.close()

    def run(self, kind: str, seed: str) -> None:
        """Write and judge one program; raise Finding when something does not hold of it."""
        source = Writer(kind, seed).program()
        if self._host is not None and self.tally.programs % RESTART_EVERY == 0:
            self._end_replicas()
            self._replicas = Replicas((self._host,))
        self.tally.programs += 1
        try:
            self._judge(kind, seed, source)
        except Finding:
            raise
        except Exception as error:
            raise Finding(
                f"{kind} program of seed {seed}: {type(error).__name__}: {error}\n{source}"
            ) from error

    def _end_replicas(self) -> None:
        if self._replicas is not None:
            self._replicas.close()
            self._replicas = None

    def _judge(self, kind: str, seed: str, source: str) -> None:
        def demand(holds: bool, what: str) -> None:
            if not holds:
                raise Finding(f"{kind} program of seed {seed}: {what}\n{source}")

        try:
            first, again = self._calls(source, seed)
        except ContractRejected as refused:
            report = CheckReport(refused.diagnostics, None)
            rule = report.diagnostics[0].rule
            self.tally.verdicts[f"rejected {rule}"] += 1
            demand(RULE.fullmatch(rule) is not None, f"refused by an odd rule {rule!r}")
            demand(kind == "full" or rule in BOUNDS, f"refused: {report.diagnostics[0].render('main')}")
            if self._replicas is not None:
                self._replicas.agree(["check", encoded(source), []], checked_bytes(report), "check")
            return
        for outcome, other in zip(first, again, strict=True):
            demand(outcome_bytes(outcome) == outcome_bytes(other), f"another run differs: {outcome}, {other}")
            self.tally.verdicts[f"{outcome.status} {outcome.code}".strip()] += 1
            demand(declared(outcome), f"the verdict {outcome.status} {outcome.code} is not declared")
        self._ask_linked(source, first, demand)
        if kind == "common":
            self._ask_oracle(source, first[0], demand)

    def _calls(self, source: str, seed: str) -> tuple[list[Outcome], list[Outcome]]:
        """Install the program and call `main` twice, the second call over what the first wrote.

        All of it happens twice: first the other host follows, then this process runs alone, timed.
        """
        runtime, followed, alone = ContractRuntime(), _world(), Memory()
        install = partial(self._replicas.install, runtime.bootstrap) if self._replicas else runtime.bootstrap
        followed.apply(install({NAME: source, "other": OTHER}, {}, time=1, state=followed).writes)
        alone.rows = dict(followed.rows)
        first, again = [], []
        for height in (1, 2):
            call = _call(height)
            if self._replicas is None:
                first.append(runtime.execute(call, followed))
            else:
                first.append(self._replicas.follow("execute", runtime.execute, call, followed))
            followed.apply(first[-1].writes)
            again.append(self._timed(partial(runtime.execute, call, alone), seed))
            alone.apply(again[-1].writes)
        return first, again

    def _timed(self, work: Callable[[], Outcome], seed: str) -> Outcome:
        """Run and hold the time against the gas; a slow call has two more chances."""
        for chance in range(3):
            started = time.thread_time()
            outcome = work()
            seconds = time.thread_time() - started
            if seconds <= SECONDS_FLAT + SECONDS_PER_GAS * outcome.gas_used:
                break
            if chance == 2:
                raise Finding(f"seed {seed}: {seconds:.3f} s for {outcome.gas_used} gas")
        if outcome.gas_used >= TIMED_FROM:
            self.tally.gas += outcome.gas_used
            self.tally.seconds += seconds
            if seconds / outcome.gas_used > self.tally.slowest:
                self.tally.slowest, self.tally.slowest_seed = seconds / outcome.gas_used, seed
        return outcome

    def _ask_linked(self, source: str, outcomes: list[Outcome], demand: Callable[[bool, str], None]) -> None:
        moved = linked(source)
        if moved is None:
            return
        runtime, state = ContractRuntime(), _world()
        state.rows.update(library_rows(LIBRARY, FUNCTIONS))
        try:
            state.apply(runtime.bootstrap({NAME: moved, "other": OTHER}, {}, time=1, state=state).writes)
        except ContractRejected as refused:
            first = refused.diagnostics[0]
            demand(first.rule in BOUNDS, f"refused with its functions in a library: {first.render('main')}")
            return
        for height, outcome in enumerate(outcomes, start=1):
            found = runtime.execute(_call(height), state)
            state.apply(found.writes)
            wrong = unlike(outcome, found)
            demand(not wrong, f"its functions in a library change {wrong}:\n{outcome}\n{found}\n{moved}")
        self.tally.linked += 1

    def _ask_oracle(self, source: str, outcome: Outcome, demand: Callable[[bool, str], None]) -> None:
        if outcome.status in (LIMIT, OUT_OF_GAS):  # caps that CPython does not have
            return
        assert self._oracle is not None
        kind, said = self._oracle.ask(source)
        if outcome.status == OK:
            ours: Any = to_json(decode_stored(outcome.result))
            demand([kind, said] == [OK, ours], f"CPython: {kind} {said}\nours: {ours}")
        else:
            demand(
                kind == "raised" and said in SAME[outcome.code],
                f"CPython: {kind} {said}\nours: {outcome.detail}",
            )
        self.tally.compared += 1


def _world() -> Memory:
    """Return a state in which the tester's key signs."""
    found = Memory()
    record = {"org": ORG, "roles": ["admin"], "status": "active", "since": 0, "until": 0}
    found.rows["orgs", b"keys/" + encode_value(key_of(ORG).public.hex())] = encode_value(record)
    return found


def _call(height: int) -> Call:
    return Call(NAME, "main", NO_ARGUMENTS, key_of(ORG).public, bytes(32), DEFAULT_GAS, height, 1_000)


def declared(outcome: Outcome) -> bool:
    """Tell whether a verdict is one that the language declares."""
    if (
        outcome.status == REVERTED
        and OWN_CODE.fullmatch(outcome.code)
        and outcome.code not in CODES[REVERTED]
    ):
        return outcome.why == ""  # `require(condition, text)`: the contract's own code
    return outcome.code in CODES.get(outcome.status, ())


def encoded(source: str) -> bytes:
    """Return a source as replicas take it, half a surrogate pair included."""
    return source.encode("utf-8", "surrogatepass")


def seeds(first: str, count: int) -> Iterator[tuple[str, str]]:
    """Yield (kind, seed) of each program of a campaign: two of three are of the whole language."""
    for number in range(count):
        yield ("common" if number % 3 == 0 else "full", f"{first}/{number}")
