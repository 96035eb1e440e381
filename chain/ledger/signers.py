"""For whom a key signs in a state of the ledger."""

from __future__ import annotations

from chain.ledger.store.faults import DataDamaged
from chain.primitives.contractrecords import ORGS, KeyHolder, read_signer, signer_key
from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import StateReader


def signer_in(state: StateReader, public_key: bytes) -> KeyHolder | None:
    """Look a signing key up in `orgs`' Map `keys`; None when no organisation ever listed it."""
    stored = state.get(ORGS, signer_key(public_key))
    if stored is None:
        return None
    try:
        return read_signer(stored)
    except DecodeError:
        raise DataDamaged(
            f"state: orgs.keys[{public_key.hex()}] is not a key record; the contract `orgs` is not this one's"
        ) from None
