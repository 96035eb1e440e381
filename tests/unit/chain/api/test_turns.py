"""What a client makes the RPC port do without a turn is bounded, too, and nobody else pays for it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import tracemalloc
from typing import Any

import pytest

from chain.api.account import Bucket, ShareAccount
from chain.api.lane import THREADS, Lane
from chain.api.reads import READS_AT_ONCE
from chain.api.rotation import Rotation
from chain.api.turns import (
    CLIENT_SHARE,
    CONNECTION_S,
    DEBT_ALL_MAX_S,
    LOOP_SHARE,
    PAGES_ALL_PER_S,
    PAGES_PER_S,
    WAIT_MAX_S,
    Turns,
)
from tests.unit.chain.api.rpc_port import Connection, a_call, get, post, serving
from tests.unit.chain.api.turns_loop import FakeLoop, Greedy

SWEEPS_PER_S = 4


def settle_until(turns: Turns, loop: FakeLoop, end: float) -> None:
    """Let time pass as it does on a node."""
    while loop.now < end:
        loop.run(min(end, loop.now + 1 / SWEEPS_PER_S))
        turns.settle()


# --- asks -----------------------------------------------------------------------------------------


def test_an_ask_that_is_cancelled_leaves_nothing_behind() -> None:
    """Connections come, ask and go; what they asked for was kept until their turn would have come."""
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    turns.charge("a", 1.0)  # it owes three seconds
    wanted: list[bool] = []
    turns.ask("a", wanted.append, light=True)
    tracemalloc.start()
    for number in range(20_000):
        turns.ask("a", wanted.append, light=bool(number % 2)).cancel()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert turns.waiting == 1
    assert grown < 100_000
    settle_until(turns, loop, loop.now + 4.0)
    assert (wanted, turns.waiting) == ([True], 0)


def test_an_ask_may_be_cancelled_again_and_after_its_turn() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    came: list[bool] = []
    first, second = turns.ask("a", came.append), turns.ask("a", came.append)
    first.cancel()
    first.cancel()
    loop.run(loop.now)
    second.cancel()
    assert (came, turns.waiting) == ([True], 0)


def test_a_turn_that_does_not_come_is_refused_in_time_though_its_client_has_none() -> None:
    """Late asks were found when their turn came at last: minutes later."""
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    heard: list[tuple[bool, float]] = []
    asked = loop.now
    turns.charge("a", 60.0)
    turns.ask("a", lambda came: heard.append((came, loop.now - asked)), light=True)
    for _ in range(int(10 * SWEEPS_PER_S)):
        turns.charge("a", 1.0)  # and goes on
        settle_until(turns, loop, loop.now + 1 / SWEEPS_PER_S)
    ((came, after),) = heard
    assert not came
    assert WAIT_MAX_S <= after <= WAIT_MAX_S + 2 / SWEEPS_PER_S


def test_an_item_leaves_a_rotation_wherever_it_stands() -> None:
    rotation: Rotation[str] = Rotation()
    for item in ("a1", "a2", "b1", "a3"):
        rotation.push(item[0], item)
    rotation.discard("a", "a2")
    rotation.discard("b", "b1")
    rotation.discard("b", "b1")
    rotation.discard("c", "c1")
    assert (len(rotation), list(rotation.clients()), rotation.first("a")) == (2, ["a"], "a1")
    assert [rotation.pop(), rotation.pop()] == ["a1", "a3"]
    assert (len(rotation), rotation.first("a")) == (0, None)


async def test_work_whose_caller_is_gone_waits_for_no_thread() -> None:
    lane = Lane()
    release = threading.Event()
    running = [asyncio.create_task(lane.run(release.wait)) for _ in range(THREADS)]
    await asyncio.sleep(0)
    for _ in range(50):
        waiting = asyncio.create_task(lane.run(lambda: None))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(lane._waiting) == 0
    release.set()
    await asyncio.gather(*running)
    lane.close()


def test_heavy_work_of_who_used_little_goes_before_light_work_of_those_who_used_much() -> None:
    """A crowd of small requests kept back the heavier ones of everybody else."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    somebody = turns.ask("somebody", lambda _: None)
    for number in range(20):
        turns.spent(str(number), 0.02)
    somebody.cancel()
    loop.run(loop.now + 1.0)  # nobody owes anything any more
    order: list[str] = []
    for number in range(20):
        turns.ask(str(number), lambda _, number=number: order.append(str(number)), light=True)  # type: ignore[misc]
    turns.ask("honest", lambda _: order.append("honest"))
    loop.run(loop.now + 1.0)
    assert order[0] == "honest"
    assert len(order) == 21


