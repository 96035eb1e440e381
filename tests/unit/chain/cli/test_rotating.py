"""`assent validator rotate-key` says why a seat cannot move before it sends anything, and when it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli import validator
from chain.cli.main import main
from chain.client.options import run
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit
from chain.primitives.keyfile import save_key

LATER_MS = 10**13
"""Further ahead than any clock that runs this."""


class Asked:
    """A node at height 150 whose seat may move again from some height, or some time, on."""

    url = "http://h:1"

    def __init__(self, seat: bytes, height: int, at_ms: int) -> None:
        self.seat, self.free = seat, {"height": height, "time": at_ms}

    async def state(self, *_: Any) -> Any:
        return {"org": "bank"}

    async def variable(self, *_: Any) -> Any:
        return [{"name": "bank-node", "public_key": self.seat}, {"name": "b", "public_key": bytes(32)}]

    async def view(self, *_: Any) -> Any:
        return self.free

    async def request(self, method: str) -> Any:
        return 150 if method == "getBlockNumber" else {"name": "bank-node", "keys": []}


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return what types the command to a node, and lets nothing be sent."""
    key = PrivateKey.generate()
    save_key(tmp_path / "next.key", key)

    def type_it(height: int, at_ms: int, *more: str, holds: bool = False) -> Any:
        node = Asked(key.public if holds else b"s" * 32, height, at_ms)
        account = SimpleNamespace(client=node, signer=key, chain_id=bytes(32))
        monkeypatch.setattr(validator, "as_account", lambda _, work: run(work(account)))
        words = ["validator", "rotate-key", "bank-node", "--new-key", str(tmp_path / "next.key"), *more]
        return CliRunner().invoke(main, [*words, "--node", node.url])

    async def send(*_: Any) -> Any:
        pytest.fail("nothing is sent")

    monkeypatch.setattr(validator, "call", send)
    return type_it


def test_a_seat_that_moved_lately_is_said_to_be_free_from_when_on(typed: Callable[..., Any]) -> None:
    """It was sent to `rejoin`, and `rejoin` sent it back: nobody said when."""
    told = typed(200, LATER_MS)
    assert told.exit_code == Exit.REFUSED, told.output
    assert "error [seat_not_moved]: bank-node: its seat moved less than 100 heights" in told.output
    assert "it moves again from height 200 or from 2286-11-20" in told.output
    assert "does not vote" not in told.output, "its votes are not lost"


@pytest.mark.parametrize(("height", "at_ms"), [(150, LATER_MS), (200, 1_000)], ids=["time", "heights"])
def test_a_seat_is_free_once_the_heights_or_the_time_have_passed(
    typed: Callable[..., Any], height: int, at_ms: int
) -> None:
    assert "error [key_not_there]: bank-node has no key" in typed(height, at_ms).output


@pytest.mark.parametrize("more", [(), ("--json",), ("--force",)])
def test_a_key_that_has_the_seat_is_said_to_have_it(typed: Callable[..., Any], more: tuple[str, ...]) -> None:
    told = typed(200, LATER_MS, *more, holds=True)
    assert told.exit_code == 0, told.output
    said = json.loads(told.output)["unchanged"] if "--json" in more else told.output
    assert said.startswith("the seat of bank-node is with the key")
    assert "already; nothing was sent" in said
