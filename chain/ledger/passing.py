"""Passing over: primaries that certified headers show to have been replaced do not lead for a while.

A header tells the view and the base of its batch: the height above which that view began. Where the view
has grown since the header below, the primaries of the views between did not get the height above the base
done, in the view that was theirs: they were silent, or slow enough to be replaced. They do not lead for a
while. The base is what keeps the blame where it belongs: a primary that leaves the last height of its tenure
open would otherwise have the next one, which never got its turn, passed over.

Asynchrony can have a correct primary replaced; it is forgotten like any other. At most f are passed over, the
latest charged (chain/primitives/leadership.py).
"""

from __future__ import annotations

from chain.ledger.block import Batch, Header
from chain.ledger.schedule import PassedFrom, Schedule
from chain.primitives.certificate import fault_bound
from chain.primitives.leadership import PASSED_OVER_HEIGHTS, leaders, primary


def pass_over(
    schedule: Schedule, height: int, below: Header, batch: Batch | None, window: int, rotation: int
) -> PassedFrom | None:
    """Return who is passed over from height + window on, where this batch changes that; mostly None.

    `schedule` is that of the state below, `below` the header there.
    """
    charged = _charged(schedule, height, below, batch, rotation)
    if not charged:
        return None
    first = height + window
    until = first + PASSED_OVER_HEIGHTS - 1
    kept = [
        item for item in schedule.passed_from(first).charges if item[0] not in charged and item[1] >= first
    ]
    most = fault_bound(len(schedule.set_at(height).validators))
    return PassedFrom(first, (*kept, *[(key, until) for key in charged])[-most:])


def _charged(
    schedule: Schedule, height: int, below: Header, batch: Batch | None, rotation: int
) -> tuple[bytes, ...]:
    """Return the primaries that were replaced before this batch was proposed, the latest last."""
    epoch = schedule.epoch_at(height)
    before = below.view if below.height >= epoch.first else 0  # views begin anew with each set
    if batch is None or batch.view <= before or not fault_bound(len(epoch.validators)):
        return ()
    failed = batch.base + 1
    if not max(epoch.first, 1) <= failed <= height:
        return ()
    candidates = leaders(epoch.validators, schedule.passed_over(failed))
    views = range(max(before, batch.view - len(candidates)), batch.view)
    replaced = dict.fromkeys(primary(candidates, view, failed, rotation) for view in views)
    replaced.pop(batch.proposer, None)  # it is there now
    return tuple(replaced)
