"""What a peer's certificate may do to whoever reads it."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives import tls
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import CertificateInvalid
from tests.unit.chain.primitives.certificates import MUTATIONS, mutated_leaf

KEY = PrivateKey(bytes([3]) * 32)
LEAF = tls._certificate(
    KEY.public, "leaf", Ed25519PrivateKey.from_private_bytes(KEY.seed), anchor=False
).public_bytes(serialization.Encoding.DER)


def test_a_leaf_shows_the_key_of_its_owner() -> None:
    assert tls.peer_key(LEAF) == KEY.public


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_certificate_that_cannot_be_read_is_refused_in_one_short_line(name: str) -> None:
    """Its signature is good, so OpenSSL lets it through, and the parser's errors are of its own kinds."""
    leaf = mutated_leaf(KEY, *MUTATIONS[name])
    with pytest.raises(CertificateInvalid) as caught:
        tls.peer_key(leaf)
    assert "cannot be read" in str(caught.value)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_no_certificate_is_refused_by_the_same_error() -> None:
    with pytest.raises(CertificateInvalid, match="no certificate"):
        tls.peer_key(None)


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_whatever_byte_of_a_certificate_differs_only_one_error_is_raised(at: int, value: int) -> None:
    changed = LEAF[:at] + bytes([value]) + LEAF[at + 1 :]
    with contextlib.suppress(CertificateInvalid):
        assert len(tls.peer_key(changed)) == 32
