"""Driver: wires a replica to its timers, vote store, transport and application.

It performs the effects of each step in order, and asks the timers what is due. It is synchronous and has no
clock: `now` is an argument, in milliseconds of a monotonic clock. The asyncio node and the simulator run this
same code. Order of effects: durable write, send, then the application; certificates come before votes that
are written in the same step.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from chain.primitives.certificate import Certificate
from chain.primitives.codec import decode, encode, tag_of
from chain.primitives.crypto import Signer
from consensus import repair
from consensus.answers import AnswerLimit
from consensus.authenticity import Verifier
from consensus.errors import MessageInvalid, NotYetKnown
from consensus.events import (
    Candidate,
    Checked,
    Effects,
    Event,
    Executed,
    Expired,
    Head,
    Pending,
    Proposed,
    Retransmit,
    Synced,
)
from consensus.fetching import PayloadFetches
from consensus.messages import (
    Checkpoint,
    Commit,
    Fetch,
    Message,
    PayloadReply,
    Prepare,
    Proposal,
    Status,
    decode_message,
)
from consensus.ports import Application, Transport, VoteStore
from consensus.relevance import relevant
from consensus.report import describe
from consensus.restart import revive
from consensus.rules import Rules
from consensus.settings import Timing
from consensus.timers import Timers
from consensus.votes import Evidence, evidence_key, payload_key, recall

DELETES_MAX = 4_096
"""Durable rows of certified heights that wait for the next write of votes, which deletes them."""


class Driver:
    """Runs one replica between a vote store, a transport and an application; all times in ms."""

    def __init__(
        self,
        *,
        rules: Rules,
        signer: Signer,
        timing: Timing,
        store: VoteStore,
        transport: Transport,
        application: Application,
        head: Head,
        first_start: bool,
        nonce: bytes,
    ) -> None:
        """Read the durable votes and stand where they and the ledger say; raise VotesDamaged unless they fit.

        `first_start` says that this validator has certainly never voted (it is fresh from `init`). Without it
        an empty store counts as wiped, and the replica gives no vote in the epoch in which it may have voted
        before. `nonce` is 16 random bytes of this start.
        """
        memory = recall(store.load())
        self._replica = revive(rules, signer, head, memory, first_start=first_start, nonce=nonce)
        self._state = self._replica.state
        self._verifier = Verifier(rules)
        self._store, self._transport, self._application = store, transport, application
        self._timers, self._fetches = Timers(timing, self._state), PayloadFetches(timing)
        self._answers = AnswerLimit(timing)
        self._events: deque[Event] = deque()
        self._running = False
        self._deletes: list[bytes] = []
        self.dropped_deletes = 0
        """Durable rows of certified heights that stay until the next start: too many waited for a write."""
        self._voted: dict[bytes, int] = {}
        """Peer -> the height certified here when it last sent a vote of its own; peers are members."""

    # --- what the node calls ----------------------------------------------------------------------

    def start(self, now: int) -> None:
        """Announce where we stand; the node calls this once, when application and transport are ready."""
        self._timers.start(now)
        self._handle(Retransmit(), now)

    def on_message(self, peer: bytes, data: bytes, now: int) -> bool:
        """Take one message from an authenticated peer; raise AssentError if the peer deserves disconnection.

        It returns False where the message could change nothing, or its sender repeats itself too soon.
        """
        if self._state.halted:
            return True
        message = decode_message(data)
        if isinstance(message, Fetch):
            return self._answer_fetch(peer, message, now)
        self._notice(peer, message)
        if isinstance(message, Status) and message.sender != peer:
            raise MessageInvalid(f"status of {message.sender.hex()[:16]} from {peer.hex()[:16]}")
        if not relevant(self._state, message):
            return False
        if self._is_costly(message) and not self._answers.take(peer, tag_of(type(message)).encode(), now):
            return False
        try:
            self._verifier.check(message)
        except NotYetKnown:
            self._timers.lose_track()  # others are ahead of us: say where we stand, and block sync follows
            return True
        self._timers.hear(peer, now)
        self._handle(message, now)
        if isinstance(message, Status):
            self._recall_certificates(peer, message)
        return True

    def on_connected(self, peer: bytes, now: int) -> None:
        """Tell a peer whose link is up (again) where we stand, so that it sends again what we missed."""
        self._handle(Retransmit(peer), now)

    def on_tick(self, now: int) -> None:
        """Let time pass; the node calls this at `next_deadline()`, and may at any time."""
        self._handle(None, now)

    def next_deadline(self) -> int:
        """Return when `on_tick` is due at the latest, in ms."""
        return min([self._timers.next_deadline(), *self._fetches.deadlines()])

    def requests_pending(self, now: int) -> None:
        """Take note that requests wait: propose if it is our turn, else start the view timer."""
        self._handle(None, now)

    def checked(self, candidate: Candidate, valid: bool, now: int) -> None:
        """Take the judgement of a candidate that the application had put off; a void one does no harm."""
        self._handle(Checked(candidate.height, candidate.view, candidate.digest, valid), now)

    def executed(self, height: int, header_hash: bytes, now: int) -> None:
        """Take note that the application executed a delivered height, durably."""
        self._handle(Executed(height, header_hash), now)

    def on_synced(self, certificate: Certificate, now: int) -> None:
        """Continue above this certificate's height, to which block sync brought the ledger.

        Nothing up to it is delivered again. It raises ProofInvalid unless the certificate holds.
        """
        self._verifier.certificate(certificate)
        self._handle(Synced(certificate), now)

    def status(self, now: int) -> dict[str, Any]:
        """Return height, view, primary, phase, who is missing and since when, ready for JSON."""
        return describe(self._state, self._timers.heard, self._timers.since, now)

    @property
    def dropped_answers(self) -> int:
        """Statuses and fetches left unanswered because their sender asked too often."""
        return self._answers.dropped

    @property
    def lost_votes(self) -> bool:
        """Whether votes of this key were lost: it gives none until another validator set is in force."""
        return self._state.lost.listening or self.muted

    @property
    def muted(self) -> bool:
        """Whether a quorum was heard under this key, and it is certain which epoch its lost votes were of."""
        lost = self._state.lost
        return not lost.listening and lost.muted is not None and self._state.epoch.first <= lost.muted

    def silent(self, heights: int) -> tuple[bytes, ...]:
        """Return the other validators that sent no vote while `heights` heights were certified.

        It names nobody while too few others are heard for a quorum: then blocks come by block sync, or the
        chain stands.
        """
        state = self._state
        least, others = state.certified - heights, [key for key in state.epoch.validators if key != state.me]
        if state.epoch.first > least:
            return ()
        found = tuple([key for key in others if self._voted.get(key, 0) < least])
        enough = len(others) - len(found) + 1 >= state.rules.quorum(state.certified + 1)
        return found if enough else ()

    def accused(self) -> list[tuple[bytes, str]]:
        """Return (public key, kind of message) of every equivocation that was seen, in this order."""
        return sorted((row[1:33], row[33:].decode()) for row in self._state.accused)

    def evidence(self, key: bytes, kind: str) -> Evidence | None:
        """Return the evidence that a replica equivocated in messages of this kind, from the vote store."""
        row = self._store.get(evidence_key(key, kind))
        return None if row is None else decode(Evidence, row)

    # --- events and effects -----------------------------------------------------------------------

    def _handle(self, event: Event | None, now: int) -> None:
        if self._state.halted:
            return
        self._timers.advance(now)
        if event is not None:
            self._events.append(event)
        if self._running:
            return  # the application called back: the loop below goes on with its event
        self._running = True
        try:
            self._drain()
        except BaseException as error:
            # The replica believes in votes that may not be durable: it must not go on (restart instead).
            self._state.halt(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._running = False
        self._report_halt()

    def _report_halt(self) -> None:
        if self._state.halted:
            self._application.halted(self._state.halted)

    def _drain(self) -> None:
        while not self._state.halted:
            if self._events:
                self._perform(self._replica.step(self._events.popleft()))
            elif not self._settle():
                return

    def _perform(self, effects: Effects) -> None:
        if effects.put:
            # Votes of this step may stand in the consensus window that its certificates open, and a power
            # failure must not take that window back. Without votes nothing that is sent waits for them.
            self._certify(effects)
            self._store.write(effects.put, self._deletes)
            self._deletes = []
        for to, message in effects.send:
            self._send(to, message)
        for candidate in effects.check:
            verdict = self._application.check(candidate)
            if verdict is not None:
                self._events.append(Checked(candidate.height, candidate.view, candidate.digest, verdict))
        for height, payload in effects.deliver:
            self._application.deliver(height, payload)
        if not effects.put:
            self._certify(effects)
        for evidence in effects.evidence:
            self._application.evidence(evidence)

    def _certify(self, effects: Effects) -> None:
        """Hand over certificates, which are durable then, and let go of the votes that they replace."""
        for certificate in effects.certified:
            self._verifier.trust(certificate)
            self._application.certified(certificate)
        self._delete_later(effects.delete)

    def _delete_later(self, keys: list[bytes]) -> None:
        """Delete votes with the next write, now that the certificate in their place is durable."""
        self._deletes += keys
        if len(self._deletes) > DELETES_MAX:
            self.dropped_deletes += len(self._deletes) - DELETES_MAX
            del self._deletes[:-DELETES_MAX]

    def _send(self, to: bytes | None, message: Message) -> None:
        if to is None:
            self._transport.broadcast(encode(message))
        elif to != self._state.me:
            self._transport.send(to, encode(message))

    def _settle(self) -> bool:
        """Queue the events that time and state cause without a message; tell whether there are any."""
        pending = self._application.pending()
        if pending != self._state.pending:
            self._events.append(Pending(pending))
        else:
            self._timers.follow()
            self._forward()
            self._propose()
            self._suspect()
            self._retransmit()
            self._sync()
            self._fetch()
        return bool(self._events)

    # --- what is due ------------------------------------------------------------------------------

    def _forward(self) -> None:
        due = self._timers.forward_due()
        if due is not None:
            primary, widely = due
            self._application.forward(primary, widely=widely)

    def _propose(self) -> None:
        turn = self._timers.proposal_due()
        if turn is None:
            return
        payload = self._application.propose(turn)
        if payload:
            self._events.append(Proposed(turn.height, turn.view, payload))
        else:
            self._timers.ask_again()

    def _suspect(self) -> None:
        wait = self._timers.expired()
        if wait is not None:
            self._events.append(Expired(wait))

    def _retransmit(self) -> None:
        if self._timers.retransmission_due():
            self._events.append(Retransmit())

    def _sync(self) -> None:
        target = self._timers.sync_due()
        if target is not None:
            self._application.behind(target)

    def _fetch(self) -> None:
        """Take each missing payload from the vote store, or ask one validator after another for it."""
        missing: list[tuple[int, bytes]] = []
        for height, digest in self._state.missing_payloads():
            own = self._stored_payload(height, digest)
            if own is None:
                missing.append((height, digest))
            else:
                self._events.append(PayloadReply(height, own))
        for peer, height, digest in self._fetches.due(missing, self._timers.now, self._others):
            self._send(peer, Fetch(height, digest))

    def _others(self, height: int) -> list[bytes]:
        return [key for key in self._state.rules.validators(height) if key != self._state.me]

    # --- answers ----------------------------------------------------------------------------------

    def _recall_certificates(self, peer: bytes, status: Status) -> None:
        """Answer from the ledger what memory no longer holds: certificates that a replica missed long ago."""
        oldest = self._state.certified - 2 * self._state.rules.consensus_window
        for height in status.uncertified:
            if height <= oldest and (found := self._application.certificate(height)) is not None:
                self._send(peer, found)

    def _answer_fetch(self, peer: bytes, fetch: Fetch, now: int) -> bool:
        if not self._answers.take(peer, fetch.payload_digest, now):
            return False
        reply = repair.answer_fetch(self._state, fetch, self._read_payload)
        if reply is not None:
            self._send(peer, reply)
        return reply is not None

    def _stored_payload(self, height: int, digest: bytes) -> bytes | None:
        """Return a payload that memory let go and the vote store keeps, since a vote of ours needs it."""
        slot = self._state.slots.get(height)
        return self._read_payload(height, digest) if slot is not None and digest in slot.stored else None

    def _read_payload(self, height: int, digest: bytes) -> bytes | None:
        return self._store.get(payload_key(height, digest))

    def _is_costly(self, message: Message) -> bool:
        """Tell whether a peer could make us verify many messages of this kind in vain."""
        if isinstance(message, Certificate):
            return not self._state.rules.is_settled(message.height)
        return isinstance(message, Status)

    def _notice(self, peer: bytes, message: Message) -> None:
        """See who votes, and whether others are far ahead of us; nothing of the message is verified yet."""
        if isinstance(message, Prepare | Commit) and message.sender == peer:
            # The link says who sent it, and it vouches for itself alone.
            self._voted[peer] = self._state.certified
        match message:
            case Proposal():
                height = message.pre_prepare.height
            case Prepare() | Commit() | Checkpoint():
                height = message.height
            case _:
                return
        if height > self._state.certified + 2 * self._state.rules.consensus_window:
            self._timers.lose_track()
