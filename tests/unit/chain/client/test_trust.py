"""What a command says below an answer that is not proved: whose word it is, and why it may be old."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from chain.client.answers import BadAnswer
from chain.client.client import Client
from chain.client.trust import word_line

URL = "http://127.0.0.1:30301"


class Told:
    """A client of a node that says this of itself."""

    url = URL

    def __init__(self, *, verifies: bool = True, **info: Any) -> None:
        self.verifies = verifies
        self._info = {"height": 7, "role": "validator", "peers": 3, "stall": "", **info}

    async def request(self, method: str) -> Any:
        assert method == "getNodeInfo"
        return self._info


def said(node: Told, proved: str = "") -> str:
    return asyncio.run(word_line(cast(Client, node), proved))


def test_a_list_of_a_node_that_follows_the_chain_is_its_word_at_a_height() -> None:
    assert said(Told(), "assent dataset show ID") == (
        f"the word of {URL}, a node of this chain at height 7, not proved; proved is: assent dataset show ID"
    )


def test_a_node_of_no_member_yet_says_why_its_list_is_empty() -> None:
    line = said(Told(height=0, role="not a member", peers=0, stall="no peer takes a key of this node"))
    first, second = line.split("; what came later is not in it: ")
    assert "at height 0" in first
    assert second.startswith("this node is no member's yet")
    assert second.endswith("Ask a node that follows the chain: --node http://HOST:PORT")


@pytest.mark.parametrize("role", ["observer", "validator"])
def test_a_node_that_stands_still_says_what_its_list_lacks_and_why(role: str) -> None:
    line = said(Told(role=role, peers=0, stall="no peer answers."))
    assert "; what came later is not in it: no peer answers. Ask" in line


def test_an_observer_that_follows_the_chain_lacks_nothing() -> None:
    assert "not in it" not in said(Told(role="observer"))
    assert "not in it" not in said(Told(role="not a member", peers=2))


def test_without_a_genesis_nothing_says_whose_chain_it_is() -> None:
    line = said(Told(verifies=False), "assent org show ID")
    assert "of whatever chain it serves, at height 7, not proved; give --as ORGDIR or --genesis FILE" in line
    assert "assent org show" not in line


@pytest.mark.parametrize("info", [{"height": "7"}, {"height": -1}, {"peers": "many"}, {"peers": None}])
def test_what_no_node_says_of_itself_is_named(info: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer, match="its answer"):
        said(Told(**info))
