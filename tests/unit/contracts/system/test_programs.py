"""Programs are pages that members approve; what the ledger says of one follows from its text alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.values import encode_value
from contracts.pages.facts import brief_facts, whole_facts
from contracts.pages.faults import PageRefused
from contracts.pages.limits import FACTS_BYTES_MAX, Gas
from contracts.pages.page import page_hash, trace
from contracts.system import STANDARD, standard_pages
from tests.schemas import column

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

DAY_MS = 24 * 3_600_000
WEEK_MS = 7 * DAY_MS
PAGE = '''"""How many both have, and the mean age, for the bank."""


def run(loans, people, *, column="age"):
    rows = join(loans, people)
    release(count(rows), to="bank", exact=True, name="both")
    release(mean(rows.people[column]), to="bank", noise=laplace(epsilon=1), name="age")
    keep(rows.loans.amount, name="amounts")
'''
OTHER = PAGE.replace("How many", "And how many")
HOSTILE = [
    "",
    "not python",
    PAGE.replace('"age"):', "1 / 0):"),
    PAGE.replace("mean(", "greatest("),
    '"""Endless."""\n\n\ndef run(a):\n    return run(a)\n',
    '"""Text."""\n\n\ndef run(a):\n    release(a.x, to="\x07", exact=True)\n',
]


def proposed(world: World, ident: str = "ages", source: str = PAGE, who: str = "bank") -> int:
    return int(world.do(who, "programs.propose", id=ident, source=source, reason="needed"))


def hash_of(world: World, seq: int) -> bytes:
    return bytes(world.ask("programs.proposal_of", seq=seq)["hash"])


def approved(world: World, seq: int, *others: str) -> None:
    for who in others or ("bureau", "registry"):
        world.do(who, "programs.approve", seq=seq, hash=hash_of(world, seq))


def committed(world: World, ident: str = "ages", source: str = PAGE) -> None:
    seq = proposed(world, ident, source)
    approved(world, seq)
    world.do("bank", "programs.commit", seq=seq)


def test_genesis_installs_the_standard_pages_like_any_other(bare: World) -> None:
    assert tuple(standard_pages()) == tuple(sorted(STANDARD))
    for ident, source in standard_pages().items():
        program = bare.ask("programs.program_of", id=ident)
        assert program["page"] == page_hash(source)
        assert program["plan"] == trace(source).hash
        assert (program["by"], program["status"], program["approved_by"]) == ("genesis", "active", [])
        assert bare.ask("programs.page_of", hash=program["page"]) == source


def test_members_vote_on_what_the_ledger_derived(bare: World) -> None:
    seq = proposed(bare)
    proposal = bare.ask("programs.proposal_of", seq=seq)
    facts = bare.ask("programs.facts_of", hash=proposal["page"])
    assert facts == whole_facts(PAGE, [], {}, Gas(10**8))
    assert facts["plan"] == proposal["plan"] == trace(PAGE).hash
    assert facts["uses"] == {
        "loans": {"amount": "encrypted", "id": "join"},
        "people": {"age": "noisy", "id": "join"},
    }
    assert facts["receivers"] == ["bank"]
    assert facts["parameters"] == {"column": "age"}
    both, age, amounts = facts["releases"]
    assert (both["kind"], both["figures"], both["noise"]) == ("count", "1", [])
    assert age["noise"] == ["laplace", "1", ""]
    assert age["columns"] == [["people", "age"]]
    assert (amounts["receiver"], amounts["kind"]) == ("", "shares")
    assert "bank learns age" in facts["leakage"]
    assert set(facts["cost"]) == {"rep3"}


@pytest.mark.parametrize("source", HOSTILE)
def test_a_page_that_is_refused_says_where_and_how_to_write_it(bare: World, source: str) -> None:

    with pytest.raises(Exception, match="REJECTED_PAGE") as refused:
        bare.do("bank", "programs.propose", id="x", source=source, reason="")
    assert "page.py:" in str(refused.value.args[1])
    assert "; instead: " in str(refused.value.args[1])


def test_a_page_becomes_a_program_by_the_votes_of_members_that_are_active_then(
    bare: World,
) -> None:
    seq = proposed(bare)
    assert bare.refusal("bank", "programs.commit", seq=seq) == "NOT_ENOUGH_VOTES"
    assert bare.refusal("bureau", "programs.approve", seq=seq, hash=bytes(32)) == "HASH_MISMATCH"
    approved(bare, seq)
    assert bare.refusal("bureau", "programs.approve", seq=seq, hash=hash_of(bare, seq)) == "ALREADY_VOTED"
    ready = bare.ask("programs.readiness", seq=seq)
    assert (ready["needed"], ready["passed"], ready["due"]) == (3, True, True)
    bare.do("registry", "programs.retract", seq=seq)
    assert bare.refusal("registry", "programs.retract", seq=seq) == "NOT_VOTED"
    assert bare.refusal("bank", "programs.commit", seq=seq) == "NOT_ENOUGH_VOTES"
    approved(bare, seq, "regulator")
    bare.do("rival", "programs.commit", seq=seq)
    program = bare.ask("programs.program_of", id="ages")
    assert program["approved_by"] == ["bank", "bureau", "regulator"]
    assert bare.refusal("bank", "programs.withdraw", seq=seq) == "UNKNOWN_PROPOSAL"
    assert bare.refusal("bank", "programs.propose", id="ages", source=OTHER, reason="") == "PROGRAM_EXISTS"


def test_of_two_proposals_for_one_id_the_first_committed_has_it(bare: World) -> None:
    first, second = proposed(bare), proposed(bare, source=OTHER, who="bureau")
    approved(bare, first)
    approved(bare, second, "bank", "registry")
    bare.do("bank", "programs.commit", seq=second)
    assert bare.refusal("bank", "programs.commit", seq=first) == "PROGRAM_EXISTS"
    assert bare.ask("programs.readiness", seq=first)["due"] is False
    assert bare.ask("programs.program_of", id="ages")["page"] == page_hash(OTHER)


def test_an_undecided_proposal_leaves_nothing_behind_and_a_page_stays_while_anything_has_it(
    bare: World,
) -> None:
    def rows() -> dict[Any, bytes]:
        counts = (b"open_of/", b"daily/", b"latest")
        return {place: data for place, data in bare.state.items() if not place[1].startswith(counts)}

    before = rows()
    first, second = proposed(bare), proposed(bare, "others", who="bureau")
    assert bare.refusal("bureau", "programs.withdraw", seq=first) == "NOT_PROPOSER"
    bare.do("bank", "programs.withdraw", seq=first)
    assert bare.ask("programs.page_of", hash=page_hash(PAGE)) == PAGE
    assert bare.refusal("rival", "programs.expire", seq=second) == "TOO_EARLY"
    bare.advance(WEEK_MS + 1)
    assert bare.refusal("registry", "programs.approve", seq=second, hash=bytes(32)) == "DEADLINE_PASSED"
    bare.do("rival", "programs.expire", seq=second)
    assert rows() == before
    committed(bare)
    again = proposed(bare, "same")
    bare.do("bank", "programs.withdraw", seq=again)
    assert bare.ask("programs.page_of", hash=page_hash(PAGE)) == PAGE


def test_an_organisation_has_a_bounded_number_of_open_proposals(bare: World) -> None:
    for number in range(32):
        proposed(bare, f"p{number}")
    assert bare.refusal("bank", "programs.propose", id="x", source=PAGE, reason="") == "TOO_MANY_PROPOSALS"
    proposed(bare, "other", who="bureau")


def test_a_majority_retires_a_program_for_good(bare: World) -> None:
    committed(bare)
    for who in ("bank", "bureau"):
        bare.do(who, "programs.retire", id="ages", reason="it tells too much")
    assert bare.refusal("bank", "programs.retire", id="ages", reason="") == "ALREADY_VOTED"
    bare.do("bureau", "programs.retract_retirement", id="ages")
    assert bare.refusal("bureau", "programs.retract_retirement", id="ages") == "NOT_VOTED"
    assert bare.ask("programs.retiring", id="ages") == {"counted": ["bank"], "needed": 3}
    bare.advance(WEEK_MS + 1)
    assert bare.ask("programs.retiring", id="ages")["counted"] == [], "the vote has lapsed"
    for who in ("bureau", "registry", "rival"):
        assert bare.ask("programs.is_active", id="ages")
        bare.do(who, "programs.retire", id="ages", reason="")
    assert not bare.ask("programs.is_active", id="ages")
    assert bare.refusal("bank", "programs.retire", id="ages", reason="") == "WRONG_STATE"
    assert bare.refusal("bank", "programs.propose", id="ages", source=OTHER, reason="") == "PROGRAM_EXISTS"
    assert bare.ask("programs.page_of", hash=page_hash(PAGE)) == PAGE, "auditors read it for ever"
    assert not bare.ask("programs.is_active", id="none")


def test_what_a_job_does_follows_from_what_its_datasets_declare(world: World) -> None:
    committed(world)
    world.register(
        "bureau",
        "bureau/people",
        [
            column("who", "text", "identifier"),
            column("years", "integer", low="0", high="120"),
            column("home", "category", categories=["own", "rent"], missing="category"),
            column("sum", "decimal", edges=["0", "10", "20"]),
        ],
    )
    inputs = [
        {"name": "loans", "dataset": "bank/data", "version": 1, "columns": ["id", "income"]},
        {
            "name": "people",
            "dataset": "bureau/people",
            "version": 1,
            "columns": ["who", "years", "home", "sum"],
        },
    ]
    declared = world.ask("datasets.declared_of", id="bureau/people", version=1, names=["home", "sum", "who"])
    assert declared["columns"] == {
        "home": ["category", 3, 0, None, None, "category"],
        "sum": ["decimal", 0, 2, None, None, "refuse"],
        "who": ["text", 0, 0, None, None, "refuse"],
    }
    assert (declared["owner"], declared["key"]) == ("bureau", ["who"])
    page = PAGE.replace("rows.loans.amount", "rows.loans.income")
    committed(world, "incomes", page)
    asked = {"id": "incomes", "inputs": inputs, "parameters": {"column": "years"}, "initiator": "bank"}
    found = world.ask("programs.derive", **asked)
    assert found["uses"] == {
        "loans": {"id": "join", "income": "encrypted"},
        "people": {"who": "join", "years": "noisy"},
    }
    assert found["page"] == page_hash(page)
    assert found["membership"] == {"loans": ["bureau"], "people": ["bank"]}
    assert found["charges"]["people"]["epsilon"] == 10**9
    assert found["charges"]["loans"] == {"epsilon": 0, "delta": 0, "rho": 0, "figures": {}}
    for change, code in (
        ({"parameters": {"column": "age"}}, "REJECTED_PAGE"),
        ({"parameters": {"column": "sum"}}, "DOMAIN_NOT_REGISTERED"),
        ({"inputs": inputs[:1]}, "REJECTED_PAGE"),
        ({"inputs": []}, "BAD_INPUTS"),
        ({"inputs": [inputs[0], inputs[0]]}, "BAD_INPUTS"),
        ({"id": "none"}, "UNKNOWN_PROGRAM"),
        ({"inputs": [inputs[0] | {"columns": ["nothing"]}, inputs[1]]}, "UNKNOWN_COLUMN"),
    ):
        with pytest.raises(Exception, match=code):
            world.ask("programs.derive", **(asked | change))


def test_nobody_else_has_pages_traced(bare: World) -> None:
    source = "@export\ndef act() -> dict:\n    return trace_page('', [], {}, '')\n"
    seq = bare.do("bank", "lifecycle.propose", name="copy", source=source, arguments={}, terms={})
    for who in ("bureau", "registry"):
        voted = bare.read("lifecycle", "proposals", f"copy/{seq}")["hash"]
        bare.do(who, "lifecycle.approve", name="copy", seq=seq, hash=voted)
    bare.do("bank", "lifecycle.commit", name="copy", seq=seq)
    assert bare.refusal("bank", "copy.act") == "PROGRAMS_ONLY"


def test_facts_are_bounded_and_the_remedy_is_said() -> None:

    many = "".join(f'    release(count(a), to="o{n}", exact=True, name="{"n" * 100}")\n' for n in range(120))
    page = f'"""Many."""\n\n\ndef run(a):\n{many}'
    with pytest.raises(PageRefused, match=r"FACTS: facts of .* at most 32768; instead: fewer releases"):
        whole_facts(page, [], {}, Gas(10**9))
    assert len(brief_facts(page, [], {}, Gas(10**9))["receivers"]) == 120, "a job is held against less"
    assert len(encode_value(whole_facts(PAGE, [], {}, Gas(10**8)))) < FACTS_BYTES_MAX
