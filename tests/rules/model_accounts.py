"""Disclosure accounts: what jobs are charged, what is left of the caps, and how charges compose."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any

from tests.rules.base import DAY_MS
from tests.rules.model_datasets import Dataset
from tests.rules.model_uses import Uses

CAPS: Mapping[str, int] = {
    "epsilon": 8_000_000_000,
    "grantee_epsilon": 3_000_000_000,
    "delta": 10_000_000_000_000,
    "grantee_delta": 3_750_000_000_000,
    "figures": 200,
    "grantee_figures": 75,
}
"""Where an owner set none."""
CAPS_MOST = {
    "epsilon": 10**12,
    "grantee_epsilon": 10**12,
    "delta": 10**15,
    "grantee_delta": 10**15,
    "figures": 10**6,
    "grantee_figures": 10**6,
}
ACCOUNT_CHANGES_A_DAY_MAX = 200
ACCOUNTS_MAX = 256
RETURNS_A_DAY_MAX = 24
NEARLY_E = Fraction(2_718_281_829, 10**9)
NOISE = ("epsilon", "delta", "rho")
Entry = tuple[dict[str, Any], int]
"""A charge, and the first version of the account that it is in."""


@cache
def zcdp_epsilon(rho: int, delta: int) -> int:
    """Return the least epsilon of rho-zCDP at a delta, in their units, rounded up; delta is above 0."""
    with localcontext(prec=40):
        rate, budget = Decimal(rho) / 10**18, -(Decimal(delta) / 10**18).ln()
        low, high = Decimal(0), (budget / rate).sqrt() + 1
        for _ in range(90):
            middle = (low + high) / 2
            below = rate * middle**2 + (1 + middle).ln() < budget
            low, high = (middle, high) if below else (low, middle)
        least = rate * (1 + high) + (budget - (1 + high).ln()) / high - ((1 + high) / high).ln()
        return int((max(least, Decimal(0)) * 10**9).to_integral_value(ROUND_CEILING))


def composed(sums: Mapping[str, int], delta: int) -> int:
    """Return what a sum of charges comes to at a delta: the smaller of two."""
    rest = delta - sums["delta"]
    if sums["rho"] == 0:
        return 0
    return sums["epsilon"] if rest <= 0 else min(sums["epsilon"], zcdp_epsilon(sums["rho"], rest))


def sum_of(charges: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Add noise up."""
    listed = list(charges)
    return {name: sum(one[name] for one in listed) for name in NOISE}


