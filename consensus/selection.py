"""Selection (PBFT, 4.4 and 4.5.2): which view to join, and what a new view proposes again; pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from consensus.messages import NULL_DIGEST, Prepared, ViewChange, certificate_height


def base_height(changes: Iterable[ViewChange]) -> int:
    """Return the base of the new view: the highest height that these view changes show a certificate of.

    It comes from exactly the view changes given, which were verified one by one: where another set chose it,
    view changes were endless (hyperledger-archives/fabric 1111).
    """
    return max((certificate_height(change.certificate) for change in changes), default=0)


def choose_reproposals(changes: Sequence[ViewChange]) -> tuple[tuple[int, bytes], ...]:
    """Return (height, payload digest) for every height above the base up to the highest prepared one.

    A height takes the payload that was prepared in the highest view. Where none was prepared, none was
    committed, since a quorum of COMMITs and this quorum share a correct replica: the height takes a null
    request.
    """
    base = base_height(changes)
    latest: dict[int, Prepared] = {}
    for change in changes:
        for item in change.prepared:
            best = latest.get(item.height)
            if item.height > base and (best is None or _rank(item) > _rank(best)):
                latest[item.height] = item
    highest = max(latest, default=base)
    return tuple(
        (height, latest[height].payload_digest if height in latest else NULL_DIGEST)
        for height in range(base + 1, highest + 1)
    )


def _rank(item: Prepared) -> tuple[int, bytes]:
    # Two prepared proofs of one view and height name one payload unless more than f replicas lie;
    # the digest only makes the choice the same everywhere even then.
    return (item.view, item.payload_digest)


def view_to_join(view: int, changes: Collection[ViewChange], faults: int) -> int | None:
    """Return the smallest of f+1 views above ours to which others moved, or None (PBFT, 4.5.2).

    Among f+1 senders is a correct one; a single replica moves nobody, whatever view it claims.
    """
    higher = [change.view for change in changes if change.view > view]
    return min(higher) if len(higher) > faults else None


def select_quorum(changes: Iterable[ViewChange], size: int) -> tuple[ViewChange, ...]:
    """Return `size` view changes in order of sender; the one with the highest certificate is among them."""
    ranked = sorted(changes, key=lambda change: (-certificate_height(change.certificate), change.sender))
    return tuple(sorted(ranked[:size], key=lambda change: change.sender))
