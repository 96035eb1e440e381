"""Why a founding does not go on: each text names the file or the founder, the value and the remedy."""

from __future__ import annotations

from chain.primitives.errors import AssentError, Exit


class FoundingRefused(AssentError):
    """A card, draft or signature that does not belong here, or not yet: the text says whose and why."""

    code = "founding"


class FoundingAltered(FoundingRefused):
    """A card, draft or signature that is not as it was signed or written: fetch it again from its owner."""

    code = "founding_altered"
    exit = Exit.DAMAGED


def shown(value: object) -> str:
    """Return a value of a foreign file for one line of an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
