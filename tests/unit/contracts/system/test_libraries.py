"""Libraries on the ledger: published, named by proposals, withdrawn; what is left in the state of each."""

from __future__ import annotations

from typing import Any

import pytest

from chain.audit.closure import source_hashes
from contracts.language.ir import source_hash
from contracts.language.limits import SOURCE_TOKENS_MAX
from contracts.language.program import compile_library, compile_source
from contracts.runtime import ContractRuntime
from contracts.testing import LocalChain

ORGS = ("bank", "bureau", "registry")
LIBRARY = "LIMIT = 3\n\ndef few(n: int) -> bool:\n    return n < LIMIT\n"
DIGEST = source_hash(LIBRARY)
CONTRACT = f'lib = Library("{DIGEST.hex()}")\n\n@view\ndef few(n: int) -> bool:\n    return lib.few(n)\n'
PLENTY = 10_000_000
LIFE = "lifecycle"


@pytest.fixture
def chain() -> LocalChain:
    return LocalChain.consortium(*ORGS)


def publish(chain: LocalChain, org: str = "bank", source: str = LIBRARY) -> bytes:
    return chain.as_(org).call(LIFE, "publish", gas=PLENTY, source=source)


def propose(chain: LocalChain, name: str, org: str = "bank", source: str = CONTRACT) -> int:
    terms: dict[str, Any] = {"name": name, "source": source, "arguments": {}, "terms": {}}
    return int(chain.as_(org).call(LIFE, "propose", gas=PLENTY, **terms))


def withdraw(chain: LocalChain, org: str = "bank", digest: bytes = DIGEST) -> None:
    chain.as_(org).call(LIFE, "withdraw_library", source_hash=digest)


def rows(chain: LocalChain, digest: bytes = DIGEST) -> tuple[Any, Any, Any]:
    """Return (record, uses, source) of a library."""
    found = [chain.entry(LIFE, name, digest) for name in ("libraries", "source_uses", "sources")]
    return found[0], found[1], found[2]


def code(chain: LocalChain, contract: str) -> Any:
    return chain.entry(LIFE, "active", contract)


def test_a_library_is_published_under_the_hash_of_its_source_and_has_a_history(
    chain: LocalChain,
) -> None:
    assert publish(chain) == DIGEST
    record, uses, source = rows(chain)
    assert (record["by"], record["bytes"]) == ("bank", len(LIBRARY))
    assert (record["open"], record["withdrawn"]) == (0, False)
    assert (uses, source) == (1, LIBRARY)
    assert record["ir_hash"] == compile_library(LIBRARY).ir_hash
    (event,) = chain.trail(f"library:{DIGEST.hex()}")
    assert (event.name, event.fields["source_hash"], event.fields["bytes"]) == (
        "LibraryPublished",
        DIGEST,
        len(LIBRARY),
    )
    with chain.expect_revert("LIBRARY_EXISTS"):
        publish(chain, "bureau")


def test_only_what_passes_as_a_library_is_published(chain: LocalChain) -> None:
    for source in ("m = Map(str, int)\n", "@export\ndef f():\n    return ctx.org\n", "", "x = \n", CONTRACT):
        with chain.expect_revert("REJECTED_SOURCE"):
            publish(chain, source=source)


def test_a_proposal_that_names_a_library_that_is_not_there_is_told_what_to_do(
    chain: LocalChain,
) -> None:
    with chain.expect_revert("UNKNOWN_LIBRARY"):
        propose(chain, "c")
    assert f"library {DIGEST.hex()} is not on the ledger" in chain.last.why
    assert "assent contract publish FILE" in chain.last.why


def test_the_source_of_a_contract_is_no_library_though_it_is_on_the_ledger(chain: LocalChain) -> None:
    chain.adopt("def f():\n    return 1\n", "plain")
    digest = source_hash("def f():\n    return 1\n").hex()
    with chain.expect_revert("UNKNOWN_LIBRARY"):
        propose(chain, "c", source=CONTRACT.replace(DIGEST.hex(), digest))


def test_a_version_lists_its_libraries_and_its_size_counts_them(chain: LocalChain) -> None:
    publish(chain)
    chain.adopt(CONTRACT, "c")
    chain.advance(height=1)
    assert chain.view("c", "few", n=2) is True
    assert code(chain, "c")["libraries"] == {"lib": DIGEST}
    assert chain.entry(LIFE, "history", "c/1")["libraries"] == {"lib": DIGEST}
    program = compile_source(CONTRACT, find=lambda *_: compile_library(LIBRARY))
    assert code(chain, "c")["size"] == program.size
    assert set(source_hashes(code(chain, "c"))) == {source_hash(CONTRACT), DIGEST}


def test_the_hash_that_members_vote_for_changes_with_a_library(chain: LocalChain) -> None:
    other = LIBRARY.replace("3", "4")
    publish(chain)
    publish(chain, source=other)
    propose(chain, "a")
    propose(chain, "a", source=CONTRACT.replace(DIGEST.hex(), source_hash(other).hex()))
    found = [chain.entry(LIFE, "proposals", f"a/{seq}") for seq in (1, 2)]
    for part in ("hash", "source_hash", "ir_hash"):
        assert found[0][part] != found[1][part]


