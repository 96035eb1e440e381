"""The system contracts: sources in the contract language, in the order in which genesis installs them."""

from __future__ import annotations

from importlib import resources

from chain.primitives.values import Value

NAMES = ("orgs", "governance", "lifecycle", "datasets", "programs", "accounts", "grants", "jobs")

STANDARD = ("private-join", "joint-statistics", "logistic-regression")
"""The programs whose pages genesis installs."""


def _profile(name: str, rank: int, adversary: str, least: int, most: int, datasets: int) -> dict[str, Value]:
    parties: dict[str, Value] = {"parties_min": least, "parties_max": most, "datasets_max": datasets}
    return {"name": name, "rank": rank, "adversary": adversary, **parties}


PROFILES: tuple[dict[str, Value], ...] = (
    _profile("dealer", 0, "semi-honest, trusted dealer", 2, 8, 8),
    _profile("rep3", 1, "semi-honest, one of three corrupted", 3, 3, 1),
    _profile("dh-psi", 2, "semi-honest, all but one corrupted", 2, 8, 1),
    _profile("ot2", 2, "semi-honest, one of two corrupted, no dealer", 2, 2, 1),
    _profile("rep3-malicious", 3, "malicious, one of three, abort", 3, 3, 1),
    _profile("rep4", 3, "malicious, one of four, abort", 4, 4, 1),
)
"""Security profiles by strength; a grant's profile is a minimum rank (privacy-computing threat model).

`parties_min` to `parties_max` participants run it, receivers without data among them, and an owner brings at
most `datasets_max` datasets: `jobs.propose` refuses what a profile cannot run.
"""


def sources() -> dict[str, str]:
    """Return {name: source} of the system contracts in bootstrap order."""
    folder = resources.files(__name__)
    return {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in NAMES}


def standard_pages() -> dict[str, str]:
    """Return {id of the program: text} of the pages that genesis installs; else they are like any other."""
    folder = resources.files(__name__) / "pages"
    found = {entry.name.removesuffix(".py").replace("_", "-"): entry for entry in folder.iterdir()}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found) if name in STANDARD}


def default_init() -> dict[str, dict[str, Value]]:
    """Return the `@init` arguments that do not follow from genesis."""
    return {
        "datasets": {},
        "programs": {"pages": standard_pages()},
        "grants": {"profiles": [dict(profile) for profile in PROFILES]},
    }
