"""A block that no node can execute stops the chain; a quorum's skip gets it on, and nothing less does.

Every honest machine executes with the same trap, whose transaction consensus has ordered: all die of it, and
of every restart. The checks of the simulation (equal headers, no vote contradicted, nothing lost) hold at
every event.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from chain.ledger.batch_executor import SKIPPED_BY_DECISION
from chain.ledger.block import DecodedTransaction, Skip, SkipDecision, skip_digest
from chain.ledger.skiprows import SkipRefused
from chain.node.nextheight import Standing
from chain.node.signedskips import SignedSkips
from chain.node.skipsigning import StoppedValidator
from chain.node.skipvote import SkipVote, sign_skip
from chain.primitives.certificate import quorum
from chain.primitives.errors import ProofInvalid
from consensus.votes import commit_key
from tests.simulation.chain_under_test import Shape
from tests.simulation.disk import Disk
from tests.simulation.machine import Machine
from tests.simulation.skipping import REASON, StuckCluster, apply, sign

PATIENCE_MS = 120_000


def stuck_cluster(
    patch: pytest.MonkeyPatch, n: int, liars: int, seed: int = 7
) -> tuple[StuckCluster, DecodedTransaction, int]:
    """Return a stopped cluster that died of a trap three times, the trap, and the height it stands at."""
    cluster = StuckCluster(seed, Shape(n, rotation=5), patch, byzantine=liars)
    cluster.start()
    assert cluster.grow(3, PATIENCE_MS), f"seed {seed}: no progress before the trap"
    trap = cluster.trap()
    cluster.die(3, PATIENCE_MS)
    cluster.halt()
    (height,) = cluster.heads()
    return cluster, trap, height + 1


def votes_of(cluster: StuckCluster, folder: Path, ids: list[bytes]) -> list[SkipVote]:
    return [sign(cluster.operator(machine, folder), ids) for machine in cluster.honest]


def assert_skipped(cluster: StuckCluster, machine: Machine, trap: DecodedTransaction, height: int) -> None:
    read = machine.ledger.read
    (receipt,) = [item for item in read.receipts(height) if item.tx_id == trap.id]
    assert receipt.code == SKIPPED_BY_DECISION
    decision, header = read.skip(height), read.header(height)
    assert decision is not None
    assert header is not None
    assert header.skip == skip_digest(cluster.genesis.chain_id, decision.skip)
    assert decision.skip.reason == REASON


@pytest.mark.parametrize(("n", "liars"), [(4, 1), (7, 2)])
def test_a_quorum_gets_the_chain_on_and_liars_alone_do_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, n: int, liars: int
) -> None:
    cluster, trap, height = stuck_cluster(monkeypatch, n, liars)
    votes = votes_of(cluster, tmp_path, [trap.id])
    true = votes[0].skip
    assert all(vote.skip == true for vote in votes)
    keys = [cluster.keys[index] for index in range(n) if index in cluster._liars]
    chain_id, payload = cluster.genesis.chain_id, votes[0].payload

    def lie(skip: Skip, chain: bytes = chain_id) -> list[SkipVote]:
        return [sign_skip(chain, skip, payload, votes[0].prepared, key) for key in keys]

    others = dataclasses.replace(true, reason="whatever the liars like")
    foreign = lie(true, bytes(32))
    twice = [*votes[:-1], votes[0]]
    attempts = {
        "liars alone": lie(true),
        "one honest": votes[:1],
        "too few, liars included": [*votes[: quorum(n) - 1 - liars], *lie(true)],
        "liars say something else": [*votes[: quorum(n) - liars], *lie(others)],
        "another chain": [*votes[: quorum(n) - liars], *foreign],
        "one twice": twice,
    }
    for name, given in attempts.items():
        for machine in cluster.honest:
            with pytest.raises(SkipRefused):
                apply(cluster, machine, given)
            assert cluster.ledger_of(machine).skips.waiting(height) is None, name
    message = skip_digest(chain_id, true)
    forced = SkipDecision(true, tuple(sorted((key.public, key.sign(message)) for key in keys)))
    with pytest.raises(ProofInvalid):
        cluster.ledger_of(cluster.honest[0]).add_skip(forced)

    before = dict(cluster.deaths)
    cluster.go_on()
    cluster.run(40_000)
    cluster.halt()
    assert cluster.heads() == {height - 1}
    assert cluster.deaths == before, "who signed a skip does not execute the height without the decision"

    for machine in cluster.honest:
        assert apply(cluster, machine, votes)
    cluster.go_on()
    assert cluster.grow(height + 3, PATIENCE_MS), "the chain does not go on after the skip"
    assert cluster.deaths == before, "nobody who has the decision dies of the trap again"
    for machine in cluster.honest:
        assert_skipped(cluster, machine, trap, height)


def test_who_was_not_told_gets_the_decision_with_the_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It goes on dying only until the block of that height reaches it before it executes the batch itself."""
    cluster, trap, height = stuck_cluster(monkeypatch, 4, 0)
    votes = [sign(cluster.operator(machine, tmp_path), [trap.id]) for machine in cluster.honest[:3]]
    for machine in cluster.honest[:3]:
        apply(cluster, machine, votes)
    last = cluster.honest[3]
    cluster.go_on()
    assert cluster.grow(height + 1, PATIENCE_MS, cluster.honest[:3])
    deaths = cluster.deaths[last.index]
    assert cluster.run(PATIENCE_MS, lambda: last.settled_height > height), "the fourth stays behind"
    assert cluster.deaths[last.index] <= deaths + 1
    assert_skipped(cluster, last, trap, height)


