"""Short turns of a processor for this process: on a busy machine a vote waits for others' turns at each step.

A commit goes through a dozen wake-ups of four nodes. Each waits until whoever has the processor has used up
its turn, a few milliseconds, unless the one that wakes asks for shorter turns: then Linux (6.12 and later)
lets it go first. That gives nobody a larger share of the processor, only sooner and in smaller parts, and
needs no privilege. Elsewhere nothing changes.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct
import sys
from typing import Final

log = logging.getLogger("assent")

SLICE_NS: Final = 200_000
"""Most of what a loop does at a time is over by then; Linux takes 100 µs to 100 ms."""
_NUMBERS: Final = {"x86_64": (315, 314), "aarch64": (275, 274)}
"""Of the system calls sched_getattr and sched_setattr, which the C library lacks before glibc 2.41."""
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period (ns): struct sched_attr, first version."""
_POLICY, _RUNTIME = 1, 5
_USUAL: Final = 0
"""SCHED_OTHER: who chose another policy for this process knows better."""


def ask_for_short_turns() -> bool:
    """Ask for turns of SLICE_NS for this thread and those it begins; False where nobody takes such a wish."""
    attributes = _read()
    if attributes is None or attributes[_POLICY] != _USUAL:
        return False
    attributes[_RUNTIME] = SLICE_NS
    wish = ctypes.create_string_buffer(_ATTRIBUTES.pack(*attributes), _ATTRIBUTES.size)
    if _call(1, wish, 0) != 0:
        log.info("no short turns of a processor: %s", os.strerror(ctypes.get_errno()))
        return False
    return turn_ns() == SLICE_NS  # an older kernel takes the wish and forgets it


def turn_ns() -> int:
    """Return how long turns of this thread are on the kernel's record, 0 where it does not say."""
    attributes = _read()
    return 0 if attributes is None else attributes[_RUNTIME]


def _read() -> list[int] | None:
    """Return the attributes of this thread, None where there are none."""
    kept = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if _call(0, kept, _ATTRIBUTES.size, 0) != 0:
        return None
    return list(_ATTRIBUTES.unpack(kept.raw))


def _call(which: int, *arguments: object) -> int:
    """Make one of the two system calls for this thread; return -1 where they are not known."""
    numbers = _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
    if numbers is None:
        return -1
    return int(ctypes.CDLL(None, use_errno=True).syscall(numbers[which], 0, *arguments))