def joint(charges: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the noise that one job takes of an account, whose dataset may be several of its inputs."""
    noisy = [one for one in charges if any(one[name] for name in NOISE)]
    sums = sum_of(noisy)
    if len(noisy) < 2:
        return sums
    others = Fraction(sums["epsilon"] - max(one["epsilon"] for one in noisy), 10**9)
    return {
        "epsilon": sums["epsilon"],
        "rho": len(noisy) * sums["rho"],
        "delta": ceil(sums["delta"] * NEARLY_E ** min(ceil(others), 40)),
    }


def joint_of_jobs(booked: Iterable[Booked]) -> dict[str, int]:
    """Return the noise that jobs take of one account."""
    by_job: dict[str, list[Mapping[str, Any]]] = {}
    for one in booked:
        by_job.setdefault(one.job, []).append(one.charge)
    return sum_of([joint(charges) for charges in by_job.values()])


def figures_of(charges: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Add figures without noise up, column by column."""
    found: Counter[str] = Counter()
    for one in charges:
        found.update(one["figures"])
    return found


def by_account(entries: Iterable[Entry]) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """Yield dataset, account and charges of each account that is concerned."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for charge, first in entries:
        found.setdefault((charge["dataset"], first), []).append(charge)
    for (dataset, first), charges in found.items():
        yield dataset, first, charges


class _OneOf:
    """Any of several codes: the README says no order of them."""

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes = frozenset(codes)

    def __eq__(self, other: object) -> bool:
        return other in self._codes

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Booked:
    """A charge that was ever reserved, and what became of it."""

    job: str
    place: int
    grantee: str
    charge: Mapping[str, Any]
    account: int
    state: str
    """reserved, spent or returned."""


class Accounts(Uses):
    """The rules of contract `accounts`."""

    def __init__(self, chain_id: bytes) -> None:
        """Start with nothing given away."""
        super().__init__(chain_id)
        self.caps: dict[str, dict[str, int]] = {}
        self.begun: dict[str, list[int]] = {}
        """Dataset -> versions with which accounts began, after the first."""
        self.gave_back: dict[tuple[str, int, str], tuple[int, int]] = {}
        """Account and grantee -> day, and how many reservations came back on it."""
        self.charged: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        """Job -> grantee, and what it is charged for each input that is charged at all."""
        self.booked: dict[tuple[str, int], Booked] = {}

    # --- what is taken

    def account_of_version(self, dataset: str, version: int) -> int:
        """Return the first version of the account that a version is in."""
        return max([1, *(first for first in self.begun.get(dataset, []) if first <= version)])

    def taken(self, dataset: str, first: int, *states: str, grantee: str = "") -> list[Booked]:
        """Return what is in these states of an account, or of one grantee's share of it."""
        return [
            one
            for one in self.booked.values()
            if (one.charge["dataset"], one.account) == (dataset, first)
            and one.state in states
            and grantee in ("", one.grantee)
        ]

    def caps_for(self, dataset: str) -> Mapping[str, int]:
        """Return the caps that hold."""
        return self.caps.get(dataset, CAPS)

    def room_faults(self, entries: Iterable[Entry], grantee: str) -> list[str]:
        """Return the codes with which accounts refuse these charges more."""
        faults = []
        for dataset, first, charges in by_account(entries):
            most = self.caps_for(dataset)
            if any(one[name] for one in charges for name in NOISE):
                whole, share = [
                    sum_of([joint_of_jobs(taken), joint(charges)])
                    for taken in (
                        self.taken(dataset, first, "reserved", "spent"),
                        self.taken(dataset, first, "reserved", "spent", grantee=grantee),
                    )
                ]
                if whole["delta"] > most["delta"] or share["delta"] > most["grantee_delta"]:
                    faults.append("ACCOUNT_DELTA")
                if composed(whole, most["delta"]) > most["epsilon"]:
                    faults.append("ACCOUNT_EPSILON")
                if composed(share, most["delta"]) > most["grantee_epsilon"]:
                    faults.append("ACCOUNT_EPSILON")
            for whose, cap in (("", "figures"), (grantee, "grantee_figures")):
                counted = self._figures(dataset, first, "reserved", "spent", grantee=whose)
                asked = figures_of(charges)
                if any(counted[column] + asked[column] > most[cap] for column in asked):
                    faults.append("ACCOUNT_FIGURES")
            if self._gave_back_today(dataset, first, grantee) >= RETURNS_A_DAY_MAX:
                faults.append("TOO_MANY_RETURNS_TODAY")
        return faults

    def _figures(self, dataset: str, first: int, *states: str, grantee: str = "") -> Counter[str]:
        return figures_of(one.charge for one in self.taken(dataset, first, *states, grantee=grantee))

    def _gave_back_today(self, dataset: str, first: int, grantee: str) -> int:
        day, number = self.gave_back.get((dataset, first, grantee), (-1, 0))
        return number if day == self.time // DAY_MS else 0

    # --- for jobs

    def entries_of(self, job: str, owner: str = "") -> list[Entry]:
        """Return what a job is charged and does not hold yet, in all accounts or in those of one owner."""
        _, charges = self.charged.get(job, ("", []))
        return [
            (charge, self.account_of_version(charge["dataset"], charge["version"]))
            for place, charge in enumerate(charges)
            if owner in ("", charge["owner"]) and not self._holds_place(job, place)
        ]

    def _holds_place(self, job: str, place: int) -> bool:
        return (job, place) in self.booked and self.booked[job, place].state != "returned"

    def has_room(self, job: str, owner: str = "") -> None:
        """Require room for what a job is charged."""
        self.reach("accounts")
        grantee, _ = self.charged.get(job, ("", []))
        for fault in self.room_faults(self.entries_of(job, owner), grantee):
            self.must(False, fault)

    def book(self, job: str) -> None:
        """Reserve what a job is charged."""
        grantee, charges = self.charged.get(job, ("", []))
        for place, charge in enumerate(charges):
            first = self.account_of_version(charge["dataset"], charge["version"])
            self.booked[job, place] = Booked(job, place, grantee, charge, first, "reserved")
        self._tell_accounts("AccountReserved", job, list(range(len(charges))))

    def settle(self, job: str, came: str, goes: str, grants: Iterable[str] | None = None) -> None:
        """Let what is in one state go into another: all, or accounts that stand whole under these grants."""
        here = [one for (booked, _), one in self.booked.items() if booked == job and one.state == came]
        named = None if grants is None else set(grants)
        stay = {_place_of(one) for one in here if named is not None and one.charge["grant"] not in named}
        moved = [one.place for one in here if _place_of(one) not in stay]
        if (came, goes) == ("reserved", "returned"):
            for dataset, first in {_place_of(one) for one in here} - stay:
                key = (dataset, first, here[0].grantee)
                self.gave_back[key] = (self.time // DAY_MS, self._gave_back_today(*key) + 1)
        for place in moved:
            one = self.booked[job, place]
            self.booked[job, place] = Booked(job, place, one.grantee, one.charge, one.account, goes)
        self._tell_accounts("AccountCharged" if goes == "spent" else "AccountReturned", job, moved)

    def _tell_accounts(self, event: str, job: str, places: list[int]) -> None:
        held = [self.booked[job, place] for place in places]
        for dataset, first, charges in by_account((dict(one.charge), one.account) for one in held):
            self.tell(
                f"accounts.{event}",
                ["dataset", "job", "grantee"],
                dataset=f"dataset:{dataset}",
                job=f"job:{job}",
                grantee=f"org:{held[0].grantee}",
                account=first,
                figures=dict(figures_of(charges)),
                **joint(charges),
            )

    # --- the owner's hand

    def accounts_set_caps(self, id: str, caps: dict[str, int]) -> dict[str, int]:
        """Set caps."""
        self._own_account(id)
        self._caps(caps)
        self._room_for_changes()
        return self._put_caps(id, caps)

    def accounts_lower_caps(self, id: str, caps: dict[str, int]) -> dict[str, int]:
        """Set caps, none above what it is."""
        self._own_account(id)
        self._caps(caps)
        now = self.caps_for(id)
        self.must(all(caps[name] <= now[name] for name in caps.keys() & now.keys()), "CAP_RAISED")
        return self._put_caps(id, caps)

    def _own_account(self, id: str) -> Dataset:
        org = self.role("steward")
        self.reach("datasets")
        self.need(id in self.datasets, "UNKNOWN_DATASET")
        found = self.datasets[id]
        self.must(found.owner == org, "NOT_OWNER")
        self.must(found.status != "retired", "WRONG_STATE")
        return found

    def _caps(self, caps: dict[str, int]) -> None:
        self.must(len(caps) > 0, "BAD_CAPS")
        for name, value in caps.items():
            self.must(name in CAPS_MOST and 0 <= value <= CAPS_MOST.get(name, 0), "BAD_CAPS")

    def _room_for_changes(self) -> None:
        self.room_today("accounts", "changes", ACCOUNT_CHANGES_A_DAY_MAX, "TOO_MANY_CHANGES_TODAY")

    def _put_caps(self, id: str, caps: dict[str, int]) -> dict[str, int]:
        self.go()
        before = dict(self.caps_for(id))
        self.caps[id] = {**before, **caps}
        self.tell(
            "accounts.CapsSet", ["dataset"], dataset=f"dataset:{id}", before=before, **self.caps[id]
        )  # fmt: skip
        return self.caps[id]

    def accounts_begin(self, id: str, version: int, reason: str) -> None:
        """Begin an account of its own with a version."""
        self._own_account(id)
        self.text(reason)
        self.must(reason.strip() != "", "NO_REASON")
        self.must(1 <= version <= len(self.versions[id]), "UNKNOWN_VERSION")
        listed = self.begun.get(id, [])
        newest = max([1, *listed])
        self.must(version > newest, "ACCOUNT_EXISTS")
        self.must(version > self._through(id, newest), "VERSION_CHARGED")
        self.must(len(listed) < ACCOUNTS_MAX, "TOO_MANY_ACCOUNTS")
        self._room_for_changes()
        self.go()
        self.begun[id] = [*listed, version]
        self.tell(
            "accounts.AccountBegun", ["dataset"], dataset=f"dataset:{id}", version=version, reason=reason
        )

    def _through(self, dataset: str, first: int) -> int:
        here = self.taken(dataset, first, "reserved", "spent", "returned")
        return max([0, *(one.charge["version"] for one in here)])

    # --- views

    def accounts_caps_of(self, id: str) -> dict[str, int]:
        """Answer with the caps."""
        return dict(self.caps_for(id))

    def accounts_account_of(self, id: str, version: int) -> dict[str, Any]:
        """Answer with the account of a version."""
        first, caps = self._known_account(id, version), self.accounts_caps_of(id)
        both = joint_of_jobs(self.taken(id, first, "reserved", "spent"))
        return self._sides(id, first) | {
            "account": first,
            "through": self._through(id, first),
            "caps": caps,
            "epsilon": composed(both, caps["delta"]),
        }

    def accounts_share_of(self, id: str, version: int, grantee: str) -> dict[str, Any]:
        """Answer with one grantee's share."""
        first = self._known_account(id, version)
        both = joint_of_jobs(self.taken(id, first, "reserved", "spent", grantee=grantee))
        found = composed(both, self.caps_for(id)["delta"])
        return self._sides(id, first, grantee) | {"epsilon": found}

    def accounts_left(self, id: str, version: int, grantee: str, columns: list[str]) -> dict[str, Any]:
        """Answer with what is left: the greatest epsilon is looked for from above."""
        first, caps = self._known_account(id, version), self.caps_for(id)
        here = self.taken(id, first, "reserved", "spent")
        mine = self.taken(id, first, "reserved", "spent", grantee=grantee)
        room = min(
            caps["delta"] - joint_of_jobs(here)["delta"], caps["grantee_delta"] - joint_of_jobs(mine)["delta"]
        )
        sides = ((joint_of_jobs(here), caps["epsilon"]), (joint_of_jobs(mine), caps["grantee_epsilon"]))
        counted, shared = (figures_of(one.charge for one in some) for some in (here, mine))

        def fits(epsilon: int) -> bool:
            more = {"epsilon": epsilon, "delta": 0, "rho": (epsilon**2 + 1) // 2}
            return all(composed(sum_of([side, more]), caps["delta"]) <= most for side, most in sides)

        low, high = 0, min(caps["epsilon"], caps["grantee_epsilon"])
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return {
            "epsilon": low if room >= 0 else 0,
            "delta": max(room, 0),
            "figures": {
                column: max(
                    min(caps["figures"] - counted[column], caps["grantee_figures"] - shared[column]), 0
                )
                for column in columns
            },
        }

    def accounts_fault_of(self, grantee: str, charges: list[dict[str, Any]]) -> Any:
        """Answer with one of the codes with which accounts refuse charges."""
        entries = [(one, self._known_account(one["dataset"], one["version"])) for one in charges]
        faults = self.room_faults(entries, grantee)
        return _OneOf(faults) if len(set(faults)) > 1 else "".join(faults[:1])

    def accounts_booking_of(self, job: str) -> dict[str, Any]:
        """Answer with what a job is charged."""
        grantee, charges = self.charged.get(job, ("", []))
        return {"grantee": grantee, "charges": charges}

    def accounts_stands(self, job: str) -> bool:
        """Answer whether accounts have room."""
        grantee, _ = self.charged.get(job, ("", []))
        return not self.room_faults(self.entries_of(job), grantee)

    def _known_account(self, id: str, version: int) -> int:
        self.reach("datasets")
        self.need(id in self.datasets, "UNKNOWN_DATASET")
        self.need(1 <= version <= len(self.versions[id]), "UNKNOWN_VERSION")
        return self.account_of_version(id, version)

    # --- rows as the README describes them

    def _sides(self, dataset: str, first: int, grantee: str = "") -> dict[str, Any]:
        return {
            state: joint_of_jobs(self.taken(dataset, first, state, grantee=grantee))
            for state in ("spent", "reserved")
        }

    def rows_accounts(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}."""
        rows: dict[tuple[str, str, Any], Any] = {}
        for dataset, caps in self.caps.items():
            rows["accounts", "owner_caps", dataset] = caps
        for dataset, listed in self.begun.items():
            rows["accounts", "begun", dataset] = listed
        for job, (grantee, charges) in self.charged.items():
            rows["accounts", "bookings", job] = {"grantee": grantee, "charges": charges}
        for place, one in self.booked.items():
            dataset, first = one.charge["dataset"], one.account
            if one.state != "returned":
                rows["accounts", "holds", place] = {"account": first, "state": one.state}
            whole = self._sides(dataset, first) | {"through": self._through(dataset, first)}
            rows["accounts", "accounts", (dataset, first)] = whole
            share = self._sides(dataset, first, one.grantee)
            rows["accounts", "shares", (dataset, first, one.grantee)] = share
            for column in one.charge["figures"]:
                for name, whose in (("figures", ()), ("share_figures", (one.grantee,))):
                    rows["accounts", name, (dataset, first, *whose, column)] = {
                        state: self._figures(dataset, first, state, grantee="".join(whose))[column]
                        for state in ("spent", "reserved")
                    }
        for key, (day, number) in self.gave_back.items():
            rows["accounts", "returns", key] = {"day": day, "returned": number}
        return rows


def _place_of(one: Booked) -> tuple[str, int]:
    return one.charge["dataset"], one.account
