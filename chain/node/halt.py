"""Halt: consensus stopped itself because it cannot trust its memory, and the node ends."""

from __future__ import annotations

from chain.primitives.errors import AssentError, Exit


class ValidatorHalted(AssentError):
    """Consensus stopped itself here because it cannot trust its memory: read the log, then restart."""

    code = "validator_halted"
    exit = Exit.DAMAGED
