"""Profiles that this agent runs, as the ledger's records state them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobSpec


@dataclass(frozen=True, slots=True)
class Profile:
    """What the ledger's record says of a profile that this agent runs."""

    rank: int
    """A grant of one profile allows jobs under those of its rank or a higher one."""
    parties_min: int
    parties_max: int


RUN_WITH: Mapping[str, Profile] = {"rep3": Profile(1, 3, 3), "dh-psi": Profile(2, 2, 8)}
"""The profiles that this agent runs, each with one dataset an owner."""


def check_runnable(spec: JobSpec) -> None:
    """Raise JobRefusal when this agent cannot run the profile with these participants."""
    profile = RUN_WITH.get(spec.profile)
    if profile is None:
        raise JobRefusal(
            "PROFILE_NOT_RUN", f"profile {spec.profile}: this agent does not run it", profile=spec.profile
        )
    if not profile.parties_min <= len(spec.participants) <= profile.parties_max:
        raise JobRefusal(
            "PROFILE_PARTIES",
            f"profile {spec.profile} with {len(spec.participants)} participants: this agent runs it with "
            f"{profile.parties_min}..{profile.parties_max}",
            profile=spec.profile,
            least=profile.parties_min,
            limit=profile.parties_max,
        )
