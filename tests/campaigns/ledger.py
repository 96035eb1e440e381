"""What the ledger counts in a trial: accounts with the default caps, by the model of contract `accounts`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.rules.model_accounts import CAPS, composed, figures_of, sum_of

EPSILON_UNIT, DELTA_UNIT = 10**9, 10**18


class Refused(Exception):
    """What a job ends with: a code of the ledger or of an agent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class TrialLedger:
    """Charges of jobs, by account and grantee."""

    charged: dict[str, list[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)
    """Account -> (grantee, charge)."""
    _before: dict[str, list[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)

    def charge(self, charges: Mapping[str, Mapping[str, Any]], grantee: str) -> None:
        """Charge each account for a job; raise Refused with the code of the first that has no room."""
        for account, charge in charges.items():
            before = self.charged.get(account, [])
            whole = [one for _, one in before] + [charge]
            share = [one for org, one in before if org == grantee] + [charge]
            if any(charge[name] for name in ("epsilon", "delta", "rho")):
                _check_noise(sum_of(whole), "")
                _check_noise(sum_of(share), "grantee_")
            _check_figures(whole, charge, "figures")
            _check_figures(share, charge, "grantee_figures")
        self._before = {account: self.charged.get(account, []) for account in charges}
        for account, charge in charges.items():
            self.charged[account] = [*self._before[account], (grantee, charge)]

    def give_back(self) -> None:
        """Take back what the last job was charged, which an agent refused before anything was shared."""
        for account, before in self._before.items():
            self.charged[account] = before

    def delta_of(self, account: str) -> int:
        """Return the sum of an account's deltas, in 10^-18."""
        return sum(one["delta"] for _, one in self.charged.get(account, []))

    def right_at_most(self, account: str) -> float:
        """Return how often somebody is right who knows all but one of two equally likely values of a row.

        With (epsilon, delta) in all it is at most (e^epsilon + delta) / (1 + e^epsilon).
        """
        sums = sum_of([one for _, one in self.charged.get(account, [])])
        grown = math.exp(composed(sums, CAPS["delta"]) / EPSILON_UNIT)
        return (grown + CAPS["delta"] / DELTA_UNIT) / (1 + grown)


def _check_noise(sums: Mapping[str, int], whose: str) -> None:
    if sums["delta"] > CAPS[f"{whose}delta"]:
        raise Refused("ACCOUNT_DELTA")
    if composed(sums, CAPS["delta"]) > CAPS[f"{whose}epsilon"]:
        raise Refused("ACCOUNT_EPSILON")


def _check_figures(charges: Sequence[Mapping[str, Any]], asked: Mapping[str, Any], cap: str) -> None:
    counted = figures_of(charges)
    if any(counted[column] > CAPS[cap] for column in asked["figures"]):
        raise Refused("ACCOUNT_FIGURES")
