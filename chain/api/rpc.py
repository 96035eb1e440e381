"""JSON-RPC 2.0 calls: which method answers, within which bounds; the methods stand in methods.py."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pydantic

from chain.api.accesslog import AccessLog, LoggedCall, subject_of
from chain.api.faultlog import FaultLog
from chain.api.framing import (
    DECLARED_ERROR,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    UNKNOWN_METHOD,
    WORDS,
    Refused,
    RpcCall,
    encode_failure,
    encode_result,
    ident_of,
    is_notification,
    parsed_bytes,
    read_call,
    read_request,
)
from chain.api.metrics import Metrics
from chain.api.port import ViewFailed
from chain.api.principals import AccessScope, Principal
from chain.api.request_timeout import answered_by
from chain.api.results import Schema
from chain.api.turns import SLICE_S, Busy, Metered
from chain.config import RpcSection
from chain.primitives.errors import AssentError, LimitError
from chain.primitives.settings import Section, allowed, shown

SOCKET_METHODS = ("subscribe", "unsubscribe")
"""Methods of a WebSocket itself, which READ lets one open."""
HEAVY_S = 0.001
"""A method whose calls take the loop for longer waits for a turn of heavy work."""
COST_UP, COST_DOWN = 0.05, 0.5
"""Weight of the newest call in what a method's calls are known to take: what a busy machine adds to some of
them shall not count."""
FAULTS_MAX = 8
"""Faults of parameters that one error names."""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method: what it needs, the model of its parameters, and the coroutine that answers."""

    scope: AccessScope
    params: type[Section]
    answer: Callable[[Any], Awaitable[Any]]
    result: Schema = field(default_factory=dict)
    """JSON Schema of what it answers (`chain.api.results`)."""
    errors: tuple[type[AssentError], ...] = ()
    """What a call may end with beside what all may (`chain.api.openrpc`)."""


class AnswerTooLarge(AssentError):
    """An answer, or the answers of a batch, beyond `rpc.max_answer_bytes`: ask for less at once."""

    code = "answer_too_large"


class Caller(Protocol):
    """Whose request it is, as far as answering it needs to know."""

    @property
    def principal(self) -> Principal:
        """Who asks."""

    @property
    def address(self) -> str:
        """Where the request comes from."""

    drop_calls: Callable[[], None] | None
    """Set while calls wait to be begun; called when their memory is needed for others."""

    async def turn(self) -> None:
        """Wait until it is the caller's turn for heavy work; raise Busy."""

    def count(self) -> bool:
        """Count a further call of a batch, which shares the turn of the first; False where it may not."""

    def charge(self, amount: int) -> bool:
        """Reserve memory for a parsed request, in bytes; return False when there is no room."""

    def read(self) -> None:
        """Give back the memory that the request took: nothing of it is held any more."""

    def hold(self, amount: int) -> bool:
        """Reserve memory for an answer, in bytes; return False when there is no room."""


Extra = Mapping[str, Callable[[Any], Any]]
"""Methods of the connection itself, such as `subscribe`; they take raw parameters and raise AssentError."""


@dataclass(slots=True)
class _Pending:
    """A call that is not begun; `given` is None when it was given up."""

    ident: Any
    given: Any
    silent: bool = False
    """Whether it is a notification: whatever comes of it, it gets no answer."""
    about: Mapping[str, str | int] = field(default_factory=dict)
    """What it is about, once its parameters are known, for the access log."""


@dataclass(slots=True)
class _Work:
    """A request that is being answered."""

    caller: Caller
    pending: deque[_Pending]
    end: float
    """Loop time by which every call must be answered."""
    room: int
    """Bytes that its answers may still have."""
    used: float = 0.0
    """Seconds that calls took of the turn at hand; the first came with that of the request."""

    def drop(self) -> None:
        """Forget the calls that are not begun: their memory is needed for others."""
        for item in self.pending:
            item.given = None


