"""An answer says how far it reaches, and how fresh that is; a node that holds back is found out."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.audit import cli, heads
from chain.audit.freshness import Freshness, judge_statements, stale
from chain.audit.heads import choose_quorum, gather_heads
from chain.audit.package import build_package
from chain.audit.records import PackageParts
from chain.audit.trail import Filters, SubjectUnknown, read_trail
from chain.audit.verify import verify_bytes
from chain.client.answers import BadAnswer
from chain.ledger.block import Header
from chain.ledger.genesis import save_genesis
from chain.ledger.proof.proofs import HeaderProof, ProvedState, ProvedTransaction
from chain.ledger.testing import START_MS, toy_key
from chain.primitives.errors import ProofInvalid
from chain.primitives.headstatement import HeadStatement, head_to_json, sign_head
from chain.primitives.values import Value
from tests.unit.chain.audit.kit import forged, said_of
from tests.unit.chain.audit.ledgersource import LedgerSource
from tests.unit.chain.audit.test_trail import FakeClient

VALIDATORS = ("bank-node", "bureau-node", "registry-node", "regulator-node")
SUBJECT = "dataset:bank/credit"


def states(story: Any, *names: str, height: int | None = None, time: int = START_MS) -> list[HeadStatement]:
    top = story.ledger.certified_height if height is None else height
    return [sign_head(toy_key(name), story.genesis.chain_id, top, bytes(32), time) for name in names]


# --- what statements come to


def test_a_quorum_of_validators_tells_the_height_and_the_earliest_of_their_times(story: Any) -> None:
    keys = story.genesis.validator_keys
    said = [*states(story, *VALIDATORS[:2], time=START_MS + 5), *states(story, VALIDATORS[2], height=3)]
    chosen = choose_quorum(said, keys)
    assert [one.node for one in chosen] == sorted(one.node for one in said)
    fresh = judge_statements(chosen, story.genesis.chain_id, keys)
    assert fresh == Freshness(story.ledger.certified_height, START_MS)


def test_strangers_and_too_few_are_no_quorum_and_of_more_the_freshest_count(story: Any) -> None:
    keys = story.genesis.validator_keys
    assert choose_quorum(states(story, *VALIDATORS[:2], "stranger", VALIDATORS[0]), keys) == []
    said = [*states(story, VALIDATORS[0]), *states(story, *VALIDATORS, time=START_MS + 9)]
    said += states(story, VALIDATORS[1], time=START_MS + 1)
    assert {one.time for one in choose_quorum(said, keys)} == {START_MS + 9}


@pytest.mark.parametrize(
    ("fresh", "max_age", "said"),
    [
        (None, None, ""),
        (None, 60, "no quorum of validators"),
        (Freshness(7, START_MS), 60, ""),
        (Freshness(7, START_MS - 60_000), 60, ""),
        (Freshness(7, START_MS - 60_001), 60, "60 s away from now, at most 60 s"),
        (Freshness(7, START_MS + 61_000), 60, "61 s away from now"),
        (Freshness(8, START_MS), 60, "it reaches height 7, and the chain had gone on to height 8"),
    ],
)
def test_what_is_not_known_to_be_fresh_enough_is_stale(
    fresh: Freshness | None, max_age: int | None, said: str
) -> None:
    found = stale(fresh, 7, START_MS, max_age)
    assert said in found
    assert bool(found) == bool(said)


async def test_nodes_that_say_nothing_fit_are_named_and_count_for_nothing(story: Any) -> None:
    class Page:
        def __init__(self, url: str, said: Any) -> None:
            self.url, self._said = url, said

        async def page(self, path: str) -> Any:
            assert path == "/head"
            if isinstance(self._said, Exception):
                raise self._said
            return self._said

    (true,), (other,) = states(story, "bank-node"), states(story, "bureau-node")
    nodes = [
        Page("http://a", head_to_json(true)),
        Page("http://b", {"height": -1}),
        Page("http://c", head_to_json(dataclasses.replace(other, height=1))),
        Page("http://d", head_to_json(dataclasses.replace(other, chain_id=bytes(32)))),
        Page("http://e", BadAnswer("http://e: no JSON")),
    ]
    said, notes = await gather_heads(nodes, story.genesis.chain_id)
    assert said == [true]
    reasons = ("no head statement", "does not hold", "of another chain", "no JSON")
    assert all(
        f"http://{name}" in note and why in note
        for name, note, why in zip("bcde", notes, reasons, strict=True)
    )


# --- packages


def test_a_package_holds_the_statements_of_a_quorum_and_says_as_of_when_it_is_whole(story: Any) -> None:
    said = states(story, *VALIDATORS, time=START_MS + 9_000_000)
    data = asyncio.run(build_package(story.source, story.genesis, SUBJECT, heads=said))
    report = verify_bytes(data, story.genesis)
    report.require()
    assert report.freshness == Freshness(story.ledger.certified_height, START_MS + 9_000_000)
    plain = verify_bytes(asyncio.run(build_package(story.source, story.genesis, SUBJECT)), story.genesis)
    assert plain.freshness is None
    assert report.contents is not None
    assert plain.contents is not None
    assert report.contents.content_hash == plain.contents.content_hash, "statements are evidence"


def test_forged_statements_break_a_package(story: Any) -> None:
    data = asyncio.run(build_package(story.source, story.genesis, SUBJECT, heads=states(story, *VALIDATORS)))

    def younger(parts: PackageParts) -> None:
        parts.statements[0] = dataclasses.replace(parts.statements[0], time=START_MS + 1)

    def fewer(parts: PackageParts) -> None:
        parts.statements.pop()

    def twice(parts: PackageParts) -> None:
        parts.statements[1] = parts.statements[0]

    for forge in (younger, fewer, twice):
        assert any(
            "statements: head statements: " in one for one in said_of(forged(data, forge), story.genesis)
        )


# --- nodes that lie about times and heights


class Swapping(LedgerSource):
    """A node that says of each thing what is true at another height."""

    def __init__(self, story: Any, what: str) -> None:
        super().__init__(story.ledger.read, story.ledger.prove)
        self._what = what

    async def header_proof(self, height: int) -> HeaderProof:
        proof = await super().header_proof(height - 1 if self._what == "reach" else height)
        if self._what == "time" and height == 0:
            header: Header = dataclasses.replace(proof.headers[0], time=1)
            return dataclasses.replace(proof, headers=(header, *proof.headers[1:]))
        return proof

    async def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        proved = await super().transaction(tx_id)
        if self._what == "place" and proved is not None:
            other = self._prover.header(proved.header.headers[0].height + 1)
            return dataclasses.replace(proved, header=other)
        return proved

    async def state(self, contract: str, map_name: str, key: Value, height: int) -> ProvedState:
        return await super().state(contract, map_name, key, height + (self._what == "keys"))


@pytest.mark.parametrize(
    ("what", "said"),
    [("reach", "in its place"), ("keys", "of another height"), ("place", "Merkle path|its place at height")],
)
async def test_what_a_node_proves_of_another_height_is_not_taken(story: Any, what: str, said: str) -> None:
    with pytest.raises(ProofInvalid, match=said):
        await read_trail(Swapping(story, what), SUBJECT, Filters(last=15), story.genesis)


async def test_the_time_of_height_zero_is_that_of_the_genesis(story: Any) -> None:
    """A node dated what the founders did to 1970, under the words "each proved"."""
    found = await read_trail(Swapping(story, "time"), "org:bank", genesis=story.genesis)
    assert found.rows[0].time == story.genesis.time


async def test_that_no_event_names_a_subject_is_said_of_a_height_and_a_time(story: Any) -> None:
    top = story.ledger.certified_height
    with pytest.raises(
        SubjectUnknown, match=rf"no event up to height {top}, 2023-.* UTC, names it \(that is proved"
    ):
        await read_trail(story.source, "dataset:no/thing", genesis=story.genesis)
    with pytest.raises(SubjectUnknown, match="as the node says"):
        await read_trail(story.source, "dataset:no/thing")


# --- commands


class Town:
    """Nodes that commands talk to, by address; their clocks show the same."""

    def __init__(self, story: Any) -> None:
        self.story, self.clock = story, START_MS + 10_000_000
        self.own = self.node("bank-node")
        self.others = {f"http://{name}:1": self.node(name) for name in VALIDATORS[1:]}

    def node(self, name: str) -> FakeClient:
        made = FakeClient(self.story)
        made.url, made.signer, made.clock = f"http://{name}:1", name, self.clock
        return made

    def opened(self, node: FakeClient) -> Any:
        class Opened(AbstractContextManager[Any]):
            async def __aenter__(self) -> FakeClient:
                return node

            async def __aexit__(self, *_: object) -> None: ...

            def __exit__(self, *_: object) -> None: ...

        return Opened()


@pytest.fixture
def town(story: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Town:
    made = Town(story)
    monkeypatch.setattr("chain.client.options.Session.client", lambda _: made.opened(made.own))
    monkeypatch.setattr(cli, "Client", lambda url, *_, **__: made.opened(made.others[url]))
    monkeypatch.setattr(cli, "_now", lambda: made.clock + 5_000)
    monkeypatch.setattr(heads, "CATCH_UP_S", 0)
    save_genesis(tmp_path / "genesis.json", story.genesis)
    monkeypatch.chdir(tmp_path)
    return made


NODE = ("--node", "http://bank-node:1", "--genesis", "genesis.json")
HEADS = tuple([word for name in VALIDATORS[1:3] for word in ("--head", f"http://{name}:1")])


def invoke(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.audit, list(words), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_a_trail_says_how_far_it_reaches_and_how_fresh_that_is(town: Town) -> None:
    said = invoke("trail", SUBJECT, *NODE, *HEADS, "--max-age", "60")
    assert "complete from height 0 up to height 17, 2023-11-14 22:30:20.000 UTC, of chain " in said
    assert town.story.genesis.chain_id.hex() in said
    assert "at 2023-11-15 01:00:00.000 UTC a quorum of the validators knew of no height above 17" in said
    told = json.loads(invoke("trail", SUBJECT, *NODE, *HEADS, "--json"))
    assert (told["to"], told["proved"], told["newest"], told["stale"]) == (17, True, 17, "")
    assert told["chain"] == town.story.genesis.chain_id.hex()
    assert all(row["proved"] for row in told["rows"])
    csv = invoke("trail", SUBJECT, *NODE, "--format", "csv").splitlines()
    assert csv[0].endswith(",proved")
    assert csv[1].endswith(",yes")


@pytest.mark.usefixtures("town")
def test_one_node_alone_does_not_tell_how_fresh_it_is() -> None:
    said = invoke("trail", SUBJECT, *NODE)
    assert "not known how fresh: 1 of 4 validators said how far the chain is, 3 would tell" in said
    assert "STALE: no quorum" in invoke("trail", SUBJECT, *NODE, "--max-age", "60", code=cli.STALE)


def test_a_node_that_holds_the_last_heights_back_is_found_out(town: Town) -> None:
    """A node that answered an older height hid a revocation under "each proved, none missing"."""
    town.own._top = town.own.states = 15
    said = invoke("trail", SUBJECT, *NODE, *HEADS, "--max-age", "60", code=cli.STALE)
    assert "GrantRevoked" not in said
    assert "STALE: it reaches height 15, and the chain had gone on to height 17" in said
    assert ", so there is more than is shown" in invoke("trail", SUBJECT, *NODE, *HEADS)
    words = ("export", SUBJECT, "-o", "a.audit", *NODE, *HEADS, "--max-age", "60")
    assert "nothing was written" in invoke(*words, code=cli.STALE)
    assert not Path("a.audit").exists()


def test_old_statements_are_stale(town: Town) -> None:
    town.clock += 120_000
    said = invoke("trail", SUBJECT, *NODE, *HEADS, "--max-age", "60", code=cli.STALE)
    assert "125 s away from now, at most 60 s are allowed" in said


@pytest.mark.usefixtures("town")
def test_without_a_genesis_nothing_is_printed_under_the_word_proved() -> None:
    said = invoke("trail", SUBJECT, "--node", "http://bank-node:1")
    assert "as the node says; give --genesis for proof" in said
    assert " proved" not in said
    told = json.loads(invoke("trail", SUBJECT, "--node", "http://bank-node:1", "--json"))
    assert (told["proved"], told["chain"]) == (False, None)
    assert not any(row["proved"] for row in told["rows"])


@pytest.mark.usefixtures("town")
def test_verify_says_what_it_was_not_asked_and_checks_what_it_was() -> None:
    invoke("export", SUBJECT, "-o", "a.audit", *NODE, *HEADS, "--max-age", "60")
    words = ("verify", "a.audit", "--genesis", "genesis.json")
    said = invoke(*words)
    assert "at 2023-11-15 01:00:00.000 UTC it held all there was" in said
    for option in ("--expect-subject", "--from", "--to, --min-height", "--max-age"):
        assert f"({option})" in said
    asked = ("--expect-subject", SUBJECT, "--from", "0", "--to", "17", "--max-age", "60")
    assert "not asked" not in invoke(*words, *asked)
    for more, code, why in (
        (("--expect-subject", "dataset:bank/other"), cli.INCOMPLETE, "it is about dataset:bank/credit"),
        (("--min-height", "18"), cli.INCOMPLETE, "it ends with height 17"),
        (("--to", "2023-11-15"), cli.INCOMPLETE, "2023-11-15 23:59:59.999 UTC was asked for"),
        (("--to", "2023-11-14T22:00"), 0, ""),
        (("--max-age", "4"), cli.STALE, "5 s away from now"),
    ):
        assert why in invoke(*words, *more, code=code)


@pytest.mark.usefixtures("town")
def test_a_package_that_begins_late_is_not_what_was_asked_for() -> None:
    invoke("export", SUBJECT, "-o", "late.audit", *NODE, "--from", "9", "--to", "15")
    words = ("verify", "late.audit", "--genesis", "genesis.json")
    assert "it begins at height 9, 3 was asked for" in invoke(*words, "--from", "3", code=cli.INCOMPLETE)
    assert "it begins at height 9, after" in invoke(*words, "--from", "2023-11-14T22:14", code=cli.INCOMPLETE)
    invoke(*words, "--from", "9")
    told = json.loads(invoke(*words, "--json", "--min-height", "16", code=cli.INCOMPLETE))
    assert told["lacking"].startswith("it ends with height 15")
    assert told["ok"]
