"""Commands turn what a person says into exact calls, and name what they cannot use."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli.init import create_consortium
from chain.ledger.block import EventEntry
from chain.primitives.errors import ConfigError, Exit, ProofInvalid
from chain.primitives.runtimeport import Event
from chain.primitives.values import encode_value
from contracts.system import PROFILES
from privcompute.cli.common import UsageFault, pairs, parse_duration, parse_time, show_time
from privcompute.cli.dataset_commands import dataset
from privcompute.cli.grant_commands import grant
from privcompute.cli.job_commands import job
from privcompute.cli.job_spec import check_before_proposing, read_request
from privcompute.cli.job_watch import JobNotCertified, describe, watch_job
from privcompute.cli.opening_commands import _KIND, _proved, _shown
from privcompute.clock import now_ms
from privcompute.data.commitments import challenged_rows, commit_rows, open_row
from tests.schemas import column

JOB = "ab" * 32
CONTRACT = Path(__file__).parents[4] / "contracts" / "system" / "jobs.py"
NOTHING: dict[str, Any] = {
    "program": None,
    "purpose": None,
    "profile": None,
    "min_group": None,
    "inputs": (),
    "receivers": (),
    "compute": (),
    "deadlines": (),
    "parameters": None,
}
PARTIES = [{"org": org, "role": "owner", "agent_key": b"k" * 32} for org in ("bank", "bureau")]
HELPER = {"org": "registry", "role": "compute", "agent_key": b"r" * 32}
MADE: dict[str, Any] = {
    "profile": "rep3",
    "participants": [*PARTIES, HELPER],
    "inputs": [
        {"dataset": "bank/loans", "version": 2, "columns": {"id": "join", "amount": "aggregate"}},
        {"dataset": "bureau/scores", "version": 1, "columns": {"id": "join"}},
    ],
}
"""What `check_before_proposing` reads of a spec."""


class Registered:
    """Datasets whose versions all have two columns; identifiers by owner, a text unless told otherwise."""

    def __init__(self, **identifiers: Any) -> None:
        self.identifiers = identifiers

    async def state(self, _: str, map_name: str, key: Any) -> Any:
        if map_name == "versions":
            return {"schema": bytes(32), "identifier": self.identifiers.get(key[0].split("/")[0], [["text"]])}
        if map_name == "columns":
            return column("id", "text", "identifier") if key[2] == "id" else column(key[2], "integer")
        assert map_name == "profiles"
        return next((dict(profile) for profile in PROFILES if profile["name"] == key), None)


@pytest.mark.parametrize(
    ("bureau", "parts"),
    [
        ([["integer"]], ["other types", "bank/loans has text", "bureau/scores has integer"]),
        ([["text", "trim", "casefold"]], ["other steps of normalisation", "text after trim, casefold"]),
        ([["text"], ["date"]], ["1 and 2 columns", "text; then date"]),
        ([], ["bureau/scores has no identifier"]),
    ],
)
async def test_whose_identifiers_differ_and_how_is_said_before_anything_is_proposed(
    bureau: list[list[str]], parts: list[str]
) -> None:
    ledger: Any = Registered(bureau=bureau)
    with pytest.raises(UsageFault) as caught:
        await check_before_proposing(ledger, MADE)
    for part in parts:
        assert part in str(caught.value)
    ledger = Registered()
    await check_before_proposing(ledger, MADE)


RIVAL = {"org": "rival", "role": "compute", "agent_key": b"v" * 32}


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (
            {"participants": PARTIES},
            r"exactly 3 participants, receivers included; this job has 2: .*; add .* with --compute",
        ),
        ({"participants": [*PARTIES, HELPER, RIVAL]}, r"this job has 4: .*rival \(compute\); leave out"),
        (
            {"participants": [*PARTIES, HELPER, RIVAL | {"role": "receiver"}]},
            r"this job has 4: .*rival \(receiver\)",
        ),
        ({"profile": "none"}, "'none'.*assent program show"),
        (
            {"inputs": [MADE["inputs"][0], *MADE["inputs"]]},
            r"takes 1 dataset of an owner; this job has 2 of bank \(bank/loans, bank/loans\)",
        ),
    ],
)
async def test_what_a_profile_cannot_run_is_said_before_anything_is_proposed(
    given: dict[str, Any], part: str
) -> None:
    ledger: Any = Registered()
    with pytest.raises(UsageFault, match=part):
        await check_before_proposing(ledger, MADE | given)


def test_the_help_of_a_request_says_which_jobs_a_profile_allows() -> None:
    shown = " ".join(CliRunner().invoke(grant, ["request", "--help"], terminal_width=400).output.split())
    assert "rep3 allows jobs under rep3 and dh-psi; dh-psi allows jobs under dh-psi, not rep3." in shown


def test_a_job_file_is_completed_by_options(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        'program = "p"\npurpose = "x"\nreceivers = ["bank"]\n'
        '[[inputs]]\ngrant = "bank/g1"\n[parameters]\nsteps = 3\n'
    )
    made = read_request(path, NOTHING | {"purpose": "y"})
    assert (made.program, made.purpose, made.parameters) == ("p", "y", {"steps": 3})
    path.write_text('program = "p"\ncolour = 1\n')
    with pytest.raises(ConfigError, match="colour"):
        read_request(path, NOTHING)


def test_times_and_durations() -> None:
    assert parse_duration("90s", "--x") == 90_000
    assert parse_time("1970-01-02", "--x") == 86_400_000
    before = now_ms()
    assert before <= parse_time("1d", "--x") - 86_400_000 <= now_ms()
    assert show_time(86_400_000) == "1970-01-02 00:00:00"
    for wrong in ("soon", "1w", "", "-1d"):
        with pytest.raises(UsageFault, match="--x"):
            parse_time(wrong, "--x")
        with pytest.raises(UsageFault, match="--x"):
            parse_duration(wrong, "--x")


def test_pairs() -> None:
    assert pairs(("a", "b=c", "d=e=f"), "--x", "z") == {"a": "z", "b": "c", "d=e": "f"}
    with pytest.raises(UsageFault, match="each name once"):
        pairs(("a", "a=1"), "--x", "z")


def opening_file(rows: list[bytes], challenge: str) -> tuple[bytes, dict[str, Any]]:
    seed = bytes(32)
    commitment = commit_rows(seed, rows)
    chosen = challenged_rows(challenge.encode(), len(rows), 3)
    shown = [_shown(open_row(seed, rows, commitment, index)) for index in chosen]
    return commitment.root, {"kind": _KIND, "challenge": challenge, "rows": shown}


def test_opened_rows_prove_themselves_and_that_the_challenge_chose_them() -> None:
    rows = [bytes([0x91, number]) for number in range(20)]  # msgpack: [number]
    root, content = opening_file(rows, "from the auditor")
    assert len(_proved(Path("f"), content, root)) == 3
    for broken, part in (
        (content | {"rows": []}, "no rows"),
        (content | {"challenge": "another"}, "challenge selects"),
        (content | {"rows": content["rows"][::-1]}, "challenge selects"),
        (content | {"rows": [content["rows"][0] | {"cells": [99]}]}, "cells shown"),
        (content | {"rows": [{"proof": "00"}]}, "cannot be read"),
    ):
        with pytest.raises(ProofInvalid, match=part):
            _proved(Path("f"), broken, root)
    with pytest.raises(ProofInvalid, match="does not lead"):
        _proved(Path("f"), content, bytes(32))


def test_every_event_of_a_job_has_a_line() -> None:
    assert (
        describe("JobRejected", {"by": "org:bank", "cause": "QUOTA_EXHAUSTED", "detail": {"grant": "a/b"}})
        == "bank rejected: QUOTA_EXHAUSTED. No run of a/b is left for the job."
    )
    assert describe("SomethingNew", {"by": "org:bank"}) == "SomethingNew by bank"


def entry(contract: str, name: str, **fields: Any) -> EventEntry:
    return EventEntry(7, bytes(32), 0, Event(contract, name, encode_value(fields), (f"job:{JOB}",)))


async def test_only_the_ledger_s_own_word_ends_the_watch_of_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    """Any member's contract can write "JobCertified", with any fields or none, into the job's history."""
    said = [
        entry("forger", "JobCertified"),
        entry("forger", "JobAborted", cause="by nobody"),
        entry("jobs", "JobAborted", by="org:bank", phase="running", missing=[], cause="GONE", detail={}),
    ]

    class Following:
        @asynccontextmanager
        async def client(self) -> AsyncIterator[Any]:
            yield self

        async def follow(self, **_: Any) -> AsyncIterator[EventEntry]:
            for one in said:
                yield one

    session: Any = Following()
    with pytest.raises(JobNotCertified, match="aborted by bank: GONE"):
        await watch_job(session, JOB, None, False, 0)
    shown = capsys.readouterr().out
    assert "FOREIGN: contract forger says JobCertified" in shown
    assert "FOREIGN: contract forger says JobAborted" in shown


@pytest.mark.parametrize(
    ("name", "fields", "line"),
    [
        (
            "JobDisputed",
            {"by": "org:bureau", "origin": "contract", "kind": "TRANSCRIPT_MISMATCH",
             "against": ["org:bank", "org:bureau"]},
            "the ledger found TRANSCRIPT_MISMATCH against bank, bureau",
        ),
        (
            "DisputeResolved",
            {"by": "org:regulator", "number": 1, "outcome": "upheld", "blamed": [], "state": "aborted"},
            "regulator decided dispute 1: upheld, nobody blamed; aborted",
        ),
        ("JobExpired", {"by": "org:rival", "phase": "disputed", "missing": []},
         "expired while disputed; missing: nobody"),
        ("GrantRevoked", {"by": "org:bureau", "grant": "grant:bank/g1", "reason": "complaint"},
         "grant bank/g1: revoked complaint"),
        ("AccountCharged", {"by": "org:bureau", "dataset": "dataset:bureau/d", "epsilon": 5 * 10**8,
                            "figures": {"x": 2, "y": 1}},
         "account of bureau/d: epsilon 0.5 and 3 exact figures spent"),
        ("AccountReturned", {"by": "org:bureau", "dataset": "dataset:bureau/d", "epsilon": 0,
                             "figures": {"x": 1}}, "account of bureau/d: 1 exact figure given back"),
        ("UsesConcerned", {"by": "org:bureau", "cause": "DatasetSuspended", "about": "dataset:bureau/data",
                           "reason": "audit"}, "DatasetSuspended of dataset:bureau/data: audit"),
    ],
)  # fmt: skip
def test_what_happened_to_a_job_is_said_in_one_line(name: str, fields: dict[str, Any], line: str) -> None:
    assert describe(name, fields) == line


def test_every_event_of_a_job_has_words_of_its_own() -> None:
    """Declared events are read from the contract; made-up fields have the declared types."""
    made: dict[str, Any] = {"subject": "org:bank", "str": "word", "int": 1, "bytes": b"7" * 32, "dict": {}}
    texts = [path.read_text() for path in CONTRACT.parent.glob("*.py")]
    declared = re.findall(r"^(\w+) = Event\(([^)]*)\)", "\n".join(texts), re.MULTILINE)
    events = {
        name: {field: made.get(kind, []) for field, kind in re.findall(r"(\w+)=(\w+)", fields)}
        for name, fields in declared
        if "job=subject" in fields
    }
    assert len(events) > 20
    assert [name for name, fields in events.items() if describe(name, fields) == f"{name} by bank"] == []


@pytest.mark.parametrize("group", [dataset, grant, job], ids=lambda group: group.name)
def test_every_command_explains_itself(group: Any) -> None:
    for name, command in group.commands.items():
        shown = CliRunner().invoke(group, [name, "--help"])
        assert shown.exit_code == 0
        assert command.help
        assert "--json" in shown.output


def test_a_command_without_a_node_says_what_to_give() -> None:
    shown = CliRunner().invoke(dataset, ["list", "--json"], env={"ASSENT_AS": ""})
    assert shown.exit_code == Exit.CONFIG
    assert json.loads(shown.output)["error"]["code"] == "no_session"


@pytest.mark.parametrize("command", ["register", "new-version"])
def test_a_dataset_id_is_checked_before_anything_is_asked_or_written(tmp_path: Path, command: str) -> None:
    (tmp_path / "d.csv").write_text("id\n1\n")
    org = create_consortium(tmp_path / "c", ["bank"], ["bank"], 0, "x").org("bank").path
    before = sorted(tmp_path.rglob("*"))
    words = [command, "../../x", str(tmp_path / "d.csv"), "--as", str(org), "--json"]
    shown = CliRunner().invoke(dataset, words)
    assert json.loads(shown.output)["error"]["code"] == "dataset_id"
    assert sorted(tmp_path.rglob("*")) == before
