"""The production driver: performs a replica's effects in order, and keeps its timers on the time it is given.

Synchronous and without a clock: `now` is an argument, in milliseconds of a monotonic clock. The asyncio node
and the simulator run this same code. Order of effects: durable write, send, then the application;
certificates come before votes that are written in the same step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from chain.primitives.certificate import Certificate
from chain.primitives.codec import decode, encode, tag_of
from chain.primitives.crypto import Signer
from consensus import repair
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
    Nudge,
    Pending,
    Proposed,
    Synced,
    Wait,
)
from consensus.forwarding import Forwarding
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
from consensus.patience import Patience
from consensus.ports import Application, Transport, VoteStore
from consensus.report import describe
from consensus.restart import revive
from consensus.rules import Rules
from consensus.timing import Timing
from consensus.votes import Evidence, evidence_key, payload_key, recall

EXPONENT_MAX = 16
DELETES_MAX = 4_096
ANSWERS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Fetching:
    """One payload being fetched: how many peers were asked, and when to ask the next."""

    attempts: int
    ask_at: int


class Driver:
    """Runs one replica between a vote store, a transport and an application."""

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
        """Read the durable votes (VotesDamaged if that fails) and stand where they and the ledger say.

        `first_start`: this validator has never voted, for certain (fresh from `init`). With False, an empty
        store counts as wiped, and the replica votes no more in the epoch that it may have voted in before.
        `nonce`: 16 random bytes of this start.
        """
        memory = recall(store.load())
        self._replica = revive(rules, signer, head, memory, first_start=first_start, nonce=nonce)
        self._state = self._replica.state
        self._verifier = Verifier(rules)
        self._timing, self._store, self._transport, self._application = timing, store, transport, application
        self._events: deque[Event] = deque()
        self._running = False
        self._deletes: list[bytes] = []
        self.dropped_answers = 0
        """Statuses and fetches left unanswered because their sender asked too often."""
        self.dropped_deletes = 0
        """Durable rows of certified heights that stay until the next start: too many waited for a write."""
        self._now = 0
        self._wait: Wait | None = None
        self._since = 0
        """When the current wait, or the current quiet, began."""
        self._patience, self._forwarding = Patience(timing), Forwarding(timing)
        self._owed_from: int | None = None
        """Since when the primary has owed us something, as far as `_patience` has not counted it."""
        self._charged = False
        """Whether that is held against it: it knows what waits here."""
        self._delivered = self._state.delivered
        self._moved: tuple[object, ...] = ()
        self._repair_at = 0
        self._propose_at = 0
        self._unanswered = False
        """The application had no payload for our turn: ask again at `_propose_at`."""
        self._lost_track = False
        """A message far ahead of us came: ask where the others stand."""
        self._heard: dict[bytes, int] = {}
        self._voted: dict[bytes, int] = {}
        """Peer -> the height certified here when it last sent a vote of its own; peers are members."""
        self._answered: dict[tuple[bytes, bytes], int] = {}
        self._fetches: dict[tuple[int, bytes], Fetching] = {}
        self._sync_at: int | None = None

    # --- what the node calls ----------------------------------------------------------------------

    def start(self, now: int) -> None:
        """Announce where we stand; call once, when application and transport are ready."""
        self._now = self._since = now
        self._repair_at = now + self._timing.status_ms
        self._handle(Nudge(), now)

    def on_message(self, peer: bytes, data: bytes, now: int) -> bool:
        """Take one message from an authenticated peer; raise AssentError if it deserves disconnection.

        Returns False where it could change nothing, or its sender repeats itself too soon.
        """
        if self._state.halted:
            return True
        message = decode_message(data)
        if isinstance(message, Fetch):
            return self._answer_fetch(peer, message, now)
        self._notice(peer, message)
        if isinstance(message, Status) and message.sender != peer:
            raise MessageInvalid(f"status of {message.sender.hex()[:16]} from {peer.hex()[:16]}")
        if not repair.relevant(self._state, message):
            return False
        if self._is_costly(message) and not self._in_time(peer, tag_of(type(message)).encode(), now):
            return False
        try:
            self._verifier.check(message)
        except NotYetKnown:
            self._lost_track = True  # others are ahead of us: say where we stand, and block sync follows
            return True
        self._heard[peer] = now
        self._handle(message, now)
        if isinstance(message, Status):
            self._recall_certificates(peer, message)
        return True

    def on_connected(self, peer: bytes, now: int) -> None:
        """A link to a peer is up (again): tell it where we stand, so that it resends what we missed."""
        self._handle(Nudge(peer), now)

    def on_tick(self, now: int) -> None:
        """Let time pass; call at `next_deadline()` or any time."""
        self._handle(None, now)

    def next_deadline(self) -> int:
        """Return when `on_tick` is due at the latest."""
        due = [self._repair_at]
        if self._wait is not None:
            due.append(self._give_up_at())
        if self._late_primary() is not None:
            due.append(self._forwarding.due)
        if self._unanswered:
            due.append(self._propose_at)
        if self._sync_at is not None:
            due.append(self._sync_at)
        due += [item.ask_at for item in self._fetches.values()]
        return min(due)

    def requests_pending(self, now: int) -> None:
        """The application has requests to order: propose if it is our turn, else start the timer."""
        self._handle(None, now)

    def checked(self, candidate: Candidate, valid: bool, now: int) -> None:
        """The application judged a candidate after all; a late or void answer does no harm."""
        self._handle(Checked(candidate.height, candidate.view, candidate.digest, valid), now)

    def executed(self, height: int, header_hash: bytes, now: int) -> None:
        """The application executed a delivered height durably."""
        self._handle(Executed(height, header_hash), now)

    def on_synced(self, certificate: Certificate, now: int) -> None:
        """Block sync brought the ledger to this certificate's height: nothing up to it is delivered again."""
        self._verifier.certificate(certificate)
        self._handle(Synced(certificate), now)

    def status(self, now: int) -> dict[str, Any]:
        """Return height, view, primary, phase, who is missing and since when, JSON-ready."""
        return describe(self._state, self._heard, self._since, now)

    @property
    def lost_votes(self) -> bool:
        """Whether votes of this key were lost: it gives none until another validator set is in force."""
        return self._state.heard is not None or self.muted

    @property
    def muted(self) -> bool:
        """Whether a quorum was heard under this key, and it is certain which epoch its lost votes were of."""
        state = self._state
        return state.heard is None and state.muted is not None and state.epoch.first <= state.muted

    def silent(self, heights: int) -> tuple[bytes, ...]:
        """Return the other validators that sent no vote while `heights` heights were certified.

        Nobody, while too few others vote here for a quorum: then blocks come by sync, or the chain stands.
        """
        state = self._state
        least, others = state.certified - heights, [key for key in state.epoch.validators if key != state.me]
        if state.epoch.first > least:
            return ()
        found = tuple([key for key in others if self._voted.get(key, 0) < least])
        enough = len(others) - len(found) + 1 >= state.rules.quorum(state.certified + 1)
        return found if enough else ()

    def accused(self) -> list[tuple[bytes, str]]:
        """Return (public key, kind of message) of every contradiction that is kept, in this order."""
        return sorted((row[1:33], row[33:].decode()) for row in self._state.accused)

    def evidence(self, key: bytes, kind: str) -> Evidence | None:
        """Return how a replica contradicted itself with messages of this kind, from the vote store."""
        row = self._store.get(evidence_key(key, kind))
        return None if row is None else decode(Evidence, row)

    # --- events and effects -----------------------------------------------------------------------

    def _handle(self, event: Event | None, now: int) -> None:
        if self._state.halted:
            return
        paused = self._wait is not None and now - self._now > max(
            2 * self._timing.status_ms, self._timing.timeout_ms // 2
        )
        self._now = max(now, self._now)
        if paused:
            self._since = self._now  # we slept, not the primary
            self._owed_from = None if self._owed_from is None else self._now
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
            # Votes of this step may stand in the window that its certificates open, which must not be taken
            # back by a power failure. Without votes, nothing that is sent waits for a certificate.
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
        """Queue what follows from time and state without a message; tell whether there is anything."""
        pending = self._application.pending()
        if pending != self._state.pending:
            self._events.append(Pending(pending))
        else:
            self._follow_progress()
            self._forward()
            self._propose()
            self._expire()
            self._repair()
            self._sync()
            self._fetch()
        return bool(self._events)

    # --- proposing --------------------------------------------------------------------------------

    def _propose(self) -> None:
        turn = self._state.turn()
        self._unanswered = False
        if turn is None or turn.in_flight >= self._timing.in_flight_max or not self._state.pending:
            return
        if self._now < self._propose_at:
            self._unanswered = True
            return
        self._propose_at = self._now + max(1, self._timing.batch_interval_ms)
        payload = self._application.propose(turn)
        if payload:
            self._events.append(Proposed(turn.height, turn.view, payload))
        else:
            self._unanswered = True

    # --- time -------------------------------------------------------------------------------------

    def _timeout(self) -> int:
        wasted = min(max(0, self._state.view - self._state.good_view), EXPONENT_MAX)
        return min(self._timing.timeout_ms << wasted, self._timing.timeout_max_ms)

    def _follow_progress(self) -> None:
        state = self._state
        wait = state.waiting()
        if wait != self._wait or state.executed < state.delivered:
            self._forwarding.begin(self._now)
        self._measure(wait)
        if wait != self._wait:
            self._wait, self._since = wait, self._now
        moved = (state.view, state.active, state.delivered, state.executed, state.certified)
        soon = self._now + self._timing.status_ms
        if moved != self._moved:
            # Progress repairs nothing that lies behind it: a certificate that was missed is asked for anyway,
            # and so is a status by who has lost its memory.
            late = self._repair_at if state.gaps() or state.listening else soon
            self._moved, self._repair_at = moved, min(late, soon)
        elif self._stuck():
            self._repair_at = min(self._repair_at, soon)

    def _measure(self, wait: Wait | None) -> None:
        """Count the time for which the primary owed us a height and nothing was left to do here.

        It is charged with what it was offered, or has proposed: what waits here may be hidden from it.
        """
        state, patience = self._state, self._patience
        if self._owed_from is not None:
            patience.waited(self._now - self._owed_from, charged=self._charged)
        patience.delivered(max(0, state.delivered - self._delivered))
        self._delivered = state.delivered
        height = min(state.delivered + 1, state.top)
        primary = state.rules.primary(state.view, height)
        patience.follow(primary, state.rules.validators(height))
        owed = wait is not None and wait.kind == "progress" and state.executed == state.delivered
        self._owed_from = self._now if owed else None
        self._charged = self._forwarding.offered or primary == state.me or state.is_proposed(height)

    def _late_primary(self) -> bytes | None:
        """Return who owes us a proposal while nothing is left to do here, ourselves excepted; mostly None."""
        state, wait = self._state, self._wait
        if wait is None or wait.kind != "progress" or state.executed < state.delivered:
            return None
        height = state.delivered + 1
        if state.is_proposed(height):
            return None
        primary = state.rules.primary(state.view, height)
        return None if primary == state.me else primary

    def _forward(self) -> None:
        primary = self._late_primary()
        if primary is not None and self._now >= self._forwarding.due:
            again = self._forwarding.offered
            self._forwarding.done(self._now)
            self._measure(self._wait)
            self._application.forward(primary, widely=again)

    def _give_up_at(self) -> int:
        """Return when this wait has lasted too long: by itself, or with what its primary took before."""
        late = self._since + self._timeout()
        if self._owed_from is None or not self._charged:
            return late
        left = self._patience.left(self._faults())
        return late if left is None else min(late, self._owed_from + max(0, left))

    def _faults(self) -> int:
        return self._state.rules.faults(min(self._state.delivered + 1, self._state.top))

    def _expire(self) -> None:
        if self._wait is None or self._now < self._give_up_at():
            return
        if self._wait.kind != "new-view" and not self._hears_quorum():
            # Cut off: a view change cannot succeed, and would cost us our vote here.
            self._since, self._owed_from = self._now, None
            self._patience.ran_out()
            return
        if self._now < self._since + self._timeout():
            self._patience.ran_out()
        self._events.append(Expired(self._wait))

    def _hears_quorum(self) -> bool:
        height = self._state.certified + 1
        validators = self._state.rules.validators(height)
        recent = self._now - max(self._timeout() // 2, 2 * self._timing.status_ms)
        heard = sum(self._heard.get(key, -1) >= recent for key in validators if key != self._state.me)
        return heard + 1 >= self._state.rules.quorum(height)

    def _repair(self) -> None:
        if self._now < self._repair_at:
            return
        self._repair_at = self._now + (self._timing.status_ms if self._stuck() else self._timing.heartbeat_ms)
        self._lost_track = False
        self._events.append(Nudge())

    def _sync(self) -> None:
        """Call for block sync: at once when consensus messages cannot close the gap, else after a moment."""
        target, window = self._state.behind, self._state.rules.window
        if target is None:
            self._sync_at = None
            return
        if self._sync_at is None:
            near = target.height <= self._state.delivered + window
            self._sync_at = self._now + (self._timing.status_ms // 4 if near else 0)
        if self._now >= self._sync_at:
            self._sync_at = self._now + self._timing.status_ms
            self._application.behind(target)

    def _stuck(self) -> bool:
        state = self._state
        return (
            self._wait is not None
            or not state.active
            or state.listening
            or state.behind is not None
            or state.executed > state.certified
            or self._lost_track
            or bool(state.gaps())
        )

    # --- payloads that were missed ----------------------------------------------------------------

    def _fetch(self) -> None:
        """Ask one validator after another for each payload that is needed and unknown."""
        wanted = self._state.wants()
        if not wanted and not self._fetches:
            return
        grace = self._now + self._timing.status_ms // 8  # proposals and commits overtake one another
        self._fetches = {key: self._fetches.get(key) or Fetching(0, grace) for key in wanted}
        for (height, digest), fetching in self._fetches.items():
            if fetching.attempts == 0 and (own := self._promised(height, digest)) is not None:
                self._events.append(PayloadReply(height, own))
                continue
            if self._now < fetching.ask_at:
                continue
            peers = [key for key in self._state.rules.validators(height) if key != self._state.me]
            again = Fetching(fetching.attempts + 1, self._now + self._timing.status_ms // 2)
            self._fetches[height, digest] = again
            if peers:
                self._send(peers[fetching.attempts % len(peers)], Fetch(height, digest))

    def _recall_certificates(self, peer: bytes, status: Status) -> None:
        """Answer from the ledger what memory no longer holds: certificates that a replica missed long ago."""
        oldest = self._state.certified - 2 * self._state.rules.window
        for height in status.uncertified:
            if height <= oldest and (found := self._application.certificate(height)) is not None:
                self._send(peer, found)

    def _answer_fetch(self, peer: bytes, fetch: Fetch, now: int) -> bool:
        if not self._in_time(peer, fetch.payload_digest, now):
            return False
        reply = repair.answer_fetch(self._state, fetch, self._read_payload)
        if reply is not None:
            self._send(peer, reply)
        return reply is not None

    def _promised(self, height: int, digest: bytes) -> bytes | None:
        """Return a payload that memory let go and the vote store keeps, since a vote of ours promises it."""
        slot = self._state.slots.get(height)
        return self._read_payload(height, digest) if slot is not None and digest in slot.stored else None

    def _read_payload(self, height: int, digest: bytes) -> bytes | None:
        return self._store.get(payload_key(height, digest))

    def _in_time(self, peer: bytes, what: bytes, now: int) -> bool:
        """Bound what one peer can make us send: each answer once per quarter of `status_ms`."""
        interval = self._timing.status_ms // 4
        if len(self._answered) >= ANSWERS_MAX:
            self._answered = {key: at for key, at in self._answered.items() if now - at < interval}
        last = self._answered.get((peer, what))
        if len(self._answered) >= ANSWERS_MAX or (last is not None and now - last < interval):
            self.dropped_answers += 1
            return False
        self._answered[peer, what] = now
        return True

    def _is_costly(self, message: Message) -> bool:
        """Tell whether a peer could make us verify many of these in vain."""
        if isinstance(message, Certificate):
            return not self._state.rules.is_settled(message.height)
        return isinstance(message, Status)

    def _notice(self, peer: bytes, message: Message) -> None:
        if isinstance(message, Prepare | Commit) and message.sender == peer:
            self._voted[peer] = (
                self._state.certified
            )  # the link says who sent it; it vouches for itself alone
        match message:
            case Proposal():
                height = message.pre_prepare.height
            case Prepare() | Commit() | Checkpoint():
                height = message.height
            case _:
                return
        self._lost_track |= height > self._state.certified + 2 * self._state.rules.window
