"""Histories: the same calls to contracts and model, compared after each; a difference is shortened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from chain.primitives.runtimeport import OK
from tests.rules import draw_accounts as accounts
from tests.rules import draw_eyes as eyes
from tests.rules import draw_grants as grants
from tests.rules import draw_jobs as jobs
from tests.rules import draw_libraries as libraries
from tests.rules import draw_members as members
from tests.rules import draw_pages as pages
from tests.rules import draw_schemas as schemas
from tests.rules.chain import ORGS, VALIDATING, Chain, World, public
from tests.rules.compare import Difference, of_answer, of_state
from tests.rules.draw import Dice, Draw, step
from tests.rules.draw_times import times
from tests.rules.invariants import Watch
from tests.rules.model import Model, Step
from tests.rules.prelude import ANSWERED, SPEND, prelude, spent

CALLS = 500
"""Of one history, its beginning included."""
STATE_EVERY = 20
"""Calls between two comparisons of all rows; a difference is played again with one after each call."""
SHORTENINGS_MAX = 1_500
KINDS: dict[Draw, float] = {
    members.add_key: 2,
    members.rotate_key: 1,
    members.revoke_key: 1,
    members.set_agent: 1,
    eyes.set_eyes: 2,
    eyes.see: 12,
    eyes.drop: 0.5,
    schemas.declare: 2,
    schemas.go_on: 3,
    members.register: 2,
    members.dataset_step: 5,
    members.decide: 4,
    members.decision_step: 18,
    members.rotate_node_key: 1,
    members.propose_contract: 3,
    members.contract_step: 10,
    members.stop_contract: 4,
    members.act: 4,
    libraries.publish: 2,
    libraries.withdraw: 1,
    pages.propose: 2,
    pages.page_step: 7,
    pages.retire: 1.5,
    pages.ask: 1,
    accounts.spend: 10,
    accounts.set_caps: 2,
    accounts.begin: 1.5,
    accounts.ask: 3,
    grants.request: 8,
    grants.approve: 14,
    grants.other_vote: 6,
    grants.grant_step: 6,
    jobs.propose: 14,
    jobs.forward: 120,
    jobs.again: 5,
    jobs.end: 5,
    jobs.refuse: 2,
    jobs.disclaim: 4,
    jobs.judge_join: 8,
    jobs.report: 3,
    jobs.decide_dispute: 6,
    jobs.ask: 8,
}

BUSY_EVERY = 4
"""Of so many histories in one, one organisation does one thing over and over, so the bounds are met, or all
members change their rules and what they have stopped; the rows of BUSY take turns: none is left to chance."""
BUSY: tuple[tuple[str, dict[Draw, float]], ...] = (
    ("bureau", {members.add_key: 150}),
    ("rival", {members.decide: 150}),
    ("bank", {members.add_key: 60, eyes.set_eyes: 90, eyes.see: 250}),
    ("", {members.add_key: 60, members.revoke_key: 20, eyes.set_eyes: 40, eyes.see: 200, grants.request: 30}),
    ("", {members.add_key: 90, eyes.set_eyes: 120, members.replace_key: 40, members.decision_step: 240}),
    ("bureau", {eyes.set_eyes: 60, members.add_key: 30, members.set_agent: 400}),
    ("bureau", {schemas.declare: 150}),
    ("bank", {members.propose_contract: 150}),
    ("bureau", {libraries.publish: 150}),
    ("", {members.propose_contract: 60, members.contract_step: 300}),
    ("", {members.propose_contract: 60, libraries.publish: 60, libraries.withdraw: 40}),
    ("bank", {pages.propose: 150}),
    ("", {members.decide_rules: 30, members.decision_step: 100, pages.page_step: 100, pages.retire: 60}),
    ("rival", {grants.request: 150, grants.approve: 120}),
    ("bank", {jobs.propose: 150, jobs.forward: 10}),
    ("bank", {jobs.propose: 60, jobs.forward: 240, jobs.refuse: 120}),
    (
        "",
        {
            accounts.set_caps: 20,
            accounts.begin: 10,
            accounts.spend: 200,
            accounts.ask: 20,
            members.dataset_step: 5,
            jobs.forward: 300,
            jobs.refuse: 20,
            jobs.disclaim: 20,
            jobs.end: 10,
        },
    ),
    ("", {jobs.propose: 30, jobs.forward: 400, jobs.end: 20, jobs.disclaim: 20}),
    ("", {members.decide_rules: 30, members.decision_step: 200, members.stop_contract: 40}),
    ("", {members.decide_rules: 30, members.decision_step: 200, members.contract_step: 60}),
)
SPENT_EVERY = 3
"""Of so many histories one begins where everybody has done nearly as much as one contract lets them in a day;
the rows of SPENT take turns."""
SPENT: dict[str, dict[Draw, float]] = {
    "orgs": {members.add_key: 60, eyes.set_eyes: 80, eyes.see: 60, eyes.drop: 20, grants.request: 60},
    "datasets": {members.register: 20, members.dataset_step: 60, schemas.declare: 20, schemas.go_on: 60},
    "grants": {grants.request: 20, grants.other_vote: 40, grants.grant_step: 40},
    "accounts": {accounts.set_caps: 40, accounts.begin: 20, members.dataset_step: 20},
    "governance": {members.decide: 20, members.decision_step: 80, members.rotate_node_key: 10},
    "lifecycle": {members.contract_step: 60, members.stop_contract: 30, libraries.publish: 20},
    "programs": {
        pages.propose: 20,
        pages.page_step: 60,
        pages.retire: 30,
        jobs.propose: 60,
        jobs.forward: 150,
    },
    "jobs": {jobs.propose: 60, jobs.refuse: 60},
}
"""What is done most in such a history."""


@dataclass(slots=True)
class Run:
    """How a history went."""

    seed: int
    steps: list[Step] = field(default_factory=list)
    difference: Difference | None = None
    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)


class Pair:
    """Contracts and model, side by side."""

    def __init__(self, world: World) -> None:
        """Start both at genesis."""
        self.chain: Chain = world.chain()
        self.model: Model = world.model()
        self.watch = Watch()
        self._since = 0

    def play(self, made: Step, every: int) -> tuple[Difference | None, str]:
        """Make one call on both sides; return the difference and the contracts' code."""
        if made.target in (SPEND, ANSWERED):
            return self._spend(made), ""
        right = self.watch.has_right(self.chain, made.who)
        outcome = self.chain.perform(made)
        answer = self.model.answer(public(made.who), made)
        found = of_answer(outcome, answer)
        self._since += 1
        if found is None:
            found = self.watch.step(made, outcome, right)
        if found is None and self._since >= every:
            self._since = 0
            found = of_state(self.chain, self.model) or self.watch.state(self.chain)
        return found, "" if outcome.status == OK else outcome.code or outcome.status

    def _spend(self, made: Step) -> None:
        """Begin on both sides where a member has done nearly as much as it may in a day."""
        for side in (self.chain, self.model):
            side.time += made.ms
            side.height += made.blocks
            (side.spend if made.target == SPEND else side.answered)(**made.args)


