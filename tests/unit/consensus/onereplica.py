"""One replica on its own, and everything that others may say to it: for tests of single rules.

Four founders by default, in the order of their keys; validator i is PUBLIC[i]. The replica under test is
number 1; with the rotation of 100 used here, view v of the first 99 heights is led by validator v mod 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from chain.primitives.certificate import Certificate, Epoch, checkpoint_digest
from chain.primitives.codec import U64_MAX
from chain.primitives.crypto import PrivateKey, digest
from consensus.events import Candidate, Checked, Effects, Executed, Expired, Head, Pending
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    payload_digest,
    sign,
)
from consensus.restart import revive
from consensus.rules import Rules
from consensus.selection import choose_reproposals
from consensus.votes import recall

CHAIN = digest("test/chain")
KEYS = sorted((PrivateKey(digest("test/key", bytes([i]))) for i in range(10)), key=lambda key: key.public)
PUBLIC = tuple(key.public for key in KEYS)
NONCE = bytes(range(16))
A, B, C = b"payload a", b"payload b", b"payload c"


def signed(message: Any, index: int) -> Any:
    return sign(dataclasses.replace(message, sender=PUBLIC[index]), KEYS[index], CHAIN)


def header(height: int) -> bytes:
    return digest("test/header", height.to_bytes(8, "big"))


def proposal(height: int, payload: bytes = A, view: int = 0) -> Proposal:
    claim = PrePrepare(view, height, payload_digest(payload), b"", UNSIGNED)
    return Proposal(signed(claim, view % 4), payload)


def prepare(height: int, index: int, payload: bytes = A, view: int = 0) -> Prepare:
    return signed(Prepare(view, height, payload_digest(payload), b"", UNSIGNED), index)


def commit(height: int, index: int, payload: bytes = A, view: int = 0) -> Commit:
    return signed(Commit(view, height, payload_digest(payload), b"", UNSIGNED), index)


def checkpoint(height: int, index: int, header_hash: bytes | None = None) -> Checkpoint:
    return signed(Checkpoint(height, header_hash or header(height), b"", UNSIGNED), index)


def certificate(height: int, voters: tuple[int, ...] = (0, 1, 2), of: bytes | None = None) -> Certificate:
    said = checkpoint_digest(CHAIN, height, of or header(height))
    return Certificate(height, of or header(height), tuple((PUBLIC[i], KEYS[i].sign(said)) for i in voters))


def prepared(height: int, payload: bytes = A, view: int = 0, voters: tuple[int, ...] = (0, 1, 2)) -> Prepared:
    pairs = tuple((PUBLIC[i], prepare(height, i, payload, view).signature) for i in voters)
    return Prepared(view, height, payload_digest(payload), pairs)


def view_change(
    view: int, index: int, base: int = 0, items: tuple[Prepared, ...] = (), epoch: int = 0
) -> ViewChange:
    shown = certificate(base) if base else None
    return signed(ViewChange(epoch, view, shown, items, b"", UNSIGNED), index)


def new_view(view: int, *changes: ViewChange, epoch: int = 0) -> NewView:
    return signed(NewView(epoch, view, changes, choose_reproposals(changes), b"", UNSIGNED), view % 4)


def fresh_view(view: int, base: int = 0) -> NewView:
    """A NEW-VIEW by validators 0, 2 and 3, who had nothing prepared."""
    return new_view(view, *(view_change(view, index, base) for index in (0, 2, 3)))


def status(index: int, **changes: Any) -> Status:
    """Of a replica that stands at genesis in view 0, unless told otherwise."""
    at = Status(0, 0, True, None, 0, (), (), b"", b"", b"", UNSIGNED)
    return signed(dataclasses.replace(at, **changes), index)


class One:
    """A replica with its vote store and ledger; checks are answered and payloads executed at once."""

    def __init__(
        self, me: int = 1, *, n: int = 4, window: int = 8, rotation: int = 100, certified: int = 0,
        executed: int | None = None, epochs: tuple[Epoch, ...] | None = None, wiped: bool = False,
    ) -> None:  # fmt: skip
        """Start for the first time at a height: what the ledger holds up to it is certified, or executed."""
        self.me, self.key = me, KEYS[me]
        self.epochs = epochs or (Epoch(0, PUBLIC[:n]),)
        self.rules = Rules(CHAIN, self._epoch, lambda: U64_MAX, window, rotation)
        self.certified, self.executed = certified, certified if executed is None else executed
        self.payloads: dict[int, bytes] = {}
        self.rows: dict[bytes, bytes] = {}
        self.judges: Callable[[Candidate], bool | None] = lambda _candidate: True
        self.executes = True
        self.checks: list[Candidate] = []
        self.delivered: list[tuple[int, bytes]] = []
        self.last = Effects()
        """What the last step wanted."""
        self._revive(first_start=not wiped)

    def _epoch(self, height: int) -> Epoch:
        return next(epoch for epoch in reversed(self.epochs) if epoch.first <= height)

    def _revive(self, *, first_start: bool) -> None:
        headers = {height: header(height) for height in range(self.certified + 1, self.executed + 1)}
        above = {height: self.payloads[height] for height in headers if height in self.payloads}
        head = Head(certificate(self.certified) if self.certified else None, headers, {}, above)
        memory = recall(sorted(self.rows.items()))
        self.replica = revive(self.rules, self.key, head, memory, first_start=first_start, nonce=NONCE)
        self.state = self.replica.state
        self.announced = self.hear(Pending(False))
        """What the start itself wanted to say: the first step performs it."""

    def restart(self) -> None:
        """Crash, and come back with what the vote store and the ledger hold."""
        self.certified = self.state.certified
        self._revive(first_start=False)

    def hear(self, *events: Any) -> list[Any]:
        """Take events one after another; return the messages that were sent, in order."""
        sent: list[Any] = []
        for event in events:
            pending = [event]
            while pending:
                self.last = effects = self.replica.step(pending.pop(0))
                self.rows.update(effects.put)
                sent += [message for _, message in effects.send]
                pending += self._perform(effects)
        return sent

    def _perform(self, effects: Effects) -> list[Any]:
        follows: list[Any] = []
        for candidate in effects.check:
            self.checks.append(candidate)
            verdict = self.judges(candidate)
            if verdict is not None:
                follows.append(Checked(candidate.height, candidate.view, candidate.digest, verdict))
        for height, payload in effects.deliver:
            self.delivered.append((height, payload))
            if self.executes:
                self.payloads[height], self.executed = payload, height
                follows.append(Executed(height, header(height)))
        for key in effects.delete:
            self.rows.pop(key, None)
        return follows

    def expire(self) -> list[Any]:
        """Let the timer of the present wait end; return what was sent."""
        wait = self.state.waiting()
        assert wait is not None, "no timer runs"
        return self.hear(Expired(wait))

    def commit(self, height: int, payload: bytes = A) -> None:
        """Bring a height as far as this replica's own COMMIT, in view 0."""
        self.hear(proposal(height, payload), prepare(height, 2, payload), prepare(height, 0, payload))

    def decide(self, height: int, payload: bytes = A) -> None:
        """Decide and execute a height in view 0."""
        self.commit(height, payload)
        self.hear(commit(height, 0, payload), commit(height, 2, payload))

    def certify(self, height: int, payload: bytes = A) -> None:
        """Decide, execute and certify a height in view 0."""
        self.decide(height, payload)
        self.hear(checkpoint(height, 0), checkpoint(height, 2))


def kinds(messages: list[Any]) -> list[str]:
    """Name the kinds of messages, in order."""
    return [type(message).__name__ for message in messages]


def only(kind: type, messages: list[Any]) -> Any:
    """Return the one message of a kind among these."""
    (found,) = [message for message in messages if isinstance(message, kind)]
    return found
