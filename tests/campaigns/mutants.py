"""The campaign `mutants`: every one-line mutant of consensus/ is caught, or argued to be equivalent."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.campaigns import named, operators
from tests.campaigns.edits import ROOT, Mutant, digest
from tests.campaigns.equivalent import EQUIVALENT
from tests.campaigns.isolation import End, Nursery
from tests.campaigns.record import PARTS
from tests.campaigns.stages import SCENARIOS, SEED_CPU_S, UNIT, prepare, run_seeds, run_tests
from tests.campaigns.verdicts import FOLDER, STAGES, Verdict, Verdicts, fingerprint

SAMPLE = 160
SEEDS = 100
FILE_MIN = 5
"""Mutants of each file of the protocol, at least."""
STAGE_CPU_S = 120.0
"""A stage may use three times the CPU time of an unchanged source, and this more."""


class Unsound(Exception):
    """The campaign cannot tell anything: its tests fail without a mutant, or a mutant was not run."""


@dataclass(frozen=True, slots=True)
class Map:
    """What an unchanged source needs, test by test."""

    costs: dict[str, float]
    """CPU seconds of each test."""
    runs: dict[str, frozenset[str]]
    """Test -> `file:line` of consensus that it runs."""

    def that_run(self, mutant: Mutant) -> list[str]:
        """Return the tests that run a mutant's lines, the cheapest first."""
        file = mutant.file.removeprefix("consensus/")
        lines = {f"{file}:{line}" for line in range(mutant.lines[0], mutant.lines[1] + 1)}
        return sorted((name for name, seen in self.runs.items() if seen & lines), key=lambda n: self.costs[n])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    mutants: list[Mutant]
    stale: list[str]
    """Mutants by hand that apply no more, and why."""
    seeds: int
    jobs: int
    stages: tuple[str, ...] = STAGES
    """The hurdles to take; the first ones."""
    thorough: bool = False
    """Ask the simulator about mutants that are argued to be equivalent, too."""


@dataclass(slots=True)
class Outcome:
    """What came of all mutants."""

    caught: dict[str, Verdict] = field(default_factory=dict)
    equivalent: list[str] = field(default_factory=list)
    survivors: list[Mutant] = field(default_factory=list)
    refuted: list[str] = field(default_factory=list)
    """Argued to be equivalent, and caught."""


def generated(size: int, seed: int) -> list[Mutant]:
    """Return a sample of the generated mutants: a quota for each file, spread over functions and operators.

    The order of preference is by hash, so a change of the sources leaves most of a sample as it was.
    """
    files = {str(p.relative_to(ROOT)): p.read_text() for p in sorted((ROOT / "consensus").glob("*.py"))}
    made = {file: found for file, text in files.items() if (found := operators.mutate(file, text))}
    total = sum(len(found) for found in made.values())
    sample = []
    for found in made.values():
        share = max(min(FILE_MIN, len(found)), round(size * len(found) / total))
        sample += _spread(sorted(found, key=lambda item: digest(str(seed), item.name)), share)
    return sample if size < total else [item for found in made.values() for item in found]


def _spread(ranked: list[Mutant], share: int) -> list[Mutant]:
    chosen: list[Mutant] = []
    functions: dict[str, int] = {}
    kinds: dict[str, int] = {}
    while ranked and len(chosen) < share:
        best = min(ranked, key=lambda m: (functions.get(m.function, 0), kinds.get(m.operator, 0)))
        ranked.remove(best)
        chosen.append(best)
        functions[best.function] = functions.get(best.function, 0) + 1
        kinds[best.operator] = kinds.get(best.operator, 0) + 1
    return chosen


def by_hand() -> tuple[list[Mutant], list[str]]:
    """Return the mutants by hand, and what is stale among them."""
    sources = {row.file: (ROOT / f"consensus/{row.file}.py").read_text() for row in named.ROWS}
    placed = [named.place(row, sources[row.file]) for row in named.ROWS]
    return [item for item in placed if isinstance(item, Mutant)], [
        item for item in placed if isinstance(item, str)
    ]


