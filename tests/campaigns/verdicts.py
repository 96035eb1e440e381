"""What came of each mutant at each hurdle, kept in a file until the sources it depends on change."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grimp

from tests.campaigns.edits import ROOT, digest
from tests.campaigns.stages import SCENARIOS, UNIT

FOLDER = ROOT / ".campaigns"
PACKAGES = "chain", "consensus", "contracts"
_PROTOCOL = ("consensus/*.py", "chain/primitives/*.py")
_KIT = "tests/simulation/[!t]*.py", "tests/simulation/twins.py"
CALLED = frozenset({"governance", "orgs", "tally"})
"""Contracts that the simulator's transactions reach; `test_mutants.py` holds it."""
_NEEDS = {
    "unit": (*_PROTOCOL, *UNIT, "tests/unit/consensus/onereplica.py"),
    "scenario": (*_PROTOCOL, *SCENARIOS, *_KIT),
    "simulator": (*_PROTOCOL, *_KIT, *(f"contracts/system/{name}.py" for name in CALLED)),
}
"""Files whose content decides about a stage's verdicts."""
STAGES = tuple(_NEEDS)


def fingerprint(stage: str) -> str:
    """Return a digest of everything that a stage's verdicts depend on."""
    found = sorted(sources(stage))
    return digest(*(part for path in found for part in (str(path.relative_to(ROOT)), path.read_text())))


def sources(stage: str) -> set[Path]:
    """Return the files that a stage's verdicts depend on."""
    named = {path for pattern in _NEEDS[stage] for path in ROOT.glob(pattern)}
    return named | _imported_by_the_simulator() if stage == "simulator" else named


def _imported_by_the_simulator() -> set[Path]:
    """Return the sources that the simulator imports, directly or not."""
    graph = grimp.build_graph("tests", *PACKAGES, cache_dir=None)
    found = graph.find_upstream_modules("tests.simulation", as_package=True)
    names = {".".join(name.split(".")[:depth]) for name in found for depth in range(1, name.count(".") + 2)}
    stems = [ROOT.joinpath(*name.split(".")) for name in names]
    paths = {path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py")}
    return {path for path in paths - uncalled() if path.exists()}


def uncalled() -> set[Path]:
    """Return what the simulator imports and none of its transactions calls.

    Its chain has all system contracts, but its clients only add, and change its nodes. What the others
    hold says nothing about agreement, so they may change under what is on record.
    """
    system = {path for path in ROOT.glob("contracts/system/*.py") if path.stem not in CALLED}
    return system | {*ROOT.glob("contracts/pages/*.py")}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One mutant at one stage."""

    key: str
    """Of the mutant."""
    stage: str
    fingerprint: str
    caught: str
    """The test or seed that noticed it; empty if none did."""
    why: str
    ran: int
    """Tests or seeds that ran."""
    cpu_s: float


@dataclass(slots=True)
class Verdicts:
    """All verdicts ever; those of other sources serve as hints whom to ask first."""

    path: Path
    known: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Verdicts:
        """Read what earlier runs left."""
        found = cls(path)
        if path.exists():
            for line in path.read_text().splitlines():
                verdict = Verdict(**json.loads(line))
                found.known[verdict.key, verdict.stage] = verdict
        return found

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict, at once on disk."""
        self.known[verdict.key, verdict.stage] = verdict
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a") as lines:
            lines.write(json.dumps(asdict(verdict)) + "\n")

    def keep(self, keys: Collection[str]) -> None:
        """Leave one line a stage of each of these mutants in the file: others, and what is superseded, go."""
        kept = [verdict for verdict in self.known.values() if verdict.key in keys]
        self.path.write_text("".join(json.dumps(asdict(verdict)) + "\n" for verdict in kept))

    def current(self, key: str, stage: str, print_: str, seeds: int) -> Verdict | None:
        """Return a verdict that still holds: same sources, and no fewer seeds than asked for."""
        found = self.known.get((key, stage))
        if found is None or found.fingerprint != print_:
            return None
        enough = found.caught or stage != "simulator" or found.ran >= seeds
        return found if enough else None

    def hint(self, key: str, stage: str) -> str:
        """Return who caught this mutant last time."""
        found = self.known.get((key, stage))
        return found.caught if found is not None else ""

    def killers(self, stage: str) -> list[str]:
        """Return who caught mutants at a stage, most often first."""
        counts: dict[str, int] = {}
        for verdict in self.known.values():
            if verdict.stage == stage and verdict.caught:
                counts[verdict.caught] = counts.get(verdict.caught, 0) + 1
        return sorted(counts, key=lambda name: (-counts[name], name))
