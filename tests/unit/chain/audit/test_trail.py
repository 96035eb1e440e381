"""Audit trails: every event in order, filtered, proved, and shown in three formats."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from chain.api.render import entry_json, receipt_json
from chain.audit import cli
from chain.audit.cli import _moment
from chain.audit.package import build_package
from chain.audit.source import EvidenceSource
from chain.audit.text import COLUMNS, HEADING, csv_text, json_row, shown, text_lines, utc
from chain.audit.trail import Filters, SubjectUnknown, TrailRow, read_trail
from chain.audit.verify import verify_bytes
from chain.client.answers import BadAnswer
from chain.client.proofs import NodeProofs
from chain.ledger.block import header_hash, transaction_id
from chain.ledger.genesis import save_genesis
from chain.ledger.proof.proofs import ProvedHistory, ProvedTransaction
from chain.ledger.pruned import UnknownHeight
from chain.ledger.testing import START_MS, toy_genesis, toy_key
from chain.primitives.codec import encode
from chain.primitives.errors import Exit, LimitError, ProofInvalid
from chain.primitives.headstatement import head_to_json, sign_head
from chain.primitives.jsonvalue import from_json
from chain.primitives.runtimeport import map_key, var_key
from tests.unit.chain.audit.ledgersource import LedgerSource
from tests.unit.chain.fulldisk import full_disk

MINUTE_MS = 60_000
DATASET_EVENTS = [
    "datasets.DatasetRegistered",
    "grants.GrantRequested",
    "grants.GrantApproved",
    "grants.GrantActivated",
    "datasets.DatasetSuspended",
    "datasets.DatasetResumed",
    "grants.GrantRevoked",
]


EVERYTHING = Filters()


async def rows_of(
    source: EvidenceSource, subject: str, filters: Filters = EVERYTHING, **more: Any
) -> list[TrailRow]:
    return list((await read_trail(source, subject, filters, **more)).rows)


async def test_a_trail_is_every_event_in_order_with_who_what_and_why(story: Any) -> None:
    rows = await rows_of(story.source, "dataset:bank/credit")
    assert [row.event for row in rows] == DATASET_EVENTS
    assert [row.height for row in rows] == sorted(row.height for row in rows)
    requested, revoked = rows[1], rows[-1]
    assert (requested.org, requested.why) == ("bureau", "credit-risk-model")
    assert (revoked.org, revoked.call, revoked.why) == ("bank", "grants.revoke", "consent withdrawn")
    assert revoked.time == START_MS + revoked.height * MINUTE_MS


async def test_with_a_genesis_every_row_is_proved_and_none_is_missing(story: Any) -> None:
    plain = await rows_of(story.source, "dataset:bank/credit")
    assert await rows_of(story.source, "dataset:bank/credit", genesis=story.genesis) == plain
    filters = Filters(first=plain[1].height, last=plain[-2].height)
    assert await rows_of(story.source, "dataset:bank/credit", filters, genesis=story.genesis) == plain[1:-1]


async def test_height_zero_and_refused_attempts_show_too(story: Any) -> None:
    assert (await rows_of(story.source, "org:regulator"))[0].org == "genesis"
    refused = [row for row in await rows_of(story.source, "org:bureau") if row.event == "grants.Refused"]
    assert [(row.org, row.why) for row in refused] == [("bureau", "GRANT_EXISTS")]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(kinds=frozenset({"grantrevoked"})), DATASET_EVENTS[6:]),
        (Filters(kinds=frozenset({"datasets.datasetsuspended"})), DATASET_EVENTS[4:5]),
        (Filters(orgs=frozenset({"bureau"})), ["grants.GrantRequested"]),
        (Filters(since=START_MS + 14 * MINUTE_MS), DATASET_EVENTS[4:]),
        (Filters(until=START_MS + 2 * MINUTE_MS), DATASET_EVENTS[:1]),
        (Filters(last=2), DATASET_EVENTS[:1]),
    ],
    ids=["event", "contract and event", "party", "since", "until", "height"],
)
async def test_filters_by_time_kind_and_party(story: Any, filters: Filters, expected: list[str]) -> None:
    rows = await rows_of(story.source, "dataset:bank/credit", filters)
    assert [row.event for row in rows if filters.orgs == frozenset() or row.org in filters.orgs] == expected


async def test_an_unknown_subject_is_named(story: Any) -> None:
    with pytest.raises(SubjectUnknown, match="dataset:nothing"):
        await rows_of(story.source, "dataset:nothing")


@pytest.mark.parametrize("proved", [True, False], ids=["proved", "the node's word"])
async def test_a_height_above_the_newest_certified_one_is_named_with_it(story: Any, proved: bool) -> None:
    """A height too high was said to be a first one above the last, of heights that nobody had asked for."""
    genesis = story.genesis if proved else None
    top = story.ledger.certified_height
    for filters, option in ((Filters(last=top + 1), "--to"), (Filters(first=top + 1), "--from")):
        with pytest.raises(UnknownHeight, match=rf"{option} {top + 1}: the newest certified height is {top}"):
            await rows_of(story.source, "dataset:bank/credit", filters, genesis=genesis)
    with pytest.raises(LimitError, match="--from 3: above --to 2"):
        await rows_of(story.source, "dataset:bank/credit", Filters(first=3, last=2), genesis=genesis)


class Hiding(LedgerSource):
    """A node that leaves an entry out."""

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        true = await super().history(subject, first, last)
        return dataclasses.replace(true, entries=true.entries[1:])


class Swapping(LedgerSource):
    """A node that shows another transaction than the one asked for."""

    async def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        other = transaction_id(self._queries.transactions(3)[0].body)
        assert other != tx_id
        return self._prover.transaction(other)


async def test_a_lying_node_is_caught(story: Any) -> None:
    genesis = story.genesis
    with pytest.raises(ProofInvalid, match="missing"):
        await rows_of(Hiding(story.ledger.read, story.ledger.prove), "dataset:bank/credit", genesis=genesis)
    with pytest.raises(ProofInvalid, match="another one in its place"):
        await rows_of(Swapping(story.ledger.read, story.ledger.prove), "dataset:bank/credit")
    with pytest.raises(ProofInvalid):
        await rows_of(story.source, "dataset:bank/credit", genesis=toy_genesis())


FORGER = """
GrantRevoked = Event(grant=subject, by=subject, reason=str)

