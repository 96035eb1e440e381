"""Networks whose attempts to connect the kernel drops before we hear of them: to refuse them costs nothing.

To accept a connection and close it takes some 30 µs of the event loop, and a client may open thousands a
second. A filter at the listening socket (classic BPF, `man 7 socket`) costs nothing: who is shut out sees no
answer and tries again a second later, by TCP's own clock. Where there is no such filter nobody is shut out.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_network

NETWORKS_MAX = 60
"""Shut out at once: a jump of the filter spans 255 instructions, of which an IPv6 network takes four."""
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_NETWORK = 0xFFF0_0000
"""SKF_NET_OFF: offsets from here count from the header of IP, others from that of TCP."""
_FLAGS_AT, _SYN_ACK, _SYN = 13, 0x12, 0x02
_SOURCE_V4, _SOURCE_V6 = 12, 8
_LOAD_WORD, _LOAD_BYTE, _AND, _JUMP_IF, _RETURN = 0x20, 0x30, 0x54, 0x15, 0x06
_WHOLE = 0xFFFF_FFFF
Code = list[tuple[int, int, int, int]]
"""Instructions: (code, jump if true, jump if false, constant)."""


class Shutout:
    """Shuts networks out at one listening socket."""

    def __init__(self, listener: socket.socket) -> None:
        """Nobody is shut out at first."""
        self._listener, self._networks = listener, frozenset[str]()
        self._works = sys.platform == "linux"

    def set(self, networks: Sequence[str]) -> None:
        """Shut out exactly these (`chain.primitives.networks`), the first NETWORKS_MAX of them."""
        wanted = frozenset(networks[:NETWORKS_MAX])
        if wanted == self._networks or not self._works:
            return
        self._networks = wanted
        try:
            if wanted:
                self._attach(program(wanted, v6=self._listener.family == socket.AF_INET6))
            else:
                self._listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        except OSError:  # this kernel does not let us: everybody is refused one by one, as before
            self._works = False

    def _attach(self, code: Code) -> None:
        packed = b"".join(struct.pack("=HBBI", *step) for step in code)
        kept = ctypes.create_string_buffer(packed, len(packed))
        option = struct.pack("@HP", len(code), ctypes.addressof(kept))
        self._listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def program(networks: frozenset[str], *, v6: bool) -> Code:
    """Return a filter that drops what opens a connection from one of these networks, and nothing else."""
    every = [words for words in map(_words, sorted(networks)) if (len(words) > 1) == v6]
    size = sum(2 * len(words) for words in every)
    offset = _NETWORK + (_SOURCE_V6 if v6 else _SOURCE_V4)
    body: Code = []
    for words in every:
        end = len(body) + 2 * len(words)
        for number, word in enumerate(words):
            body.append((_LOAD_WORD, 0, 0, offset + 4 * number))
            rest = end - len(body) - 1  # instructions of this network that are still to come
            drop = size - len(body)
            body.append((_JUMP_IF, 0 if rest else drop, rest, word))
    head = [(_LOAD_BYTE, 0, 0, _FLAGS_AT), (_AND, 0, 0, _SYN_ACK), (_JUMP_IF, 0, size, _SYN)]
    return [*head, *body, (_RETURN, 0, 0, _WHOLE), (_RETURN, 0, 0, 0)]


@lru_cache(4 * NETWORKS_MAX)
def _words(network: str) -> tuple[int, ...]:
    """Return what the address of a network begins with: one word, two of 64 bits of IPv6, four of ::1."""
    known = ip_network(network)
    address = known.network_address.packed[: known.prefixlen // 8]
    return tuple(int.from_bytes(address[at : at + 4], "big") for at in range(0, len(address), 4))
