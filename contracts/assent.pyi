"""The names that a contract finds without importing anything, for editors.

Copy this file as `__builtins__.pyi` into the folder of your contracts: Pyright, Pylance and other editors
that follow its convention then complete and check these names. What the language leaves out of Python is
reported by `assent contract check`.
"""

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, dataclass_transform, overload
from typing import Protocol as Protocol

K = TypeVar("K")
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])

Value = Any
"""Any value of the language: int, str, bytes, bool, None, list, dict, tuple."""

class subject(str):
    """A text "kind:id", such as "dataset:credit", that puts an event into the history of what it names."""

class Map(Generic[K, V]):
    """State by key; values are copied in and out."""

    def __init__(self, key: type[K], value: type[V], *, ordered: bool = False) -> None: ...
    def __getitem__(self, key: K) -> V: ...
    def __setitem__(self, key: K, value: V) -> None: ...
    def __delitem__(self, key: K) -> None: ...
    def __contains__(self, key: K) -> bool: ...
    def get(self, key: K, default: Any = None) -> Any:
        """Return a copy of the entry, or the default."""

    def page(self, after: K | None = None, limit: int = 100, prefix: Any = None) -> list[K]:
        """Return at most `limit` keys (1,000) behind `after`, in order; only of a Map with `ordered=True`."""

class Var(Generic[V]):
    """One value of state; it is copied in and out."""

    def __init__(self, kind: type[V], default: V = ...) -> None: ...
    def get(self) -> V:
        """Return a copy of the value, the default before the first `set`."""

    def set(self, value: V) -> None:
        """Store a copy of the value."""

class Event:
    """An announcement, declared with the type of each field and emitted by calling it with each field."""

    def __init__(self, **fields: Any) -> None: ...
    def __call__(self, **fields: Any) -> None: ...

class Error(Exception):
    """A refusal with a stable code: `Denied = Error("DENIED")`, then `raise Denied`."""

    def __init__(self, code: str) -> None: ...

def Contract(name: str) -> Any:
    """Return another contract: `Contract("name").method(argument=value)`, atomic with this transaction.

    With an interface, `policy: Policy = Contract("name")`, its calls are checked.
    """

def Library(digest: str) -> Any:
    """Return a library on the ledger: `roles = Library("64 hex digits")`, then `roles.has(…)`."""

@dataclass_transform()
class Record:
    """Base of a dict with typed fields: `class Grant(Record):`, then `owner: str`, `rows: int = 0`.

    Made by `Grant(owner="bank")`, read and set as `grant.rows`; a type of Maps, arguments and results.
    """

class _Context:
    caller: str
    """Who calls: "org:bank", or "contract:name"; "contract:lifecycle" in @init and @migrate."""
    signer: str
    """Public key of the calling member, hex; empty when a contract calls."""
    org: str
    """Organisation of the calling member; empty when a contract calls."""
    roles: tuple[str, ...]
    """Roles of the calling member's key; empty when a contract calls."""
    origin: str
    """Who signed the transaction, "org:bank", however many contracts call one another: for records only."""
    height: int
    block_time: int
    """Milliseconds since 1970, agreed by consensus."""
    tx_id: str
    """Hex."""
    contract: str
    """Name of the running contract."""
    chain_id: str
    """Hex; zeros in @init at genesis, and where there is no chain."""

ctx: _Context

class date:
    """The calendar in UTC; a time is in milliseconds since 1970, as ctx.block_time is. Years 1 to 9999."""

    @staticmethod
    def parse(text: str) -> int:
        """Return the time of "2024-05-01", "2024-05-01T12:00:00Z" or "2024-05-01T12:00:00.250Z"."""

    @staticmethod
    def iso(time: int) -> str:
        """Return "2024-05-01T12:00:00.250Z"."""

    @staticmethod
    def day(time: int) -> str:
        """Return "2024-05-01"."""

    @staticmethod
    def parts(time: int) -> tuple[int, int, int]:
        """Return (year, month, day)."""

    @staticmethod
    def weekday(time: int) -> int:
        """Return 0 on a Monday, 6 on a Sunday."""

    @staticmethod
    def add_days(time: int, days: int) -> int:
        """Return the same time of day, so many days later."""

    @staticmethod
    def add_months(time: int, months: int) -> int:
        """Return the same day of another month, or its last day when it is too short."""

def init(function: F) -> F:
    """Runs once, when the contract is activated."""

@overload
def export(function: F) -> F:
    """A member may call it; a call through another contract reverts with DIRECT_ONLY."""

@overload
def export(*, nested: Literal[True]) -> Callable[[F], F]:
    """A member, or another contract, may call it: look at ctx.caller."""

def only(*roles: str, org: str | Var[str] | list[str] | tuple[str, ...] = ...) -> Callable[[F], F]:
    """Above a plain @export: a key with one of these roles, of this organisation, may call.

    Else the call reverts with ONLY_ROLE or ONLY_ORG.
    """

def view(function: F) -> F:
    """Read-only; members, other contracts and anyone off chain may ask."""

def migrate(function: F) -> F:
    """Runs once, when this version replaces another."""

def require(condition: object, code: str) -> None:
    """Revert with a stable code unless the condition holds.

    No checker of types learns from it that a value is not None: say `assert value is not None` for that.
    """

def sha256(data: bytes) -> bytes:
    """Return the 32-byte hash."""

def encode(value: Any) -> bytes:
    """Return the canonical bytes of a value, at most 65,536: beyond, the call ends with ENCODED_BYTES."""

def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an Ed25519 signature holds."""

def merkle_verify(root: bytes, leaf: bytes, index: int, count: int, path: list[bytes]) -> bool:
    """Tell whether `leaf` is number `index` of the `count` leaves under `root`."""

def compile_library(source: str) -> dict[str, Any]:
    """Check and compile a library (contract `lifecycle` only)."""

def compile_contract(source: str) -> dict[str, Any]:
    """For the contract `lifecycle` alone: compile a source."""

def trace_page(
    source: str, datasets: list[Any], parameters: dict[str, Any], initiator: str
) -> dict[str, Any]:
    """For the contract `programs` alone: derive what follows of a page."""

def call_init(name: str, source_hash: bytes, args: dict[str, Any]) -> Any:
    """For the contract `lifecycle` alone: run @init of a stored source as `name`."""

def call_migrate(name: str, source_hash: bytes, args: dict[str, Any]) -> Any:
    """For the contract `lifecycle` alone: run @migrate of a stored source as `name`."""
