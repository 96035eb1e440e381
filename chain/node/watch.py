"""What of consensus an operator is told: each turn of events once, in names; no IO, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SILENT_WINDOWS = 2
"""A connected validator without a vote for so many windows of heights is named: it follows, or is cut off."""


REJOIN = "assent validator rejoin"
TWIN_REMEDY = (
    "stop the process that should not run. Where nobody here began it, the key is in other hands: move the "
    "seat to a new one with `assent validator rotate-key`"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Snapshot of what consensus reports at one moment."""

    epoch: int = 0
    view: int = 0
    active: bool = True
    """Whether the view is led; else this node waits for it."""
    primary: str = ""
    passed_over: Sequence[str] = ()
    """Validators that do not lead now since their turns were ended by a view change."""
    lost_votes: bool = False
    spare: str = ""
    """The key file ready to take the seat of this node, once it is there."""
    silent: Sequence[str] = ()
    """Connected validators that gave no vote for some windows."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Member -> where the two processes are that use its key."""
    own_twins: Mapping[str, str] = field(default_factory=dict)
    """Member that says that the key of this node is used twice -> where, as it says."""
    moves: str = ""
    """The key, in hex, that the seat of this node moves to, if it does."""
    unpruned: str = ""
    """Why nothing is pruned though there is something to prune."""


def news(before: Seen, now: Seen) -> list[str]:
    """Return a line for each thing that changed and that somebody should know."""
    told = []
    if (now.epoch, now.view) != (before.epoch, before.view) and now.view > 0:
        told.append(f"view {now.view} of the epoch from height {now.epoch}: {_led(now)}")
    passed = _new(before, now, "passed_over")
    told += [f"{name} is passed over: a view change ended its turn" for name in passed]
    told += [f"{name} leads again when its turn comes" for name in _new(now, before, "passed_over")]
    if now.lost_votes and not before.lost_votes:
        told.append(
            "the votes of this key were lost: it follows, signs checkpoints, and gives no vote until "
            "its seat has moved to another key, or the validators change otherwise; it counts as one of the "
            "f that may fail"
        )
    if now.spare and not before.spare:
        told.append(f"the key {now.spare} is ready to take this node's seat: assent validator rejoin")
    if before.lost_votes and not now.lost_votes:
        told.append("this node votes again")
    told += [f"{name} is connected and gives no vote" for name in _new(before, now, "silent")]
    told += [f"{name} votes again" for name in _new(now, before, "silent")]
    told += [twin_of(name, now.twins[name]) for name in _new(before, now, "twins")]
    told += [f"{name} runs once again" for name in _new(now, before, "twins")]
    told += [_own_twin([name], now.own_twins[name]) for name in _new(before, now, "own_twins")]
    return told


def muted(moves: str) -> str:
    """Say what a validator without its votes waits for, given the key that its seat moves to, if it does."""
    if moves:
        return (
            f"this validator lost its votes; its seat moves to its key {moves[:16]}, under which it votes "
            "within a consensus window: nothing to do"
        )
    return (
        "this validator lost its votes and gives none until its seat has moved, or the validators change "
        f"otherwise; move it: {REJOIN}"
    )


def notes(now: Seen, stall: str = "") -> list[str]:
    """Return what is not as it should be though the chain may move, for a line below the status.

    What `stall` says, why this node does not move, is not said again.
    """
    found = []
    if now.lost_votes:
        found.append(muted(now.moves))
    if now.unpruned:
        found.append(f"nothing is pruned, so the disk fills: {now.unpruned}")
    if now.passed_over:
        found.append(f"passed over, for view changes ended their turns: {', '.join(now.passed_over)}")
    if now.silent:
        found.append(f"connected and without a vote lately: {', '.join(now.silent)}")
    found += [twin_of(name, endpoints) for name, endpoints in now.twins.items()]
    if TWIN_REMEDY not in stall:
        found += _own_twins(now.own_twins)
    return [line for line in found if line != stall]


def twin_of(name: str, endpoints: str) -> str:
    """Return a line about a member whose key two processes use."""
    return (
        f"{name} runs twice, or did within the last minutes: {endpoints}. Its operator must stop one: two "
        "processes of one key take the connections from one another and may sign votes that conflict"
    )


def _own_twin(names: Sequence[str], endpoints: str) -> str:
    say = "says" if len(names) == 1 else "say"
    said = f"{', '.join(names)} {say} of this node's own key"
    return f"{said}: {endpoints or 'it is used twice'}; {TWIN_REMEDY}"


def _own_twins(said: Mapping[str, str]) -> list[str]:
    """Return a line for each pair of places that members name, with all who name it."""
    by_place: dict[str, list[str]] = {}
    for name, endpoints in said.items():
        by_place.setdefault(endpoints, []).append(name)
    return [_own_twin(names, endpoints) for endpoints, names in by_place.items()]


def views_passed(before: Seen, now: Seen) -> int:
    """Return how many views passed in between; each epoch begins at view 0."""
    return now.view - (before.view if now.epoch == before.epoch else 0)


def _led(now: Seen) -> str:
    return f"{now.primary} leads" if now.active else f"asked for, {now.primary} shall lead"


def _new(before: Seen, now: Seen, field: str) -> list[str]:
    return [name for name in getattr(now, field) if name not in getattr(before, field)]