def play(world: World, seed: int, calls: int = CALLS) -> Run:
    """Play a history to its end or its first difference."""
    pair, run = Pair(world), Run(seed)
    for made in drawn(seed, pair.model, calls):
        run.steps.append(made)
        run.difference, code = pair.play(made, STATE_EVERY)
        counted = run.refused if code else run.accepted
        counted[code or made.target] = counted.get(code or made.target, 0) + 1
        if run.difference is not None:
            return run
    run.difference = of_state(pair.chain, pair.model) or pair.watch.end(pair.chain)
    return run


def drawn(seed: int, model: Model, calls: int) -> Iterator[Step]:
    """Yield the calls of a history; each is chosen by what the model holds when it is asked for."""
    dice = Dice(seed, model)
    for org in ORGS:
        for name in (org, f"{org}/steward", f"{org}/agent"):
            dice.learn(name)
    for org in VALIDATING:
        dice.learn(f"{org}/node")
    kinds, made = dict(KINDS), 0
    if seed % BUSY_EVERY == 0:
        dice.busy, more = BUSY[seed // BUSY_EVERY % len(BUSY)]
        kinds |= more
    tight = tuple(SPENT)[seed // SPENT_EVERY % len(SPENT)] if seed % SPENT_EVERY == 0 else ""
    kinds |= SPENT.get(tight, {})
    dice.fickle = 0.3 if tight else dice.fickle
    for begun in chain(prelude(dice), spent(dice, tight)):
        yield begun
        made += 1
    while made < calls:
        yield step(dice, kinds, times)
        made += 1


def replay(world: World, steps: Sequence[Step]) -> tuple[Difference | None, int]:
    """Play given calls, comparing everything after each; return the difference and how many calls it took."""
    pair = Pair(world)
    for number, made in enumerate(steps, start=1):
        found, _ = pair.play(made, 1)
        if found is not None:
            return found, number
    return pair.watch.end(pair.chain), len(steps)


def shorten(world: World, run: Run) -> tuple[Difference, list[Step]]:
    """Leave out every call without which the same kind of difference is seen."""
    found, needed = replay(world, run.steps)
    if found is None:
        assert run.difference is not None
        return run.difference, run.steps
    steps, tries = run.steps[:needed], 0
    size = max(1, len(steps) // 2)
    while size and tries < SHORTENINGS_MAX:
        place = len(steps) - 1 - size
        while place >= 0 and tries < SHORTENINGS_MAX:
            tries += 1
            shorter = _without(steps, place, size)
            other, needed = replay(world, shorter)
            if other is not None and other.what == found.what:
                found, steps = other, shorter[:needed]
            place = min(place, len(steps) - 1) - size
        size //= 2
    return found, steps


def _without(steps: Sequence[Step], place: int, size: int) -> list[Step]:
    """Return the calls without some of them; the time that passed before those passes before the next."""
    gone, rest = steps[place : place + size], list(steps[place + size :])
    if rest:
        first = rest[0]
        rest[0] = Step(
            first.ms + sum(step.ms for step in gone),
            first.blocks + sum(step.blocks for step in gone),
            first.who,
            first.target,
            first.args,
            first.asks,
        )
    return [*steps[:place], *rest]