# --- debts ----------------------------------------------------------------------------------------


def test_who_stops_taking_too_much_is_served_within_the_time_of_a_turn() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    for _ in range(30 * 6_000):
        turns.charge("a", CONNECTION_S)
    came: list[bool] = []
    turns.ask("a", came.append, light=True)
    settle_until(turns, loop, loop.now + WAIT_MAX_S)
    assert came == [True]


def test_one_long_piece_of_work_makes_others_pause_for_a_moment_only() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    turns.spent("a", 10.0)
    came: list[float] = []
    for client in ("b", "c"):
        turns.spent(client, 0.02)  # lately used enough to have no credit
    loop.run(loop.now + 0.2)
    asked = loop.now
    turns.spent("a", 10.0)
    turns.ask("b", lambda _: came.append(loop.now - asked))
    loop.run(loop.now + 1.0)
    assert len(came) == 1
    assert came[0] <= DEBT_ALL_MAX_S


def test_more_than_a_second_of_anything_is_never_owed() -> None:
    bucket = Bucket(100, 50.0)
    for _ in range(10_000):
        bucket.take(50.0, 7.0)
    assert bucket.wait(50.0) == pytest.approx(1.01)


def test_what_an_account_says_of_the_future_is_what_it_finds_then() -> None:
    """`free_at` and `order` are reckoned when something is taken, for any time after."""
    account, other = ShareAccount(0.25, 1_000, 5.0, 50.0), ShareAccount(0.25, 1_000, 5.0, 50.0)
    account.spent(0.1, 50.0)
    other.spent(0.2, 47.0)
    for now in (50.0, 51.0, 53.0, 60.0):
        assert (account.order < other.order) == (account.used(now) < other.used(now))
    assert [account.is_light(now, 0.010) for now in (50.0, 53.0, 60.0)] == [False, False, True]
    assert account.used(53.0) > 0.010 > account.used(60.0)
    assert account.pause(account.free_at) <= 0 < account.pause(account.free_at - 0.003)


@pytest.mark.parametrize(("pace", "share"), [(1.0, LOOP_SHARE), (0.7, 0.35), (0.1, CLIENT_SHARE)])
def test_on_a_busy_machine_rpc_takes_less_of_the_loop_but_one_client_keeps_its_part(
    pace: float, share: float
) -> None:
    """It took half of the loop's time however little of a processor that was, and consensus had the rest."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    turns.settle(pace)
    crowd = [Greedy(turns, str(number), loop, 0.001) for number in range(8)]
    loop.run(110.0)
    assert sum(item.served for item in crowd) * 0.001 / 10.0 == pytest.approx(share, rel=0.1)


def test_who_uses_less_than_half_of_an_equal_part_does_not_pause_for_what_others_took() -> None:
    """A client that sends ten transactions a second was heavy, as those were that took ten times as much."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    crowd = [Greedy(turns, str(number), loop, 0.02) for number in range(4)]
    waits = []
    for step in range(1, 200):
        loop.run(101.0 + step * 0.05)
        asked = loop.now
        turns.ask("modest", lambda _, asked=asked: waits.append(loop.now - asked), light=True)  # type: ignore[misc]
        loop.run(asked + 0.04)
        turns.spent("modest", 0.001)
    assert len(waits) == 199
    assert max(waits[50:]) <= 0.02 + 0.000_1, "one piece of another's work"
    assert all(item.served for item in crowd)


