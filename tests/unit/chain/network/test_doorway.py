"""Who gets a handshake at the peer port when a crowd knocks, who gives way, and where members are at home."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.network import spent
from chain.network.doorway import Doorway
from chain.network.knocks import HANDSHAKE_LEAST_S, SHAKING_MAX, WAITING_MAX, HandshakeQueue, Knock, Knocks
from chain.network.spent import Spent
from chain.network.whereabouts import NETWORKS_MAX, Whereabouts
from chain.primitives.acceptor import listening
from chain.primitives.networks import UNKNOWN, network_of

LIMIT_S = 10.0
SEED = 7
ACCEPTED_PER_TURN = 27
"""Of a crowd: 1,700 connections a second while 64 handshakes begin."""
MEMBER = "192.0.2.1"


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", UNKNOWN),
        ("node.bank.example", UNKNOWN),
    ],
)
def test_a_network_is_an_address_or_all_that_one_address_of_it_stands_for(host: str, network: str) -> None:
    assert network_of(host) == network


# --- lanes --------------------------------------------------------------------------------------------


def come(lane: HandshakeQueue[Knock], network: str, *, ready: bool = True) -> tuple[Knock, Knock | None]:
    knock = Knock(network, 0.0)
    gone = lane.come(knock)
    if ready and gone is not knock:
        lane.speak(knock)
    return knock, gone


def crowd(number: int) -> str:
    """Return one of very many addresses, none of which is another's neighbour for long."""
    return f"{10 + number % 100}.{number // 100 % 250}.{number // 25_000 % 250}.{number // 6_250_000}"


def gets_a_turn(
    lane: HandshakeQueue[Knock], number: int, network: str = MEMBER, *, turns: int = 1_000
) -> bool:
    """Let a member knock while a crowd comes; tell whether its handshake begins before it gives way."""
    member, _ = come(lane, network)
    for turn in range(turns):
        for each in range(ACCEPTED_PER_TURN):
            come(lane, crowd(number + turn * ACCEPTED_PER_TURN + each))
            if member not in lane:
                return False
        if (begun := lane.begin(1e9)) is not None:
            lane.leave(begun.knock)
            if begun.knock is member:
                return True
    raise AssertionError("neither")


def test_a_crowd_of_addresses_does_not_push_a_waiting_connection_out_for_certain() -> None:
    source = random.Random(SEED)
    stayed = 0
    for _ in range(200):
        lane: HandshakeQueue[Knock] = HandshakeQueue(source)
        member, _ = come(lane, MEMBER)
        for number in range(2 * WAITING_MAX):
            come(lane, crowd(number))
        stayed += member in lane
    assert 30 <= stayed <= 120, f"(63/64)^65 is 36 %: {stayed} of 200"


def test_a_newcomer_from_anywhere_is_let_in_as_often_as_handshakes_to_connections() -> None:
    source, tries = random.Random(SEED), 3_000
    lane: HandshakeQueue[Knock] = HandshakeQueue(source)
    for number in range(WAITING_MAX):
        come(lane, crowd(number))
    let_in = sum(
        gets_a_turn(lane, 1_000 + 100_000 * each, f"192.{each // 250}.{each % 250}.1")
        for each in range(tries)
    )
    assert 0.6 / ACCEPTED_PER_TURN < let_in / tries < 1.6 / ACCEPTED_PER_TURN, f"{let_in} of {tries}"


def test_a_newcomer_goes_before_a_crowd_whose_addresses_had_their_handshakes() -> None:
    lane: HandshakeQueue[Knock] = HandshakeQueue(random.Random(SEED))
    few = [f"10.0.{number // 250}.{number % 250}" for number in range(1_000)]
    for network in few:
        come(lane, network)
        if (begun := lane.begin(1e9)) is not None:
            lane.leave(begun.knock)
    let_in = 0
    for each in range(200):
        member, _ = come(lane, f"192.{each}.2.1")
        while member in lane.ready:
            for _ in range(ACCEPTED_PER_TURN):
                come(lane, lane._random.choice(few))
            if member in lane.ready and (begun := lane.begin(1e9)) is not None:
                let_in += begun.knock is member
                lane.leave(begun.knock)
    assert let_in > 80, f"about half of 200: {let_in}"


