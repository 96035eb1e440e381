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
        "after a start only in a view above all of these, so that `accepted.view == state.view` is false "
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
    "state.py:State.gaps:boundary:1": Argument(
        "at < self.certified",
        "(at <= self.certified)",
        "The certificate of the certified height itself is always among the recent ones: at a start, when "
        "one is learnt and after a sync it is put there first.",
    ),
    "state.py:State.__init__:off-by-one:9": Argument(
        "1",
        "0",
        "No proposal is for height 0, which is genesis (authenticity refuses it, and it has no slot), and "
        "the next height to propose is one above what was delivered, 1 at least.",
    ),
}
