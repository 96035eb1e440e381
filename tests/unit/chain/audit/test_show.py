"""What `assent audit show` prints: a summary first, nothing cut, nothing that a page would run."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.audit import cli
from chain.audit.freshness import Freshness
from chain.audit.html import html_report
from chain.audit.records import Contents
from chain.audit.report import package_rows
from chain.audit.summary import first_page
from chain.audit.verify import verify_bytes
from chain.ledger.genesis import save_genesis
from chain.ledger.testing import START_MS
from chain.primitives.errors import Exit
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value, encode_value
from tests.unit.chain.audit.test_golden import genesis_of, golden
from tests.unit.chain.audit.test_trail import make_row


def contents_of(name: str) -> Contents:
    data = golden(name)
    found = verify_bytes(data, genesis_of(data)).contents
    assert found is not None
    return found


def page_of(contents: Contents, fresh: Freshness | None = None) -> dict[str, list[str]]:
    return dict(first_page(contents, package_rows(contents), fresh))


def test_the_first_page_says_who_may_use_what_for_what_and_who_approved() -> None:
    (said,) = page_of(contents_of("dataset"))["Who may use what, for what, and under whose approval"]
    assert said == (
        "Grant bureau/g1, revoked (consent withdrawn): bureau may use income (aggregate-only) of "
        "bank/credit, version 1, for credit-risk-model; legal basis: consent 2026-1; results may go to "
        "bureau; 0 of 2 runs used; approved by bank."
    )


def test_it_says_what_was_computed_and_to_whom_results_go() -> None:
    page = page_of(contents_of("job-under-a-page"))
    (said,) = page["What was computed, and to whom its results go"]
    assert (
        "proposed: asked by bank, program incomes, for risk; uses income (noisy), person (join) of bank/d"
        in said
    )
    assert "under grant bank/bank; income (noisy), person (join) of bureau/d" in said
    assert said.endswith("results for bank: not released; no certificate.")
    assert page["What was disputed"] == ["nothing in this package"]


def with_entry(contents: Contents, name: str, key: Value, value: Value) -> Contents:
    place = (contents.last, "jobs", map_key(name, key))
    return dataclasses.replace(contents, states=contents.states | {place: encode_value(value)})


def test_it_says_what_was_disputed_refused_and_released() -> None:
    contents = contents_of("job-under-a-page")
    job = contents.subject.removeprefix("job:")
    dispute = {"kind": "late", "by": "bank", "against": ["bureau"], "status": "upheld", "blamed": ["bureau"]}
    told = with_entry(contents, "disputes", (job, 1), dispute)
    told = with_entry(told, "certificates", job, {"body": {}})
    told = with_entry(told, "jobs", job, {"state": "certified", "initiator": "bank", "revealed_height": 9})
    refused = make_row(event="grants.Refused", why="QUOTA_EXHAUSTED", call="jobs.propose")
    page = dict(first_page(told, [refused], None))
    assert page["What was disputed"] == [
        f"Job and dispute {job} 1, upheld, blamed: bureau: late, by bank, against bureau."
    ]
    assert (
        "released at height 9; its certificate is in this package"
        in page["What was computed, and to whom its results go"][0]
    )
    assert page["What was refused"] == [
        "2023-11-14 22:13:20.000 UTC: bank called jobs.propose: QUOTA_EXHAUSTED."
    ]


def test_records_of_another_form_than_they_have_today_are_told_as_far_as_they_go() -> None:
    contents = contents_of("job-under-a-page")
    job = contents.subject.removeprefix("job:")
    for odd in ({}, {"inputs": 3}, {"inputs": [3, {}], "receivers": 7}, [1]):
        for name in ("specs", "jobs", "ends", "certificates", "disputes"):
            key: Value = (job, 1) if name == "disputes" else job
            assert page_of(with_entry(contents, name, key, odd))


@pytest.mark.parametrize(
    ("fresh", "said"),
    [
        (None, "Whether the chain held more when this was made is not known."),
        (Freshness(17, START_MS), "At 2023-11-14 22:13:20.000 UTC the chain held no more"),
        (Freshness(18, START_MS), "the chain had gone on to height 18"),
    ],
)
def test_it_says_how_fresh_it_is(fresh: Freshness | None, said: str) -> None:
    assert said in page_of(contents_of("dataset"), fresh)["In short"][-1]


class Seen(HTMLParser):
    """Notes tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.told = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.told += data


def test_html_is_one_file_without_scripts_whatever_a_member_wrote() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=y>\x1b[2J\u202e"
    row = make_row(why=evil, org=evil, fields={"note": evil}, foreign=True)
    page = html_report(evil, [(evil, [evil])], [row], evil)
    seen = Seen()
    seen.feed(page)
    assert not seen.tags & {"script", "img", "link", "iframe"}
    assert "<script>alert(1)</script>" in seen.told, "as text"
    assert all(char == "\n" or char.isprintable() for char in html.unescape(page))


@pytest.mark.parametrize("form", ["text", "json", "csv", "html"])
def test_a_package_is_shown_with_nothing_cut(form: str, tmp_path: Path) -> None:
    data = golden("dataset")
    save_genesis(tmp_path / "genesis.json", genesis_of(data))
    (tmp_path / "a").write_bytes(data)
    words = ["show", str(tmp_path / "a"), "--genesis", str(tmp_path / "genesis.json"), "--format", form]
    said = CliRunner().invoke(cli.audit, words, catch_exceptions=False).output
    told = html.unescape(said)
    (tx_id,) = {row.tx_id for row in package_rows(contents_of("dataset")) if row.event.endswith("Revoked")}
    assert "consent withdrawn" in told
    assert "…" not in told
    if form in ("json", "csv"):
        assert tx_id in told
    else:
        assert told.index("Who may use what") < told.index("What this package proves") < told.index("History")
        assert "return len(phase) > 2" in told, "sources of contracts"
    if form == "json":
        assert {"rows", "records", "content"} <= set(json.loads(said))
    (tmp_path / "a").write_bytes(data[:-1])
    broken = CliRunner().invoke(cli.audit, words, catch_exceptions=False)
    assert broken.exit_code == Exit.IO
    assert not re.search("consent withdrawn", broken.output)
