"""HeldShares of a computed job: what one participant keeps, sealed, from the end of computing to the release.

It is one record, written before the transcript goes on the ledger: an agent that restarts finds all of its
part in it or none. `HandedPart` says what a holder hands to another participant. It follows from the holding
alone, so it is the same bytes however often it is asked for: nothing is masked afresh, and no second opening
can differ from the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from chain.primitives.values import decode_value, encode_value
from privcompute.data.sealed import SEALED_BYTES_MAX
from privcompute.job.actions import ComputeDone, StageDone
from privcompute.mpc.opening import COMPONENTS, component_commitment

_VERSION = 3
HEADERS_BYTES = 65_536
"""Labels, lengths and hashes around what is handed out."""


@dataclass(frozen=True, slots=True)
class HeldShares:
    """Everything of one computed job that its release needs; secret but for `computed` and `commitments`."""

    computed: ComputeDone
    stages: tuple[StageDone, ...]
    commitments: Mapping[str, bytes]
    """Label -> 32 bytes: what all participants committed to before the reveal, the same at everybody."""
    components: Mapping[str, bytes]
    """Label -> record, of the components that a party holds of each audience's outputs (mpc/opening.py).

    Those of what stays shares are sealed with the others, and handed to nobody.
    """

    def encode(self) -> bytes:
        """Return the bytes to seal."""
        return encode_value(
            [
                _VERSION,
                asdict(self.computed) | {"channels": dict(self.computed.channels)},
                [asdict(stage) for stage in self.stages],
                dict(self.commitments),
                dict(self.components),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> HeldShares:
        """Read what `encode` made; raise DecodeError for anything else."""
        content: Any = decode_value(data, max_bytes=SEALED_BYTES_MAX)
        try:
            version, computed, stages, commitments, components = content
            if version != _VERSION:
                raise DecodeError(f"a holding of version {version}, this agent reads {_VERSION}")
            return cls(
                ComputeDone(**computed),
                tuple(StageDone(**stage) for stage in stages),
                commitments,
                {str(label): bytes(record) for label, record in components.items()},
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise DecodeError(f"a holding: {type(error).__name__}") from None


def component_label(number: int, audience: str) -> str:
    """Return the name of the commitment to a component of the outputs of one audience."""
    return f"component-{number}-{audience}"


def component_commitments(components: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the commitments to components, by label."""
    return {label: component_commitment(record) for label, record in components.items()}


def held_labels(profile: str, party: int, audience: str) -> frozenset[str]:
    """Return the labels of the components that a party holds of one audience's outputs: two, or the one."""
    count = COMPONENTS[profile]
    return frozenset(component_label((party + place) % count, audience) for place in (0, 1))


def labels_of(profile: str, party: int, audiences: Iterable[str]) -> frozenset[str]:
    """Return what a participant commits to at the end of computing."""
    return frozenset(label for audience in audiences for label in held_labels(profile, party, audience))


def shares_digest(commitments: Mapping[str, bytes]) -> bytes:
    """Return one hash over all commitments of a job, which a result names: 32 bytes."""
    return digest("assent/job-shares", encode_value(dict(commitments)))


class HandedPart:
    """What one holder of a job hands to others at its release."""

    def __init__(self, holding: HeldShares, me: int) -> None:
        """`me` is our index among the participants."""
        self.holding, self.me = holding, me

    @property
    def bytes_max(self) -> int:
        """The most bytes that another holder hands to us at once: as many as we hold ourselves."""
        return HEADERS_BYTES + sum(len(record) for record in self.holding.components.values())

    def to(self, party: int, receivers: Iterable[int]) -> dict[str, bytes]:
        """Return what a participant may have from us; empty for one to whom we owe nothing."""
        if party not in receivers:
            return {}
        mine = held_labels(self.holding.computed.profile, self.me, str(party))
        return {label: record for label, record in self.holding.components.items() if label in mine}
