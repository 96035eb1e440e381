"""Commands about programs: what is refused before it is sent, and what members read before they vote."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from chain.cli.program import _gas_limit
from chain.client.client import Client
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import save_key
from contracts.pages.facts import whole_facts
from contracts.pages.limits import Gas
from contracts.pages.page import page_hash

PAGE = '''"""How many both have, for the bank."""


def run(loans, people, *, least=5):
    release(count(join(loans, people)), to="bank", exact=True, name="both")
'''
HASH = page_hash(PAGE)
OPEN = {"seq": 7, "id": "both", "by": "bank", "page": HASH, "hash": b"\1", "votes": ["bank"]}
PROGRAM = {"id": "both", "by": "bank", "page": HASH, "status": "active", "height": 9, "approved_by": ["bank"]}
READY = {"counted": ["bank"], "missing": ["bureau"], "needed": 2, "passed": False, "due": False, "expires": 9}
STATE: dict[str, Any] = {
    "proposals": OPEN,
    "programs": PROGRAM,
    "facts": whole_facts(PAGE, [], {}, Gas(10**8)),
    "pages": PAGE,
}


def run(*words: str) -> Result:
    done = CliRunner().invoke(
        main, ["program", *words, "--node", "http://127.0.0.1:1"], env={"ASSENT_AS": ""}
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A node that answers with one program and one open proposal."""
    held = dict(STATE)

    async def state(_: Client, __: str, name: str, *___: Any, **____: Any) -> Any:
        return held[name]

    async def view(*_: Any, **__: Any) -> Any:
        return READY

    async def entries(_: Client, __: str, name: str) -> AsyncIterator[tuple[Any, Any]]:
        yield 1, held[name]

    async def request(*_: Any, **__: Any) -> Any:
        return {"role": "validator", "height": 9, "stall": "", "peers": 3}

    for name, answer in {"state": state, "view": view, "entries": entries, "request": request}.items():
        monkeypatch.setattr(Client, name, answer)
    return held


def test_a_file_that_is_no_page_is_not_sent_and_every_reason_is_told(tmp_path: Path) -> None:
    file = tmp_path / "page.py"
    file.write_text(PAGE.replace("count(", "cuont("))
    done = run("propose", "both", str(file))
    assert done.exit_code != 0
    said = " ".join(done.output.split())
    assert f"{file} is not a page, and was not sent" in said
    assert "UNKNOWN_NAME: nothing is called cuont; instead: count" in said
    assert "cannot be read" in run("propose", "both", str(tmp_path / "none.py")).output


def test_a_page_that_takes_too_much_to_trace_is_not_sent_and_told_so(tmp_path: Path) -> None:
    file = tmp_path / "page.py"
    turns = "".join(f"    {'    ' * depth}for x{depth} in range(1000):\n" for depth in range(3))
    file.write_text(PAGE.replace("    release", f"{turns}                least + 1\n    release", 1))
    said = " ".join(run("propose", "both", str(file)).output.split())
    assert "tracing it takes more than 30,000,000 units of gas" in said


WIDE = '"""Sums."""\n\n\ndef run(a):\n' + "".join(
    f'    release(sum(a.c{column}), to="bank", exact=True, name="s{column}")\n' for column in range(64)
)


def test_a_page_that_no_transaction_can_carry_is_not_sent_and_told_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command asked for more gas than the chain allows, and the node's refusal named no page."""
    file = tmp_path / "page.py"
    file.write_text(WIDE)

    async def variable(*_: Any, **__: Any) -> Any:
        return {"tx_gas_max": 200_000}

    async def chain_id(_: Client) -> bytes:
        return bytes(32)

    monkeypatch.setattr(Client, "variable", variable)
    monkeypatch.setattr(Client, "chain_id", chain_id)
    save_key(tmp_path / "key", PrivateKey(bytes(32)))
    said = " ".join(run("propose", "both", str(file), "--key", str(tmp_path / "key")).output.split())
    assert f"{file} was not sent: deriving what follows of it takes" in said
    assert "a transaction may take 200,000 (tx_gas_max" in said


async def test_a_proposal_asks_for_what_its_page_takes_and_never_for_more_than_the_chain_allows() -> None:
    class Chain:
        async def variable(self, *_: Any) -> Any:
            return {"tx_gas_max": 10_000_000}

    client: Any = Chain()
    assert await _gas_limit(client, 1_500_000, Path("page.py")) == 3_500_000
    assert await _gas_limit(client, 9_999_999, Path("page.py")) == 10_000_000


def test_a_check_says_what_a_proposal_takes_and_why_there_can_be_none(tmp_path: Path) -> None:
    file = tmp_path / "page.py"
    file.write_text(WIDE)
    said = CliRunner().invoke(main, ["program", "check", str(file), "--json"])
    assert 200_000 < json.loads(said.output)["proposal_gas"] < 1_000_000
    told = " ".join(CliRunner().invoke(main, ["program", "check", str(file)]).output.split())
    assert f"to propose it takes about {json.loads(said.output)['proposal_gas']:,} units of gas" in told
    file.write_text(
        '"""Sums."""\n\n\ndef run(a):\n'
        + "".join(
            f'    release(sum(a.c{column}), to="bank", exact=True, name="{"s" * 140}{column}")\n'
            for column in range(200)
        )
    )
    told = " ".join(CliRunner().invoke(main, ["program", "check", str(file)]).output.split())
    assert "with its defaults it cannot be proposed: " in told
    assert "facts of" in told


@pytest.mark.usefixtures("ledger")
def test_what_members_vote_on_is_shown_in_words() -> None:
    said = run("show", "7").output
    for part in (
        "both: 1 of 2 votes (bank); not yet: bureau",
        "says: How many both have, for the bank.",
        "parameter least: 5, unless a job says otherwise",
        "bank learns both: counts (1); over rows joined by loans.id, people.id",
        "cost under rep3:",
    ):
        assert part in said, said
    assert "both: active, 1 of 2 votes to retire it" in run("show", "both").output


@pytest.mark.usefixtures("ledger")
def test_the_page_itself_is_printed_as_it_stands() -> None:
    assert run("show", "both", "--page").output == PAGE
    found = json.loads(run("show", "both", "--json").output)
    assert found["source"] == PAGE
    assert found["facts"]["receivers"] == ["bank"]


def test_a_text_that_has_not_the_hash_of_the_page_is_not_shown(ledger: dict[str, Any]) -> None:
    ledger["pages"] = PAGE.replace("bank", "rival")
    said = run("show", "both", "--page").output
    assert "the ledger holds no text of this hash" in " ".join(said.split())
    assert "rival" not in said


@pytest.mark.usefixtures("ledger")
def test_programs_and_open_proposals_are_listed() -> None:
    said = run("list").output
    assert HASH.hex() in "".join(said.split())
    assert "open proposals" in said
    found = json.loads(run("list", "--json").output)
    assert [one["id"] for one in found["programs"]] == ["both"]
    assert found["proposals"][0]["readiness"]["needed"] == 2


def test_what_is_not_there_is_said_with_where_to_look(ledger: dict[str, Any]) -> None:
    ledger["programs"] = ledger["proposals"] = None
    assert "no program 'both'; see: assent program list" in run("show", "both").output
    assert "no open proposal 3; see: assent program list" in " ".join(run("show", "3").output.split())
