"""Fixtures and options for tests of contracts; pytest loads this wherever Assent is installed.

def test_a_stranger_is_refused(local_chain):
    local_chain.deploy(Path("policy.py"), "policy")
    with local_chain.expect_revert("DENIED"):
        local_chain.as_("rival").call("policy", "enter")

`--contract-coverage` prints the lines of each contract file that no test ran; `--contract-replicas` runs
every call on three differing hosts too, and fails where their receipts differ by a byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import pytest

if TYPE_CHECKING:
    from contracts.coverage import Coverage
    from contracts.replicas import Replicas
    from contracts.runtime import ContractRuntime
    from contracts.scenario import DataUse
    from contracts.testing import LocalChain

GATHERED: pytest.StashKey[Coverage] = pytest.StashKey()
OF_WORKERS: pytest.StashKey[Any] = pytest.StashKey()


class Kit(TypedDict):
    """What `LocalChain`, `LocalChain.consortium` and `DataUse` are started with."""

    runtime: ContractRuntime
    replicas: Replicas | None
    coverage: Coverage | None


class Consortium(Protocol):
    """Starts a chain with the system contracts and these organisations."""

    def __call__(self, *orgs: str) -> LocalChain:
        """Return the chain."""


class Scenario(Protocol):
    """Starts such a chain with a dataset for each organisation, and takes jobs through their phases."""

    def __call__(self, *orgs: str) -> DataUse:
        """Return the scenario."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("assent", "contracts of Assent")
    group.addoption(
        "--contract-coverage", action="store_true", help="print the contract lines that no test ran"
    )
    group.addoption(
        "--contract-replicas", action="store_true", help="run every contract call on three differing hosts"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start gathering when asked to."""
    if config.getoption("--contract-coverage"):
        from contracts.coverage import Coverage

        config.stash[GATHERED] = Coverage()
        config.stash[OF_WORKERS] = []


@pytest.fixture(scope="session")
def contract_replicas(pytestconfig: pytest.Config) -> Iterator[Replicas | None]:
    """Three differing hosts, under --contract-replicas."""
    if not pytestconfig.getoption("--contract-replicas"):
        yield None
        return
    from contracts.replicas import Replicas

    with Replicas() as replicas:
        yield replicas


@pytest.fixture(scope="session")
def contract_kit(pytestconfig: pytest.Config, contract_replicas: Replicas | None) -> Kit:
    """What every chain of the session shares: compiled code, differing hosts, coverage."""
    from contracts.runtime import ContractRuntime

    coverage = pytestconfig.stash.get(GATHERED, None)
    runtime = ContractRuntime(watcher=coverage.watcher if coverage else None)
    return {"runtime": runtime, "replicas": contract_replicas, "coverage": coverage}


@pytest.fixture
def local_chain(contract_kit: Kit) -> LocalChain:
    """An empty chain in memory, which runs contracts as nodes do."""
    from contracts.testing import LocalChain

    return LocalChain(**contract_kit)


@pytest.fixture
def local_consortium(contract_kit: Kit) -> Consortium:
    """`local_consortium("bank", "telecom")`: a chain in memory with the real system contracts."""
    from contracts.testing import LocalChain

    def start(*orgs: str) -> LocalChain:
        return LocalChain.consortium(*orgs, **contract_kit)

    return start


@pytest.fixture
def data_use(contract_kit: Kit) -> Scenario:
    """`data_use("hospital", "insurer", "registry")`: datasets, grants and jobs, to test policies with."""
    from contracts.scenario import DataUse

    def start(*orgs: str) -> DataUse:
        return DataUse(*orgs, **contract_kit)

    return start


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: hand what was gathered to the controller."""
    output = getattr(session.config, "workeroutput", None)
    gathered = session.config.stash.get(GATHERED, None)
    if output is not None and gathered is not None:
        from contracts.coverage import to_plain

        output["contract_coverage"] = to_plain(gathered.report())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In the controller of pytest-xdist: take what a worker gathered."""
    if OF_WORKERS in node.config.stash:
        output = getattr(node, "workeroutput", {})
        node.config.stash[OF_WORKERS].extend(output.get("contract_coverage", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print one line per contract file."""
    gathered = config.stash.get(GATHERED, None)
    if gathered is None:
        return
    from contracts.coverage import from_plain, merged

    report = merged([*gathered.report(), *from_plain(config.stash[OF_WORKERS])])
    terminalreporter.section("contract coverage")
    for file in report:
        terminalreporter.line(file.render())
    if not report:
        terminalreporter.line("no contract was deployed through local_chain or local_consortium")
