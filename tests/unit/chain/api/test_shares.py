"""What clients share is bounded, newcomers get their part of it, and turns go round."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.account import DEBT_MAX_S
from chain.api.lane import THREADS, WAITING_PER_CLIENT_MAX, Lane
from chain.api.rotation import Rotation
from chain.api.shares import CALLER, Holding, Shares
from chain.api.turns import (
    CLIENT_SHARE,
    CONNECTIONS_PER_S,
    CREDIT,
    CROWD,
    HEAVY_EVERY,
    LOOP_SHARE,
    WAIT_MAX_S,
    Busy,
    Metered,
    Turns,
)
from chain.api.waits import Waits
from tests.unit.chain.api.turns_loop import FakeLoop, Greedy


def holding(client: str, gone: list[Holding], rank: int | None = 0) -> Holding:
    made = Holding(client, lambda: gone.append(made), rank)
    return made


def test_a_client_beyond_its_part_gives_up_its_own_oldest() -> None:
    shares, gone = Shares(100, 60), list[Holding]()
    first, second, other = holding("a", gone), holding("a", gone), holding("b", gone)
    assert all([shares.take(first, 30), shares.take(other, 30), shares.take(second, 30)])
    third = holding("a", gone)
    assert shares.take(third, 20)
    assert gone == [first]
    assert shares.total == 80


def test_room_for_a_newcomer_comes_from_who_has_most() -> None:
    shares, gone = Shares(100, 80), list[Holding]()
    large = [holding("a", gone) for _ in range(8)]
    small, newcomer = holding("b", gone), holding("c", gone)
    assert all(shares.take(item, 10) for item in large)
    assert all([shares.take(small, 20), shares.take(newcomer, 15)])
    assert gone == large[:2]


@pytest.mark.parametrize("first", ["working", "silent"])
def test_of_clients_that_have_equally_much_the_one_with_the_lowest_rank_gives_up(first: str) -> None:
    """Whoever happened to come first gave up what was worked on for the silent connections of a crowd."""
    shares, gone = Shares(8, 8), list[Holding]()
    ranks = {"working": 7, "silent": 0}
    held = {
        name: [holding(name, gone, ranks[name]) for _ in range(4)] for name in sorted(ranks, key=first.__ne__)
    }
    assert all(shares.take(item, 1) for items in held.values() for item in items)
    assert shares.take(holding("newcomer", gone), 1)
    assert gone == held["silent"][:1]
    assert shares.take(holding("another", gone), 1)
    assert gone[1:] == held["working"][:1], "who has most gives up, whatever it does with it"


def test_what_is_worked_on_stays_and_the_newcomer_is_refused() -> None:
    shares, gone = Shares(100, 100), list[Holding]()
    busy, idle = holding("a", gone, None), holding("a", gone)
    assert shares.take(busy, 80)
    assert shares.take(idle, 10)
    assert not shares.take(holding("b", gone), 30)
    assert gone == [idle]
    assert shares.total == 80


def test_lower_ranks_go_first_but_none_dies_out_while_another_is_many() -> None:
    shares, gone = Shares(8, 8, kept=2), list[Holding]()
    low, high = [holding("a", gone, 0) for _ in range(3)], [holding("a", gone, 1) for _ in range(5)]
    assert all(shares.take(item, 1) for item in (*high, *low))
    assert shares.take(holding("a", gone, 2), 1)
    assert gone == [low[0]]
    assert shares.take(holding("a", gone, 2), 1)
    assert gone == [low[0], high[0]]


def test_a_renewed_holding_is_the_youngest_of_its_rank() -> None:
    shares, gone = Shares(2, 2), list[Holding]()
    first, second = holding("a", gone), holding("a", gone)
    assert shares.take(first, 1)
    assert shares.take(second, 1)
    shares.renew(first, 0)
    assert shares.take(holding("a", gone), 1)
    assert gone == [second]


def test_to_take_nothing_changes_nothing() -> None:
    """A holding of nothing would be given up again and again for room that it cannot give."""
    shares, gone = Shares(10, 10), list[Holding]()
    nothing = holding("a", gone)
    assert shares.take(nothing, 0)
    assert shares.take(holding("a", gone, None), 10)
    assert not shares.take(holding("a", gone), 1)
    assert gone == []


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["take", "give", "all", "renew"]), st.integers(0, 40)),
    max_size=60,
)


@given(STEPS)
def test_whatever_clients_do_the_bounds_hold_and_nothing_is_lost(steps: list[tuple[int, str, int]]) -> None:
    shares, gone = Shares(100, 60, kept=1), list[Holding]()
    all_ = [holding("abc"[number % 3], gone, [0, 1, None][number // 2]) for number in range(6)]
    for which, what, amount in steps:
        item = all_[which]
        if what == "take":
            shares.take(item, amount)
        elif what == "give":
            shares.give_back(item, amount)
        elif what == "all":
            shares.give_back(item)
        else:
            shares.renew(item, amount % 3)
        held = Counter[str]()
        for one in all_:
            held[one.client] += one.amount
        assert shares.total == sum(held.values()) <= 100
        assert max(held.values()) <= 60
    for item in all_:
        shares.give_back(item)
    assert (shares.total, shares.largest(), shares._clients) == (0, "", {})


def test_a_rotation_goes_round_clients_and_keeps_the_order_of_each() -> None:
    rotation: Rotation[str] = Rotation()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        rotation.push(item[0], item)
    assert [rotation.pop() for _ in range(len(rotation))] == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_rotation_gives_an_item_of_one_client_out_of_turn() -> None:
    rotation: Rotation[str] = Rotation()
    for item in ("a1", "b1", "a2"):
        rotation.push(item[0], item)
    assert list(rotation.clients()) == ["a", "b"]
    assert [rotation.pop("b"), rotation.pop(), rotation.pop()] == ["b1", "a1", "a2"], "nobody lost a place"


# --- turns ----------------------------------------------------------------------------------------


def test_one_client_cannot_take_the_turns_of_another() -> None:
    """A thousand connections of one address have together what one connection of another has."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000)
    crowd = [Greedy(turns, "a", loop, 0.0) for _ in range(1_000)]
    alone = Greedy(turns, "b", loop, 0.0)
    loop.run(104.0)
    total = sum(item.served for item in crowd)
    assert abs(total - alone.served) <= 2
    assert (
        4_900 <= total + alone.served <= 5_501
    )  # a second's worth at once, then so many a second, and credit


