"""Pages that a history proposes, votes on, and retires."""

from __future__ import annotations

from typing import Any

from tests.rules.base import digest
from tests.rules.draw import Dice, Drawn
from tests.rules.pages import BROKEN, PAGES


def propose(dice: Dice) -> Drawn:
    """Propose a page, now and then for an id that is asked for or taken."""
    ident = dice.name("page")
    if dice.often(0.5):
        ident = dice.pick([one.id for one in dice.model.asked_pages.values()]) or ident
    elif dice.often(0.1):
        ident = dice.pick(dice.model.page_programs)
    args = {"id": ident, "source": BROKEN if dice.often(0.03) else dice.pick(PAGES), "reason": ""}
    return dice.signer(dice.member()), "programs.propose", args


def page_step(dice: Dice) -> Drawn:
    """Vote on a page, give it its id, take it or a vote back."""
    asked = dice.pick([*dice.model.asked_pages.values()][-4:])
    if asked is None:
        return None
    args: dict[str, Any] = {"seq": asked.seq}
    lot = dice.chance.random()
    if dice.model.time > asked.expires:
        return dice.signer(dice.member()), f"programs.{'expire' if lot < 0.8 else 'commit'}", args
    if dice.often(dice.fickle):
        return dice.signer(dice.pick(asked.votes) or "bank"), "programs.retract", args
    if lot < 0.1:
        who = asked.by if dice.often(0.8) else dice.member()
        return dice.signer(who), "programs.withdraw" if lot < 0.07 else "programs.expire", args
    if dice.model.passed("program", asked.votes, asked.proposed_at) or lot < 0.15:
        return dice.signer(dice.member()), "programs.commit", args
    left = [org for org in dice.model.members() if org not in asked.votes]
    voter = dice.signer(dice.pick(left) or dice.member())
    return voter, "programs.approve", args | {"hash": digest(asked.content)}


def retire(dice: Dice) -> Drawn:
    """Vote to retire a program, most often one that a job runs by or that has votes, or take that back."""
    model = dice.model
    run = [job.spec["program"] for job in model.jobs.values() if not job.final]
    run = [name for name in run if name in model.page_programs and not model.page_programs[name].retired]
    begun = [name for name, _ in model.retiring_votes]
    ident = dice.pick(model.page_programs)
    if run and dice.often(0.7):
        ident = dice.pick(run)
    elif begun and dice.often(0.8):
        ident = dice.pick(begun)
    voters = list(model.votes_to_retire(ident)) if ident else []
    if voters and dice.often(0.2 + dice.fickle):
        return dice.signer(dice.pick(voters)), "programs.retract_retirement", {"id": ident}
    left = [org for org in model.members() if org not in voters]
    return dice.signer(dice.pick(left) or dice.member()), "programs.retire", {"id": ident, "reason": ""}


def ask(dice: Dice) -> Drawn:
    """Ask what stands on the ledger."""
    seq = dice.pick(dice.model.asked_pages)
    if seq is not None and dice.often(0.5):
        return "?", "programs.readiness", {"seq": seq}
    ident = dice.pick(dice.model.page_programs) if dice.often(0.95) else "none"
    return "?", f"programs.{dice.pick(('is_active', 'program_of'))}", {"id": ident}