def test_what_nobody_else_wanted_is_not_held_against_who_took_it() -> None:
    """A client that worked in calm waited for seconds, until each of a crowd had used as much."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    for step in range(200):
        turns.ask("diligent", lambda _: turns.spent("diligent", 0.002), light=True)
        loop.run(100.0 + step * 0.02)
    crowd = [Greedy(turns, str(number), loop, 0.002, light=True) for number in range(20)]
    loop.run(loop.now + 0.1)
    asked, waits = loop.now, list[float]()
    turns.ask("diligent", lambda _: waits.append(loop.now - asked), light=True)
    loop.run(asked + 0.5)
    assert waits
    assert waits[0] <= len(crowd) * 0.002 / LOOP_SHARE, "one round of the crowd"


def test_an_account_that_owes_is_not_forgotten_though_nobody_else_wanted_it() -> None:
    account = ShareAccount(0.25, 1_000, 5.0, 50.0)
    account.spent(0.1, 50.0, wanted=False)
    assert account.used(50.0) == 0.0
    assert not account.owes_nothing(50.2)
    assert account.owes_nothing(51.1)


def test_a_turn_that_waited_for_a_processor_is_not_its_clients_debt() -> None:
    """Else whoever's turn it is when other programs take the processor pays for them."""
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    turns.spent("a", 0.1, 0.000_1)
    came: list[float] = []
    asked = loop.now
    turns.ask("a", lambda _: came.append(loop.now - asked))
    loop.run(loop.now + 1.0)
    assert came[0] <= DEBT_ALL_MAX_S


# --- pages ----------------------------------------------------------------------------------------


def test_pages_of_a_client_and_of_all_that_take_no_turn_are_bounded() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 5_000)
    assert sum(turns.allow_page("a") for _ in range(1_000)) == PAGES_PER_S
    assert turns.allow_page("b")
    assert sum(turns.allow_page(str(number)) for number in range(5_000)) == PAGES_ALL_PER_S - PAGES_PER_S - 1
    loop.run(loop.now + 1.0)
    assert turns.allow_page("a")


async def test_many_pages_a_second_take_turns_and_are_all_answered() -> None:
    """They took none, however many: one client kept the loop with them."""
    async with serving() as port, await port.open() as connection:
        asked = port.count_asks()
        many = 4 * int(PAGES_PER_S)
        for _ in range(many):
            connection.send(get("/health"))
            assert (await connection.answer()).status == 200
        assert asked() >= many / 2, "the clock of this test may have gone on for a second or two"
        for path in ("/ready", "/metrics"):
            connection.send(get(path))
            assert (await connection.answer()).status == 200


async def test_a_probe_is_answered_though_its_client_owes() -> None:
    async with serving() as port, await port.open() as connection:
        port.server.door.turns.charge("127.0.0.1", 100.0)
        connection.send(get("/health"))
        assert (await connection.answer()).status == 200
        assert port.server.door.turns.waiting == 0


# --- reads ----------------------------------------------------------------------------------------


async def byte_by_byte(connection: Connection, data: bytes) -> None:
    """Send single bytes, each of which the port reads before the next is sent."""
    for at in range(len(data)):
        connection.send(data[at : at + 1])
        for _ in range(4):
            await asyncio.sleep(0)


async def test_a_request_in_single_bytes_takes_turns_to_be_read_and_is_answered() -> None:
    padding = "X-Padding: " + "x" * 8 * READS_AT_ONCE
    async with serving() as port, await port.open() as connection:
        asked = port.count_asks()
        await byte_by_byte(connection, post(a_call("x" * 8 * READS_AT_ONCE), padding))
        assert (await connection.answer()).status == 200
        assert asked() >= 8, "more than the one of its head"


# --- who it is ------------------------------------------------------------------------------------


async def test_a_connection_that_was_reset_is_still_its_clients() -> None:
    """Its transport knows no address any more; who accepted it does."""
    async with serving() as port:
        host, number = port.server.address.split(":")
        seen: list[str] = []
        take = port.server.door.connections.take

        def noting(holding: Any, amount: int) -> bool:
            seen.append(holding.client)
            return take(holding, amount)

        port.server.door.connections.take = noting  # type: ignore[method-assign]
        for _ in range(5):
            made = socket.create_connection((host, int(number)))  # the kernel takes it before the port does
            made.send(b"P")
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made.close()
        await port.until(lambda: len(seen) == 5)
        assert seen == ["127.0.0.1"] * 5
