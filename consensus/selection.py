"""Which view to join, and what a new view must propose again (PBFT, 4.4 and 4.5.2): pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from consensus.messages import GAP_DIGEST, Prepared, ViewChange, certificate_height


def base_height(changes: Iterable[ViewChange]) -> int:
    """Return the highest height certified in these view changes: the new view starts above it.

    Taken from exactly the view changes given, which were checked one by one: choosing it from another set
    is what made view changes endless in hyperledger-archives/fabric 1111.
    """
    return max((certificate_height(change.certificate) for change in changes), default=0)


def choose_reproposals(changes: Sequence[ViewChange]) -> tuple[tuple[int, bytes], ...]:
    """Return (height, payload digest) for every height from the base up to the highest prepared one.

    A height takes the payload prepared in the highest view; none prepared means that none was committed,
    since a commit quorum and this quorum share a correct replica: it becomes a gap.
    """
    base = base_height(changes)
    latest: dict[int, Prepared] = {}
    for change in changes:
        for item in change.prepared:
            best = latest.get(item.height)
            if item.height > base and (best is None or _rank(item) > _rank(best)):
                latest[item.height] = item
    top = max(latest, default=base)
    return tuple(
        (height, latest[height].payload_digest if height in latest else GAP_DIGEST)
        for height in range(base + 1, top + 1)
    )


def _rank(item: Prepared) -> tuple[int, bytes]:
    # Two prepared certificates of one view and height name one payload unless more than f replicas lie;
    # the digest only makes the choice the same everywhere even then.
    return (item.view, item.payload_digest)


def view_to_join(view: int, changes: Collection[ViewChange], faults: int) -> int | None:
    """Return the smallest of f+1 views above ours that others moved to, or None (PBFT, 4.5.2).

    f+1 senders hold a correct one; a single replica, whatever view it claims, moves nobody.
    """
    higher = [change.view for change in changes if change.view > view]
    return min(higher) if len(higher) > faults else None


def select_quorum(changes: Iterable[ViewChange], size: int) -> tuple[ViewChange, ...]:
    """Return `size` view changes ordered by sender, the one with the highest certificate among them."""
    ranked = sorted(changes, key=lambda change: (-certificate_height(change.certificate), change.sender))
    return tuple(sorted(ranked[:size], key=lambda change: change.sender))
