"""The kernel keeps out whom a listening socket shuts out, and nobody else."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator

import pytest

from chain.primitives.acceptor import listening
from chain.primitives.shutout import NETWORKS_MAX, Shutout, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="classic BPF at a socket is Linux'")
JUMP_MAX = 255


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    try:
        made = listening(request.param, 0, 64)
    except OSError as error:
        pytest.skip(f"no {request.param} here: {error.strerror}")
    with made:
        yield made


def connecting(listener: socket.socket, source: str) -> socket.socket:
    """Begin to connect; on loopback the kernel's answer is there at once, if there is one."""
    made = socket.socket(listener.family)
    made.setblocking(False)
    made.bind((source, 0))
    assert made.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
    return made


def is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def own(listener: socket.socket) -> str:
    """An address of this machine, of the listener's family."""
    return str(listener.getsockname()[0])


def test_who_is_shut_out_gets_no_answer_until_he_is_let_in_again(listener: socket.socket) -> None:
    gate = Shutout(listener)
    gate.set([own(listener)])
    with connecting(listener, own(listener)) as refused:
        assert not is_connected(refused)
    gate.set([])
    with connecting(listener, own(listener)) as admitted:
        assert is_connected(admitted)


def test_others_come_in_and_connections_that_are_open_go_on(listener: socket.socket) -> None:
    gate = Shutout(listener)
    with connecting(listener, own(listener)) as known:
        taken, _ = listener.accept()
        is_v4 = listener.family == socket.AF_INET
        others = ["127.0.0.66", "127.9.0.1"] if is_v4 else ["2001:db8::/64", "2001:db8:0:1::/64"]
        gate.set(others)
        with connecting(listener, own(listener)) as another:
            assert is_connected(another)
        gate.set([own(listener), *others])
        with taken:
            known.send(b"still here")
            assert taken.recv(10) == b"still here"


def test_addresses_of_one_family_are_told_apart_from_their_neighbours() -> None:
    with listening("127.0.0.1", 0, 64) as listener:
        Shutout(listener).set([f"127.0.0.{number}" for number in range(60, 70)])
        for number in (59, 60, 69, 70):
            with connecting(listener, f"127.0.0.{number}") as made:
                assert is_connected(made) == (number in (59, 70))


def test_the_longest_filter_is_within_what_a_jump_spans() -> None:
    networks = frozenset(["::1", *[f"2001:db8:0:{number}::/64" for number in range(NETWORKS_MAX - 1)]])
    code = program(networks, v6=True)
    assert all(max(yes, no) <= JUMP_MAX for _, yes, no, _ in code)
    with socket.socket(socket.AF_INET6) as sock:
        Shutout(sock)._attach(code)  # the kernel checks it


def test_more_networks_than_a_filter_takes_are_no_fault() -> None:
    with listening("127.0.0.1", 0, 64) as listener:
        gate = Shutout(listener)
        gate.set([f"127.7.{number}.1" for number in range(2 * NETWORKS_MAX)])
        with connecting(listener, "127.0.0.1") as made:
            assert is_connected(made)
        with connecting(listener, "127.7.5.1") as made:
            assert not is_connected(made)


def test_where_the_kernel_takes_no_filter_nobody_is_shut_out() -> None:
    with listening("127.0.0.1", 0, 64) as listener:
        gate = Shutout(listener)
        gate._attach = lambda _: (_ for _ in ()).throw(OSError(errno.EPERM, "not here"))  # type: ignore[method-assign]
        gate.set(["127.0.0.66"])
        with connecting(listener, "127.0.0.66") as made:
            assert is_connected(made)