def survey(nursery: Nursery, stage: str, files: Sequence[str], tell: Callable[[str], None]) -> Map:
    """Return what each test of a stage needs, from the last run or from one on the unchanged source."""
    path = FOLDER / f"map-{stage}-{fingerprint(stage)[:16]}.json"
    if not path.exists():
        tell(f"{stage} tests on the unchanged source, once, watching which lines they run")
        nursery.start(partial(_survey, files), cpu_s=3_000)
        _, end = nursery.wait()
        answer = end.result or {}
        wrong = end.death or answer.get("broken") or f"{answer['caught']} {answer['why']}".strip()
        if wrong:
            raise Unsound(
                f"{stage} tests fail on the unchanged source, so they say nothing of mutants: {wrong}"
            )
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(end.result))
    found = json.loads(path.read_text())
    return Map(found["costs"], {name: frozenset(lines) for name, lines in found["lines"].items()})


def _survey(files: Sequence[str], say: Any) -> Any:
    return run_tests(say, None, files, watched=True, measured=True)


@dataclass(slots=True)
class Campaign:
    """Mutants on their way through the stages, several at a time."""

    plan: Plan
    verdicts: Verdicts
    tell: Callable[[str], None]
    outcome: Outcome = field(default_factory=Outcome)
    _nursery: Nursery = field(default_factory=Nursery)
    _prints: dict[str, str] = field(default_factory=dict)
    _maps: dict[str, Map] = field(default_factory=dict)
    _ended: int = 0

    def run(self) -> Outcome:
        """Run everything; what earlier runs found out about the same sources is not run again."""
        prepare()
        self._prints = {stage: fingerprint(stage)[:16] for stage in self.plan.stages}
        try:
            for stage, files in (("unit", UNIT), ("scenario", SCENARIOS)):
                if stage in self.plan.stages:
                    self._maps[stage] = survey(self._nursery, stage, files, self.tell)
            self._all()
        finally:
            self._nursery.close()
        return self.outcome

    def _all(self) -> None:
        waiting = deque((mutant, 0) for mutant in self.plan.mutants)
        running: dict[int, tuple[Mutant, int]] = {}
        while waiting or running:
            while waiting and len(running) < self.plan.jobs:
                mutant, stage = waiting.popleft()
                place = self._begin(mutant, stage)
                if place is not None:
                    running[place[0]] = (mutant, place[1])
            if running:
                descriptor, end = self._nursery.wait()
                mutant, stage = running.pop(descriptor)
                verdict = self._judge(mutant, stage, end)
                self.verdicts.add(verdict)
                if verdict.caught:
                    self._conclude(mutant, verdict)
                else:
                    waiting.appendleft((mutant, stage + 1))

    def _begin(self, mutant: Mutant, stage: int) -> tuple[int, int] | None:
        """Start the first stage from this one on whose verdict is not known; None if all are."""
        for at in range(stage, len(self.plan.stages)):
            name = self.plan.stages[at]
            if name == "simulator" and self._excused(mutant):
                break
            known = self.verdicts.current(mutant.key, name, self._prints[name], self.plan.seeds)
            if known is None:
                work, cpu = self._work(mutant, name)
                if work is not None:
                    return self._nursery.start(work, cpu), at
            elif known.caught:
                self._conclude(mutant, known)
                return None
        self._conclude(mutant, None)
        return None

    def _excused(self, mutant: Mutant) -> bool:
        return mutant.name in EQUIVALENT and not self.plan.thorough

    def _work(self, mutant: Mutant, stage: str) -> tuple[Any, float]:
        """Return what a child shall do, with how much CPU time; nothing if no test runs these lines."""
        hint = self.verdicts.hint(mutant.key, stage)
        if stage == "simulator":
            first = [int(hint.split()[-1])] if hint else []
            seeds = first + [seed for seed in range(self.plan.seeds) if seed not in first]
            return _Seeds(mutant, seeds), SEED_CPU_S * 3 + 4.0 * len(seeds)
        tests = self._maps[stage]
        order = tests.that_run(mutant)
        if not order:
            return None, 0.0
        order = [name for name in (hint,) if name in tests.costs] + [name for name in order if name != hint]
        files = UNIT if stage == "unit" else tuple(dict.fromkeys(name.split("::")[0] for name in order))
        budget = STAGE_CPU_S + 3 * sum(tests.costs[name] for name in order)
        return _Tests(mutant, files, order, only=stage != "unit", limits=tests.costs), budget

    def _judge(self, mutant: Mutant, stage: int, end: End) -> Verdict:
        name = self.plan.stages[stage]
        if end.result is None:
            at = f"seed {end.began}" if name == "simulator" else end.began
            answer = {"caught": at or "importing", "why": end.death, "ran": 1}
        else:
            answer = end.result
        if "broken" in answer:
            raise Unsound(f"{mutant.name}, {name}: {answer['broken']}")
        why = str(answer["why"])
        return Verdict(
            mutant.key,
            name,
            self._prints[name],
            str(answer["caught"]),
            why,
            int(answer["ran"]),
            round(end.cpu_s, 2),
        )

    def _conclude(self, mutant: Mutant, verdict: Verdict | None) -> None:
        self._ended += 1
        argued = EQUIVALENT.get(mutant.name)
        if verdict is not None:
            self.outcome.caught[mutant.name] = verdict
            said = f"{verdict.stage}: {verdict.caught.rsplit('::', 1)[-1]}"
            if argued is not None:
                self.outcome.refuted.append(mutant.name)
                said += " — but it is argued to be equivalent"
        elif argued is not None and (argued.before, argued.after) == (mutant.before, mutant.after):
            self.outcome.equivalent.append(mutant.name)
            said = "equivalent, as argued"
        else:
            self.outcome.survivors.append(mutant)
            said = f"SURVIVES  {mutant.before}  →  {mutant.after}"
        self.tell(f"[{self._ended}/{len(self.plan.mutants)}] {mutant.name}  {said}")