def test_a_call_by_itself_waits_for_one_piece_of_each_other_connection_only() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    greedy = [Greedy(turns, "a", loop, 0.0001) for _ in range(4)]
    loop.run(100.5)
    before = sum(item.served for item in greedy)
    came: list[float] = []
    turns.ask("a", lambda _: came.append(sum(item.served for item in greedy)))
    loop.run(101.0)
    assert came[0] - before <= len(greedy)


@pytest.mark.parametrize(("clients", "share"), [(1, CLIENT_SHARE), (2, LOOP_SHARE), (10, LOOP_SHARE)])
def test_rpc_and_each_client_take_their_share_of_the_loop_and_no_more(clients: int, share: float) -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    greedy = [Greedy(turns, str(number % clients), loop, 0.001) for number in range(10)]
    loop.run(110.0)
    spent = sum(item.served for item in greedy) * 0.001
    assert spent <= 10.0 * share + CREDIT * DEBT_MAX_S
    assert spent >= 10.0 * share * 0.9


@pytest.mark.parametrize("light", [False, True])
def test_what_one_client_owes_keeps_no_other_from_its_turn(light: bool) -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    greedy = [Greedy(turns, "a", loop, 0.003, light=light) for _ in range(10)]
    waits = []
    for step in range(1, 200):
        loop.run(100.0 + step * 0.01)
        asked, came = loop.now, len(waits)
        turns.ask("b", lambda _, asked=asked: waits.append(loop.now - asked))  # type: ignore[misc]
        loop.run(loop.now + 0.004)
        assert len(waits) == came + 1
    assert max(waits) <= 0.004, "one piece of another's work and no pause"
    assert sum(item.served for item in greedy) > 100


