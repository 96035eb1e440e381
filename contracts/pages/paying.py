"""The port to whoever pays for tracing."""

from __future__ import annotations

from typing import Protocol


class Payer(Protocol):
    """Pays for work: a transaction's machine, or a meter of its own."""

    def charge(self, gas: int) -> None:
        """Pay before working; raise OutOfGas when there is less."""
