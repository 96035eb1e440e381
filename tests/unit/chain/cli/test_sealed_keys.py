"""Sealed keys: asked for at a terminal, made, changed and removed by commands, and never a trap."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli.main import main
from chain.cli.validator import KeyNotThere, _check_has_key
from chain.primitives import keyfile
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit, KeyFileError
from chain.primitives.keyfile import (
    ask_no_more,
    is_sealed,
    load_key,
    passphrase_for,
    passphrase_in_use,
    save_key,
)


@pytest.fixture(autouse=True)
def forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No passphrase of another test; Argon2 as quick as it gets."""
    monkeypatch.setattr(keyfile, "_opened_by", [])
    monkeypatch.setattr(keyfile, "_quiet", [])
    monkeypatch.delenv("ASSENT_PASSPHRASE", raising=False)
    monkeypatch.setattr("nacl.pwhash.argon2id.OPSLIMIT_MODERATE", 1)
    monkeypatch.setattr("nacl.pwhash.argon2id.MEMLIMIT_MODERATE", 8_192)


def assent(*words: str, **environment: str) -> Any:
    return CliRunner().invoke(main, list(words), env=environment)


def test_a_key_is_sealed_changed_and_unsealed_and_stays_the_same_key(tmp_path: Path) -> None:
    file = tmp_path / "node.key"
    save_key(file, PrivateKey.generate())
    public = load_key(file).public
    assert assent("key", "seal", str(file)).exit_code == Exit.CONFIG
    assert not is_sealed(file)
    assert assent("key", "seal", str(file), ASSENT_NEW_PASSPHRASE="one").exit_code == 0
    assert is_sealed(file)
    assert file.stat().st_mode & 0o777 == 0o600
    keyfile._opened_by.clear()
    refused = assent("key", "unseal", str(file), ASSENT_PASSPHRASE="two")
    assert refused.exit_code == Exit.CONFIG
    assert "does not open this key" in refused.output
    changed = assent("key", "seal", str(file), ASSENT_PASSPHRASE="one", ASSENT_NEW_PASSPHRASE="two")
    assert changed.exit_code == 0
    keyfile._opened_by.clear()
    with pytest.raises(KeyFileError, match="does not open"):
        load_key(file, "one")
    assert load_key(file, "two").public == public
    assert assent("key", "show", str(file)).output.strip() == public.hex()
    assert assent("key", "unseal", str(file), ASSENT_PASSPHRASE="two").exit_code == 0
    assert load_key(file).public == public
    assert sorted(tmp_path.iterdir()) == [file]


def test_the_passphrase_that_opened_one_key_is_tried_for_the_next_and_seals_a_spare(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_key(tmp_path / name, PrivateKey.generate(), "same")
    assert load_key(tmp_path / "a", "same")
    assert load_key(tmp_path / "b")
    assert passphrase_in_use() == "same"


def test_without_variable_and_terminal_the_error_says_both_ways(tmp_path: Path) -> None:
    save_key(tmp_path / "a", PrivateKey.generate(), "x")
    with pytest.raises(KeyFileError, match=r"set ASSENT_PASSPHRASE, or start it at a terminal"):
        load_key(tmp_path / "a")


def test_a_process_that_serves_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: "typed")
    assert passphrase_for(tmp_path / "a") == "typed"
    ask_no_more()
    assert passphrase_for(tmp_path / "a") is None


def test_a_sealed_key_is_asked_for_at_a_terminal(tmp_path: Path) -> None:
    save_key(tmp_path / "a", PrivateKey.generate(), "typed")
    leader, follower = pty.openpty()
    program = (
        "import nacl.pwhash.argon2id as a; a.OPSLIMIT_MODERATE, a.MEMLIMIT_MODERATE = 1, 8192\n"
        "import sys; from pathlib import Path; from chain.primitives.keyfile import load_key\n"
        "print(load_key(Path(sys.argv[1])).public.hex())"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "a")]
    with subprocess.Popen(
        words, stdin=follower, stdout=subprocess.PIPE, stderr=follower, start_new_session=True
    ) as own:
        os.close(follower)
        asked = b""
        while b"Passphrase of" not in asked:
            asked += os.read(leader, 1_000)
        os.write(leader, b"typed\n")
        assert own.stdout is not None
        assert own.stdout.read().strip().decode() == load_key(tmp_path / "a", "typed").public.hex()
    os.close(leader)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"name": "b-node", "keys": ["ab"]}, "is b-node, so whether a-node has the key ab is not known"),
        ({"name": "a-node", "keys": ["cd"]}, "a-node has no key ab that it can open"),
    ],
)
def test_a_seat_moves_only_to_a_key_that_its_node_can_open(info: dict[str, Any], said: str) -> None:
    """The command succeeded, and at the height of the move the node stopped voting for good."""

    class Client:
        url = "http://h:1"

        async def request(self, _: str) -> Any:
            return info

    with pytest.raises(KeyNotThere, match=said):
        asyncio.run(_check_has_key(Client(), "a-node", "ab"))  # type: ignore[arg-type]
    info |= {"name": "a-node", "keys": ["ab"]}
    asyncio.run(_check_has_key(Client(), "a-node", "ab"))  # type: ignore[arg-type]
