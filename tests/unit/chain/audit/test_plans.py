"""Packages of jobs under pages: plans are derived again, and whatever differs is refused by name."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

import contracts.runtime
from chain.audit import plans
from chain.audit.package import build_package
from chain.audit.plans import TRACED_MAX, Retraced, proposed, report_lines, retrace
from chain.audit.records import Contents
from chain.audit.verify import verify_bytes
from chain.ledger.block import EventEntry
from chain.ledger.testing import START_MS, toy_key
from chain.primitives.errors import ProofInvalid
from chain.primitives.possession import prove_possession
from chain.primitives.runtimeport import Event, map_key
from chain.primitives.values import Value, decode_value, encode_value
from contracts.pages.page import page_hash
from tests.schemas import column, declaring, seal_of
from tests.unit.chain.audit.kit import forged, without_states

PAGE = '''"""Incomes of the people that both know, for the bank."""


def run(*tables, receivers=("bank",), least=0):
    rows = join(tables)
    for receiver in receivers:
        release(count(rows), to=receiver, exact=True, name="people")
        for table in tables:
            release(sum(rows[name_of(table)].income), to=receiver, noise=laplace(epsilon=1), name="incomes")
'''
SCHEMA = [column("person", "text", "identifier"), column("income", "decimal", low="0", high="9")]
OWNERS = ("bank", "bureau")
PARTIES = (*OWNERS, "registry")
USED = {"person": "join", "income": "noisy"}
DAY_MS = 86_400_000


def prepared(make_story: Any) -> Any:
    """Return a story with three agents, two datasets, a program that is a page, and grants of it."""
    told = make_story(roles=("owner", "user", "compute"))
    for org in PARTIES:
        key = toy_key(f"{org}-agent")
        proof = prove_possession(key, told.genesis.chain_id, org)
        told.send(org, "orgs.set_agent", agent_key=key.public, agent_address="127.0.0.1:2", proof=proof)
    for org in OWNERS:
        for method, args in declaring(SCHEMA):
            told.send(org, f"datasets.{method}", **args)
        given = {"id": f"{org}/d", "schema": seal_of(SCHEMA), "root": sha256(org.encode()).digest()}
        more = {"size_bucket": "", "approvers": [org], "threshold": 1, "description": ""}
        assert not told.send(org, "datasets.register", **given, **more)
    seq = told.send("bank", "programs.propose", id="incomes", source=PAGE, reason="")
    proposal = told.ledger.read.entries(subject="program:incomes", limit=9).entries[-1].event
    voted = decode_value(proposal.fields, max_bytes=10_000)["hash"]
    for org in ("bureau", "registry"):
        told.send(org, "programs.approve", seq=seq, hash=voted)
    assert told.send("bank", "programs.commit", seq=seq) is None
    for org in OWNERS:
        terms = {"columns": {"person": "join-only", "income": "aggregate-only"}, "purpose": "risk"}
        terms |= {
            "programs": ["incomes"],
            "receivers": ["bank", "bureau"],
            "co_parties": list(PARTIES),
            "membership": list(OWNERS),
        }
        fixed = {
            "dataset": f"{org}/d",
            "version": 1,
            "legal_basis": "",
            "asked_because": "",
            "profile": "rep3",
        }
        fixed |= {
            "policy": "",
            "not_before": 0,
            "expires": START_MS + 9 * DAY_MS,
            "quota_runs": 9,
            "run_epsilon": 10**9,
            "min_group": 10,
        }
        assert not told.send("bank", "grants.request", id=f"bank/{org}", **terms, **fixed)
        assert told.send(org, "grants.approve", id=f"bank/{org}", terms={}) == "active"
    return told


def spec(**over: Value) -> dict[str, Value]:
    inputs = [
        {"name": org, "grant": f"bank/{org}", "dataset": f"{org}/d", "version": 1, "columns": USED}
        for org in OWNERS
    ]
    roles = {"bank": "owner", "bureau": "owner", "registry": "compute"}
    parties = [
        {"org": org, "role": role, "agent_key": toy_key(f"{org}-agent").public} for org, role in roles.items()
    ]
    waits = dict.fromkeys(("accept", "bind", "run", "reveal", "commit", "certify"), 60_000_000)
    made: dict[str, Value] = {"program": "incomes", "parameters": {}, "purpose": "risk", "profile": "rep3"}
    made |= {"min_group": 10, "inputs": inputs, "participants": parties, "receivers": ["bank"]}
    return made | {"deadlines": waits, "nonce": bytes(16), "page": page_hash(PAGE), "plan": bytes(32)} | over


def plan_of(**over: Value) -> bytes:
    """The plan that follows of a spec, as the ledger derives it."""
    one = spec(**over)
    columns = {
        "person": ["text", 0, 0, None, None, "refuse"],
        "income": ["decimal", 0, 0, "0", "9", "refuse"],
    }
    given = [{"name": org, "owner": org, "key": ["person"], "columns": columns} for org in OWNERS]
    gas = plans.Gas(10**8)
    facts, _ = plans.stated_facts(PAGE, given, one["parameters"], gas)  # type: ignore[arg-type]
    return bytes(facts["plan"])  # type: ignore[arg-type]


def job_under_page(told: Any, **over: Value) -> str:
    ident = told.send("bank", "jobs.propose", spec=spec(**{"plan": plan_of(**over), **over}))
    assert len(ident) == 64, ident
    return f"job:{ident}"


def packaged(told: Any, subject: str) -> bytes:
    return asyncio.run(build_package(told.source, told.genesis, subject))


@pytest.fixture(scope="module")
def paged(make_story: Any) -> tuple[Any, str]:
    """A story with a job under a page, and the job."""
    told = prepared(make_story)
    return told, job_under_page(told)


@pytest.fixture(scope="module")
def package(paged: tuple[Any, str]) -> bytes:
    return packaged(*paged)


@pytest.fixture(scope="module")
def contents(paged: tuple[Any, str], package: bytes) -> Contents:
    found = verify_bytes(package, paged[0].genesis).contents
    assert found is not None
    return found


@pytest.mark.parametrize(("subject", "traced"), [("", 1), ("org:registry", 1), ("org:bank", 2)])
def test_the_page_of_a_job_is_traced_again_in_every_package_that_has_its_proposal(
    paged: tuple[Any, str], subject: str, traced: int
) -> None:
    told, job = paged
    data = packaged(told, subject or job)
    report = verify_bytes(data, told.genesis)
    report.require()
    assert report.checked["plans"] == traced
    text = report.text
    assert f"- {job}: page {page_hash(PAGE).hex()}, plan {plan_of().hex()}" in text
    assert "    bank learns incomes: " in text


def test_what_members_voted_on_is_derived_again_too(paged: tuple[Any, str]) -> None:
    told, _ = paged
    report = verify_bytes(packaged(told, "program:incomes"), told.genesis)
    report.require()
    assert report.checked["plans"] == 2


def lying(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]) -> None:
    """Have the ledger's host derive something else than what follows."""
    honest = contracts.runtime.brief_facts

    def derive(*args: Any) -> dict[str, Any]:
        facts = honest(*args)
        change(facts)
        return facts

    monkeypatch.setattr(contracts.runtime, "brief_facts", derive)