@export
def forge():
    GrantRevoked(grant="grant:bureau/g1", by="org:regulator", reason="court order")
"""


async def test_what_another_contract_says_of_a_subject_is_marked_as_foreign(make_story: Any) -> None:
    told = make_story({"forger": FORGER})
    told.tell()
    told.send("registry", "forger.forge")
    rows = await rows_of(told.source, "grant:bureau/g1")
    assert [row.event for row in rows if row.foreign] == ["forger.GrantRevoked"]
    assert (rows[-1].org, rows[-1].fields["by"], rows[-1].foreign) == ("registry", "org:regulator", True)
    (line,) = [line for line in text_lines(rows) if "forger" in line]
    assert "registry       FOREIGN forger.GrantRevoked" in line
    assert [row["foreign"] for row in csv.DictReader(io.StringIO(csv_text(rows, True)))][-1] == "FOREIGN"
    assert json_row(rows[-1], True)["foreign"] is True
    data = await build_package(told.source, told.genesis, "grant:bureau/g1")
    report = verify_bytes(data, told.genesis)
    assert report.ok
    assert "FOREIGN forger.GrantRevoked" in report.text
    assert report.text.count("FOREIGN") == 3, "the first page, the event, and what a package cannot prove"
    entry = told.ledger.read.entries(subject="grant:bureau/g1", limit=100).entries[-1]
    assert entry_json(entry)["foreign"] == ["grant:bureau/g1", "org:regulator"]
    receipt = told.ledger.read.receipts(entry.height)[0]
    assert receipt_json(receipt)["events"][0]["foreign"] == ["grant:bureau/g1", "org:regulator"]


async def test_nothing_that_the_ledger_s_own_contracts_say_is_foreign(story: Any) -> None:
    for subject in ("dataset:bank/credit", "grant:bureau/g1", "org:bank", "org:bureau", "contract:policy"):
        assert not [row.event for row in await rows_of(story.source, subject) if row.foreign]


def make_row(**over: Any) -> TrailRow:
    row = TrailRow(
        7, START_MS, "bank", "ab", "c.m", "c.E", "why", False, {"by": "org:bank"}, ("org:bank",), "cd"
    )
    return dataclasses.replace(row, **over)


def test_csv_has_a_heading_and_runs_no_formula() -> None:
    text = csv_text([make_row(why='=HYPERLINK("x")'), make_row(why='comma, "quote"\nline')], False)
    table = list(csv.reader(io.StringIO(text)))
    assert tuple(table[0]) == COLUMNS
    assert table[1][COLUMNS.index("why")].startswith("'=")
    assert table[2][COLUMNS.index("why")] == 'comma, "quote"\nline'


def test_json_rows_carry_time_as_number_and_text() -> None:
    row = json.loads(json.dumps(json_row(make_row(), True)))
    assert (row["time"], row["time_utc"]) == (START_MS, "2023-11-14 22:13:20.000")


def test_text_is_safe_to_print() -> None:
    lines = list(
        text_lines([make_row(why="\x1b[2Jgone", fields={"note": "a\nb", "hash": {"$bytes": "ff" * 32}})])
    )
    assert all(line.isprintable() for line in lines)
    assert "hash=ffffffffffffffff…" in lines[1]
    assert len(shown("x" * 10_000)) <= 160
    assert utc(2**63) == f"{2**63} ms"


class FakeClient:
    """Answers RPC methods from a ledger, in the shapes of `chain.api.methods`."""

    url = "http://127.0.0.1:1"

    def __init__(self, story: Any) -> None:
        self.proofs = NodeProofs(self)
        self._read, self._prove = story.ledger.read, story.ledger.prove
        self._top = story.ledger.certified_height
        self._story = story
        self.parts = 0
        self.signer, self.clock, self.states = "bank-node", START_MS, self._top
        """Whose node it is, what its clock shows, and the height that it states."""

    async def page(self, path: str) -> dict[str, Any]:
        assert path == "/head"
        header = self._read.header(min(self.states, self._top))
        chain_id = self._story.genesis.chain_id
        key = toy_key(self.signer)
        return head_to_json(sign_head(key, chain_id, self.states, header_hash(header), self.clock))

    async def request(self, rpc_method: str, **params: Any) -> Any:
        answer: Callable[..., Any] = getattr(self, f"_{rpc_method}")
        return answer(**params)

    def _getBlockNumber(self) -> int:
        return int(self._top)

    def _getHeader(self, height: int) -> Any:
        return {"proof": encode(self._prove.header(height)).hex()}

    def _getEvents(self, subject: str, fromHeight: int, toHeight: int, limit: int, after: str | None) -> Any:
        cursor = None if after is None else bytes.fromhex(after)
        page = self._read.entries(
            subject=subject, first=fromHeight, last=toHeight, limit=min(limit, 3), after=cursor
        )
        raw = [{"raw": encode(entry).hex()} for entry in page.entries]
        return {"entries": raw, "next": None if page.next is None else page.next.hex()}

    def _getSetChanges(self, aboveHeight: int) -> Any:
        return [{"proof": encode(change).hex()} for change in self._prove.set_changes(aboveHeight)]

    def _getHistory(self, subject: str, fromHeight: int, toHeight: int) -> Any:
        part = self._prove.history(subject, fromHeight, toHeight, max_bytes=600)
        self.parts += 1
        return {"height": part.last, "proof": encode(part).hex()}

    def _getTransaction(self, id: str, withProof: bool) -> Any:  # noqa: A002
        assert withProof
        return {"proof": encode(self._prove.transaction(bytes.fromhex(id))).hex()}

    def _getTransactionReceipt(self, id: str, withProof: bool) -> Any:  # noqa: A002
        assert withProof
        return {"proof": encode(self._prove.receipt(bytes.fromhex(id))).hex()}

    def _getState(self, contract: str, height: int, withProof: bool, **at: Any) -> Any:
        assert withProof
        if "var" in at:
            return {"proof": encode(self._prove.state(contract, var_key(at["var"]), height)).hex()}
        map, key = at["map"], at["key"]  # noqa: A001
        place = tuple(from_json(key)) if isinstance(key, list) else from_json(key)
        return {"proof": encode(self._prove.state(contract, map_key(map, place), height)).hex()}


async def test_a_node_asked_by_rpc_gives_the_same_trail_page_by_page(story: Any) -> None:
    direct = await rows_of(story.source, "org:bank")
    assert await rows_of(NodeProofs(FakeClient(story)), "org:bank") == direct
    client = FakeClient(story)
    assert await rows_of(NodeProofs(client), "org:bank", genesis=story.genesis) == direct
    assert client.parts > 1


@pytest.mark.parametrize(
    "answer", [None, 7, {}, {"proof": "zz"}, {"proof": "00"}, {"entries": [{}]}, {"entries": 3}]
)
async def test_rubbish_from_a_node_is_a_declared_error(answer: Any) -> None:
    class Rubbish:
        url = "http://127.0.0.1:1"

        async def request(self, rpc_method: str, **params: Any) -> Any:
            del rpc_method, params
            return answer

    source = NodeProofs(Rubbish())
    for ask in (source.header_proof(1), source.entries("org:x", 0, 1, None), source.history("org:x", 0, 1)):
        with pytest.raises(BadAnswer, match=r"127\.0\.0\.1:1: its answer to get"):
            await ask


@pytest.fixture
def node(story: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Let the commands talk to the story's ledger; return the options that name it."""

    class Opened(AbstractContextManager[Any]):
        async def __aenter__(self) -> FakeClient:
            return FakeClient(story)

        async def __aexit__(self, *_: object) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("chain.client.options.Session.client", lambda _: Opened())
    save_genesis(tmp_path / "genesis.json", story.genesis)
    monkeypatch.chdir(tmp_path)
    return ["--node", "http://nowhere:1", "--genesis", "genesis.json"]


