"""What one member alone can put into the state of governance and lifecycle is bounded, and leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.system import sources

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

WEEK_MS = 7 * 24 * 3_600_000
SOURCE = "@export\ndef act() -> int:\n    return 1\n"


def content(name: str, source: str = SOURCE) -> dict[str, Any]:
    return {"name": name, "source": source, "arguments": {}, "terms": {}}


def rows(world: World) -> dict[tuple[str, bytes], bytes]:
    """The state but for the counts: of what is open, and of what was done today."""
    counts = (b"open_of/", b"daily/")
    return {place: data for place, data in world.state.items() if not place[1].startswith(counts)}


def test_an_organisation_has_a_bounded_number_of_open_contract_proposals(bare: World) -> None:
    for number in range(32):
        bare.do("bank", "lifecycle.propose", **content(f"c{number}"))
    assert bare.refusal("bank", "lifecycle.propose", **content("more")) == "TOO_MANY_PROPOSALS"
    bare.do("bureau", "lifecycle.propose", **content("other"))
    bare.do("bank", "lifecycle.withdraw", name="c0", seq=1)
    bare.do("bank", "lifecycle.propose", **content("more"))


def test_an_undecided_proposal_leaves_nothing_behind(bare: World) -> None:
    before = rows(bare)
    bare.do("bank", "lifecycle.propose", **content("rule"))
    bare.do("bank", "lifecycle.withdraw", name="rule", seq=1)
    assert rows(bare) == before
    bare.do("bank", "lifecycle.propose", **content("rule"))
    bare.advance(WEEK_MS + 1)
    bare.do("rival", "lifecycle.expire", name="rule", seq=1)
    assert rows(bare) == before
    wish = {"kind": "set_limits", "payload": {"block_txs": 7}, "reason": "", "not_before": 0}
    first, second = (bare.do("bank", "governance.propose", **wish) for _ in range(2))
    bare.do("bank", "governance.withdraw", seq=first)
    bare.advance(WEEK_MS + 1)
    bare.do("rival", "governance.expire", seq=second)
    left = {place for place, data in rows(bare).items() if before.get(place) != data}
    assert left == {("governance", b"latest")}, "numbers of decisions are never used twice"


def test_a_source_stays_while_anything_names_it(bare: World) -> None:
    first = bare.do("bank", "lifecycle.propose", **content("rule"))
    hash_ = bare.read("lifecycle", "proposals", f"rule/{first}")["source_hash"]
    bare.do("bureau", "lifecycle.propose", **content("same"))
    bare.do("bank", "lifecycle.withdraw", name="rule", seq=first)
    assert bare.read("lifecycle", "sources", hash_) == SOURCE
    voted = bare.read("lifecycle", "proposals", "same/1")["hash"]
    for who in ("bank", "registry"):
        bare.do(who, "lifecycle.approve", name="same", seq=1, hash=voted)
    bare.do("bank", "lifecycle.commit", name="same", seq=1)
    again = bare.do("bank", "lifecycle.propose", **content("same"))
    bare.do("bank", "lifecycle.withdraw", name="same", seq=again)
    assert bare.read("lifecycle", "sources", hash_) == SOURCE
    assert bare.do("bank", "same.act") == 1
    assert bare.do("bank", "lifecycle.propose", **content("same")) == 3, "a number is not used twice"


def test_a_withdrawn_proposal_of_a_genesis_source_takes_no_source_away(bare: World) -> None:
    source = sources()["datasets"]
    bare.do("bank", "lifecycle.propose", **content("copy", source))
    bare.do("bank", "lifecycle.withdraw", name="copy", seq=1)
    hash_ = bare.ask("lifecycle.contract_of", name="datasets")["source_hash"]
    assert bare.read("lifecycle", "sources", hash_) == source


def test_a_commit_costs_the_same_however_many_versions_there_were(bare: World) -> None:
    def version() -> int:
        seq = bare.do("bank", "lifecycle.propose", **content("rule"))
        voted = bare.read("lifecycle", "proposals", f"rule/{seq}")["hash"]
        for who in ("bureau", "registry"):
            bare.do(who, "lifecycle.approve", name="rule", seq=seq, hash=voted)
        bare.gas.pop("lifecycle.commit", None)
        bare.do("bank", "lifecycle.commit", name="rule", seq=seq)
        bare.advance()
        return bare.gas["lifecycle.commit"]

    spent = [version() for _ in range(42)]
    assert spent[41] - spent[2] <= 20, "digits of heights and numbers, and nothing a version"
    assert bare.read("lifecycle", "numbers", "rule")["versions"] == 42