def stays_shares(name: str, use: str) -> dict[str, Value]:
    """Return the inputs of a spec, of which one column of the bank is used otherwise."""
    inputs: Any = spec()["inputs"]
    return {"inputs": [inputs[0] | {"columns": USED | {name: use}}, *inputs[1:]]}


LIES: dict[str, tuple[Callable[[dict[str, Any]], object], dict[str, Value], str]] = {
    "another plan": (
        lambda facts: facts.update(plan=bytes(32)),
        {"plan": bytes(32)},
        "plan: 0000000000000000 on the ledger, ",
    ),
    "a use that the page does not make": (
        lambda facts: facts["uses"]["bank"].update(income="encrypted"),
        stays_shares("income", "encrypted"),
        "uses of bank: {'income': 'encrypted', 'person': 'join'} on the ledger, {'income': 'noisy', ",
    ),
    "a receiver more": (
        lambda facts: facts.update(receivers=["bank", "bureau"]),
        {"receivers": ["bank", "bureau"]},
        "receivers: ['bank', 'bureau'] on the ledger, ['bank'] follows",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_ledger_that_derived_something_else_is_refused_by_name(
    make_story: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    change, over, said = LIES[name]
    told = prepared(make_story)
    lying(monkeypatch, change)
    job = job_under_page(told, **over)
    monkeypatch.undo()
    report = verify_bytes(packaged(told, job), told.genesis)
    assert [failure.part for failure in report.failures] == ["plans"]
    assert report.failures[0].reason.startswith(f"{job}: {said}")


# --- packages that say something else ----------------------------------------------------------------------


def replaced(contents: Contents, contract: str, name: str, key: Value, value: Value) -> Contents:
    """Return contents with a row of another value; nothing of it is proved any more."""
    place = (contents.last, contract, map_key(name, key))
    assert place in contents.states
    row = None if value is None else encode_value(value)
    return dataclasses.replace(contents, states=contents.states | {place: row})


def lacking(contents: Contents, contract: str, name: str, key: Value) -> Contents:
    place = (contents.last, contract, map_key(name, key))
    states = {one: value for one, value in contents.states.items() if one != place}
    assert len(states) < len(contents.states)
    return dataclasses.replace(contents, states=states)


def fault_of(contents: Contents) -> str:
    (one,) = retrace(contents)
    return one.fault.partition(": ")[2]


def certified(job: str, **over: Value) -> dict[str, Value]:
    given = spec(plan=plan_of())
    body: dict[str, Value] = {name: given[name] for name in ("program", "purpose", "profile", "min_group")}
    body |= {"job": job, "page": page_hash(PAGE), "plan": plan_of(), "receivers": ["bank"]}
    body |= {"parameters": sha256(encode_value({})).digest(), "results": {"bank": {}}}
    inputs: Any = given["inputs"]
    body["inputs"] = [{name: one[name] for name in ("grant", "dataset", "version")} for one in inputs]
    body |= over
    return {"body": body, "digest": sha256(encode_value(body)).digest(), "signatures": {}, "height": 9}


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({}, ""),
        ({"plan": bytes(32)}, "plan of its certificate: 0000000000000000 on the ledger"),
        ({"page": bytes(32)}, "page of its certificate"),
        ({"parameters": bytes(32)}, "parameters of its certificate"),
        ({"receivers": ["bureau"]}, "receivers of its certificate"),
        ({"min_group": 1}, "min_group of its certificate: 1 on the ledger, 10 follows"),
        ({"inputs": []}, "inputs of its certificate: [] on the ledger"),
        ({"results": {"bureau": {}}}, "receivers of results: ['bureau'] on the ledger, ['bank'] follows"),
        ({"inputs": 3}, "a row is not as its contract keeps it"),
    ],
)
def test_a_certificate_is_held_against_what_follows(
    contents: Contents, paged: tuple[Any, str], over: dict[str, Value], said: str
) -> None:
    job = paged[1].removeprefix("job:")
    found = replaced(contents, "jobs", "certificates", job, certified(job, **over))
    fault = fault_of(found)
    assert fault.startswith(said)
    assert bool(fault) == bool(said)


def test_a_certificate_whose_digest_is_of_another_body_is_refused(
    contents: Contents, paged: tuple[Any, str]
) -> None:
    job = paged[1].removeprefix("job:")
    row = certified(job) | {"digest": bytes(32)}
    found = replaced(contents, "jobs", "certificates", job, row)
    assert fault_of(found) == "its certificate has another digest than its body"


def test_a_row_that_the_derivation_needs_and_a_package_lacks_is_named(
    contents: Contents, package: bytes, paged: tuple[Any, str]
) -> None:
    told, whole, seal = paged[0], contents, seal_of(SCHEMA)
    job = paged[1].removeprefix("job:")
    rows: list[tuple[str, str, Value, str]] = [
        ("jobs", "specs", job, f"jobs.specs[{job}] is not in the package"),
        ("jobs", "certificates", job, f"jobs.certificates[{job}] is not in the package"),
        ("datasets", "schemas", ("bank", seal), "datasets.schemas["),
        ("datasets", "columns", ("bank", seal, "income"), "datasets.columns["),
    ]
    for contract, name, key, said in rows:
        found = lacking(whole, contract, name, key)
        assert said in retrace(found)[0].fault, name
        dropped = map_key(name, key)
        hidden = forged(package, lambda parts, at=dropped: without_states(parts, lambda row: row.key == at))
        assert not verify_bytes(hidden, told.genesis).ok
    text = replaced(whole, "programs", "pages", page_hash(PAGE), None)
    assert fault_of(text) == f"the ledger does not have its page {page_hash(PAGE).hex()[:16]}"
    other = replaced(whole, "programs", "pages", page_hash(PAGE), PAGE + "\n")
    assert fault_of(other).startswith(f"page: {page_hash(PAGE).hex()[:16]} on the ledger, ")
    broken = replaced(whole, "programs", "pages", page_hash(PAGE), "not a page")
    assert fault_of(broken).startswith("its page cannot be traced: ")
    assert (
        fault_of(replaced(whole, "jobs", "specs", job, spec())) == "the spec in the package is of another job"
    )
    assert fault_of(replaced(whole, "jobs", "specs", job, 3)) == "the spec in the package is of another job"


# --- what it costs -----------------------------------------------------------------------------------------


def paying(contents: Contents, gas: int) -> Contents:
    """Return contents whose receipts say that so much gas was used."""
    caused = {tx_id: dataclasses.replace(item, gas_used=gas) for tx_id, item in contents.caused.items()}
    return dataclasses.replace(contents, caused=caused)


def test_tracing_again_takes_no_more_gas_than_its_proposal_took(contents: Contents) -> None:
    found = paying(contents, 5_000)
    assert fault_of(found) == "its page takes more gas to trace than its proposal took"


def test_a_package_whose_proposals_took_too_much_says_which_were_not_traced_again(contents: Contents) -> None:
    found = paying(contents, plans.GAS_MAX)
    two = dataclasses.replace(found, entries=[*found.entries, *found.entries])
    old, new = retrace(two)
    assert (new.traced, new.fault) == (True, "")
    assert (old.traced, old.fault) == (False, "")
    assert f"not traced again: its proposal took {plans.GAS_MAX} gas, 0 of {plans.GAS_MAX} were left" in (
        "\n".join(report_lines([old, new]))
    )


def entry(name: str, height: int = 7, **fields: Value) -> EventEntry:
    contract, event = name.split(".")
    return EventEntry(height, bytes(32), 0, Event(contract, event, encode_value(fields), ("job:x",)))


def test_only_the_newest_proposals_of_a_history_are_traced_again() -> None:
    told: dict[str, Value] = {"page": bytes(32), "plan": b"", "by": "org:bank"}
    many = [
        entry("programs.ProgramProposed", number, program=f"program:p{number}", **told)
        for number in range(1, TRACED_MAX + 4)
    ]
    other = entry("jobs.JobProposed", job="job:x", page=b"", plan=b"", by="org:bank", inputs=[])
    assert [one.ident for one in proposed([*many, other])] == [f"p{n}" for n in range(4, TRACED_MAX + 4)]


@pytest.mark.parametrize(
    "fields",
    [
        {"job": 3, "page": bytes(32), "plan": bytes(32), "inputs": []},
        {"job": "x", "page": bytes(32), "plan": bytes(32), "inputs": []},
        {"job": "job:x", "page": 3, "plan": bytes(32), "inputs": []},
        {"job": "job:x", "page": bytes(32), "inputs": []},
        {"job": "job:x", "page": bytes(32), "plan": bytes(32), "inputs": 3},
        {"job": "job:x", "page": bytes(32), "plan": bytes(32), "inputs": [], "by": 3},
        {},
    ],
)
def test_an_event_that_is_not_as_it_is_told_is_refused(fields: dict[str, Value]) -> None:
    with pytest.raises(ProofInvalid, match=r"jobs\.JobProposed at height 7: not as it is told"):
        proposed([entry("jobs.JobProposed", **{"by": "org:bank", **fields})])


def test_a_long_statement_is_cut_in_the_report() -> None:
    one = plans.PageProposal("job:x", bytes(32), bytes(32), "bank", entry("jobs.JobProposed"), ())
    lines = plans._lines(one, "line\n" * (plans.STATEMENT_LINES_MAX + 2))
    assert len(lines) == plans.STATEMENT_LINES_MAX + 2
    assert lines[-1] == "    and 2 lines more"
    assert report_lines([Retraced("job:x", tuple(lines))])[3:] == lines


def test_pages_without_jobs_leave_the_ledger_with_their_facts(make_story: Any) -> None:
    told = make_story()
    seq = told.send("bank", "programs.propose", id="gone", source=PAGE, reason="")
    told.send("bank", "programs.withdraw", seq=seq)
    data = packaged(told, "program:gone")
    report = verify_bytes(data, told.genesis)
    report.require()
    assert "the page left the ledger undecided, with its facts" in report.text
