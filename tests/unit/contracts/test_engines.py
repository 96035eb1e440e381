"""A contract runs for ever on the engine that it was proposed under; a release without it stops."""

from __future__ import annotations

import dataclasses

import pytest

from chain.primitives.values import Value
from contracts import engines, runtime
from contracts.language.faults import HostTrouble
from contracts.language.library import Find
from contracts.language.limits import ENGINE
from contracts.language.program import Program, Watcher, compile_library, compile_source
from contracts.language.run.machine import Machine
from contracts.testing import LocalChain

SOURCE = """
@export
def answer() -> int:
    return 42
"""
SECOND = SOURCE.replace("42", "43")


class NextRelease:
    """A release that brings another engine beside this one, and notes what each compiles."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compiled: list[tuple[int, str]] = []
        monkeypatch.setattr(engines, "ENGINES", {n: self._engine(n) for n in (ENGINE, ENGINE + 1)})
        monkeypatch.setattr(runtime, "CURRENT", ENGINE + 1)

    def _engine(self, number: int) -> engines.Compilers:
        def contract(
            source: str, name: str, watcher: Watcher | None, payer: Machine | None, find: Find
        ) -> Program:
            self.compiled.append((number, name))
            return dataclasses.replace(compile_source(source, name, watcher, payer, find), engine=number)

        return engines.Compilers(contract, compile_library)


def deploy(chain: LocalChain, name: str, source: str) -> None:
    """Propose, approve and commit."""
    content: dict[str, Value] = {"name": name, "source": source, "arguments": {}, "terms": {}}
    seq = chain.as_("bank").call("lifecycle", "propose", **content)
    proposal = chain.entry("lifecycle", "proposals", f"{name}/{seq}")
    assert isinstance(proposal, dict)
    chain.as_("bureau").call("lifecycle", "approve", name=name, seq=seq, hash=proposal["hash"])
    chain.as_("bank").call("lifecycle", "commit", name=name, seq=seq)


def engine_of(chain: LocalChain, name: str) -> Value:
    record = chain.entry("lifecycle", "active", name)
    assert isinstance(record, dict)
    return record["engine"]


def test_a_newer_release_runs_an_old_contract_on_its_old_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = LocalChain.consortium("bank", "bureau", "registry")
    deploy(chain, "old", SOURCE)
    release = NextRelease(monkeypatch)
    chain.runtime = runtime.ContractRuntime()
    assert chain.as_("bank").call("old", "answer") == 42
    assert release.compiled == [(ENGINE, "old")]
    deploy(chain, "new", SECOND)
    assert chain.as_("bank").call("new", "answer") == 43
    assert (engine_of(chain, "old"), engine_of(chain, "new")) == (ENGINE, ENGINE + 1)
    assert {engine for engine, name in release.compiled if name in ("source", "new")} == {ENGINE + 1}


def test_an_older_release_stops_at_a_contract_of_a_newer_engine_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = LocalChain.consortium("bank", "bureau", "registry")
    with monkeypatch.context() as newer:
        NextRelease(newer)
        deploy(chain, "new", SOURCE)
    chain.runtime = runtime.ContractRuntime()
    rows = dict(chain.state.rows)
    with pytest.raises(
        HostTrouble, match=rf"new runs on engine {ENGINE + 1}.*\[{ENGINE}\].*install a release"
    ) as stop:
        chain.as_("bank").call("new", "answer")
    assert "nothing was executed" in str(stop.value)
    assert chain.state.rows == rows
