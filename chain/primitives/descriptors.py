"""File descriptors are budgeted at the start: what a process may need is there, or it does not start.

A process that runs out of descriptors while it works cannot open the next file of its ledger, and stops.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Mapping

from chain.primitives.errors import ConfigError

log = logging.getLogger("assent")

RESERVE = 64
"""Standard streams, the event loop, listening sockets, lock and log files, what libraries open shortly."""


class TooFewDescriptors(ConfigError):
    """A limit on open files below what the settings may need: raise the limit or lower a setting."""

    code = "too_few_descriptors"


def needed(parts: Mapping[str, int]) -> int:
    """Return the sum of the parts and of the reserve."""
    return sum(parts.values()) + RESERVE


def limit_for(parts: Mapping[str, int], soft: int, hard: int, lower: str, spare: int = 0) -> int:
    """Return the soft limit to run under: the present one, or one raised to what is needed.

    `parts` says what needs how many descriptors, `lower` which settings can be lowered by `spare`
    in all, which is named only if that suffices; a limit is
    `resource.RLIM_INFINITY` when there is none. Raises TooFewDescriptors when the hard limit is too low.
    """
    need = needed(parts)
    if _reaches(soft, need):
        return soft
    if not _reaches(hard, need):
        what = ", ".join(f"{number} for {name}" for name, number in parts.items())
        remedy = f", or lower {lower}" if need - hard <= spare else ""
        raise TooFewDescriptors(
            f"open files: {need} are needed ({what}, {RESERVE} in reserve), but the hard limit of this "
            f"process is {hard}; raise it (ulimit -Hn {need}, LimitNOFILE={need} of a systemd unit, --ulimit "
            f"nofile={need} of a container){remedy}"
        )
    return need


def budget_descriptors(parts: Mapping[str, int], lower: str, spare: int) -> None:
    """See to it that this process may open what it needs; raise TooFewDescriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = limit_for(parts, soft, hard, lower, spare)
    if limit != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    raised = f", raised from {soft}" if limit != soft else ""
    log.info("open files: at most %d are needed; the limit is %s%s", needed(parts), _shown(limit), raised)


def _reaches(limit: int, need: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= need


def _shown(limit: int) -> str:
    return "none" if limit == resource.RLIM_INFINITY else str(limit)