def invoke(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.audit, list(args), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands_show_export_and_verify(node: list[str]) -> None:
    text = invoke("trail", "dataset:bank/credit", *node)
    assert text.startswith(HEADING)
    assert "consent withdrawn" in text
    assert "7 events (each proved, none missing)" in text
    rows = json.loads(
        invoke("trail", "dataset:bank/credit", *node, "--format", "json", "--kind", "GrantRevoked")
    )
    assert [row["org"] for row in rows["rows"]] == ["bank"]
    assert all(row["proved"] for row in rows["rows"])
    assert "7 events, complete up to" in invoke("export", "dataset:bank/credit", "-o", "credit.audit", *node)
    assert "every proof holds" in invoke("verify", "credit.audit", "--genesis", "genesis.json")
    assert "What it cannot prove" in invoke("show", "credit.audit", "--genesis", "genesis.json")
    assert "never overwritten" in invoke(
        "export", "dataset:bank/credit", "-o", "credit.audit", *node, code=74
    )


def test_a_filter_that_leaves_nothing_says_what_it_looked_for_and_among_how_many(node: list[str]) -> None:
    """A name that was typed wrongly read like a proof that nothing had happened."""
    said = invoke("trail", "dataset:bank/credit", *node, "--kind", "Nix")
    assert "no event of kind nix among 7 events (each proved, none missing)" in said
    said = invoke("trail", "dataset:bank/credit", *node, "--org", "nobody", "--to", "4")
    assert "no event that nobody did or is named in among" in said
    said = invoke("trail", "dataset:bank/credit", *node, "--kind", "GrantRevoked")
    assert "\n1 event (each proved, none missing)" in said


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("name", ["nope.audit", "/dev/zero"])
def test_a_package_that_is_not_there_does_not_look_like_damaged_evidence(name: str) -> None:
    """A typing error was `package_damaged`, with the status of a proof that broke."""
    said = invoke("verify", name, "--genesis", "genesis.json", code=Exit.IO)
    assert f"error [file]: {name}: cannot be read" in said


def test_an_export_that_the_disk_does_not_take_leaves_nothing_that_passes_for_evidence(
    node: list[str],
) -> None:
    """An empty file stayed, and the next export took it for evidence that is never overwritten."""
    with full_disk():
        said = invoke("export", "dataset:bank/credit", "-o", "credit.audit", *node, code=Exit.IO)
    assert "error [file]: credit.audit: cannot be written" in said
    assert sorted(Path().iterdir()) == [Path("genesis.json")]
    invoke("export", "dataset:bank/credit", "-o", "credit.audit", *node)
    missing = invoke("export", "dataset:bank/credit", "-o", "no/credit.audit", *node, code=Exit.IO)
    assert "error [file]: no/credit.audit: cannot be written (No such file" in missing


def test_a_range_without_an_event_is_said_to_have_none(node: list[str]) -> None:
    """ "Every proof holds" alone sounded as if what was looked for had been found."""
    words = ("export", "dataset:bank/credit", "-o", "none.audit", "--from", "3", "--to", "3", *node)
    assert "heights 3..3: no event of these heights, complete up to" in invoke(*words)
    said = invoke("verify", "none.audit", "--genesis", "genesis.json")
    assert "every proof holds, and that the subject has no event at these heights is proved" in said
    shown = json.loads(invoke("verify", "none.audit", "--genesis", "genesis.json", "--json"))
    assert (shown["ok"], shown["events"]) == (True, 0)


def test_one_changed_byte_makes_verify_fail_and_say_where(node: list[str]) -> None:
    invoke("export", "dataset:bank/credit", "-o", "credit.audit", *node)
    data = bytearray(Path("credit.audit").read_bytes())
    data[len(data) // 2] ^= 1
    Path("changed.audit").write_bytes(data)
    verify = ("verify", "changed.audit", "--genesis", "genesis.json")
    output = invoke(*verify, code=Exit.IO)
    assert "UNREADABLE" in output
    assert "its bytes do not have the hash" in output
    shown_json = json.loads(invoke(*verify, "--json", code=Exit.IO))
    assert (shown_json["ok"], shown_json["verdict"]) == (False, "unreadable")
    assert shown_json["failures"][0]["part"] == "file"
    Path("forged.audit").write_bytes(data[:-32] + sha256(data[:-32]).digest())
    assert "NOT VALID" in invoke("verify", "forged.audit", "--genesis", "genesis.json", code=Exit.DAMAGED)
    save_genesis(Path("other.json"), toy_genesis())
    said = invoke("verify", "credit.audit", "--genesis", "other.json", code=6)
    assert "OF ANOTHER CHAIN" in said


def test_times_and_heights_both_bound_a_trail(node: list[str]) -> None:
    day = utc(START_MS)[:10]
    assert "7 events" in invoke("trail", "dataset:bank/credit", *node, "--from", day, "--to", day)
    assert "1 event (" in invoke("trail", "dataset:bank/credit", *node, "--to", "2")
    assert "no event of that time" in invoke(
        "trail", "dataset:bank/credit", *node, "--to", "2020-01-01T00:00"
    )
    assert "expected a height" in invoke("trail", "dataset:bank/credit", *node, "--from", "soon", code=2)


def test_an_export_needs_a_genesis(node: list[str]) -> None:
    assert "--genesis" in invoke(
        "export", "dataset:bank/credit", "-o", "x.audit", *node[:2], code=Exit.CONFIG
    )


def test_a_height_of_thousands_of_digits_is_refused_like_any_other_word() -> None:
    with pytest.raises(click.BadParameter, match="expected a height, or a time"):
        _moment("--to", "9" * 5_000, last=True)
    assert _moment("--to", "71", last=True) == (71, None)
