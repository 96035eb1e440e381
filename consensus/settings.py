"""Settings of time: how long a replica waits, and how fast it proposes."""

from __future__ import annotations

from dataclasses import dataclass

from chain.primitives.errors import ConfigError

_DURATION_MAX_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Local settings, in milliseconds; replicas may differ in all of them without harm to agreement."""

    timeout_ms: int = 2_000
    """View timeout: how long a primary may take. It doubles with every view without delivery."""
    timeout_max_ms: int = 20_000
    """The view timeout grows up to this."""
    status_ms: int = 400
    """How long nothing moves before a replica retransmits and asks for what it missed."""
    heartbeat_ms: int = 5_000
    """How often an idle replica sends its status."""
    batch_interval_ms: int = 20
    """At least as long passes between two proposals of ours."""
    in_flight_max: int = 4
    """How many heights we propose before the first of them is delivered."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        for name in ("timeout_ms", "timeout_max_ms", "status_ms", "heartbeat_ms"):
            if not 1 <= getattr(self, name) <= _DURATION_MAX_MS:
                raise ConfigError(f"{name}: {getattr(self, name)}, allowed 1..{_DURATION_MAX_MS}")
        if not 0 <= self.batch_interval_ms <= self.timeout_ms:
            raise ConfigError(f"batch_interval_ms: {self.batch_interval_ms}, allowed 0..timeout_ms")
        if not 1 <= self.in_flight_max <= 32:
            raise ConfigError(f"in_flight_max: {self.in_flight_max}, allowed 1..32")
        if self.timeout_max_ms < self.timeout_ms:
            raise ConfigError(f"timeout_max_ms: {self.timeout_max_ms}, at least timeout_ms")
