"""What a grant lets others learn, in plain words: for whoever approves it, and whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WORDS: Mapping[str, str] = {
    "plain": "single cells of them, and any figure: nothing of them stays hidden",
    "exact-aggregate": (
        "exact counts and unweighted sums over groups of {least} rows or more, and figures with noise. "
        "Exact figures hide one row only from somebody who knows the totals and fewer than {half} members of "
        "its group: whoever knows all the others subtracts them. They are booked by their number"
    ),
    "aggregate-only": (
        "figures with noise (dp). Whatever else somebody knows, a total epsilon of e makes no guess about "
        "one row's values more than exp(e) times as likely: 1.1 times at 0.1, 2.7 at 1, 20 at 3; a chance of "
        "delta aside. Epsilon is booked before a job runs"
    ),
    "compare-only": (
        "with noise (dp) how often they are above or below a column of another owner, and nothing else. "
        "Epsilon is booked before a job runs"
    ),
    "encrypted-only": "nothing of them leaves: they are computed with, and stay shares",
    "join-only": "nothing of them leaves: they decide which rows are joined",
}


def may_learn(grant: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each constraint of a grant with its columns, and one for membership."""
    least = grant["min_group"]
    for constraint, words in _WORDS.items():
        columns = [name for name, given in grant["columns"].items() if given == constraint]
        if columns:
            said = words.format(least=least, half=-(-least // 2))
            yield f"{', '.join(columns)} ({constraint}): {said}."
    yield membership_line(grant)


def membership_line(grant: Mapping[str, Any]) -> str:
    """Say who may learn which rows are joined."""
    others = [org for org in grant["membership"] if org != grant["owner"]]
    if not others:
        return (
            f"membership: nobody else may learn which rows of {grant['dataset']} are in a join, so a job "
            "that joins them with others' is refused."
        )
    return (
        f"membership: {', '.join(others)} may learn which rows of {grant['dataset']} are in a join: which of "
        f"{grant['owner']}'s rows are also theirs, and that each of the others is not."
    )
