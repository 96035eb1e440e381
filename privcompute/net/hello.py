"""Hello that opens a link between two agents: 46 bytes name the job and both parties."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HELLO = struct.Struct(">10sHBB32s")
HELLO_VERSION = 2
_MAGIC = b"assent-mpc"


@dataclass(frozen=True, slots=True)
class JobHello:
    """First message of a link: job id (32 bytes), and the indices of sender and receiver."""

    job_id: bytes
    sender: int
    receiver: int

    def encode(self) -> bytes:
        """Return the 46 bytes on the wire."""
        return HELLO.pack(_MAGIC, HELLO_VERSION, self.sender, self.receiver, self.job_id)

    @classmethod
    def decode(cls, data: bytes) -> JobHello | None:
        """Read 46 bytes; None when they are not a hello of this version."""
        magic, version, sender, receiver, job_id = HELLO.unpack(data)
        return cls(job_id, sender, receiver) if (magic, version) == (_MAGIC, HELLO_VERSION) else None
