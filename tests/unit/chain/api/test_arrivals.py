"""Who connects waits for a turn as a bare socket: who asks comes in, and a crowd costs next to nothing."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import sys
from collections.abc import Iterator

import pytest

from chain.api import turns
from chain.api.arrivals import OUT_S, REFUSED_MAX, REFUSED_S, WAITING_MAX
from chain.api.turns import CONNECTIONS_PER_S, SILENT_PER_S
from tests.unit.chain.api.rpc_port import Connection, Port, a_call, get, post, serving

CROWD, OTHER = "127.0.0.2", "127.0.0.3"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what the kernel does here is Linux'")


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Closes what a test puts in."""
    made: list[socket.socket] = []
    yield made
    for sock in made:
        sock.close()


def knock(port: Port, source: str, data: bytes = b"") -> socket.socket:
    """Connect from an address and send something; the port has not looked yet."""
    host, number = port.server.address.split(":")
    made = socket.create_connection((host, int(number)), source_address=(source, 0))
    if data:
        made.send(data)
    return made


async def asked_from(port: Port, source: str) -> str:
    """Ask over a connection of its own from an address; the result."""
    host, number = port.server.address.split(":")
    connection = Connection(*await asyncio.open_connection(host, int(number), local_addr=(source, 0)))
    port.connections.append(connection)
    connection.send(post(a_call("alive")))
    return str(json.loads((await connection.answer()).body)["result"])


@LINUX
async def test_silent_connections_beyond_the_rate_keep_nobody_at_their_address_out(
    sockets: list[socket.socket],
) -> None:
    """They had used up the connections of a second, and who asked was closed before he was heard."""
    async with serving() as port:
        sockets += [knock(port, "127.0.0.1") for _ in range(int(1.5 * CONNECTIONS_PER_S))]
        for _ in range(5):
            assert await port.ask() == "alive"


async def test_where_the_kernel_does_not_wait_for_first_words_who_has_none_yet_is_not_silent(
    monkeypatch: pytest.MonkeyPatch, sockets: list[socket.socket]
) -> None:
    """There a client that asks at once has mostly not been heard yet when it is accepted."""
    monkeypatch.delattr(socket, "TCP_DEFER_ACCEPT", raising=False)
    async with serving() as port:
        sockets += [knock(port, "127.0.0.1") for _ in range(2 * int(SILENT_PER_S))]
        await port.until(lambda: len(port.server.door.gates) == len(sockets))
        assert port.dropped("rpc_rate") == 0


async def test_a_burst_of_connections_of_who_owes_nothing_comes_in_whole(
    sockets: list[socket.socket],
) -> None:
    async with serving() as port:
        sockets += [knock(port, OTHER, post(a_call("burst"))) for _ in range(8 * WAITING_MAX)]
        await port.until(lambda: len(port.asked) == len(sockets))
        assert port.dropped("rpc_rate") == 0


async def test_a_connection_and_its_first_request_take_one_turn() -> None:
    async with serving() as port:
        asked = port.count_asks()
        assert await port.ask() == "alive"
        assert asked() == 1


async def test_a_request_that_comes_in_two_pieces_takes_a_turn_of_its_own() -> None:
    """The turn of a connection is for what came with it; it cannot be kept for later."""
    async with serving() as port, await port.open() as connection:
        request = post(a_call("alive"))
        asked = port.count_asks()
        connection.send(request[:20])
        await port.until(lambda: [gate._state.name for gate in port.server.door.gates] == ["HEAD"])
        connection.send(request[20:])
        assert (await connection.answer()).status == 200
        assert asked() == 2


async def test_who_owes_nothing_comes_in_before_a_crowd_that_waits(sockets: list[socket.socket]) -> None:
    async with serving() as port:
        port.server.door.turns.charge(CROWD, 100.0)
        sockets += [knock(port, CROWD, post(a_call("crowd"))) for _ in range(WAITING_MAX)]
        await port.until(lambda: port.server.door.turns.waiting == WAITING_MAX)
        assert await asked_from(port, OTHER) == "alive"
        assert port.server.door.turns.waiting == WAITING_MAX
        assert not port.server.door.gates or len(port.server.door.gates) == 1
        assert port.asked == ["alive"]


async def test_so_many_of_one_address_wait_and_the_rest_is_closed_but_probes_are_answered(
    sockets: list[socket.socket],
) -> None:
    async with serving() as port:
        port.server.door.turns.charge("127.0.0.1", 100.0)
        few = WAITING_MAX + 5
        sockets += [knock(port, "127.0.0.1", post(a_call("crowd"))) for _ in range(few)]
        await port.until(lambda: port.dropped("rpc_rate") == 5)
        assert port.held("connections") == WAITING_MAX
        async with await port.open() as probe:
            probe.send(get("/health"))
            assert (await probe.answer()).status == 200
        await port.server.stop()
        await port.until(lambda: port.held("connections") == 0)


