"""Non-blocking TLS stream: one system call moves many records.

Python's SSLSocket makes a system call for every 16 KiB record sent and two for every one received, and each
of them may wake the peer. Here TLS runs between memory buffers, and the socket sees up to 256 KiB at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
import time

from chain.primitives.tls import issuer_key

CHUNK_BYTES = 256 * 1024
"""About this much plaintext is encrypted ahead of the socket, and this much ciphertext read at once."""
OPENING_BYTES = 4 * 1024
"""What is read at once before `widen`: connections of strangers cost little memory."""
SOCKET_BUFFER_BYTES = 4 << 20
RECEIVES_MAX = 64
"""System calls for one step. Bytes that bring neither plaintext nor an end to the handshake (key updates, for
one) may arrive for ever: the caller must get to look at its deadline in between."""


class TlsStream:
    """One end of a TLS connection over a non-blocking socket; every method raises OSError when it breaks."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        """Take over a connected socket; `handshake` comes next."""
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._unsent = memoryview(b"")
        self._scratch = memoryview(bytearray(OPENING_BYTES))
        self._taken = 0
        """Bytes of ciphertext taken from the socket so far."""

    def widen(self) -> None:
        """Take large buffers: the connection belongs to a job from here on."""
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._raw.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        self._scratch = memoryview(bytearray(CHUNK_BYTES))

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 when closed."""
        return self._raw.fileno()

    def peer_certificate(self) -> bytes | None:
        """Return the peer's certificate in DER, after the handshake."""
        return self._tls.getpeercert(binary_form=True)

    def signer(self) -> str:
        """Return who signed the peer's certificate, as OpenSSL reads the name: the hex of an accepted key.

        It answers for a connection whose certificate is no good; "" when OpenSSL gives no name.
        """
        return issuer_key(self._tls).hex()

    def handshake(self) -> bool:
        """Go on with the handshake; tell whether it is complete and our part is on its way."""
        receives = 0
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self.flush() or receives == RECEIVES_MAX or not self._receive():
                    return False
                receives += 1
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self.flush()  # the alert tells the peer why
                raise
            else:
                return self.flush()

    def write(self, view: memoryview) -> int:
        """Encrypt a chunk for the next `flush`; return how many bytes were consumed, 0 when enough waits."""
        if (self._unsent or self._outgoing.pending >= CHUNK_BYTES) and not self.flush():
            return 0
        chunk, done = view[:CHUNK_BYTES], 0
        while done < chunk.nbytes:
            done += self._tls.write(chunk[done:])
        return done

    def flush(self) -> bool:
        """Send ciphertext that is waiting; tell whether none is left."""
        while True:
            if not self._unsent:
                if not self._outgoing.pending:
                    return True
                self._unsent = memoryview(self._outgoing.read())
            try:
                sent = self._raw.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return False
            self._unsent = self._unsent[sent:]

    def read_into(self, view: memoryview) -> int:
        """Read plaintext that has arrived; return the number of bytes (0: nothing yet)."""
        receives = 0
        while True:
            try:
                count: int = self._read(view)
            except ssl.SSLWantReadError:
                if receives == RECEIVES_MAX or not self._receive():
                    return 0
                receives += 1
                continue
            except ssl.SSLZeroReturnError:
                count = 0
            if count == 0:
                raise ConnectionError("closed by the other side")
            return count

    def wait(self, deadline: float, *, write: bool = False) -> None:
        """Block until the socket is readable (or writable); TimeoutError at a `time.monotonic()` deadline."""
        poll = select.poll()
        poll.register(self._raw, select.POLLIN | (select.POLLOUT if write else 0))
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("no answer in time")

    def arrived(self) -> tuple[int, int]:
        """Return how many bytes have come to this host so far, and how many of them nobody has taken yet."""
        (unread,) = struct.unpack("i", fcntl.ioctl(self._raw.fileno(), termios.FIONREAD, bytes(4)))
        return self._taken + unread, unread

    @property
    def writing(self) -> bool:
        """Tell whether ciphertext waits for the socket."""
        return bool(self._unsent) or self._outgoing.pending > 0

    def close(self) -> None:
        """Close the socket."""
        self._raw.close()

    def _read(self, view: memoryview) -> int:
        count: object = self._tls.read(view.nbytes, view)  # an int, because a buffer is given
        return count if isinstance(count, int) else 0

    def _receive(self) -> bool:
        try:
            count = self._raw.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return False
        if count == 0:
            raise ConnectionError("closed by the other side")
        self._taken += count
        self._incoming.write(self._scratch[:count])
        return True
