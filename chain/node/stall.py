"""Why a node does not move, in words: who is missing, which phase, since when, and what to do.

A pure function over the facts, so that every case is a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chain.node.watch import muted

PATIENCE_S = 5.0
"""A wait shorter than this is work, not a stall."""
STALLED_S = 20.0
"""Work that waits so long while no height is certified is a stall: two view changes in a row take less."""
DISK_LOW_BYTES = 268_435_456
AWAY_TOLD_MAX = 4
"""Validators without a connection that one line tells of with addresses."""


@dataclass(frozen=True, slots=True)
class Away:
    """A validator without a connection."""

    name: str
    address: str
    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Coming:
    """A validator set that takes over at a height and lacks a quorum here."""

    first: int
    quorum: int
    away: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node knows of its own standstill; names are those of validators."""

    name: str
    validators: int
    quorum: int
    since_height: int = 0
    """First height of the validator set in force."""
    is_validator: bool = True
    outside: str = ""
    """Why the ledger does not know this node, if so."""
    twin: str = ""
    """Where another process uses the key of this node, if more than f validators say so."""
    coming: Coming | None = None
    away: tuple[Away, ...] = ()
    certified: int = 0
    executed: int = 0
    consensus_window: int = 8
    view: int = 0
    primary: str = ""
    phase: str = "idle"
    """As `consensus.report` names phases."""
    says: str = ""
    """The phase as consensus words it."""
    missing: tuple[str, ...] = ()
    """Whose message the phase waits for."""
    asked: tuple[str, ...] = ()
    """Who asked for the view that is waited for."""
    seconds: float = 0.0
    """How long the phase has lasted."""
    stood_s: float = 0.0
    """How long work has waited while no height was certified, whatever the phases in between."""
    pending: bool = False
    lacking: int = 0
    """Transactions that an ordered or proposed batch names and this node has not."""
    holders: tuple[str, ...] = ()
    """Connected peers that are known to have some of them."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Validator -> header hash that it signed for the lowest height without a certificate."""
    proved: int = 0
    """Highest height that a peer proved."""
    sources: tuple[str, ...] = ()
    """Peers that blocks are being fetched from."""
    blocks_per_s: float = 0.0
    snapshot: tuple[int, float] | None = None
    """(height, share 0..1) of the state that is being fetched."""
    sync_trouble: str = ""
    skews_ms: Mapping[str, int] = field(default_factory=dict)
    """Proposer -> how far its last proposal was ahead of this node's clock."""
    skew_max_ms: int = 30_000
    disk_free: int | None = None
    data_dir: str = "the data directory"
    moves: str = ""
    """The key, in hex, that the seat of this node moves to, if it does."""
    halted: str = ""
    unfinished: str = ""
    """Which height earlier processes began to execute and never finished, in words."""


def explain(facts: Facts) -> str:
    """Return why the node does not move and what to do; empty while it moves or idles."""
    for case in _ALWAYS:
        if text := case(facts):
            return text
    if not waits(facts) or facts.seconds < PATIENCE_S:
        return ""
    return next(text for case in _WAITS if (text := case(facts)))


def waits(facts: Facts) -> bool:
    """Tell whether there is something to do that is not done."""
    return bool(facts.pending or facts.lacking or facts.phase not in ("idle", "executing"))


def stalled(facts: Facts) -> str:
    """Return why this node and the chain with it stand still though there is work; empty while they move."""
    if not waits(facts) or facts.stood_s < STALLED_S:
        return ""
    return f"no height for {_time(facts.stood_s)} though work waits: {explain(facts) or facts.says}"


def _halted(facts: Facts) -> str:
    if not facts.halted:
        return ""
    return f"this validator stopped itself: {facts.halted}; read its log, then restart it"


def _disk(facts: Facts) -> str:
    if facts.disk_free is None or facts.disk_free >= DISK_LOW_BYTES:
        return ""
    return (
        f"the disk of {facts.data_dir} has {facts.disk_free // 1_048_576} MiB left: free some; "
        "a node that cannot write stops, and starts again with nothing lost once there is room"
    )


def _diverged(facts: Facts) -> str:
    return facts.sync_trouble


def _unfinished(facts: Facts) -> str:
    return facts.unfinished


def _outside(facts: Facts) -> str:
    return facts.outside


def _twin(facts: Facts) -> str:
    return facts.twin


def _coming(facts: Facts) -> str:
    if facts.coming is None:
        return ""
    return (
        f"at height {facts.coming.first} other validators take over, {facts.coming.quorum} of them are "
        f"needed and these are not connected: start or reach {_names(facts.coming.away)}"
    )


def _snapshot(facts: Facts) -> str:
    if facts.snapshot is None:
        return ""
    height, share = facts.snapshot
    return f"this node fetches the state of height {height}: {share:.0%} is here; nothing to do"


def _no_quorum(facts: Facts) -> str:
    connected = facts.validators - len(facts.away)
    if not facts.is_validator or connected >= facts.quorum:
        return ""
    since = f" (in force since height {facts.since_height})" if facts.since_height else ""
    away = "; ".join(
        f"{item.name} at {item.address} for {_time(item.seconds)} ({item.why})"
        for item in facts.away[:AWAY_TOLD_MAX]
    )
    if len(facts.away) > AWAY_TOLD_MAX:
        away += f"; and {len(facts.away) - AWAY_TOLD_MAX} more, which `assent validator list` names"
    return (
        f"{connected} of {facts.validators} validators{since} are connected, {facts.quorum} are needed to "
        f"order anything. Away: {away}. Start those nodes, or open their ports to this one"
    )


