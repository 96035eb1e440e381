"""Who waits for whose signatures: queues of verification have their turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from chain.ledger.block import DecodedTransaction
from chain.ledger.testing import ToyChain, toy_genesis
from chain.mempool import refusals
from chain.mempool.mempool import Mempool
from chain.mempool.refusals import TransactionRefused
from chain.node import intake
from chain.node.intake import BATCH, AdmissionOutcome, Intake, is_avoidable

FLOODER, HONEST = b"f" * 32, b"h" * 32


class SlowWorkers:
    """Verifies a batch when it is told to."""

    def __init__(self) -> None:
        self.batch: list[DecodedTransaction] = []
        self._done: Callable[[Sequence[bool]], None] | None = None

    def verify(
        self, candidates: Sequence[DecodedTransaction], done: Callable[[Sequence[bool]], None]
    ) -> None:
        assert self._done is None, "one batch at a time"
        self.batch, self._done = list(candidates), done

    def finish(self) -> list[DecodedTransaction]:
        batch, done = self.batch, self._done
        assert done is not None
        self.batch, self._done = [], None
        done([True] * len(batch))
        return batch


class Desk:
    """An admission over a toy chain."""

    def __init__(self) -> None:
        self.chain = ToyChain(toy_genesis())
        ledger = self.chain.ledger
        self.pool = Mempool(
            ledger.genesis.chain_id, ledger.genesis.limits, ledger.signer_refusal, ledger.read.is_final
        )
        self.workers, self.verdicts = SlowWorkers(), list[AdmissionOutcome]()
        self.admission = Intake(
            self.pool,
            lambda: 0,
            lambda _id: False,
            self.verdicts.extend,
            self.workers,  # type: ignore[arg-type]
        )

    def make(self, count: int) -> list[DecodedTransaction]:
        return [self.chain.call("put", {"key": "k", "value": number}) for number in range(count)]

    def flood(self, peer: bytes, count: int) -> list[DecodedTransaction]:
        made = self.make(count)
        self.admission.take([(candidate, peer) for candidate in made])
        return made


def test_who_floods_fills_its_own_queue_and_the_others_have_their_turn() -> None:
    desk = Desk()
    desk.flood(FLOODER, 5 * BATCH)
    (quick,) = desk.flood(HONEST, 1)
    (own,) = desk.make(1)
    answers: list[DecodedTransaction | TransactionRefused] = []
    desk.admission.submit([own.raw], answers.extend)
    desk.workers.finish()
    second = {candidate.id for candidate in desk.workers.finish()}
    assert {quick.id, own.id} <= second
    assert len(second) == BATCH, "a turn is filled with what waits, whoever sent it"
    assert [answer.id for answer in answers if isinstance(answer, DecodedTransaction)] == [own.id]


def test_every_transaction_of_every_queue_is_verified_once_and_in_order() -> None:
    desk = Desk()
    first = desk.flood(FLOODER, 700)
    second = desk.flood(HONEST, 300)
    seen: list[bytes] = []
    while desk.workers.batch:
        seen += [candidate.id for candidate in desk.workers.finish()]
    for made in (first, second):
        wanted = {candidate.id for candidate in made}
        assert [tx_id for tx_id in seen if tx_id in wanted] == [candidate.id for candidate in made]
    assert len(seen) == 1_000


@pytest.mark.parametrize("bound", ["PEER_WAITING_MAX", "PEER_WAITING_BYTES_MAX"])
def test_the_queue_of_a_peer_is_bounded_and_that_of_clients_is_not_full_with_it(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    size = len(desk.make(1)[0].raw)
    monkeypatch.setattr(intake, bound, 10 if bound == "PEER_WAITING_MAX" else 10 * size)
    desk.flood(FLOODER, BATCH)
    desk.flood(FLOODER, 50)
    refused = [verdict for verdict in desk.verdicts if verdict.refusal is not None]
    assert 240 <= desk.admission.dropped == len(refused) <= BATCH + 50
    answers: list[DecodedTransaction | TransactionRefused] = []
    desk.admission.submit([desk.make(1)[0].raw], answers.extend)
    while desk.workers.batch:
        desk.workers.finish()
    assert isinstance(answers[0], DecodedTransaction)


def test_what_an_honest_peer_may_send_in_good_faith_is_not_blamed() -> None:
    kinds = [
        kind for kind in vars(refusals).values() if isinstance(kind, type) and kind is not TransactionRefused
    ]
    refused = [kind for kind in kinds if issubclass(kind, TransactionRefused)]
    assert {kind.code for kind in refused if not is_avoidable(kind("x"))} == {
        "pool_full", "sender_full", "duplicate", "already_committed", "expired",
        "key_revoked", "org_suspended", "org_expelled",
    }  # fmt: skip
