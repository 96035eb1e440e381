"""Golden audit packages: files that are never made again unless the format changes, and what they say.

`PYTHONPATH=. python tests/unit/chain/audit/test_golden.py` writes them anew.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.audit.closure import BY_EVENT, BY_SUBJECT, VARIABLES
from chain.audit.package import build_package, encode_package
from chain.audit.records import RECORDS, RecordKind, Stated
from chain.audit.text import utc
from chain.audit.verify import verify_bytes
from chain.ledger.block import entry_hash, header_hash, transaction_id
from chain.ledger.genesis import Genesis
from chain.ledger.state.node import state_key_hash
from chain.ledger.testing import toy_key
from chain.primitives.certificate import checkpoint_digest, quorum
from chain.primitives.codec import tag_of
from chain.primitives.headstatement import sign_head
from tests.unit.chain.audit.kit import parts_of, records_of

FOLDER = Path(__file__).parents[3] / "vectors" / "audit"
DOCUMENT = Path(__file__).parents[4] / "docs" / "audit-package.md"
TABLES = DOCUMENT.with_suffix(".json")
EXPECTED = FOLDER / "expected.json"


def goldens() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text())
    return found


def golden(name: str) -> bytes:
    return gzip.decompress((FOLDER / f"{name}.audit.gz").read_bytes())


def genesis_of(data: bytes) -> Genesis:
    found: Genesis = records_of(data)[1][1]
    return found


def said(data: bytes, genesis: Genesis) -> dict[str, Any]:
    """What a verifier says of a package, and some of the hashes on the way there."""
    report = verify_bytes(data, genesis)
    report.require()
    contents, parts = report.contents, parts_of(data)
    assert contents is not None
    height, proof = max(parts.headers.items())
    hashed = header_hash(proof.headers[0])
    found: dict[str, Any] = {
        "chain_id": genesis.chain_id.hex(),
        "subject": contents.subject,
        "from": contents.first,
        "to": contents.last,
        "events": len(contents.entries),
        "records": dict(sorted(_counts(data).items())),
        "content": contents.content_hash.hex(),
        "time_of_last": utc(contents.times[contents.last]),
        "last_header": {"height": height, "hash": hashed.hex()},
        "checkpoint_digest": checkpoint_digest(genesis.chain_id, height, hashed).hex(),
        "key_hash_of_log": state_key_hash("subjects", contents.subject.encode()).hex(),
    }
    if parts.transactions:
        found["first_transaction"] = transaction_id(parts.transactions[0].transaction.body).hex()
    if contents.entries:
        found["first_entry"] = entry_hash(contents.entries[0]).hex()
    if report.freshness is not None:
        found["fresh_at"], found["newest"] = report.freshness.as_of, report.freshness.newest
    return found


def _counts(data: bytes) -> dict[str, int]:
    kinds = [kind.name.lower() for kind, _ in records_of(data)]
    return {name: kinds.count(name) for name in dict.fromkeys(kinds)}


@pytest.mark.parametrize("name", sorted(goldens()) if EXPECTED.exists() else [])
def test_a_golden_package_says_what_it_always_said(name: str) -> None:
    data = golden(name)
    assert said(data, genesis_of(data)) == goldens()[name]
    assert encode_package(parts_of(data)) == data


def test_the_golden_packages_hold_every_kind_of_record() -> None:
    held = {kind for one in goldens().values() for kind in one["records"]}
    assert held == {kind.name.lower() for kind in RecordKind}


def tables() -> dict[str, Any]:
    """The tables of the specification, for programs."""
    made: dict[str, Any] = {"kinds": {}, "subjects": {}, "events": {}, "variables": sorted(VARIABLES)}
    for kind in RecordKind:
        cls = RECORDS[kind]
        fields = len(cls.__dataclass_fields__)
        made["kinds"][f"{kind:02x}"] = [kind.name.lower().replace("_", " "), tag_of(cls), fields]
    for of, target, _ in BY_SUBJECT:
        made["subjects"].setdefault(of, []).append(target)
    for name, target, key in BY_EVENT:
        made["events"].setdefault(name, []).append([target, list(key)])
    return made


def test_the_tables_for_programs_are_those_of_the_code() -> None:
    assert json.loads(TABLES.read_text()) == tables()


def rows(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = re.match(r"\| `([^`]+)` \| (.*) \|$", line)
        if found:
            yield found[1], found[2]


def test_the_document_has_the_same_tables() -> None:
    text = dict(rows(DOCUMENT.read_text()))
    for kind, (name, tag, fields) in tables()["kinds"].items():
        shown, _, record = text[kind].partition(" | ")
        assert (shown, re.match("`([^`]+)`", record)[1]) == (name, tag)  # type: ignore[index]
        listed = re.sub(r"\([^()]*\)", "", record.partition(": ")[2].replace("array of [", "("))
        assert tag in ("header", "genesis") or listed.count(",") + 1 == fields, (kind, listed)
    for kind, targets in tables()["subjects"].items():
        assert re.findall(r"`([a-z_]+\.[a-z_]+)`", text[kind]) == targets
    for name, found in tables()["events"].items():
        said = [
            f"`{target}` {key[0] if len(key) == 1 else '(' + ', '.join(key) + ')'}" for target, key in found
        ]
        assert text[name] == " · ".join(said)


# --- writing them


def stated(data: bytes, story: Any) -> bytes:
    """Return a package with head statements of a quorum, a minute after its last header."""
    parts = parts_of(data)
    height, proof = max(parts.headers.items())
    hashed, time = header_hash(proof.headers[0]), proof.headers[0].time + 60_000
    keys = sorted([toy_key(node.name) for node in story.genesis.validators], key=lambda key: key.public)
    made = [
        sign_head(key, story.genesis.chain_id, height, hashed, time + at)
        for at, key in enumerate(keys[: quorum(len(keys))])
    ]
    parts.statements = [
        Stated(one.node, one.height, one.header_hash, one.time, one.signature) for one in made
    ]
    return encode_package(parts)


def write() -> None:
    from tests.unit.chain.audit import test_acts, test_plans, test_sets, test_skips
    from tests.unit.chain.audit.conftest import Story

    def packed(story: Any, subject: str, *heights: int) -> bytes:
        return asyncio.run(build_package(story.source, story.genesis, subject, *heights))

    story = Story()
    story.tell()
    moved = test_sets.moved_story(Story)
    skipped = Story()
    skipped.send("bank", "orgs.add_key", roles=["steward"], **skipped.proved("before"))
    test_skips.skip_one(skipped)
    seen = test_acts.told()
    paged = test_plans.prepared(Story)
    job = test_plans.job_under_page(paged)
    made = {
        "dataset": packed(story, "dataset:bank/credit"),
        "grant-in-a-range": packed(story, "grant:bureau/g1", 9, 15),
        "nothing-happened": packed(story, "dataset:bank/credit", 3, 3),
        "contract": packed(story, "contract:policy"),
        "fresh": stated(packed(story, "grant:bureau/g1"), story),
        "three-validator-sets": packed(moved, "org:bank"),
        "skipped": packed(skipped, "org:bank"),
        "seen-before-the-range": packed(seen, test_acts.GRANT, *[seen.ledger.certified_height] * 2),
        "job-under-a-page": packed(paged, job),
    }
    FOLDER.mkdir(exist_ok=True)
    expected = {}
    for name, data in made.items():
        (FOLDER / f"{name}.audit.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        expected[name] = said(data, genesis_of(data))
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")
    TABLES.write_text(json.dumps(tables(), indent=1) + "\n")


if __name__ == "__main__":
    write()