def test_a_network_that_had_a_handshake_still_has_turns_beside_a_crowd_that_had_none() -> None:
    lane: HandshakeQueue[Knock] = HandshakeQueue(random.Random(SEED))
    lane._spent.count(MEMBER)
    assert sum(gets_a_turn(lane, 100_000 * each) for each in range(3_000)) > 10


def test_who_gives_way_is_of_the_network_with_most_slots_in_whatever_state() -> None:
    lane: HandshakeQueue[Knock] = HandshakeQueue(random.Random(SEED))
    for _ in range(10):  # ten handshakes of one host, and one silent connection
        come(lane, "10.0.0.1")
        assert lane.begin(0.0) is not None
    rival, _ = come(lane, "10.0.0.1", ready=False)
    silent, _ = come(lane, MEMBER, ready=False)
    for number in range(WAITING_MAX - 2):
        come(lane, f"10.1.{number}.1")
    _, gone = come(lane, "10.2.0.1")
    assert gone is rival
    assert silent in lane
    newcomer, gone = come(lane, "10.0.0.1")
    assert gone is newcomer, "it has most, and nothing else that waits"


def test_a_host_that_holds_every_handshake_loses_one_at_once_and_one_that_has_one_only_in_time() -> None:
    lane: HandshakeQueue[Knock] = HandshakeQueue(random.Random(SEED))
    for _ in range(SHAKING_MAX):
        come(lane, "10.0.0.1")
        assert lane.begin(0.0) is not None
    member, _ = come(lane, MEMBER)
    begun = lane.begin(0.0)
    assert begun is not None
    assert begun.knock is member
    assert begun.instead_of is not None
    assert begun.instead_of.network == "10.0.0.1"
    for number in range(SHAKING_MAX - 3):
        come(lane, f"10.1.{number}.1")
        assert lane.begin(0.0) is not None
    assert Counter(knock.network for knock in lane.shaking).most_common(1)[0][1] == 2
    come(lane, "10.2.0.1")
    assert lane.begin(0.0) is not None, "of two of one host, one goes"
    come(lane, "10.3.0.1")
    assert lane.begin(HANDSHAKE_LEAST_S - 0.1) is None
    begun = lane.begin(HANDSHAKE_LEAST_S)
    assert begun is not None
    assert begun.instead_of is not None
    assert begun.instead_of.network == "10.0.0.1", "the oldest"
    assert member in lane.shaking


def test_a_crowd_takes_neither_a_slot_nor_more_than_one_turn_from_where_members_are_at_home() -> None:
    knocks: Knocks[Knock] = Knocks(random.Random(SEED))
    for number in range(1_000):
        stranger = Knock(crowd(number), 0.0)
        if knocks.come(stranger, known=False) is not stranger:
            knocks.speak(stranger)
    knocks.begin(0.0)
    member = Knock(MEMBER, 0.0)
    assert knocks.come(member, known=True) is None
    knocks.speak(member)
    begun = [knocks.begin(0.0), knocks.begin(0.0)]
    assert member in [each.knock for each in begun if each is not None]


def test_a_flood_from_a_members_gateway_takes_every_other_turn_at_most() -> None:
    knocks: Knocks[Knock] = Knocks(random.Random(SEED))
    for number in range(60):
        for network, known in ((MEMBER, True), (crowd(number), False)):
            knock = Knock(network, 0.0)
            knocks.come(knock, known=known)
            knocks.speak(knock)
    begun = [knocks.begin(0.0) for _ in range(40)]
    assert sum(each is not None and each.knock.network == MEMBER for each in begun) == 20


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.sampled_from(["come", "speak", "begin", "leave"])), max_size=400
    )
)
def test_slots_are_bounded_and_nobody_with_fewer_slots_gives_way(moves: list[tuple[int, str]]) -> None:
    lane: HandshakeQueue[Knock] = HandshakeQueue(random.Random(SEED))
    for now, (number, move) in enumerate(moves):
        if move == "come":
            for _ in range(number % 5):
                knock, gone = come(lane, f"10.0.0.{number}", ready=False)
                counts = Counter(each.network for each in [*lane, *([gone] if gone else [])])
                assert gone is None or counts[gone.network] >= counts[knock.network]
        elif move == "speak" and lane.silent:
            lane.speak(next(iter(lane.silent)))
        elif move == "begin":
            lane.begin(float(now))
        elif move == "leave" and len(lane):
            lane.leave(next(iter(lane)))
        assert len(lane.silent) + len(lane.ready) <= WAITING_MAX
        assert len(lane.shaking) <= SHAKING_MAX


