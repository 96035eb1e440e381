"""The engine of profile `dh-psi`: two to eight parties that join, and compute nothing on shares.

After a join everybody knows how many rows it has, and what follows of that alone is public. So an output is
one component that all parties hold. It is committed to and handed out as shares are, and its salt, which one
party draws and tells the others, keeps it from whoever reads the commitments on the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chain.primitives.values import Value
from privcompute.errors import ProgramFault
from privcompute.mpc.opening import SALT_WORDS, write_component
from privcompute.mpc.ring import Words, encode
from privcompute.mpc.rounds import Round, Steps
from privcompute.mpc.sharing import Shared

PROFILE = "dh-psi"
SALT_BYTES = 8 * SALT_WORDS


class JoinEngine:
    """One of the parties; it holds public numbers, and refuses all arithmetic on secrets."""

    profile = PROFILE

    def __init__(self, me: int, parties: int, salt: Words) -> None:
        """Use a salt that all parties know, and nobody else; `start` agrees on one."""
        self.me, self.parties, self._salt = me, parties, salt

    @classmethod
    def start(cls, me: int, parties: int, entropy: bytes) -> Steps[JoinEngine]:
        """Agree on the salt of the outputs: one round, in which party 0 tells its 32 fresh random bytes."""
        if len(entropy) != SALT_BYTES:
            raise ProgramFault(f"entropy of {len(entropy)} bytes, needed are {SALT_BYTES}")
        if me == 0:
            yield Round(dict.fromkeys(range(1, parties), entropy), {})
            salt = entropy
        else:
            received = yield Round({}, {0: SALT_BYTES})
            salt = bytes(received[0])
        return cls(me, parties, np.frombuffer(salt, "<u8").astype(np.uint64))

    def constant(self, values: Any, fraction_bits: int = 0) -> Shared:
        """Return public numbers."""
        return Shared(encode(values, fraction_bits, "constant")[None], fraction_bits)

    def components(self, job: bytes, shared: Mapping[str, Shared], public: Value) -> dict[int, bytes]:
        """Return the record of the only component of a run's outputs: the same at every party."""
        return {0: write_component(job, 0, self._salt, shared, 0, public)}

    def _refused(self, *_: Any, **__: Any) -> Any:
        raise ProgramFault(f"profile {PROFILE} computes nothing on shares: its plans need their joins alone")

    share = mul = dot = matmul = truncate = scale = less_than = less_than_zero = equal = select = _refused
    maximum = minimum = divide = sqrt = inverse_sqrt = sigmoid = exp = log = sort = reveal = _refused
    laplace = gaussian = _refused
