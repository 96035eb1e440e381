"""Mutants that no test can notice, each with the argument why. The campaign fails on any other survivor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Argument:
    """Why a mutant behaves as the original does; it holds for exactly this change."""

    before: str
    after: str
    why: str


EQUIVALENT: dict[str, Argument] = {
    "rs-accept-inactive": Argument(
        "and state.active",
        "",
        "A vote is of a view whose NEW-VIEW was durable before it, or of view 0; a replica is inactive "
        "after a start only in a view above all of these, so that `prepare.view == state.view` is false "
        "already.",
    ),
    "nc-inactive-votes": Argument(
        "state.active and state.votes_on(slot.height)",
        "state.votes_on(slot.height)",
        "While inactive no slot has a proposal (leave_view, and restart restores none), proposals and "
        "PREPAREs of the view are held, and re-proposals wait for it: there is nothing to check, prepare or "
        "commit.",
    ),
    "st-turn-at-reproposed": Argument(
        "max(self.delivered + 1, self.fresh_from)",
        "self.delivered + 1",
        "Every re-proposed height in the window has its proposal at once (advance_slot), and is passed over "
        "as taken; below the base everything is certified, so that the replica is behind or has delivered "
        "it.",
    ),
    "state.py:State.uncertified:boundary:1": Argument(
        "return sorted(at for at in self.headers if at < self.certified and at not in self.recent)",
        "return sorted(at for at in self.headers if (at <= self.certified) and at not in self.recent)",
        "The certificate of the certified height itself is always among the recent ones: at a start, when "
        "one is learnt and after a sync it is put there first.",
    ),
    "state.py:State.__init__:off-by-one:9": Argument(
        "self.fresh_from = 1",
        "self.fresh_from = 0",
        "No proposal is for height 0, which is genesis (authenticity refuses it, and it has no slot), and "
        "the next height to propose is one above what was delivered, 1 at least.",
    ),
    "checkpoints.py:learn:drop-exit:1": Argument(
        "return",
        "pass",
        "Of a height above what is executed there is no header here, and without a header the next lines "
        "return, too.",
    ),
    "timers.py:Timers._hears_quorum:drop-filter:1": Argument(
        "heard = sum(self.heard.get(key, -1) >= recent for key in validators if key != self._state.me)",
        "heard = sum(self.heard.get(key, -1) >= recent for key in validators if True)",
        "Nothing is ever heard from the own key: no link leads to oneself.",
    ),
    "timers.py:Timers.__init__:off-by-one:2": Argument(
        "self.since = 0",
        "self.since = 1",
        "`start` sets when the present quiet began before anything reads it.",
    ),
    "driver.py:Driver._stored_payload:drop-term:1": Argument(
        "return self._read_payload(height, digest) if slot is not None and digest in slot.stored else None",
        "return self._read_payload(height, digest) if ((digest in slot.stored)) else None",
        "What is wanted is wanted by a slot, so the slot of a wanted height is there.",
    ),
    "driver.py:Driver._stored_payload:always:1": Argument(
        "return self._read_payload(height, digest) if slot is not None and digest in slot.stored else None",
        "return self._read_payload(height, digest) if True else None",
        "The vote store has rows of payloads for exactly the stored digests of slots: where there is no row, "
        "the look-up that the condition saves finds nothing.",
    ),
}
