"""One TCP connection of the RPC port: who may send what, how fast, when; requests one after another.

What arrives is counted before anything is made of it, and a connection that sends nothing costs a small
object. A request waits for its turn when its head is there, and is answered when its body is; nothing further
is looked at before. The head that opens a WebSocket is handed to aiohttp, and its frames piece by piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import cast

from chain.api.accesslog import LoggedCall
from chain.api.behind import Behind, ConnectionState, TurnState
from chain.api.door import Door
from chain.api.feed import Feed
from chain.api.head import HEAD_BYTES_MAX, JSON, PAGES, SOCKET, BadHead, RequestHead
from chain.api.plain import CONTINUE, IN_THE_CLEAR, NO_TLS, TLS_BEGINS, answer_head, late, no_content, refusal
from chain.api.principals import NOBODY, admit
from chain.api.reads import Reads
from chain.api.shares import CALLER, Holding
from chain.api.turns import Ask, Metered

WRITE_BUFFER_BYTES = 16_384
"""What may wait in a transport while the next request is read."""
PIECE_BYTES = 65_536
"""What is handed to a transport at once: TLS would copy a whole answer, and keep it until it is read."""
LINGER_S = 2.0
"""After a refusal what still comes is read and dropped, so that the refusal arrives."""
HAND_OVER_S = 10.0
"""aiohttp makes a WebSocket of a connection by then, or it is closed."""
HEAD_S = 0.000_1
"""What reading a head and writing an answer takes of the loop, beside answering."""
NEVER = float("inf")
_END = b"\r\n\r\n"


class Gate(asyncio.Protocol):
    """A connection; also whose request it is, for those who answer it (`chain.api.rpc.Caller`)."""

    def __init__(self, door: Door, behind: Behind, client: str, turn: TurnState) -> None:
        """`client` is who is at the other end: a connection that is gone already does not tell."""
        self._door, self._behind, self.client, self._turn = door, behind, client, turn
        self._address, self.principal = client, NOBODY
        """Whose the connection is where nobody has said who asks, and who asks now."""
        self._state, self.deadline = ConnectionState.FRESH, NEVER
        self._head = bytearray()
        self._request: RequestHead | None = None
        self._raw_head = b""
        self._pieces: list[bytes | bytearray] = []
        """Of the present body."""
        self._unsent = memoryview(b"")
        """Of the present answer."""
        self._due = 0
        """Bytes of it that are still to come."""
        self._began = 0.0
        self.rest = bytearray()
        """What arrived and is not looked at yet."""
        self._ask: Ask | None = None
        self._work: asyncio.Task[None] | None = None
        self._feed: Feed | None = None
        self._writing_paused = self._looking = False
        self.drop_calls: Callable[[], None] | None = None

    # --- what the transport tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place among the connections: newcomers are served."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.reads = Reads(self._transport)
        self._place = Holding(self.client, self._leave, ConnectionState.FRESH)
        self._body = Holding(self.client, self._drop_body)
        self._answer = Holding(self.client, self._drop_answer)
        self._door.gates.add(self)
        self._enter(ConnectionState.FRESH, self._door.header_s)
        if not self._door.connections.take(self._place, 1):
            self._door.lost("rpc_connections")
            text = "too many WebSockets of this address: wait, or ask another node"
            self.refuse(503, text, linger=False)
        elif self._turn is TurnState.LATE:
            self.refuse(429, self._door.turns.refusal(self.client))
        elif self._turn is TurnState.IN_THE_CLEAR:
            self.refuse(400, IN_THE_CLEAR)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free everything at once; nothing waits for the collector of cycles."""
        self._door.gates.discard(self)
        self._door.connections.give_back(self._place)
        self._door.answers.give_back(self._answer)
        self._forget()
        if self._feed is not None:
            self._feed.protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrived, then see what it is."""
        self.reads.came(len(data))
        if self._state is ConnectionState.LEAVING:
            if self.reads.are_many:
                self.read_on_in_turn(light=True)
        elif not self._door.bodies.take(self._body, len(data)):
            self._door.lost("rpc_bodies")
            self.refuse(503, "too many bytes of requests at once: wait, or ask another node")
        elif self._state is ConnectionState.BODY:
            self._more_body(data)
        elif self._state in (ConnectionState.FRESH, ConnectionState.IDLE, ConnectionState.HEAD):
            self._more_head(data)
        elif self._state is ConnectionState.SOCKET:
            self.rest += data
            cast(Feed, self._feed).more()
        else:
            self._keep(data)

    def eof_received(self) -> None:
        """Let the transport close: a client that sends no more does not wait for an answer either."""
        if self._feed is not None:
            self._feed.protocol.eof_received()

    def pause_writing(self) -> None:
        """Note that the client takes an answer slower than it is written (asyncio.Protocol)."""
        self._writing_paused = True
        if self._feed is not None:
            self._feed.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Note that the answer is as good as sent (asyncio.Protocol)."""
        self._writing_paused = False
        if self._feed is not None:
            self._feed.protocol.resume_writing()
        elif self._state is ConnectionState.WRITING:
            self._write_on()

    # --- the head ----------------------------------------------------------------------------------

    def _more_head(self, data: bytes | bytearray) -> None:
        if self._state is not ConnectionState.HEAD:
            self._enter(ConnectionState.HEAD, self._door.header_s)
        searched = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        if self._head[0] == TLS_BEGINS:
            self.refuse(400, NO_TLS)
            return
        end = self._head.find(_END, searched, HEAD_BYTES_MAX)
        if end < 0:
            self._turn = TurnState.ASKED  # what comes later takes a turn of its own
            if len(self._head) >= HEAD_BYTES_MAX:
                self.refuse(431, f"more than {HEAD_BYTES_MAX} bytes of header fields")
            elif self.reads.are_many:
                self.read_on_in_turn(light=True)
            return
        end += len(_END)
        self._raw_head, self.rest = bytes(self._head[:end]), self._head[end:]
        self._head = bytearray()
        self._whole_head()

    def _whole_head(self) -> None:
        turns = self._door.turns
        try:
            self._request = request = self._behind.read(self._raw_head)
            self.principal = admit(self._door.principals.of(request.authorization), request)
        except BadHead as fault:
            turns.charge(self.client, HEAD_S)
            if self._door.access is not None:
                who, code = self.principal.name, f"http_{fault.status}"
                self._door.access.note(LoggedCall(who, "", {}, code, 0.0, self.address))
            self.refuse(fault.status, fault.text)
            return
        if not self._belongs_to(self.principal.client or self._address):
            self._door.lost("rpc_connections")
            self.refuse(503, f"too many connections of {self.principal.name}: wait, or use fewer at once")
            return
        if request.path in PAGES and not self._looking and turns.allow_page(self.client):
            turns.charge(self.client, HEAD_S)
            self.reads.pay()
            self._send(cast(bytes, self._behind.page(request, self.principal)))
            return
        self._enter(ConnectionState.ASKING, None)
        self._keep(b"")
        had, self._turn = self._turn is TurnState.HAD, TurnState.ASKED
        if had and request.path != SOCKET:
            self._on_turn(True)
        else:
            self._ask_turn(light=request.path != SOCKET)

    def _belongs_to(self, client: str) -> bool:
        """Count the connection and what it holds as a client's; False when that one has no room for it."""
        if client == self.client:
            return True
        self.client, self._turn = client, TurnState.ASKED  # what its address had was no turn of its own
        held = (
            (self._door.connections, self._place),
            (self._door.bodies, self._body),
            (self._door.answers, self._answer),
        )
        moved = [shares.move(holding, client) for shares, holding in held]
        return all(moved)

    def _ask_turn(self, *, light: bool) -> None:
        self._ask = self._door.turns.ask(self.client, self._on_turn, light=light)

    def _on_turn(self, came: bool) -> None:
        self._ask = None
        if not came:
            self._door.lost("rpc_rate")
            self.refuse(429, self._door.turns.refusal(self.client))
            return
        begin, used, owed = perf_counter(), thread_time(), self.reads.pay()
        if self._state is ConnectionState.ASKING:
            owed += HEAD_S
            self._begin_request(cast(RequestHead, self._request))
        elif self._state is ConnectionState.SOCKET:
            cast(Feed, self._feed).more()
        else:
            self.reads.resume()
        self.spent(owed + perf_counter() - begin, owed + thread_time() - used)

    @property
    def address(self) -> str:
        """Where the connection comes from, as far as that is known."""
        place = self._transport.get_extra_info("peername")
        return str(place[0]) if place else self._address

    @property
    def waits(self) -> bool:
        """Whether this connection waits for a turn."""
        return self._ask is not None

    def read_on_in_turn(self, *, light: bool) -> None:
        """Read nothing more of this connection before its turn."""
        self.reads.pause()
        if self._ask is None:
            self._ask_turn(light=light)

    def _begin_request(self, request: RequestHead) -> None:
        if (page := self._behind.page(request, self.principal)) is not None:
            self._send(page)
        elif request.path == SOCKET:
            self._hand_over()
        else:
            self._begin_body()

    # --- the body ----------------------------------------------------------------------------------

    def _begin_body(self) -> None:
        request = cast(RequestHead, self._request)
        rest, self.rest = self.rest, bytearray()
        self._due, self._began = request.length, self._door.now()
        self._enter(ConnectionState.BODY, None)
        if request.waits and len(rest) < request.length:
            self._transport.write(CONTINUE)
        self._more_body(rest)

    def _more_body(self, data: bytes | bytearray) -> None:
        """Take a piece of the body; after so many bytes, or reads, no more is read before the next turn."""
        piece, self.rest = data[: self._due], bytearray(data[self._due :])
        self._due -= len(piece)
        if piece:
            self._pieces.append(piece)
        if not self._due:
            self._enter(ConnectionState.WORKING, None)
            self._work = asyncio.get_running_loop().create_task(self._serve())
            return
        arrived = cast(RequestHead, self._request).length - self._due
        self.deadline = self._door.transfer_end(self._began, arrived)
        if self.reads.are_many:
            self.read_on_in_turn(light=False)
        else:
            self.reads.resume()

    def _keep(self, data: bytes) -> None:
        """Keep what came early; read no more of it than a head, and not in many pieces."""
        self.rest += data
        if len(self.rest) > HEAD_BYTES_MAX or self.reads.are_many:
            self.reads.pause()

    # --- answering (`chain.api.rpc.Caller`) ----------------------------------------------------------

    async def _serve(self) -> None:
        CALLER.set(self.client)
        try:
            answer = await Metered(self._behind.answer(self._take_body(), self), self.spent)
        except Exception:
            self._work = None
            self._door.faults.log("answering a request")
            self.refuse(500, "internal error; the node's log has the details")
            return
        self._work = None
        if not self._transport.is_closing():
            request = cast(RequestHead, self._request)
            head = answer_head(200, JSON, len(answer), last=request.last)
            self._transport.write(head if answer else no_content(last=request.last))
            self._send(answer)

    def _take_body(self) -> bytes:
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body

    def spent(self, kept: float, used: float) -> None:
        """Count time of the loop, and of a processor, that this connection took."""
        self._door.turns.spent(self.client, kept, used)

    async def turn(self, *, light: bool = False) -> None:
        """Wait for the client's turn; raise Busy."""
        await self._door.turns.take(self.client, light=light)

    def count(self) -> bool:
        """Count a further call of a batch, which shares the turn of the first; False where it may not."""
        shares = self._door.turns.may_share(self.client)
        if shares:
            self._door.turns.count(self.client)
        return shares

    def charge(self, amount: int) -> bool:
        """Reserve memory for what is parsed from the body, in bytes; return False when there is no room."""
        return self._door.bodies.take(self._body, amount)

    def read(self) -> None:
        """Give back the memory that the body took: nothing of it is held any more."""
        self._door.bodies.give_back(self._body)
        self._door.bodies.take(self._body, len(self.rest))

    def hold(self, amount: int) -> bool:
        """Reserve memory for an answer, in bytes; return False when there is no room."""
        if self._answer.rank != ConnectionState.WORKING:
            self._door.answers.renew(self._answer, ConnectionState.WORKING)
        return self._door.answers.take(self._answer, amount)

    # --- sending -----------------------------------------------------------------------------------

    def _send(self, answer: bytes) -> None:
        self._enter(ConnectionState.WRITING, None)
        self.sending(len(answer))
        self._unsent = memoryview(answer)
        self._write_on()

    def _write_on(self) -> None:
        """Hand the transport as much as it takes; the next request comes when that is all."""
        while self._unsent and not self._writing_paused:
            piece, self._unsent = self._unsent[:PIECE_BYTES], self._unsent[PIECE_BYTES:]
            self._transport.write(piece)
        if not self._writing_paused:
            self._over()

    def _over(self) -> None:
        """The answer is sent: look at the next request."""
        self._door.answers.give_back(self._answer)
        if self._request is not None and self._request.last:
            self._close()
            return
        self.read()
        self._request = None
        self._enter(ConnectionState.IDLE, self._door.idle_s)
        self.reads.resume()
        if self.rest:
            rest, self.rest, self._looking = self.rest, bytearray(), True
            self._more_head(rest)  # a page that came early takes a turn, too: thousands fit one piece
            self._looking = False

    def sending(self, size: int) -> None:
        """Start the time within which the client must take so many bytes that are being sent."""
        self._door.answers.renew(self._answer, ConnectionState.WRITING)
        self.deadline = self._door.transfer_end(self._door.now(), size)

    # --- WebSockets --------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Let aiohttp open a WebSocket; what the client sends meanwhile is kept."""
        self._enter(ConnectionState.WORKING, HAND_OVER_S)
        self._feed = Feed(self, self._door, self._transport, self._behind.socket())
        raw, self._raw_head = self._raw_head, b""
        self._feed.begin(raw)

    def become_socket(self) -> None:
        """Take a place among the WebSockets, since the connection has become one."""
        self._enter(ConnectionState.SOCKET, None)
        self._door.connections.renew(self._place, None)
        self.read()
        cast(Feed, self._feed).more()

    def let_go(self, size: int) -> None:
        """Note that so many bytes of what arrived are aiohttp's now."""
        self._door.bodies.give_back(self._body, size)

    def sent(self, size: int) -> None:
        """Note that a message of so many bytes is sent."""
        self._door.answers.give_back(self._answer, size)
        self.deadline = NEVER

    # --- the end -----------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close the connection when it is late."""
        if self._state is ConnectionState.SOCKET and not self._door.principals.holds(self.principal):
            self.abort()
            return
        if now < self.deadline:
            return
        self.deadline = NEVER
        if self._transport.is_closing() or self._state in (ConnectionState.FRESH, ConnectionState.IDLE):
            self.abort()
        elif self._state is ConnectionState.LEAVING:
            self._close()
        elif self._state in (ConnectionState.WRITING, ConnectionState.SOCKET):
            self._door.lost("rpc_slow_readers")
            self.abort()
        else:
            self._door.lost("rpc_slow_senders")
            self.refuse(408, late(self._door.config))

    def refuse(self, status: int, text: str, *, linger: bool = True) -> None:
        """Say why, and close: at once, or after a moment in which what still comes is dropped."""
        if self._transport.is_closing():
            return
        if self._state in (ConnectionState.WRITING, ConnectionState.LEAVING) or self._feed is not None:
            self.abort()
            return
        bare = self._raw_head.startswith(b"HEAD ")
        self._transport.write(refusal(status, text, bare=bare))
        if linger:
            self._forget()
            self.reads.resume()
            if self._transport.can_write_eof():  # not in TLS, whose end is that of both sides
                self._transport.write_eof()
            self._enter(ConnectionState.LEAVING, LINGER_S)
        else:
            self._close()

    def abort(self) -> None:
        """Close the connection at once, whatever is still to be sent."""
        self._forget()
        self._transport.abort()

    def _close(self) -> None:
        """Close when what was written is sent, which a client that reads nothing delays for a moment only."""
        self._forget()
        self._enter(ConnectionState.LEAVING, LINGER_S)
        self._transport.close()

    def _forget(self) -> None:
        self._pieces.clear()
        self._head, self.rest, self._unsent = bytearray(), bytearray(), memoryview(b"")
        self._door.bodies.give_back(self._body)
        if self._ask is not None:
            self._ask.cancel()
            self._ask = None
        if self._work is not None:
            self._work.cancel()
            self._work = None

    def _leave(self) -> None:
        """Make room for another connection."""
        self._door.lost("rpc_connections")
        if self._state in (ConnectionState.FRESH, ConnectionState.IDLE, ConnectionState.LEAVING):
            self.abort()
        else:
            text = "too many connections: this one was given up for a newer one; try again"
            self.refuse(503, text, linger=False)

    def _drop_body(self) -> None:
        """Make room for the body of another."""
        self._door.lost("rpc_bodies")
        if self.drop_calls is not None:
            self.drop_calls()
        else:
            self.refuse(503, "too many bytes of requests at once: this one was given up for newer ones")

    def _drop_answer(self) -> None:
        self._door.lost("rpc_answers")
        self.abort()

    def _enter(self, state: ConnectionState, seconds: float | None) -> None:
        self._state = state
        answered = int(state is ConnectionState.WORKING)
        if self._body.rank != answered:  # what is not even here goes before what is answered
            self._door.bodies.renew(self._body, answered)
        self.deadline = NEVER if seconds is None else self._door.now() + seconds
        self._door.connections.renew(self._place, int(state))
