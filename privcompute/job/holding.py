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

from numpy.typing import NDArray

from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from chain.primitives.values import decode_value, encode_value
from privcompute.data.sealed import SEALED_BYTES_MAX
from privcompute.job.actions import ComputeDone, StageDone
from privcompute.mpc.opening import COMPONENTS, component_commitment
from privcompute.mpc.protocols.psi import PsiSpec
from privcompute.mpc.protocols.psi_return import JoinReturn, read_matching

_VERSION = 2
HEADERS_BYTES = 65_536
"""Labels, lengths and hashes around what is handed out."""
COUNT = "rows"
"""What an owner tells of a join beside the messages: the number of common rows."""


@dataclass(frozen=True, slots=True)
class HeldShares:
    """Everything of one computed job that its release needs; secret but for `computed` and `commitments`."""

    computed: ComputeDone
    stages: tuple[StageDone, ...]
    commitments: Mapping[str, bytes]
    """Label -> 32 bytes: what all participants committed to before the reveal, the same at everybody."""
    components: Mapping[str, bytes]
    """Label -> record, of the components that a party holds of each audience's outputs (mpc/opening.py).

    None of a pure join. Those of what stays shares are sealed with the others, and handed to nobody.
    """
    matching: Any = None
    """An owner's part in a pure join (`write_matching`), else None."""
    salt: bytes = b""
    """The secret that hides the matching in its commitment; 32 bytes beside a matching."""
    identifiers: tuple[str, ...] = ()
    """An owner's identifiers, in the order of its table: the join names rows by number."""

    def encode(self) -> bytes:
        """Return the bytes to seal."""
        return encode_value(
            [
                _VERSION,
                asdict(self.computed) | {"channels": dict(self.computed.channels)},
                [asdict(stage) for stage in self.stages],
                dict(self.commitments),
                dict(self.components),
                self.matching,
                self.salt,
                list(self.identifiers),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> HeldShares:
        """Read what `encode` made; raise DecodeError for anything else."""
        content: Any = decode_value(data, max_bytes=SEALED_BYTES_MAX)
        try:
            version, computed, stages, commitments, components, matching, salt, identifiers = content
            if version != _VERSION:
                raise DecodeError(f"a holding of version {version}, this agent reads {_VERSION}")
            return cls(
                ComputeDone(**computed),
                tuple(StageDone(**stage) for stage in stages),
                commitments,
                {str(label): bytes(record) for label, record in components.items()},
                matching,
                salt,
                tuple(identifiers),
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


def labels_of(profile: str, party: int, audiences: Iterable[str], join: PsiSpec | None) -> frozenset[str]:
    """Return what a participant commits to at the end of computing; `join` is that of a pure join."""
    if join is None:
        return frozenset(label for audience in audiences for label in held_labels(profile, party, audience))
    if party not in join.parties:
        return frozenset()
    common = [f"common-{index}" for index in range(len(join.parties))] if party == join.matcher else []
    return frozenset([f"matching-{party}", *common])


def shares_digest(commitments: Mapping[str, bytes]) -> bytes:
    """Return one hash over all commitments of a job, which a result names: 32 bytes."""
    return digest("assent/job-shares", encode_value(dict(commitments)))


class HandedPart:
    """What one holder of a job hands to others at its release."""

    def __init__(self, holding: HeldShares, job: bytes, me: int, join: PsiSpec | None) -> None:
        """`job` is the 32-byte id, `me` our index among the participants, `join` that of a pure join."""
        self.holding, self.job, self.me = holding, job, me
        self.back: JoinReturn | None = None
        """Our part in the way back of a pure join."""
        if join is not None and me in join.parties and holding.matching is not None:
            matching = read_matching(holding.matching)
            self.back = JoinReturn(join, me, matching, holding.salt, holding.commitments)

    @property
    def bytes_max(self) -> int:
        """The most bytes that another holder hands to us at once: as many as we hold ourselves."""
        own = sum(len(record) for record in self.holding.components.values())
        return HEADERS_BYTES + (own if self.back is None else self.back.bytes_max)

    def matched(self) -> NDArray[Any] | None:
        """Return our own rows of a pure join, None when we have none or not all messages came."""
        return None if self.back is None else self.back.rows(len(self.holding.identifiers))

    def to(self, party: int, owners: Iterable[int], receivers: Iterable[int]) -> dict[str, bytes]:
        """Return what a participant may have from us now; empty for one to whom we owe nothing (yet)."""
        if self.back is None:
            profile = self.holding.computed.profile
            mine = held_labels(profile, self.me, str(party)) if party in receivers else frozenset[str]()
            return {label: record for label, record in self.holding.components.items() if label in mine}
        given = self.back.give(party) if party in owners and party != self.me else {}
        if self.back.count is not None and party in receivers:
            given[COUNT] = self.back.count.to_bytes(8, "big")
        return given
