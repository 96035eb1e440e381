"""Rules: the parameters that all replicas of a chain share, and epochs, primaries and quorums by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chain.primitives.boundedcache import BoundedCache
from chain.primitives.certificate import Epoch, fault_bound, quorum
from chain.primitives.codec import U64_MAX
from chain.primitives.errors import ConfigError
from chain.primitives.leadership import leaders, primary

CONSENSUS_WINDOW_MAX = 32
"""Heights in flight, at most; so many prepared proofs fit into a VIEW-CHANGE."""
ROTATION_MAX = 1_000_000
"""Heights of a tenure, at most."""
_REMEMBERED_MAX = 256
"""Heights whose final set is remembered: eight times the widest consensus window."""


def _epochs() -> BoundedCache[int, Epoch]:
    return BoundedCache(_REMEMBERED_MAX)


def _keys() -> BoundedCache[int, tuple[bytes, ...]]:
    return BoundedCache(_REMEMBERED_MAX)


def _nobody(_height: int) -> tuple[bytes, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What all replicas agree on; it comes from genesis and the ledger, never from local settings."""

    chain_id: bytes
    epoch_for: Callable[[int], Epoch]
    """Height -> its epoch: the final one up to `settled`, and the newest known one for any other height in
    0..2^64-1."""
    settled: Callable[[], int]
    """Return the highest height whose epoch is final: W above the last executed one; it never falls."""
    consensus_window: int
    """W: how many heights above the last certified one may be in flight, 1..32."""
    rotation: int
    """R: after so many heights the primary changes within a view, which bounds the tenure of a censor."""
    passed_over: Callable[[int], Sequence[bytes]] = _nobody
    """Height -> validators that were replaced as primary lately, the latest last; final up to `settled`."""
    _remembered: BoundedCache[int, Epoch] = field(
        default_factory=_epochs, init=False, repr=False, compare=False
    )
    _leaders: BoundedCache[int, tuple[bytes, ...]] = field(
        default_factory=_keys, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Refuse parameters out of range (ConfigError)."""
        if not 1 <= self.consensus_window <= CONSENSUS_WINDOW_MAX:
            raise ConfigError(f"consensus_window: {self.consensus_window}, allowed 1..{CONSENSUS_WINDOW_MAX}")
        if not 1 <= self.rotation <= ROTATION_MAX:
            raise ConfigError(f"rotation: {self.rotation}, allowed 1..{ROTATION_MAX}")
        if not self.epoch_for(1).validators:
            raise ConfigError("validators: empty set; a chain needs at least one validator")

    def is_settled(self, height: int) -> bool:
        """Tell whether the validator set of a height is final here."""
        return self._remembered.get(height) is not None or height <= self.settled()

    def epoch(self, height: int) -> Epoch:
        """Return the epoch of a height; it is asked some 80 times a block, so a final one is remembered."""
        known = self._remembered.get(height)
        if known is None:
            final = height <= self.settled()  # before the set is read: the ledger may grow meanwhile
            known = self.epoch_for(min(height, U64_MAX))  # a peer may speak of height 2^64-1, and of the next
            if final:
                self._remembered.add(height, known)
        return known

    def validators(self, height: int) -> tuple[bytes, ...]:
        """Return the validators that vote on a height."""
        return self.epoch(height).validators

    def leaders(self, height: int) -> tuple[bytes, ...]:
        """Return the validators of a height that are not passed over, in order of turns: n - f at least."""
        known = self._leaders.get(height)
        if known is None:
            final = self.is_settled(height)
            known = leaders(self.validators(height), self.passed_over(min(height, U64_MAX)))
            if final:
                self._leaders.add(height, known)
        return known

    def primary(self, view: int, height: int) -> bytes:
        """Return who proposes `height` in `view`: leaders[(view + height // rotation) mod their number]."""
        return primary(self.leaders(height), view, height, self.rotation)

    def quorum(self, height: int) -> int:
        """Return the quorum floor((n+f)/2)+1 of the set that votes on `height`."""
        return quorum(len(self.validators(height)))

    def faults(self, height: int) -> int:
        """Return f = floor((n-1)/3) of the set that votes on `height`."""
        return fault_bound(len(self.validators(height)))

    def is_validator(self, key: bytes, height: int) -> bool:
        """Tell whether `key` votes on `height`."""
        return key in self.validators(height)

    def last_together(self, height: int) -> int:
        """Return the last of the W heights from `height` on that belong to its epoch."""
        first, last = self.epoch(height).first, height + self.consensus_window - 1
        while self.epoch(last).first != first:
            last -= 1
        return last
