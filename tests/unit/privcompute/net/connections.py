"""Connections to an agent's port, made by hand as any program that holds a key could."""

from __future__ import annotations

import socket
import ssl
import time

import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import client_context
from privcompute.net.hello import JobHello
from privcompute.net.listener import PeerListener
from privcompute.net.tls_stream import TlsStream

ME = PrivateKey(bytes(32))
"""The key of the agent that is connected to."""
PATIENCE_S = 20.0
HERE, THERE = "127.0.0.2", "127.0.0.3"
"""Loopback addresses to come from: an attacker's and somebody else's."""


def soon() -> float:
    """A deadline that only a hanging test meets."""
    return time.monotonic() + PATIENCE_S


def dial(to: PeerListener, context: ssl.SSLContext, *, source: str = HERE) -> TlsStream:
    """Connect and shake hands as far as a client sees it."""
    raw = socket.create_connection(to.address, source_address=(source, 0))
    stream = TlsStream(raw, context, server_side=False)
    while not stream.handshake():
        stream.wait(soon(), write=stream.writing)
    return stream


def arrive(to: PeerListener, key: PrivateKey, hello: JobHello, *, source: str = HERE) -> TlsStream:
    """Come as an honest party's agent does."""
    stream = dial(to, client_context(key, [ME.public]), source=source)
    say(stream, hello.encode())
    return stream


def say(stream: TlsStream, data: bytes) -> None:
    stream.write(memoryview(data))
    while not stream.flush():
        stream.wait(soon(), write=True)


def until_dropped(stream: TlsStream) -> None:
    """Wait until the other side has closed the connection."""
    with pytest.raises((ConnectionError, ssl.SSLError)):
        read_one(stream)
    stream.close()


def read_one(stream: TlsStream) -> None:
    """Wait for one byte, or for the connection to break."""
    while stream.read_into(memoryview(bytearray(1))) == 0:
        stream.wait(soon())