@dataclass(frozen=True, slots=True)
class _Tests:
    mutant: Mutant
    files: Sequence[str]
    order: Sequence[str]
    only: bool
    limits: dict[str, float]

    def __call__(self, say: Any) -> Any:
        return run_tests(say, self.mutant, self.files, order=self.order, only=self.only, limits=self.limits)


@dataclass(frozen=True, slots=True)
class _Seeds:
    mutant: Mutant
    seeds: Sequence[int]

    def __call__(self, say: Any) -> Any:
        return run_seeds(say, self.mutant, self.seeds)


def store() -> Path:
    """Return where verdicts are kept between runs."""
    return PARTS / "mutants.jsonl"


def figures(plan: Plan, outcome: Outcome) -> dict[str, int]:
    """Return what the campaign counts."""
    by_stage = {stage: sum(v.stage == stage for v in outcome.caught.values()) for stage in STAGES}
    hand = sum(mutant.operator == "by hand" for mutant in plan.mutants)
    return {
        "mutants": len(plan.mutants),
        "generated": len(plan.mutants) - hand,
        "by hand": hand,
        "caught by unit tests": by_stage["unit"],
        "caught by scenarios": by_stage["scenario"],
        "caught by the simulator": by_stage["simulator"],
        "equivalent": len(outcome.equivalent),
        "survivors": len(outcome.survivors),
        "stale": len(plan.stale),
        "refuted": len(outcome.refuted),
    }


def passed(plan: Plan, outcome: Outcome) -> bool:
    """Tell whether nothing is left to explain."""
    return not (plan.stale or outcome.survivors or outcome.refuted)


def run(plan: Plan, tell: Callable[[str], None]) -> Outcome:
    """Run a plan, with the verdicts of earlier runs; return its outcome."""
    return Campaign(plan, Verdicts.load(store()), tell).run()
