"""What was granted and never used is told from whole histories and from specs that job ids prove."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from chain.client.client import Client
from chain.ledger.block import EventEntry
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import Event
from chain.primitives.values import Value, encode_value
from privcompute.cli import grant_usage
from privcompute.cli.grant_usage import used_by

GRANT = {
    "dataset": "city/people",
    "grantee": "bank",
    "quota_runs": 9,
    "columns": {"id": "join-only", "age": "plain", "income": "aggregate-only", "home": "aggregate-only"},
}
STANDING = {"status": "active"}


def told(job: str, phase: str) -> EventEntry:
    fields = encode_value({"job": f"job:{job}", "phase": phase})
    return EventEntry(7, bytes(32), 0, Event("grants", "GrantUsed", fields, ("grant:bank/p",)))


def spec(columns: dict[str, str], number: int, grant: str = "bank/p") -> tuple[str, dict[str, Value]]:
    made: dict[str, Value] = {"inputs": [{"grant": grant, "columns": columns}], "nonce": number}
    return sha256(encode_value(made)).hexdigest(), made


class Ledger:
    """Grants, their histories, and specs of jobs."""

    def __init__(self) -> None:
        self.grants: dict[str, Any] = {"bank/p": GRANT}
        self.history: dict[str, list[EventEntry]] = {}
        self.specs: dict[str, Any] = {}

    def used(self, columns: dict[str, str], *phases: str, grant: str = "bank/p") -> str:
        job, made = spec(columns, len(self.specs), grant)
        self.specs[job] = made
        self.history.setdefault(grant, []).extend([told(job, phase) for phase in phases])
        return job


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    held = Ledger()

    async def state(_: Client, __: str, name: str, key: Any, **___: Any) -> Any:
        return {"grants": held.grants, "specs": held.specs}.get(name, {}).get(
            key, STANDING if name == "standing" else None
        )

    async def entries(_: Client, __: str, name: str) -> AsyncIterator[tuple[Any, Any]]:
        assert name == "grants"
        for item in held.grants.items():
            yield item

    async def history(_: Client, subject: str, first: int, last: int) -> tuple[EventEntry, ...]:
        assert (first, last) == (0, 7)
        return tuple(held.history.get(subject.removeprefix("grant:"), []))

    async def head(_: Client) -> int:
        return 7

    for name, answer in {"state": state, "entries": entries, "history": history, "head": head}.items():
        monkeypatch.setattr(Client, name, answer)
    monkeypatch.setenv("COLUMNS", "140")
    return held


def usage(*words: str) -> Result:
    return CliRunner().invoke(main, ["grant", "usage", *words, "--node", "http://127.0.0.1:1"])


def found(*words: str) -> Any:
    done = usage(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


USED = ("proposed", "reserved", "running", "joining", "certified")


def test_each_granted_column_is_told_with_the_jobs_that_used_it(ledger: Ledger) -> None:
    one = ledger.used({"id": "join", "age": "aggregate"}, *USED)
    two = ledger.used({"id": "join", "age": "aggregate", "income": "aggregate"}, *USED)
    (grant,) = found("bank/p")["grants"]
    columns = {column["name"]: column for column in grant["columns"]}
    assert columns["id"]["jobs"] == {"join": [one, two]}
    assert columns["income"]["jobs"] == {"aggregate": [two]}
    assert {name: column["unused"] for name, column in columns.items()} == {
        "id": "",
        "income": "",
        "age": "exact-aggregate was enough",
        "home": "never used",
    }
    said = usage("bank/p", "--unused").output
    assert "2 jobs used it, of 9 runs" in said
    assert "home" in said
    assert "income" not in said


def test_a_job_uses_what_it_names_once_owners_begin_to_join_and_not_if_its_run_returns(
    ledger: Ledger,
) -> None:
    ledger.used({"id": "join"}, "proposed", "reserved", "running", "aborted")
    ledger.used({"age": "plain"}, "proposed", "reserved", "running", "joining", "aborted", "returned")
    used = ledger.used({"home": "aggregate"}, "joining", "aborted")
    (grant,) = found("bank/p")["grants"]
    assert grant["jobs"] == [used]
    assert [one["name"] for one in grant["columns"] if one["unused"] == "never used"] == [
        "age",
        "id",
        "income",
    ]


def test_other_events_of_a_history_and_other_inputs_of_a_job_do_not_count(ledger: Ledger) -> None:
    other = EventEntry(7, bytes(32), 0, Event("mine", "GrantUsed", told("x", "joining").event.fields, ()))
    assert used_by([other]) == []
    job = ledger.used({"age": "plain"}, grant="bank/other")
    ledger.history["bank/p"] = [told(job, "joining")]
    (grant,) = found("bank/p")["grants"]
    assert [one["jobs"] for one in grant["columns"]] == [{}, {}, {}, {}]


def test_only_the_newest_jobs_are_looked_at_and_never_used_says_so(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grant_usage, "JOBS_MAX", 2)
    ledger.used({"home": "aggregate"}, *USED)
    for _ in range(2):
        ledger.used({"id": "join"}, *USED)
    (grant,) = found("bank/p")["grants"]
    assert (len(grant["jobs"]), grant["looked_at"]) == (3, 2)
    home = next(one for one in grant["columns"] if one["name"] == "home")
    assert home["unused"] == "never used by the newest 2 jobs"


def test_a_spec_that_is_not_of_the_job_is_not_believed(ledger: Ledger) -> None:
    job = ledger.used({"id": "join"}, *USED)
    ledger.specs[job] = {"inputs": []}
    done = usage("bank/p")
    assert isinstance(done.exception, SystemExit | ProofInvalid)
    assert "the node shows no spec of this id" in " ".join(done.output.split())


def test_grants_come_in_pages_in_order(ledger: Ledger) -> None:
    ledger.grants = {f"bank/g{number}": GRANT for number in (3, 1, 2)} | {
        "bank/o": GRANT | {"dataset": "x/y"}
    }
    page = found("--limit", "2", "--dataset", "city/people")
    assert [one["id"] for one in page["grants"]] == ["bank/g1", "bank/g2"]
    assert page["next"] == "bank/g2"
    rest = found("--limit", "2", "--dataset", "city/people", "--after", "bank/g2")
    assert ([one["id"] for one in rest["grants"]], rest["next"]) == (["bank/g3"], None)
    assert "--after bank/g1" in usage("--limit", "1").output
    assert "no such grant was ever in force" in usage("--after", "z").output
    assert "the ledger has no such grant" in " ".join(usage("bank/none").output.split())
