"""A key that runs in two processes is told apart from one that was restarted, and both sides hear of it."""

from __future__ import annotations

import asyncio

import pytest

from chain.network import twins
from chain.network.twins import SESSIONS_MAX, TWIN_S, Twins
from tests.unit.chain.network.test_link import LIMIT_S, Node

KEY, OLD, NEW = b"k" * 32, b"old-----", b"new-----"


def test_a_restart_is_no_twin_however_often_and_however_quickly() -> None:
    seen = Twins()
    for count in range(20):
        seen.greeted(KEY, b"%08d" % count, "here", float(count), count + 0.5)
        seen.greeted(KEY, b"%08d" % count, "here", count + 0.6, count + 0.7)
    assert seen.of(KEY, 20.0) == ""


def test_a_process_that_connects_again_after_another_of_its_key_is_a_twin() -> None:
    seen = Twins()
    seen.greeted(KEY, OLD, "there", 1.0, 1.1)
    seen.greeted(KEY, NEW, "here", 2.0, 2.1)
    assert seen.of(KEY, 2.2) == ""
    seen.greeted(KEY, OLD, "there", 3.0, 3.1)
    assert seen.of(KEY, 3.2) == "here and there"


def test_a_connection_that_began_before_the_other_process_was_admitted_proves_nothing() -> None:
    """The old process may have died while its second connection was on its way."""
    seen = Twins()
    seen.greeted(KEY, OLD, "there", 1.0, 1.1)
    seen.greeted(KEY, NEW, "here", 2.0, 2.1)
    seen.greeted(KEY, OLD, "there", 2.0, 2.2)
    assert seen.of(KEY, 2.3) == ""


def test_a_twin_is_forgotten_a_while_after_its_last_sign_and_with_its_membership() -> None:
    seen = Twins()
    for at, session in enumerate((OLD, NEW, OLD)):
        seen.greeted(KEY, session, "here", at + 0.0, at + 0.1)
    assert seen.of(KEY, TWIN_S)
    assert seen.of(KEY, TWIN_S + 3) == ""
    seen.told(KEY, "two processes", 0.0)
    assert seen.of_own(1.0) == {KEY: "two processes"}
    assert seen.of_own(TWIN_S + 1) == {}
    seen.forget_others({})
    assert seen.of(KEY, 3.0) == ""
    assert seen.of_own(1.0) == {}


def test_what_is_remembered_of_a_member_is_bounded() -> None:
    seen = Twins()
    for count in range(100):
        seen.greeted(KEY, b"%08d" % count, "x" * 10, float(count), count + 0.5)
        seen.told(KEY, "y" * 100_000, 1.0)
    assert len(seen._processes[KEY]) == SESSIONS_MAX
    assert len(seen.of_own(1.0)[KEY]) == twins.WORD_CHARS_MAX


async def test_a_key_in_two_processes_is_named_by_its_peer_and_to_both_processes() -> None:
    a, one, other = Node(1), Node(2), Node(2)
    await a.start({one.key.public: ""})
    members = {a.key.public: a.manager.listen}
    await one.start(members)
    await other.start(members)
    try:
        async with asyncio.timeout(6 * LIMIT_S):
            while not (one.manager.own_twins and other.manager.own_twins):
                await asyncio.sleep(0)
        told = one.manager.own_twins[a.key.public]
        for place in (one.manager.listen, other.manager.listen):
            assert place in a.manager.twins[one.key.public]
            assert place in told
        assert a.manager.own_twins == {}
    finally:
        for node in (one, other, a):
            await node.manager.close()


async def test_a_node_that_restarts_is_not_taken_for_two() -> None:
    a, b = Node(1), Node(2)
    await a.start({b.key.public: ""})
    for _ in range(3):
        await b.start({a.key.public: a.manager.listen})
        await b.recorder.until(lambda: b.recorder.connected)
        await b.manager.close()
        b.recorder.connected.clear()
    assert a.manager.twins == {}
    await a.manager.close()


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202e", "a\nb"])
async def test_where_a_process_says_it_listens_is_shown_as_it_stands(text: str) -> None:
    """The address in a greeting is the peer's own words."""
    a, one, other = Node(1), Node(2), Node(2)
    await a.start({one.key.public: ""})
    for node in (one, other):
        await node.start({a.key.public: a.manager.listen})
        node.manager._registry.listen = text
    try:
        async with asyncio.timeout(6 * LIMIT_S):
            while not a.manager.twins:
                await asyncio.sleep(0)
        assert text not in a.manager.twins[one.key.public]
    finally:
        for node in (one, other, a):
            await node.manager.close()
