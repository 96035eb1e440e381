"""How much later the next call is: often in the same block, now and then at the edge of a deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from tests.rules import draw_schemas as schemas
from tests.rules.draw import DAY_MS, HOUR_MS, MINUTE_MS, Dice, Drawn
from tests.rules.draw_jobs import covers_question, forward_job
from tests.rules.model_voting import OBJECTION_MS

Moment = tuple[int, Callable[[], Drawn]]
"""A block time (or a height), and a call that comes out otherwise on its other side."""
HEIGHTS_AHEAD_MAX = 3_000


def times(dice: Dice) -> tuple[int, int, Drawn]:
    """Return milliseconds and blocks that pass, and a call for just that moment, or None for any."""
    lot = dice.chance.random()
    if lot < 0.25:
        return 0, 0, None
    if lot < 0.94:
        return 100, 1, None
    if lot < 0.958:
        return dice.chance.randint(MINUTE_MS, HOUR_MS), dice.chance.randint(1, 30), None
    if lot < 0.96:
        return dice.chance.randint(HOUR_MS, 3 * DAY_MS), dice.chance.randint(1, 300), None
    off = dice.chance.randint(-1, 1)
    if lot < 0.97:
        ahead = [(height - dice.model.height, call) for height, call in _heights(dice)]
        found = dice.pick([(blocks, call) for blocks, call in ahead if 1 < blocks < HEIGHTS_AHEAD_MAX])
        return (100, 1, None) if found is None else (100, found[0] + off, found[1]())
    # The call is chosen now, from what the model holds before that moment.
    far = 40 * DAY_MS if dice.often(0.15) else 2 * DAY_MS if dice.often(0.5) else 2 * HOUR_MS
    soon = [(moment - dice.model.time, call) for moment, call in _moments(dice)]
    found = dice.pick(sorted(((ms, call) for ms, call in soon if 1 < ms < far), key=lambda item: item[0])[:4])
    if found is None:
        return 100, 1, None
    ms, call = found
    return ms + off, dice.chance.randint(0, 2), call() if dice.often(0.8) else None


def _anyone(dice: Dice, target: str, **args: object) -> Drawn:
    return dice.signer(dice.member(), "steward"), target, args


def _one_of(dice: Dice, org: str, target: str, args: Mapping[str, object]) -> Drawn:
    return dice.signer(org, "steward"), target, dict(args)


def _heights(dice: Dice) -> Iterator[Moment]:
    """Yield heights at which something begins or is over."""
    model = dice.model
    for name, stop in model.stops.items():
        yield stop.until + 1, partial(_anyone, dice, f"{name}.act")
        yield stop.until + 1, partial(_anyone, dice, "lifecycle.unfreeze", name=name, seq=stop.seq)
    for name, ran in model.ran.items():
        for _, start in ran:
            yield start, partial(_anyone, dice, f"{name}.act")
    for place, proposal in model.proposals.items():
        if proposal.committed_at is None and isinstance(place, int):
            yield proposal.content["not_before"], partial(_anyone, dice, "governance.commit", seq=place)
        elif proposal.committed_at is None and isinstance(place, tuple):
            args = {"name": place[0], "seq": place[1]}
            yield proposal.content["active_at"], partial(_anyone, dice, "lifecycle.commit", **args)


def _moments(dice: Dice) -> Iterator[Moment]:
    """Yield block times at which something is over."""
    model = dice.model
    for job in model.jobs.values():
        if not job.final:
            yield job.deadline, partial(_anyone, dice, "jobs.expire", job=job.id)
            yield job.deadline, partial(forward_job, dice, job)
            for number, ident in enumerate(job.grants):
                for edge in ("expires", "not_before"):
                    question = partial(covers_question, dice, job, number)
                    yield model.grants[ident].terms[edge], lambda ask=question: ("?", *ask())
    for disputes in model.disputes.values():
        for dispute in disputes:
            if dispute.status == "open":
                args = {"job": dispute.job, "number": dispute.number}
                yield dispute.until, partial(_anyone, dice, "jobs.lapse", **args)
    for place, waiting in model.pending.items():
        for call in (waiting.call, "orgs.set_eyes"):
            args = waiting.args if call == waiting.call else {"act": "jobs", "dataset": "", "k": 2}
            yield waiting.until, partial(_one_of, dice, place[0], call, args)
    for grant in model.grants.values():
        if grant.status == "requested":
            yield grant.decide_by, partial(_anyone, dice, "grants.expire", id=grant.id)
            yield grant.decide_by, partial(_anyone, dice, "grants.settle", id=grant.id)
        elif grant.status in ("active", "suspended"):
            yield grant.terms["expires"], partial(_anyone, dice, "grants.expire", id=grant.id)
    for known in model.schemas.values():
        if known.status != "sealed":
            place = {"owner": known.owner, "schema": known.seal}
            yield known.until, partial(_anyone, dice, "datasets.withdraw", **place)
            yield known.until, partial(schemas.go_on, dice)
    yield from _votes(dice)


def _votes(dice: Dice) -> Iterator[Moment]:
    """Yield block times at which votes and proposals lapse."""
    model = dice.model
    for place, proposal in model.proposals.items():
        if proposal.committed_at is not None:
            continue
        contract, args = ("governance", {"seq": place})
        if isinstance(place, tuple):
            contract, args = "lifecycle", {"name": place[0], "seq": place[1]}
        for method in ("expire", "commit", "retract"):
            yield proposal.expires, partial(_anyone, dice, f"{contract}.{method}", **args)
        if proposal.content.get("kind") == "replace_key":
            yield proposal.proposed_at + OBJECTION_MS, partial(_anyone, dice, "governance.commit", **args)
    for (ballot, name, seq, org), cast in model.said.items():
        args = {"name": name, "seq": seq, "ballot": ballot}
        yield cast.until, lambda org=org, args=args: (dice.signer(org), "lifecycle.retract_vote", args)
    for asked in model.asked_pages.values():
        for method in ("expire", "commit", "retract"):
            yield asked.expires, partial(_anyone, dice, f"programs.{method}", seq=asked.seq)
    for (ident, org), cast in model.retiring_votes.items():
        taken = {"id": ident}
        yield cast.until, lambda org=org, args=taken: (dice.signer(org), "programs.retract_retirement", args)
