"""Merkle trees, certificates, keys and key files, JSON values, settings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives import merkle
from chain.primitives.certificate import (
    Certificate,
    check_certificate,
    checkpoint_digest,
    fault_bound,
    quorum,
)
from chain.primitives.crypto import PrivateKey, digest, verify
from chain.primitives.errors import ConfigError, DecodeError, KeyFileError, ProofInvalid
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.keyfile import load_key, save_key
from chain.primitives.settings import Section, load_toml, split_address, within

QUICK = settings(max_examples=50, deadline=None, derandomize=True)


def test_a_digest_separates_domains_and_is_golden() -> None:
    assert digest("a", b"b") != digest("ab", b"")
    assert (
        digest("assent/tx", b"").hex() == "552885c78c0b14e31de9799bf7c2c722ce5d9827954d8b8769f4f3a3c7a3350d"
    )


@QUICK
@given(st.integers(1, 40), st.data())
def test_every_merkle_leaf_is_proved_and_no_other_position_is(count: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(count)]
    root = merkle.root(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = merkle.proof(leaves, index)
    assert merkle.verify(root, leaves[index], index, count, path)
    assert not merkle.verify(root, merkle.leaf_hash(b"other"), index, count, path)
    assert not merkle.verify(root, leaves[index], index, count, (*path, bytes(32)))
    for other in range(count):
        if other != index:
            assert not merkle.verify(root, leaves[index], other, count, path)


def test_an_empty_tree_proves_nothing() -> None:
    assert merkle.root([]) == bytes(32)
    assert not merkle.verify(bytes(32), bytes(32), 0, 0, ())


def test_any_two_quorums_share_an_honest_validator() -> None:
    for n in range(1, 101):
        assert 2 * quorum(n) - n >= fault_bound(n) + 1
        assert quorum(n) <= n - fault_bound(n)


def keys(count: int) -> list[PrivateKey]:
    return sorted((PrivateKey(bytes([n]) * 32) for n in range(1, count + 1)), key=lambda key: key.public)


def certificate(signers: list[PrivateKey], chain: bytes = bytes(32)) -> Certificate:
    message = checkpoint_digest(chain, 7, b"h" * 32)
    return Certificate(7, b"h" * 32, tuple((key.public, key.sign(message)) for key in signers))


def test_a_certificate_needs_a_quorum_of_distinct_members() -> None:
    four = keys(4)
    members = [key.public for key in four]
    check_certificate(certificate(four[:3]), bytes(32), members)
    for bad in (
        certificate(four[:2]),
        certificate([four[0], four[0], four[1]]),
        certificate([four[1], four[0], four[2]]),
        certificate(four[:3], chain=b"x" * 32),
        certificate(sorted([*four[:2], PrivateKey(b"\x63" * 32)], key=lambda key: key.public)),
    ):
        with pytest.raises(ProofInvalid, match="certificate of height 7"):
            check_certificate(bad, bytes(32), members)


def test_a_signature_holds_only_for_its_key_and_message() -> None:
    key, other = keys(2)
    signature = key.sign(b"m")
    assert verify(key.public, b"m", signature)
    assert not verify(other.public, b"m", signature)
    assert not verify(key.public, b"n", signature)
    for public, bad in itertools.product((b"", bytes(32), b"\xff" * 32), (b"", bytes(64), b"\xff" * 64)):
        assert not verify(public, b"m", bad)


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path, key = tmp_path / "node.key", keys(1)[0]
    save_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).public == key.public
    with pytest.raises(KeyFileError, match="never overwritten"):
        save_key(path, key)


def test_a_sealed_key_opens_with_its_passphrase_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.primitives.keyfile._opened_by", [])
    path, key = tmp_path / "sealed.key", keys(1)[0]
    save_key(path, key, "correct horse")
    assert key.seed.hex() not in path.read_text()
    assert load_key(path, "correct horse").seed == key.seed
    with pytest.raises(KeyFileError, match="does not open"):
        load_key(path, "wrong")
    monkeypatch.setattr("chain.primitives.keyfile._opened_by", [])
    with pytest.raises(KeyFileError, match="set ASSENT_PASSPHRASE"):
        load_key(path)
    monkeypatch.setenv("ASSENT_PASSPHRASE", "correct horse")
    assert load_key(path).seed == key.seed


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"kind": "other", "version": 1}', '{"kind": "assent-key", "version": 1}', "\x00\xff"],
)
def test_a_damaged_key_file_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"bad\.key: .*(restore|name the right file)"):
        load_key(path)


def test_a_key_file_whose_halves_differ_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.key"
    save_key(path, keys(1)[0])
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"seed": "00" * 32}))
    with pytest.raises(KeyFileError, match="differ"):
        load_key(path)


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.key"
    save_key(path, keys(1)[0])
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_key(tmp_path / "absent.key")


def test_values_cross_json_with_bytes_marked() -> None:
    value = {"a": [1, b"\x01", None, True, "é"], "7": 2**100}
    assert to_json(value) == {"a": [1, {"$bytes": "01"}, None, True, "é"], "7": 2**100}
    assert from_json(json.loads(json.dumps(to_json(value)))) == value
    for bad in (
        1.5,
        {"$bytes": "xx"},
        {"$bytes": 1},
        json.loads("[" * 40 + "]" * 40),
        "\ud800",
        {"\ud800": 1},
    ):
        with pytest.raises(DecodeError):
            from_json(bad)


class Sample(Section):
    size: Annotated[int, within(1, 9, "rows")] = 5
    name: str


def test_a_bad_setting_is_named_with_value_and_range(tmp_path: Path) -> None:
    path = tmp_path / "sample.toml"
    path.write_text("size = 10\nsiz = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_toml(path, Sample)
    text = str(caught.value)
    assert "sample.toml: size = 10: expected rows in 1..9" in text
    assert "siz: unknown key" in text
    assert "name: required" in text


@pytest.mark.parametrize("text", ["size = ", "\x00", 'name = "a"\nname = "b"'])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sample.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not TOML"):
        load_toml(path, Sample)


def test_an_address_is_split_at_its_port() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("localhost:1") == ("localhost", 1)