class Calls:
    """Answers requests: all calls of one within a deadline, its answers within a bound of bytes."""

    def __init__(
        self,
        config: RpcSection,
        methods: Mapping[str, Method],
        parsed_max: int,
        metrics: Metrics,
        faults: FaultLog,
        access: AccessLog | None = None,
    ) -> None:
        """`parsed_max` bounds the memory of a parsed request; `access` notes each call, if there is one."""
        self._access = access
        self._config, self._methods, self._parsed_max = config, methods, parsed_max
        self._metrics, self._faults = metrics, faults
        self._costs: dict[str, float] = {}
        """Method -> how long a call of it keeps the loop lately, in seconds."""

    async def answer(self, raw: bytes, caller: Caller, extra: Extra | None = None) -> bytes:
        """Return the answer to a request's text, which has paid for its first turn already.

        It is empty where all calls are notifications.
        """
        try:
            given, batch = self._read(raw, caller)
        except AssentError as error:
            self._note(caller, _Pending(None, None), "", _outcome(error), 0.0)
            return self._refuse(None, None, error)
        del raw
        end = asyncio.get_running_loop().time() + self._config.request_timeout_ms / 1_000
        pending = deque([_Pending(ident_of(item), item, is_notification(item)) for item in given])
        del given
        work = _Work(caller, pending, end, self._config.max_answer_bytes)
        caller.drop_calls = work.drop
        try:
            parts = [await self._next_answer(work, extra or {}) for _ in range(len(pending))]
        finally:
            caller.drop_calls = None
        told = b", ".join(filter(None, parts))
        return b"[" + told + b"]" if batch and told else told

    def _read(self, raw: bytes, caller: Caller) -> tuple[list[Any], bool]:
        size = parsed_bytes(raw)
        if size > self._parsed_max:
            raise LimitError(
                f"the request takes about {size} bytes of memory when read, at most {self._parsed_max}: "
                "send fewer values at once, or raise rpc.max_request_bytes"
            )
        if not caller.charge(size):
            raise Busy("too many requests at once for this node's memory: wait, or ask another node")
        return read_request(raw)

    async def _next_answer(self, work: _Work, extra: Extra) -> bytes:
        """Answer the next call of a request; beyond the bound of bytes it is an error, and not begun.

        The answer to a notification is empty, though it be an error.
        """
        item, caller = work.pending.popleft(), work.caller
        if not work.pending:
            caller.read()
        name = item.given.get("method") if isinstance(item.given, dict) else None
        began, outcome = asyncio.get_running_loop().time(), "gone"  # unless the client stays for it
        try:
            if not work.room:
                raise self._too_large("the answers of this batch")
            if item.given is None:
                raise Busy("this call was given up for newer requests: send smaller batches")
            part = await self._answer_call(item, work, extra)
            part = b"" if item.silent else part
            if len(part) > work.room:
                work.room = 0
                raise self._too_large(f"the answer of {len(part)} bytes")
            if not caller.hold(len(part)):
                raise Busy("too many answers are being sent at once: wait, or ask another node")
            outcome = "ok"
        except AssentError as error:
            outcome = _outcome(error)
            refused = self._refuse(item.ident, name, error)
            return b"" if item.silent else refused
        finally:
            self._note(caller, item, name, outcome, asyncio.get_running_loop().time() - began)
        work.room -= len(part)
        return part

    def _note(self, caller: Caller, item: _Pending, name: Any, outcome: str, seconds: float) -> None:
        if self._access is not None:
            method = name if isinstance(name, str) else ""
            who, address = caller.principal.name, caller.address
            self._access.note(LoggedCall(who, method, item.about, outcome, seconds * 1_000, address))

    async def _answer_call(self, item: _Pending, work: _Work, extra: Extra) -> bytes:
        call = read_call(item.given)
        item.given = None
        self._authorise(call.name, work.caller.principal)
        try:
            async with answered_by(work.end, self._config.request_timeout_ms):
                await self._turn(call.name, work)
                result = await self._metered_call(call, item, work, extra)
            part = encode_result(call.ident, result)
        except AssentError:
            raise
        except Exception:  # a fault of ours: the caller learns that, the log learns what
            self._faults.log(f"method {self._known(call.name)}")
            text = "internal error; the node's log has the details"
            raise Refused(INTERNAL_ERROR, text) from None
        self._metrics.rpc_requests.labels(self._known(call.name), "ok").inc()
        self._metrics.rpc_principals.labels(work.caller.principal.name).inc()
        return part

    def _authorise(self, name: str, principal: Principal) -> None:
        """Raise Unauthorized or Forbidden; who may nothing does not learn what there is."""
        method = self._methods.get(name)
        if method is not None:
            principal.require(method.scope)
        elif not principal.scopes or name in SOCKET_METHODS:
            principal.require(AccessScope.READ)

    def _too_large(self, what: str) -> AnswerTooLarge:
        return AnswerTooLarge(
            f"{what} exceeds {self._config.max_answer_bytes} bytes (rpc.max_answer_bytes): ask for less at "
            "once, or in smaller batches"
        )

    def _refuse(self, ident: Any, name: Any, error: AssentError) -> bytes:
        self._metrics.rpc_requests.labels(self._known(name), "error").inc()
        if isinstance(error, Refused):
            return encode_failure(ident, error.number, str(error), error.data)
        verdict = {"verdict": error.verdict} if isinstance(error, ViewFailed) else {}
        return encode_failure(ident, DECLARED_ERROR, str(error), {"code": error.code} | verdict)

    def _known(self, name: Any) -> str:
        return name if isinstance(name, str) and name in self._methods else "other"

    async def _turn(self, name: str, work: _Work) -> None:
        """Wait for a turn, unless the one at hand is not used up and the call is light."""
        light = work.used < SLICE_S and self._costs.get(name, 0.0) <= HEAVY_S
        if light and (not work.used or work.caller.count()):
            return
        await work.caller.turn()
        work.used = 0.0

    async def _metered_call(self, call: RpcCall, item: _Pending, work: _Work, extra: Extra) -> Any:
        steps: list[float] = []  # of a processor: waiting for one makes no call heavy
        try:
            return await Metered(self._call(call, item, extra), lambda _, used: steps.append(used))
        finally:
            work.used += sum(steps)
            if call.name in self._methods:
                known, took = self._costs.get(call.name, 0.0), sum(steps)
                weight = COST_UP if took > known else COST_DOWN
                self._costs[call.name] = known + (took - known) * weight

    async def _call(self, call: RpcCall, item: _Pending, extra: Extra) -> Any:
        if call.name in extra:
            answer, given = extra[call.name](call.params or {}), call.params
            if self._access is not None and isinstance(given, dict):
                item.about = subject_of(given)  # only now: the handler has judged them
            return answer
        method = self._methods.get(call.name)
        if method is None:
            raise Refused(
                UNKNOWN_METHOD, f"no method {call.name[:64]!r}; the methods are: {', '.join(self._methods)}"
            )
        params = _params(call, method)
        if self._access is not None:
            item.about = subject_of(params)
        return await method.answer(params)


def _outcome(error: AssentError) -> str:
    return WORDS[error.number] if isinstance(error, Refused) else error.code


def _params(call: RpcCall, method: Method) -> Section:
    fields, given = list(method.params.model_fields), call.params
    call.params = None
    if isinstance(given, list):
        if len(given) > len(fields):
            raise Refused(
                INVALID_PARAMS, f"{call.name}: {len(given)} parameters, at most {len(fields)}: {fields}"
            )
        given = dict(zip(fields, given, strict=False))
    try:
        return method.params.model_validate(given or {})
    except pydantic.ValidationError as error:
        faults = [_fault(item) for item in error.errors(include_url=False)[:FAULTS_MAX]]
        raise Refused(INVALID_PARAMS, f"{call.name}: " + "; ".join(faults), {"parameters": fields}) from None


def _fault(item: Any) -> str:
    name = ".".join(str(part)[:64] for part in item["loc"]) or "params"
    value = (
        ""
        if item["type"] in ("missing", "extra_forbidden") or not item["loc"]
        else f" = {shown(item['input'])}"
    )
    return f"{name}{value}: {allowed(item)[:256]}"
