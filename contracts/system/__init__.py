"""The system contracts: sources in the contract language, in the order in which genesis installs them."""

from __future__ import annotations

from importlib import resources

from chain.primitives.values import Value

NAMES = ("orgs", "governance", "lifecycle", "datasets", "grants", "jobs")

PROFILES: tuple[dict[str, Value], ...] = (
    {"name": "dealer", "rank": 0, "adversary": "semi-honest, trusted dealer", "parties": 2},
    {"name": "rep3", "rank": 1, "adversary": "semi-honest, one of three corrupted", "parties": 3},
    {"name": "dh-psi", "rank": 2, "adversary": "semi-honest, all but one corrupted", "parties": 2},
    {"name": "ot2", "rank": 2, "adversary": "semi-honest, one of two corrupted, no dealer", "parties": 2},
    {"name": "rep3-malicious", "rank": 3, "adversary": "malicious, one of three, abort", "parties": 3},
    {"name": "rep4", "rank": 3, "adversary": "malicious, one of four, abort", "parties": 4},
)
"""Security profiles by strength; a grant's profile is a minimum rank (privacy-computing threat model)."""


def sources() -> dict[str, str]:
    """Return {name: source} of the system contracts in bootstrap order."""
    folder = resources.files(__name__)
    return {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in NAMES}


def default_init() -> dict[str, dict[str, Value]]:
    """Return the `@init` arguments that do not follow from genesis; `jobs` wants the programs."""
    return {
        "datasets": {},
        "grants": {"profiles": [dict(profile) for profile in PROFILES]},
        "jobs": {"programs": []},
    }