def _headers_differ(facts: Facts) -> str:
    if len(set(facts.headers.values())) < 2 or facts.seconds < PATIENCE_S:
        return ""
    groups: dict[str, list[str]] = {hashed: [] for hashed in facts.headers.values()}
    for name, hashed in facts.headers.items():
        groups[hashed].append(name)
    said = ", ".join(f"{_names(names)}: {hashed[:16]}" for hashed, names in groups.items())
    return (
        f"height {facts.certified + 1} executes differently, so no {facts.quorum} validators sign one header "
        f"({said}). Compare `assent --version` and Python on these nodes; rebuild those that differ from the "
        "others with `assent node rebuild`"
    )


def _behind(facts: Facts) -> str:
    gap = facts.proved - facts.certified
    if facts.phase != "behind" and gap <= facts.consensus_window:
        return ""
    if facts.phase == "behind" and gap <= facts.consensus_window and facts.seconds < PATIENCE_S:
        return ""
    top = max(facts.proved, facts.certified)
    if not facts.sources:
        return (
            f"this node is behind, at height {facts.certified} of {top}, and no connected peer serves the "
            f"blocks above; connected are all but {_names([item.name for item in facts.away]) or 'none'}"
        )
    pace = f"{facts.blocks_per_s:.0f} blocks a second"
    left = f", {_time(gap / facts.blocks_per_s)} to go" if facts.blocks_per_s >= 1 and gap > 0 else ""
    return (
        f"this node is behind, at height {facts.certified} of {top}: it fetches blocks from "
        f"{_names(facts.sources)} at {pace}{left}; nothing to do"
    )


def _listening(facts: Facts) -> str:
    if facts.phase != "listening":
        return ""
    if not facts.missing:
        return facts.says
    return (
        "this validator found no votes of its own (a new or emptied data directory) and listens to "
        f"{facts.quorum} validators before it votes; not heard yet: {_names(facts.missing)}"
    )


def _muted(facts: Facts) -> str:
    return muted(facts.moves) if facts.phase == "muted" else ""


def _skew(facts: Facts) -> str:
    beyond = {name: ms for name, ms in facts.skews_ms.items() if ms > facts.skew_max_ms}
    if not beyond:
        return ""
    limit = f"proposals may be {facts.skew_max_ms / 1000:g} s ahead"
    if len(beyond) > facts.validators - facts.quorum:
        least = min(beyond.values()) / 1000
        return (
            f"the clock of this node ({facts.name}) is behind: proposals of {_names(list(beyond))} were at "
            f"least {least:.0f} s ahead of it, {limit}. Set its clock (timedatectl, chronyc)"
        )
    said = ", ".join(f"{name} {ms / 1000:.0f} s" for name, ms in beyond.items())
    return f"clocks are ahead of this node's: {said}; {limit} and these were refused. Set the clocks there"


def _lacking(facts: Facts) -> str:
    if facts.phase == "payload":
        return (
            f"the proposal of height {facts.certified + 1} was voted for but is not here, for "
            f"{_time(facts.seconds)}; asking one validator after another"
        )
    if not facts.lacking:
        return ""
    holders = _names(facts.holders)
    have = f"{holders} announced some of them" if holders else "no connected peer is known to have them"
    return (
        f"{facts.lacking} transactions that a batch names are not here, for {_time(facts.seconds)}; {have}. "
        "They are asked for again and again; reconnect the node that took them from its client"
    )


def _view_change(facts: Facts) -> str:
    if facts.phase == "view-change":
        return (
            f"waits for a view change to view {facts.view}, for {_time(facts.seconds)}: "
            f"{_names(facts.asked)} asked, {facts.quorum} are needed; not yet: {_names(facts.missing)}. "
            "Those may be fine and see no reason to, or be cut off: run `assent status` at them"
        )
    if facts.phase == "new-view":
        return (
            f"{len(facts.asked)} validators want view {facts.view}; its primary {facts.primary} has not led "
            f"it in for {_time(facts.seconds)}. The next view follows by itself; look at {facts.primary}"
        )
    return ""


def _certificates(facts: Facts) -> str:
    if facts.phase != "checkpoints":
        return ""
    full = facts.executed - facts.certified >= facts.consensus_window
    said = ", ".join(f"{name}: {hashed[:16]}" for name, hashed in facts.headers.items())
    return (
        f"height {facts.certified + 1} is executed but has no certificate for {_time(facts.seconds)}: "
        f"{len(facts.headers)} of {facts.quorum} signatures ({said}), none of {_names(facts.missing)}"
        + (f"; {facts.consensus_window} heights are open, so nothing more is ordered" if full else "")
        + ". Check that those nodes execute (disk, CPU, their log)"
    )


def _primary(facts: Facts) -> str:
    if facts.phase != "proposal":
        return ""
    who = "this node" if facts.primary == facts.name else facts.primary
    return (
        f"transactions wait and the primary of view {facts.view}, {who}, has proposed nothing for "
        f"{_time(facts.seconds)}. It is replaced by itself as soon as {facts.quorum} validators are heard; "
        f"look at {who} (log, CPU, disk)"
    )


def _votes(facts: Facts) -> str:
    missing = f"; none of {_names(facts.missing)}" if facts.missing else ""
    return f"{facts.says} for {_time(facts.seconds)}{missing}. Look at these nodes with `assent status`"


_ALWAYS = (
    _halted, _disk, _unfinished, _diverged, _outside, _twin, _no_quorum, _coming, _headers_differ, _listening,
    _snapshot, _behind, _muted, _skew,
)  # fmt: skip
"""Asked in this order: what makes the others unavoidable comes first."""
_WAITS = (_lacking, _view_change, _certificates, _primary, _votes)
"""What a node may wait for; the last words anything."""


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"