def test_who_signed_waits_for_the_decision_or_the_block_and_never_executes_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So no header of the height without the skip can be certified any more, whatever hosts have memory then.

    The trap is gone when the machines start again, as if they had been given memory. Three of four signed,
    one of them was not told the decision: it takes the block.
    """
    cluster, trap, height = stuck_cluster(monkeypatch, 4, 0)
    signers = cluster.honest[:3]
    votes = [sign(cluster.operator(machine, tmp_path), [trap.id]) for machine in signers]
    cluster.mend()
    cluster.go_on(signers)
    cluster.run(40_000)
    assert {machine.ledger.head.height for machine in signers} == {height - 1}
    assert "signed a skip of it (attempt 0)" in signers[0].core.unfinished  # type: ignore[union-attr]
    cluster.halt()
    for machine in (*signers[:2], cluster.honest[3]):
        apply(cluster, machine, votes)
    cluster.go_on()
    assert cluster.grow(height + 2, PATIENCE_MS)
    for machine in cluster.honest:
        assert_skipped(cluster, machine, trap, height)


def test_a_wrong_digest_or_height_or_set_of_ids_is_not_signed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster, trap, height = stuck_cluster(monkeypatch, 4, 0)
    operator = cluster.operator(cluster.honest[0], tmp_path)
    batch = operator.next.batches[0]
    assert operator.next.begun is not None
    assert (batch.standing, operator.next.begun.times) == (Standing.DECIDED, 2)
    with pytest.raises(SkipRefused, match="decided at height"):
        operator.ordered(height, bytes(32))
    for other in (height - 1, height + 1, height + 100):
        with pytest.raises(SkipRefused, match=f"height {other}"):
            operator.ordered(other, batch.digest)
    skip = Skip(height, batch.digest, 0, (bytes(32),), REASON)
    with pytest.raises(SkipRefused, match="does not hold"):
        operator.sign(skip, batch)
    signed = operator.sign(dataclasses.replace(skip, tx_ids=(trap.id,)), batch)
    again = cluster.operator(cluster.honest[0], tmp_path)
    assert sign(again, [trap.id]) == signed
    with pytest.raises(SkipRefused, match=r"this key signed another skip.*--attempt 1"):
        sign(again, batch.tx_ids)
    cluster.honest[0].wipe()  # what the key signed outlives the disk
    with pytest.raises(SkipRefused, match="another skip"):
        SignedSkips(tmp_path / "node0.key").claim(dataclasses.replace(skip, tx_ids=batch.tx_ids))
    assert sign(cluster.operator(cluster.honest[1], tmp_path), batch.tx_ids, attempt=1).skip.attempt == 1


def test_a_higher_attempt_gets_past_what_the_first_left_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first decision names the wrong transaction: the chain dies of the trap again until the second."""
    cluster, trap, height = stuck_cluster(monkeypatch, 4, 0)
    wrong = [tx_id for tx_id in cluster.operator(cluster.honest[0], tmp_path).next.batches[0].tx_ids
             if tx_id != trap.id][:1]  # fmt: skip
    first = votes_of(cluster, tmp_path, wrong)
    for machine in cluster.honest:
        apply(cluster, machine, first)
    before = dict(cluster.deaths)
    cluster.go_on()
    cluster.run(40_000)
    cluster.halt()
    assert all(cluster.deaths[index] > before[index] for index in before)
    second = [sign(cluster.operator(machine, tmp_path), [trap.id], 1) for machine in cluster.honest]
    for machine in cluster.honest:
        with pytest.raises(SkipRefused, match="decides otherwise"):
            apply(cluster, machine, [*first[:2], *second[2:]])
        assert apply(cluster, machine, second)
    cluster.go_on()
    assert cluster.grow(height + 2, PATIENCE_MS)
    for machine in cluster.honest:
        assert_skipped(cluster, machine, trap, height)
        assert wrong[0] in cluster.checks.ran


def test_a_validator_that_knows_nothing_of_the_batch_signs_what_another_proves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of those who commit a batch f may lie, so the honest who hold it may be too few for a quorum."""
    cluster, trap, height = stuck_cluster(monkeypatch, 4, 0)
    vote = sign(cluster.operator(cluster.honest[0], tmp_path), [trap.id])
    machine = cluster.honest[1]
    known = machine.disk
    machine.disk = Disk(known)
    rows = [key for key, _ in known.iterate(prefix=b"J") if key.endswith(commit_key(height))]
    assert rows
    machine.disk.write([], [*rows, b"\0begun"])
    operator = cluster.operator(machine, tmp_path)
    assert all(batch.standing is Standing.PROPOSED for batch in operator.next.batches)
    with pytest.raises(SkipRefused, match="--like FILE"):
        operator.ordered(height, vote.skip.batch)
    unproved = dataclasses.replace(vote, prepared=None)
    assert vote.prepared is not None
    short = dataclasses.replace(vote.prepared, signatures=vote.prepared.signatures[:-1])
    for bad in (unproved, dataclasses.replace(vote, prepared=short)):
        with pytest.raises(SkipRefused, match="proof"):
            operator.ordered(height, vote.skip.batch, ("bad", bad))
    batch = operator.ordered(height, vote.skip.batch, ("good", vote))
    signed = operator.sign(vote.skip, batch)
    assert isinstance(operator, StoppedValidator)
    assert (signed.skip, signed.prepared) == (vote.skip, vote.prepared)
    assert signed.signer == machine.key.public
