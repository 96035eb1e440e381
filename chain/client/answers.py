"""What a node answers, read as a stranger's bytes: bounded, and of the shape that was asked for."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from chain.primitives.errors import AssentError, ConfigError, DecodeError, Exit
from chain.primitives.visible import one_line
from chain.primitives.words import SPEAKS_TLS

CLOSED = frozenset({errno.ECONNRESET, errno.EPIPE})
"""A crowded node gives up connections that wait, also while a request is on its way there: ask again."""
HTTP_OK, HTTP_BUSY = 200, (408, 429, 503)
NOT_TLS = "WRONG_VERSION_NUMBER"
"""What OpenSSL says where the answer to its handshake is no record of TLS."""
ANSWER_BYTES_MAX = 67_108_864
"""What `[rpc] max_answer_bytes` of any node may be: whatever is longer, no node of ours sent."""
REFUSAL_CHARS_MAX = 1_000


class NodeUnreachable(AssentError):
    """A node that does not answer: the text names it; check that it runs, or ask another."""

    code = "node_unreachable"
    exit = Exit.UNREACHABLE


class OtherChain(AssentError):
    """A node of another chain than the genesis at hand: the text names both, and what to look at."""

    code = "other_chain"
    exit = Exit.CONFIG


class BadAnswer(NodeUnreachable):
    """An answer that no node of ours gives: the text names who gave it; check what listens there."""

    code = "bad_answer"


class OtherScheme(NodeUnreachable):
    """A port of TLS that was asked in the clear, or the other way round: the text says what to write."""

    code = "other_scheme"
    exit = Exit.CONFIG

    def __init__(self, url: str, *, tls: bool) -> None:
        """`tls` tells whether the port at `url` speaks TLS."""
        self.seen = f"{url}: {SPEAKS_TLS if tls else 'what listens there speaks no TLS'}"
        other = f"http{'s' if tls else ''}://{url.partition('://')[2]}"
        super().__init__(
            f"{self.seen}: write {other} if [rpc] tls of that node is {'on' if tls else 'off'}, else see "
            "what listens there"
        )


class NodeBusy(NodeUnreachable):
    """A node that answers others now: the text is its own; wait, or ask another."""

    code = "node_busy"


class RpcError(AssentError):
    """A node's refusal: `number` is the JSON-RPC error, `reason` the stable code of the refusal.

    `verdict` is the contract's own code where a view reverted, else empty.
    """

    code = "rpc"

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__(one_line(message))
        self.number, self.data = number, data
        self.reason: str = data.get("code", "rpc") if isinstance(data, dict) else "rpc"
        self.verdict: str = data.get("verdict", "") if isinstance(data, dict) else ""


class NotCertifiedYet(RpcError):
    """A node that has nothing to prove yet: the text is its own reason; try later, or ask another."""

    code = "not_certified"
    exit = Exit.NO_QUORUM


@contextlib.contextmanager
def reading(url: str, rpc_method: str) -> Iterator[None]:
    """Raise BadAnswer where what a node answered is not what the method returns."""
    try:
        yield
    except (DecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadAnswer(
            f"{url}: its answer to {rpc_method} is malformed ({type(error).__name__}: {error}); see "
            "what listens there, or ask another node"
        ) from None


def checked_url(url: str) -> str:
    """Return a node's address without the slash at its end; raise ConfigError saying how it is written."""
    parts = urlsplit(url.rstrip("/"))
    try:
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        named = False
    if not named or parts.path or parts.query or parts.fragment:
        raise ConfigError(
            f"node {url!r}: give http://HOST:PORT, or https:// where [rpc] tls is on: the address of its "
            "[rpc] listen"
        )
    return url.rstrip("/")


async def read_answer(url: str, response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer; raise BadAnswer for more than ANSWER_BYTES_MAX."""
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) > ANSWER_BYTES_MAX:
            response.close()
            raise BadAnswer(f"{url}: an answer of more than {ANSWER_BYTES_MAX} bytes; ask another node")
    return bytes(found)


def result_of(url: str, answer: Any) -> Any:
    """Return the result in a JSON-RPC answer; raise RpcError for a refusal, BadAnswer for anything else."""
    if isinstance(answer, dict):
        fault = answer.get("error")
        if isinstance(fault, dict) and isinstance(fault.get("code"), int):
            raise RpcError(fault["code"], str(fault.get("message")), fault.get("data"))
        if "result" in answer:
            return answer["result"]
    raise BadAnswer(f"{url}: what it answers is no JSON-RPC; see what listens there, or ask another node")


def text_of(url: str, info: Any, name: str) -> str:
    """Return a text of what `getNodeInfo` answered; raise BadAnswer."""
    if not isinstance(info, dict) or not isinstance(info.get(name), str):
        raise BadAnswer(f"{url}: its answer to getNodeInfo lacks {name}; see what listens there")
    return str(info[name])


def height_of(url: str, answer: Any) -> int:
    """Return an answer that is a height; raise BadAnswer for any other."""
    if type(answer) is not int or answer < 0:
        raise BadAnswer(f"{url}: its answer is not a height; see what listens there, or ask another node")
    return answer


def silence_of(url: str, error: Exception) -> NodeUnreachable:
    """Return the error for a request that was not answered, or not in JSON."""
    said = str(error) or type(error).__name__
    if any(getattr(found, "reason", None) == NOT_TLS for found in (error, error.__cause__)):
        return OtherScheme(url, tls=False)
    cut_off = any(
        isinstance(found, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError)
        or getattr(found, "errno", None) in CLOSED
        for found in (error, error.__cause__)  # the cause, where a body was being sent
    )
    if cut_off:
        return NodeBusy(f"{url}: {said}: it closed the connection before it answered; wait, or ask another")
    if isinstance(error, TimeoutError):
        return NodeUnreachable(
            f"{url}: no answer in time: it takes connections and may be paused or busy; see assent status"
        )
    return NodeUnreachable(f"{url}: {said}; check that it runs")


def refusal_of(url: str, status: int, text: bytes) -> AssentError:
    """Return the error for an answer that is not JSON-RPC: what the node, or what stands before it, says."""
    said = text.decode(errors="replace").strip()[:REFUSAL_CHARS_MAX] or "no reason given"
    if said.startswith(SPEAKS_TLS) and url.startswith("http:"):
        return OtherScheme(url, tls=True)
    if status in HTTP_BUSY:
        return NodeBusy(f"{url}: HTTP {status}: {one_line(said)}")
    return RpcError(status, f"{url}: HTTP {status}: {said}", {"code": f"http_{status}"})