async def test_a_turn_that_does_not_come_in_time_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as port, await port.open() as connection:
        port.server.door.turns.charge("127.0.0.1", 100.0)
        connection.send(post(a_call("late")))
        await port.until(lambda: port.server.door.turns.waiting == 1)
        monkeypatch.setattr(turns, "WAIT_MAX_S", -1.0)
        port.server.sweep()
        answer = await connection.answer()
        assert (answer.status, "slow down" in answer.text) == (429, True)
        assert port.dropped("rpc_rate") == 1


@LINUX
async def test_who_goes_on_connecting_though_refused_is_kept_out_by_the_kernel_for_a_while(
    sockets: list[socket.socket],
) -> None:
    async with serving() as port:
        port.server.door.turns.charge(CROWD, 100.0)
        sockets += [knock(port, CROWD, post(a_call("crowd"))) for _ in range(WAITING_MAX + REFUSED_MAX)]
        await port.until(lambda: port.dropped("rpc_shut_out") == 1)
        sockets.append(connecting(port, CROWD))
        assert not is_connected(sockets[-1])
        assert await asked_from(port, OTHER) == "alive"
        port.pass_time(max(OUT_S))
        sockets.append(connecting(port, CROWD))
        assert is_connected(sockets[-1])


@LINUX
async def test_a_few_refusals_at_a_time_add_up_until_the_client_is_kept_out(
    sockets: list[socket.socket],
) -> None:
    """They were forgotten four times a second, so sixty a second of each address went on for ever."""
    async with serving() as port:
        port.server.door.turns.charge(CROWD, 100.0)
        sockets += [knock(port, CROWD, post(a_call("crowd"))) for _ in range(WAITING_MAX)]
        await port.until(lambda: port.server.door.turns.waiting == WAITING_MAX)
        for number in range(1, REFUSED_MAX + 1):
            assert port.dropped("rpc_shut_out") == 0
            sockets.append(knock(port, CROWD, post(a_call("crowd"))))
            await port.until(lambda number=number: port.dropped("rpc_rate") == number)  # type: ignore[misc]
            port.server.sweep()
        assert port.dropped("rpc_shut_out") == 1


async def test_refusals_of_long_ago_do_not_count(sockets: list[socket.socket]) -> None:
    async with serving() as port:
        port.server.door.turns.charge(CROWD, 100.0)
        sockets += [knock(port, CROWD, post(a_call("crowd"))) for _ in range(WAITING_MAX)]
        await port.until(lambda: port.server.door.turns.waiting == WAITING_MAX)
        for number in range(1, 2 * REFUSED_MAX - 1):
            sockets.append(knock(port, CROWD, post(a_call("crowd"))))
            await port.until(lambda number=number: port.dropped("rpc_rate") == number)  # type: ignore[misc]
            if number == REFUSED_MAX - 1:
                port.pass_time(REFUSED_S)
        assert port.dropped("rpc_shut_out") == 0


@LINUX
async def test_who_has_most_and_goes_on_connecting_is_kept_out_too(sockets: list[socket.socket]) -> None:
    """Each connection pushed out another before its turn: accepting and closing them was most of the work."""
    async with serving(max_connections=16) as port:
        port.server.door.turns.charge(CROWD, 0.3)
        sockets += [knock(port, CROWD, b"P") for _ in range(12 + REFUSED_MAX)]
        await port.until(lambda: port.dropped("rpc_shut_out") == 1)
        assert await asked_from(port, OTHER) == "alive"


@LINUX
async def test_the_own_address_of_a_machine_is_never_kept_out(
    sockets: list[socket.socket],
) -> None:
    """The node's agent and its operator's commands are there."""
    async with serving() as port:
        port.server.door.turns.charge("127.0.0.1", 100.0)
        many = WAITING_MAX + 2 * REFUSED_MAX
        sockets += [knock(port, "127.0.0.1", post(a_call("crowd"))) for _ in range(many)]
        await port.until(lambda: port.dropped("rpc_rate") == 2 * REFUSED_MAX)
        assert port.dropped("rpc_shut_out") == 0
        sockets.append(connecting(port, "127.0.0.1"))
        assert is_connected(sockets[-1])


def connecting(port: Port, source: str) -> socket.socket:
    """Begin to connect; on loopback the kernel's answer is there at once, if there is one."""
    made = socket.socket()
    made.setblocking(False)
    made.bind((source, 0))
    host, number = port.server.address.split(":")
    assert made.connect_ex((host, int(number))) in (0, errno.EINPROGRESS)
    return made


def is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