# --- what is remembered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "neighbour", "stranger", "number"),
    [
        ("10.1.1.{}", "10.1.1.200", "10.1.2.1", 16),
        ("10.1.{}.1", "10.1.255.1", "10.2.1.1", 256),
        ("2001:db8:1:{:x}::/64", "2001:db8:1:ffff::/64", "2001:db8:2::/64", 16),
        ("2001:db8:{:x}::/64", "2001:db8:ffff::/64", "2001:db9::/64", 256),
    ],
)
def test_who_has_many_addresses_of_one_neighbourhood_has_had_its_part(
    address: str, neighbour: str, stranger: str, number: int
) -> None:
    had = Spent()
    for each in range(number - 1):
        had.count(address.format(each))
    assert address.format(0) in had
    assert neighbour not in had
    had.count(address.format(number - 1))
    assert neighbour in had
    assert stranger not in had


def test_the_memory_of_handshakes_is_bounded_and_forgets_the_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spent, "KEPT_MAX", 30)
    had = Spent()
    for number in range(100):
        had.count(crowd(number))
    assert len(had._counts) == 30
    assert crowd(99) in had
    assert crowd(0) not in had


def test_a_member_is_at_home_where_it_listens_and_where_its_last_link_came_from() -> None:
    homes, bank, bureau = Whereabouts(), bytes([1]) * 32, bytes([2]) * 32
    homes.set_members({bank: "192.0.2.1:7000", bureau: "bureau.example:7000"})
    assert "192.0.2.1" in homes
    homes.resolved(bureau, ["2001:db8::7", *[f"192.0.3.{number}" for number in range(100)]])
    assert "2001:db8::/64" in homes
    assert sum(f"192.0.3.{number}" in homes for number in range(100)) == NETWORKS_MAX - 1
    homes.came(bank, "198.51.100.1")
    homes.came(bank, "198.51.100.2")
    assert "198.51.100.1" not in homes, "the last one alone"
    assert "198.51.100.2" in homes
    homes.came(bytes([3]) * 32, "203.0.113.1")
    assert "203.0.113.1" not in homes, "no member"
    homes.set_members({bank: "[2001:db8:5::1]:7000", bureau: "bureau.example:7000"})
    assert "192.0.2.1" not in homes
    assert "2001:db8:5::/64" in homes
    assert "2001:db8::/64" in homes, "bureau's name is still known"
    homes.set_members({bureau: ""})
    assert "198.51.100.2" not in homes
    assert "2001:db8::/64" not in homes


# --- sockets ------------------------------------------------------------------------------------------


def stranger(port: int, number: int) -> socket.socket:
    made = socket.socket()
    made.bind((f"127.9.{number // 200}.{number % 200 + 1}", 0))
    made.connect(("127.0.0.1", port))
    made.send(b"\x16")
    return made


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():
            await asyncio.sleep(0)


async def test_a_member_has_the_next_handshake_whatever_crowd_waits_and_comes() -> None:
    """No handshake ends, and the crowd has had all turns that there were before the member comes."""
    begun, refused, never = list[str](), Counter[str](), asyncio.Event()

    async def welcome(_: socket.socket, address: str) -> None:
        begun.append(address.rpartition(":")[0])
        await never.wait()

    listener = listening("127.0.0.1", 0, 1_024)
    port = listener.getsockname()[1]
    door = Doorway(
        listener,
        welcome,
        lambda cause, *_: refused.update([cause]),
        lambda: 1.0,
        {"127.0.0.1"},
        random.Random(SEED),
    )
    door.open()
    held = [stranger(port, number) for number in range(300)]
    await until(lambda: refused.total() + door.waiting == 300)
    member = socket.create_connection(("127.0.0.1", port))
    member.send(b"\x16")
    held += [stranger(port, number) for number in range(300, 600)]
    await until(lambda: refused.total() + door.waiting == 601)
    await until(lambda: "127.0.0.1" in begun)
    await door.close()
    assert door.waiting == 0
    for sock in [*held, member, listener]:
        sock.close()