def test_turns_that_one_client_uses_up_keep_no_other_waiting() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000)
    crowd = [Greedy(turns, "a", loop, 0.0, batch=50) for _ in range(8)]
    waits = []
    for step in range(1, 500):
        loop.run(100.0 + step * 0.01)
        asked, came = loop.now, len(waits)
        turns.ask("b", lambda _, asked=asked: waits.append(loop.now - asked))  # type: ignore[misc]
        loop.run(loop.now + 0.002)
        assert len(waits) == came + 1
    assert max(waits) == 0.0
    assert sum(item.served for item in crowd) >= 50


def test_who_used_least_has_the_next_turn_however_many_others_wait() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    crowd = [Greedy(turns, str(number), loop, 0.005) for number in range(20)]
    waits = []
    for step in range(1, 200):
        loop.run(101.0 + step * 0.05)
        asked, came = loop.now, len(waits)
        turns.ask("light", lambda _, asked=asked: waits.append(loop.now - asked))  # type: ignore[misc]
        loop.run(loop.now + 0.02)
        assert len(waits) == came + 1
        turns.spent("light", 0.000_1)
    assert max(waits) <= 0.005 + 0.000_1, "one piece of another's work"
    assert min(item.served for item in crowd) > 20, "and the others go round"


def test_what_a_client_takes_without_a_turn_keeps_no_other_waiting() -> None:
    """Crowds of connections take time whether anybody pauses or not."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    for step in range(1_000):
        loop.run(100.0 + step * 0.001)
        for client in ("a", "b", "c"):
            turns.charge(client, 0.000_3)
    came: list[float] = []
    turns.ask("a", lambda _: came.append(-1.0))
    turns.ask("d", lambda _: came.append(loop.now))
    asked = loop.now
    loop.run(asked + 0.001)
    assert came == [asked], "who owes waits, and who does not goes on"


def test_connections_of_one_client_are_bounded_in_a_second_and_others_come_in() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000)
    came = sum(turns.admit("a") for _ in range(10_000))
    assert came == CONNECTIONS_PER_S
    assert turns.admit("b")
    loop.run(loop.now + 0.1)
    assert sum(turns.admit("a") for _ in range(10_000)) == CONNECTIONS_PER_S // 10


def test_a_crowd_of_clients_shares_the_connections_of_a_second() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000)
    crowd = [str(number) for number in range(40)]
    came = 0
    for step in range(2_000):
        loop.run(100.0 + step * 0.001)
        admitted = sum(turns.admit(client) for client in crowd)
        came += admitted if step >= 1_000 else 0
    assert came == pytest.approx(CROWD * CONNECTIONS_PER_S, rel=0.1)
    assert turns.admit("newcomer")


def test_on_a_busy_machine_a_second_holds_fewer_connections() -> None:
    """A crowd had as many accepted as on an idle machine, and the little time that there was went there."""
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    turns.settle(0.25)
    came = 0
    for step in range(2_000):
        loop.run(100.0 + step * 0.001)
        admitted = turns.admit("crowd")
        came += admitted if step >= 1_000 else 0
    assert came == pytest.approx(CONNECTIONS_PER_S / 4, rel=0.1)
    assert turns.admit("newcomer")


def test_clients_that_owe_nothing_are_forgotten() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    for number in range(100):
        turns.spent(str(number), 0.000_1)
    turns.spent("much", 1.0)
    loop.run(loop.now + 2.5)
    turns.settle()
    assert list(turns._accounts) == ["much"]
    loop.run(loop.now + 20.0)
    turns.settle()
    assert not turns._accounts


def test_light_work_goes_first_but_heavy_work_has_its_part() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1_000_000)
    light = [Greedy(turns, "a", loop, 0.0001, light=True) for _ in range(50)]
    heavy = [Greedy(turns, "a", loop, 0.0001) for _ in range(50)]
    loop.run(101.0)
    few, many = sum(item.served for item in heavy), sum(item.served for item in light)
    assert abs(many - few * (HEAVY_EVERY - 1)) <= HEAVY_EVERY


def test_a_turn_that_does_not_come_in_time_is_refused_and_names_the_setting() -> None:
    loop = FakeLoop()
    turns = Turns(loop, 1)
    greedy = [Greedy(turns, "a", loop, 0.0) for _ in range(20)]
    for quarter in range(4 * 3 * int(WAIT_MAX_S)):
        loop.run(100.0 + quarter / 4)
        turns.settle()
    assert sum(item.served for item in greedy) <= 3 * WAIT_MAX_S + 2
    assert sum(item.refused for item in greedy) > 0
    assert "rpc.requests_per_second" in turns.refusal("a")


async def test_a_refused_turn_is_a_declared_error() -> None:
    class Never(FakeLoop):
        pass

    loop = Never()
    turns = Turns(loop, 1)
    turns.ask("a", lambda _: None)
    loop.run(100.0)
    waiting = asyncio.ensure_future(turns.take("a"))
    await asyncio.sleep(0)
    loop.now += WAIT_MAX_S + 1
    turns.settle()
    with pytest.raises(Busy, match="requests a second"):
        await waiting


async def test_steps_of_a_coroutine_are_measured_and_what_it_waits_for_is_not() -> None:
    steps: list[tuple[float, float]] = []
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"
        return ""

    async def metered() -> str:
        return await Metered(work(), lambda kept, used: steps.append((kept, used)))

    task = asyncio.ensure_future(metered())
    await asyncio.sleep(0)
    gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cancelled"
    assert len(steps) == 3
    assert min(min(step) for step in steps) >= 0


# --- waits and the lane ---------------------------------------------------------------------------


async def test_the_oldest_wait_ends_early_when_more_come_than_may_wait() -> None:
    waits, ended = Waits(16), list[int]()

    async def wait(number: int) -> None:
        try:
            async with waits.at_most(3_600):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(number)

    tasks = [asyncio.ensure_future(wait(number)) for number in range(9)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert ended == [0, 1, 2]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_work_beyond_the_queue_is_refused_and_clients_take_turns() -> None:
    lane, order = Lane(), list[str]()
    blocked = [asyncio.Event() for _ in range(THREADS)]
    loop = asyncio.get_running_loop()

    def hold(event: asyncio.Event) -> None:
        asyncio.run_coroutine_threadsafe(event.wait(), loop).result()

    async def as_client(client: str, work: Callable[[], Any]) -> Any:
        CALLER.set(client)
        return await lane.run(work)

    running = [asyncio.create_task(as_client("a", lambda e=event: hold(e))) for event in blocked]  # type: ignore[misc]
    queued = [
        asyncio.create_task(as_client("a", lambda n=number: order.append(f"a{n}")))  # type: ignore[misc]
        for number in range(WAITING_PER_CLIENT_MAX + 1)
    ]
    other = asyncio.create_task(as_client("b", lambda: order.append("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="ask another node"):
        await queued[0]
    blocked[0].set()
    await asyncio.gather(*queued[1:], other)
    assert order.index("b") <= 2
    blocked[1].set()
    await asyncio.gather(*running)
    lane.close()


async def test_work_that_fails_fails_its_caller_and_nobody_else() -> None:
    lane = Lane()

    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await lane.run(fail)
    assert await lane.run(lambda: 7) == 7
    lane.close()
