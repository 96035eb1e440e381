"""Whether the height that comes next is one that earlier processes began to execute and never finished.

A node that dies while it executes a height meets the same height after its restart. The first height that a
process executes is therefore noted durably before it is: one write a start, none a block. What the note holds
was decided by consensus or certified, so a stopped node can tell what it would execute next, too.
"""

from __future__ import annotations

from typing import Annotated

from chain.ledger.block import Batch
from chain.ledger.history.recovery import damaged
from chain.ledger.store import rows
from chain.ledger.store.port import Reader, Store
from chain.primitives.codec import U64, Bound, decode, encode, max_bytes_of, record
from chain.primitives.errors import DecodeError


@record("begun", max_bytes=max_bytes_of(Batch) + 64)
class Begun:
    """A height that was, or is, the first that a process executes."""

    height: U64
    payload: Annotated[bytes, Bound(0, max_bytes_of(Batch))]
    certified: bool
    """Whether it came as a certified block: then others have executed it."""
    times: U64
    """Processes in a row that began it."""


def read_begun(store: Reader, head: int) -> Begun | None:
    """Return the note when the height above the head was begun and not finished; raise DataDamaged."""
    row = store.get(rows.BEGUN_KEY)
    try:
        found = None if row is None else decode(Begun, row)
    except DecodeError:
        raise damaged("the note of the height begun last is unreadable") from None
    return found if found is not None and found.height == head + 1 else None


class Beginnings:
    """Note of the height that this process executes first, and what earlier processes left unfinished."""

    def __init__(self, store: Store, head: int) -> None:
        """Read what the processes before left behind."""
        self._store, self._former, self._noted = store, read_begun(store, head), False

    def unfinished(self, head: int) -> Begun | None:
        """Return what earlier processes began and did not finish, until this one has."""
        return self._former if self._former is not None and self._former.height > head else None

    def note(self, height: int, payload: bytes, *, certified: bool) -> None:
        """Write the note if this is the first height of this process; call before executing it."""
        if self._noted:
            return
        self._noted, former = True, self._former
        again = former is not None and (former.height, former.payload) == (height, payload)
        begun = Begun(height, payload, certified, former.times + 1 if former is not None and again else 1)
        self._store.write([(rows.BEGUN_KEY, encode(begun))], sync=True)


def describe(begun: Begun) -> str:
    """Return, for operators, what an unfinished height means."""
    times = f"{begun.times} time" + ("s in a row" if begun.times > 1 else "")
    how = "certified, so others executed it" if begun.certified else "ordered"
    return f"height {begun.height} is {how}; this node began to execute it {times} and never finished"


def advise(begun: Begun) -> str:
    """Return, for operators, what to do about an unfinished height."""
    if begun.certified:
        return "give this node more memory, or compare its release with the others'"
    return (
        "if its log shows that it dies of it, more memory or a mended release gets on; where no node can "
        "execute it, a quorum of validators skips it: stop the node and run `assent node skip show` "
        "(docs/skip.md)"
    )
