"""What a grant says, and when one set of terms is no wider than another: pure, without a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

USES: Mapping[str, frozenset[str]] = {
    "plain": frozenset({"plain", "join", "aggregate", "compare", "noisy", "encrypted"}),
    "join-only": frozenset({"join"}),
    "exact-aggregate": frozenset({"aggregate", "noisy", "compare", "encrypted"}),
    "aggregate-only": frozenset({"noisy", "compare", "encrypted"}),
    "compare-only": frozenset({"compare", "encrypted"}),
    "encrypted-only": frozenset({"encrypted"}),
}
MIN_GROUP_MAX = 10**9
RUN_EPSILON_MAX = 1_000 * 10**9
"""In 10^-9."""
LISTS = ("programs", "receivers", "co_parties", "membership")
NUMBERS = ("not_before", "expires", "quota_runs", "min_group", "run_epsilon", "partner_versions")
NAMES = frozenset({"columns", *LISTS, "profile", *NUMBERS, "policy"})
Terms = Mapping[str, Any]


def stricter(before: str, after: str) -> bool:
    """Tell whether a column's constraint may become another one: it must not allow a further use."""
    return after in USES and USES[after] <= USES[before]


def too_wide(before: Terms, terms: Terms, ranks: Mapping[str, int]) -> set[str]:
    """Return the codes of what is wrong with terms that are to narrow others; policies are not looked at."""
    codes: set[str] = set()
    if not terms.keys() <= NAMES:
        return {"BAD_TERMS"}
    for name, after in terms.items():
        codes |= _CHECKS[name](before[name], after, ranks)
    merged = {**before, **terms}
    if not merged["not_before"] < merged["expires"]:
        codes.add("BAD_TERM")
    return codes


def _columns(before: Any, after: Any, _: Any) -> set[str]:
    fine = len(after) > 0 and all(
        name in before and stricter(before[name], constraint) for name, constraint in after.items()
    )
    return set() if fine else {"NOT_NARROWER"}


def _fewer(before: Any, after: Any, _: Any) -> set[str]:
    fine = len(set(after)) == len(after) and set(after) <= set(before)
    return set() if fine else {"NOT_NARROWER"}


def _fewer_not_none(before: Any, after: Any, ranks: Any) -> set[str]:
    return _fewer(before, after, ranks) if after else {"NOT_NARROWER"}


def _profile(before: Any, after: Any, ranks: Any) -> set[str]:
    if after not in ranks:
        return {"UNKNOWN_PROFILE"}
    return set() if ranks[after] >= ranks[before] else {"NOT_NARROWER"}


def _lower(before: Any, after: Any, _: Any) -> set[str]:
    return set() if 0 <= after <= before else {"NOT_NARROWER"}


def _epsilon(before: Any, after: Any, _: Any) -> set[str]:
    return {"BAD_TERM"} if after < 0 else _lower(before, after, _)


def _quota(before: Any, after: Any, _: Any) -> set[str]:
    return set() if 1 <= after <= before else {"NOT_NARROWER"}


def _higher(before: Any, after: Any, _: Any) -> set[str]:
    return set() if after >= before else {"NOT_NARROWER"}


def _group(before: Any, after: Any, _: Any) -> set[str]:
    wrong = {"BAD_MIN_GROUP"} if after > MIN_GROUP_MAX else set()
    return wrong | _higher(before, after, _)


def _policy(before: Any, after: Any, _: Any) -> set[str]:
    return set() if before in ("", after) else {"NOT_NARROWER"}


_CHECKS: Mapping[str, Callable[[Any, Any, Any], set[str]]] = {
    "columns": _columns,
    "programs": _fewer_not_none,
    "receivers": _fewer_not_none,
    "co_parties": _fewer,
    "membership": _fewer,
    "profile": _profile,
    "not_before": _higher,
    "expires": _lower,
    "quota_runs": _quota,
    "min_group": _group,
    "run_epsilon": _epsilon,
    "partner_versions": _quota,
    "policy": _policy,
}