def test_what_is_withdrawn_and_unused_leaves_the_state_whole(chain: LocalChain) -> None:
    publish(chain)
    withdraw(chain)
    assert rows(chain) == (None, None, None)
    assert chain.entry(LIFE, "library_totals", "bank") == {"count": 0, "bytes": 0}
    with chain.expect_revert("UNKNOWN_LIBRARY"):
        withdraw(chain)
    publish(chain, "bureau")


def test_only_the_publisher_withdraws_and_once(chain: LocalChain) -> None:
    publish(chain)
    propose(chain, "c")
    with chain.expect_revert("NOT_PUBLISHER"):
        withdraw(chain, "bureau")
    withdraw(chain)
    with chain.expect_revert("WRONG_STATE"):
        withdraw(chain)


@pytest.mark.parametrize("ending", ["withdraw", "expire"])
def test_withdrawn_while_a_proposal_names_it_it_goes_with_that(chain: LocalChain, ending: str) -> None:
    publish(chain)
    seq = propose(chain, "c")
    withdraw(chain)
    record, uses, source = rows(chain)
    assert (record["withdrawn"], record["open"], uses, source) == (True, 1, 2, LIBRARY)
    assert chain.entry(LIFE, "library_totals", "bank")["count"] == 1
    with chain.expect_revert("UNKNOWN_LIBRARY"):
        propose(chain, "d")
    if ending == "expire":
        chain.advance(time=400 * 24 * 60 * 60 * 1000)
    chain.as_("bank").call(LIFE, ending, name="c", seq=seq)
    assert rows(chain) == (None, None, None)
    assert chain.entry(LIFE, "library_totals", "bank")["count"] == 0


def test_a_version_in_force_keeps_a_withdrawn_library_on_fresh_nodes_too(chain: LocalChain) -> None:
    publish(chain)
    seq = propose(chain, "c")
    withdraw(chain)
    sealed = chain.entry(LIFE, "proposals", f"c/{seq}")["hash"]
    for org in ("bureau", "registry"):
        chain.as_(org).call(LIFE, "approve", name="c", seq=seq, hash=sealed)
    chain.as_("bank").call(LIFE, "commit", gas=PLENTY, name="c", seq=seq)
    assert rows(chain) == (None, 1, LIBRARY)
    chain.advance(height=1)
    chain.runtime = ContractRuntime()
    assert chain.view("c", "few", n=5) is False
    with chain.expect_revert("UNKNOWN_LIBRARY"):
        propose(chain, "c", source=CONTRACT + "# two\n")
    publish(chain, "registry")
    assert rows(chain)[1] == 2
    chain.adopt(CONTRACT + "# two\n", "c")


def test_whoever_publishes_a_withdrawn_library_has_it_on_its_account(chain: LocalChain) -> None:
    publish(chain)
    seq = propose(chain, "c")
    withdraw(chain)
    publish(chain, "bureau")
    record, uses, _ = rows(chain)
    assert (record["by"], record["open"], record["withdrawn"], uses) == ("bureau", 1, False, 2)
    counts = [chain.entry(LIFE, "library_totals", org)["count"] for org in ("bank", "bureau")]
    assert counts == [0, 1]
    chain.as_("bank").call(LIFE, "withdraw", name="c", seq=seq)
    assert rows(chain)[:2] == ({**record, "open": 0}, 1)


def test_one_member_has_so_many_libraries_and_no_more(chain: LocalChain) -> None:
    for n in range(32):
        publish(chain, source=f"X = {n}\n")
    with chain.expect_revert("TOO_MANY_LIBRARIES"):
        publish(chain, source="X = 32\n")
    withdraw(chain, digest=source_hash("X = 0\n"))
    publish(chain, source="X = 32\n")
    publish(chain, "bureau", source="X = 0\n")


def test_one_member_has_so_many_bytes_of_libraries_whatever_their_characters(chain: LocalChain) -> None:
    wide = chr(0x1F600) * 16_000
    for n in range(8):
        publish(chain, source=f"# {n} {wide}\nX = 1\n")
    total = chain.entry(LIFE, "library_totals", "bank")["bytes"]
    assert 8 * 64_000 < total <= 524_288
    with chain.expect_revert("LIBRARIES_TOO_LONG"):
        publish(chain, source=f"# 8 {wide}\nX = 1\n")


def test_proposing_costs_the_same_whether_a_node_keeps_the_library_or_not(chain: LocalChain) -> None:
    publish(chain)
    snapshot = chain.snapshot()
    propose(chain, "c")
    cold = chain.gas_of()
    chain.restore(snapshot)
    chain.adopt(CONTRACT, "other")
    chain.restore(snapshot)
    propose(chain, "c")
    assert chain.gas_of() == cold
    chain.runtime = ContractRuntime()
    chain.restore(snapshot)
    propose(chain, "c")
    assert chain.gas_of() == cold


def test_the_densest_library_is_paid_for_and_leaves_no_room_for_a_contract(
    chain: LocalChain,
) -> None:
    dense = "def f(a): a" + ";a" * ((SOURCE_TOKENS_MAX - 14) // 2) + "\n"
    digest = chain.as_("bank").call(LIFE, "publish", gas=PLENTY, source=dense)
    assert chain.gas_of() > 3_000_000
    with chain.expect_revert("REJECTED_SOURCE"):
        propose(chain, "c", source=f'lib = Library("{digest.hex()}")\ndef g():\n    return 1\n')
    assert "there is room for" in chain.last.why
