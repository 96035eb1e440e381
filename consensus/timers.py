"""Timers of one replica: view timeout, forwarding, retransmission, pace of proposals, call for block sync.

Pure: time is what `advance` was last told, in milliseconds of a monotonic clock, and the replica's state is
read and never changed. The driver tells what happened, asks what is due, and performs it. A method that
answers that something is due arms its timer anew, so the driver asks each once a turn, after `follow`.
"""

from __future__ import annotations

from chain.primitives.certificate import Certificate
from consensus.events import Turn, Wait
from consensus.forwarding import Forwarding
from consensus.settings import Timing
from consensus.slow_primaries import Patience
from consensus.state import State

EXPONENT_MAX = 16
"""The view timeout doubles at most so often; a shift by more would only make large integers for the cap."""
SYNC_SHARE = 4
"""Block sync of heights in the consensus window waits for `status_ms` divided by this: votes may come yet."""


class Timers:
    """What a replica waits for, since when, and when it gives up; all times in ms."""

    def __init__(self, timing: Timing, state: State) -> None:
        """Measure nothing yet; `start` sets the clock."""
        self._timing, self._state = timing, state
        self.now = 0
        """The latest time that `advance` was told."""
        self.wait: Wait | None = None
        """What others owe us; the view timer runs while it is there."""
        self.since = 0
        """When the present wait, or the present quiet, began."""
        self.heard: dict[bytes, int] = {}
        """Peer -> when its last genuine message came; peers are members, so this is bounded."""
        self._patience, self._forwarding = Patience(timing), Forwarding(timing)
        self._owed_since: int | None = None
        """Since when the primary has owed us something, as far as `_patience` has not counted it."""
        self._charged = False
        """Whether that is held against the primary: it knows what waits here."""
        self._delivered = state.delivered
        self._progress: tuple[object, ...] = ()
        self._retransmit_at = 0
        self._lost_track = False
        self._propose_at = 0
        self._asks_again = False
        """The application had no payload for our turn: it is asked again at `_propose_at`."""
        self._sync_at: int | None = None

    # --- what happened ----------------------------------------------------------------------------

    def start(self, now: int) -> None:
        """Set the clock at the start of the process."""
        self.now = self.since = now
        self._retransmit_at = now + self._timing.status_ms

    def advance(self, now: int) -> None:
        """Let time pass; it never goes back. After a sleep of this process every wait begins anew."""
        elapsed = now - self.now
        self.now = max(now, self.now)
        if self.wait is not None and elapsed > max(2 * self._timing.status_ms, self._timing.timeout_ms // 2):
            self.since = self.now  # we slept, not the primary
            self._owed_since = None if self._owed_since is None else self.now

    def hear(self, peer: bytes, now: int) -> None:
        """Note that a genuine message of this peer came."""
        self.heard[peer] = now

    def lose_track(self) -> None:
        """Note that others are far ahead of us: we ask often where they stand, until we have asked once."""
        self._lost_track = True

    def follow(self) -> None:
        """Restart the timers of whatever has changed in the replica's state."""
        state = self._state
        wait = state.waiting()
        if wait != self.wait or state.executed < state.delivered:
            self._forwarding.begin(self.now)
        self._measure(wait)
        if wait != self.wait:
            self.wait, self.since = wait, self.now
        progress = (state.view, state.active, state.delivered, state.executed, state.certified)
        soon = self.now + self._timing.status_ms
        if progress != self._progress:
            # Progress repairs nothing that lies behind it: a certificate that was missed is asked for anyway,
            # and so is a status by who has lost its memory.
            late = self._retransmit_at if state.uncertified() or state.listening else soon
            self._progress, self._retransmit_at = progress, min(late, soon)
        elif self._is_stuck():
            self._retransmit_at = min(self._retransmit_at, soon)

    # --- what is due ------------------------------------------------------------------------------

    def next_deadline(self) -> int:
        """Return when something is due at the latest."""
        due = [self._retransmit_at]
        if self.wait is not None:
            due.append(self._gives_up_at())
        if self._late_primary() is not None:
            due.append(self._forwarding.due)
        if self._asks_again:
            due.append(self._propose_at)
        if self._sync_at is not None:
            due.append(self._sync_at)
        return min(due)

    def forward_due(self) -> tuple[bytes, bool] | None:
        """Return the primary to which what waits here is forwarded now, and whether everyone else gets it."""
        primary = self._late_primary()
        if primary is None or self.now < self._forwarding.due:
            return None
        widely = self._forwarding.offered
        self._forwarding.done(self.now)
        self._measure(self.wait)
        return primary, widely

    def proposal_due(self) -> Turn | None:
        """Return the turn for which the application is asked for a payload now, or None.

        Once in `batch_interval_ms`, while fewer than `in_flight_max` of our heights are in flight.
        """
        turn = self._state.turn()
        self._asks_again = False
        if turn is None or turn.in_flight >= self._timing.in_flight_max or not self._state.pending:
            return None
        if self.now < self._propose_at:
            self._asks_again = True
            return None
        self._propose_at = self.now + max(1, self._timing.batch_interval_ms)
        return turn

    def ask_again(self) -> None:
        """Note that the application had no payload for the turn: it is asked again after the interval."""
        self._asks_again = True

    def expired(self) -> Wait | None:
        """Return the wait whose time ran out, or None: then nobody is suspected."""
        if self.wait is None or self.now < self._gives_up_at():
            return None
        if self.wait.kind != "new-view" and not self._hears_quorum():
            # Cut off: a view change cannot succeed, and would cost us our vote here.
            self.since, self._owed_since = self.now, None
            self._patience.ran_out()
            return None
        if self.now < self.since + self.timeout():
            self._patience.ran_out()
        return self.wait

    def retransmission_due(self) -> bool:
        """Tell whether to send a status (and our view change) again: often while stuck, seldom while idle."""
        if self.now < self._retransmit_at:
            return False
        interval = self._timing.status_ms if self._is_stuck() else self._timing.heartbeat_ms
        self._retransmit_at = self.now + interval
        self._lost_track = False
        return True

    def sync_due(self) -> Certificate | None:
        """Return the certificate up to which block sync is called for now, or None.

        At once when consensus messages cannot close the gap, else after a moment; then every `status_ms`.
        """
        target, window = self._state.behind, self._state.rules.consensus_window
        if target is None:
            self._sync_at = None
            return None
        if self._sync_at is None:
            near = target.height <= self._state.delivered + window
            self._sync_at = self.now + (self._timing.status_ms // SYNC_SHARE if near else 0)
        if self.now < self._sync_at:
            return None
        self._sync_at = self.now + self._timing.status_ms
        return target

    # --- the view timer ---------------------------------------------------------------------------

    def timeout(self) -> int:
        """Return the view timeout: doubled for each view since the last delivery, up to a maximum."""
        wasted = min(max(0, self._state.view - self._state.good_view), EXPONENT_MAX)
        return min(self._timing.timeout_ms << wasted, self._timing.timeout_max_ms)

    def faults(self) -> int:
        """Return f of the validators whose turn it is."""
        return self._state.rules.faults(min(self._state.delivered + 1, self._state.high_watermark))

    def _gives_up_at(self) -> int:
        """Return when this wait has lasted too long: by itself, or with what its primary took before."""
        late = self.since + self.timeout()
        if self._owed_since is None or not self._charged:
            return late
        left = self._patience.left(self.faults())
        return late if left is None else min(late, self._owed_since + max(0, left))

    def _hears_quorum(self) -> bool:
        height = self._state.certified + 1
        validators = self._state.rules.validators(height)
        recent = self.now - max(self.timeout() // 2, 2 * self._timing.status_ms)
        heard = sum(self.heard.get(key, -1) >= recent for key in validators if key != self._state.me)
        return heard + 1 >= self._state.rules.quorum(height)

    def _measure(self, wait: Wait | None) -> None:
        """Count the time for which the primary owed us a height and nothing was left to do here.

        It is charged with what it was offered, or has proposed: what waits here may be hidden from it.
        """
        state, patience = self._state, self._patience
        if self._owed_since is not None:
            patience.waited(self.now - self._owed_since, charged=self._charged)
        patience.delivered(max(0, state.delivered - self._delivered))
        self._delivered = state.delivered
        height = min(state.delivered + 1, state.high_watermark)
        primary = state.rules.primary(state.view, height)
        patience.follow(primary, state.rules.validators(height))
        owed = wait is not None and wait.kind == "progress" and state.executed == state.delivered
        self._owed_since = self.now if owed else None
        self._charged = self._forwarding.offered or primary == state.me or state.is_proposed(height)

    def _late_primary(self) -> bytes | None:
        """Return who owes us a proposal while nothing is left to do here, ourselves excepted; mostly None."""
        state, wait = self._state, self.wait
        if wait is None or wait.kind != "progress" or state.executed < state.delivered:
            return None
        height = state.delivered + 1
        if state.is_proposed(height):
            return None
        primary = state.rules.primary(state.view, height)
        return None if primary == state.me else primary

    def _is_stuck(self) -> bool:
        state = self._state
        return (
            self.wait is not None
            or not state.active
            or state.listening
            or state.behind is not None
            or state.executed > state.certified
            or self._lost_track
            or bool(state.uncertified())
        )
