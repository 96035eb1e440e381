"""What every part of the reference model shares: the clock, the signer, refusals and announcements.

A rule is a function of the model and a call's arguments. It first states what must hold, then acts. Where
more than one of its guards fails, the README says no order among them, so the model names them all and the
contract may answer with any; the guard of a grant alone has a stated order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chain.primitives.values import encode_value

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
TEXT_MAX = 256
DAY_MS = 86_400_000
HASH_BYTES = 32
KEY_ROLES = frozenset({"admin", "steward", "agent"})


class _Any:
    """What the README leaves open: equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()


class Refused(Exception):
    """A call that the rules refuse; `codes` are all that the README gives for it."""

    def __init__(self, codes: Iterable[str]) -> None:
        """Keep the codes."""
        self.codes = frozenset(codes)
        super().__init__(" or ".join(sorted(self.codes)))


@dataclass(frozen=True, slots=True)
class Told:
    """One event that the rules announce; `subjects` are the names of its fields that are histories."""

    contract: str
    name: str
    fields: Mapping[str, Any]
    subjects: tuple[str, ...]

    @property
    def histories(self) -> frozenset[str]:
        """The subjects under which it is filed."""
        found: set[str] = set()
        for name in self.subjects:
            value = self.fields[name]
            found.update([value] if isinstance(value, str) else value)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a call."""

    org: str
    roles: frozenset[str]
    key: bytes


class Desk:
    """Guards and announcements of one call."""

    def __init__(self) -> None:
        """Start at height 0."""
        self.height = 0
        self.time = 0
        self.signer = Signer("", frozenset(), b"")
        self.told: list[Told] = []
        self.read_only = False
        self.counting: dict[str, int] = {}
        """Contract -> what its policy will have counted, if this call is not refused."""
        self.acts: Counter[tuple[str, str, str, int]] = Counter()
        """(contract, org, act, day) -> how often, of what is counted by the day."""
        self.acting: list[tuple[str, str, str, int]] = []
        """What counts so, if this call is not refused."""
        self._broken: list[str] = []

    # --- guards

    def must(self, holds: bool, code: str) -> bool:
        """Note a guard that fails; others are asked all the same."""
        if not holds:
            self._broken.append(code)
        return holds

    def need(self, holds: bool, code: str) -> None:
        """Stop at a guard without which the others make no sense."""
        if not self.must(holds, code):
            self.go()

    def go(self) -> None:
        """Refuse if any guard failed: from here on the rule acts."""
        if self._broken:
            raise Refused(self._broken)

    @property
    def is_broken(self) -> bool:
        """Whether a guard has failed."""
        return bool(self._broken)

    def begin(self, signer: Signer, read_only: bool) -> None:
        """Forget the last call."""
        self.signer, self.read_only = signer, read_only
        self.told, self.counting, self.acting, self._broken = [], {}, [], []

    def reach(self, name: str) -> None:
        """Require that one contract of genesis can call another: members may have stopped it."""
        raise NotImplementedError

    def page_of(self, ident: str) -> tuple[str, bool] | None:
        """Return the page of a program and whether it is active; None for no such program."""
        raise NotImplementedError

    def role(self, *roles: str) -> str:
        """Require one of these key roles, or admin; return the acting organisation."""
        self.must(bool(self.signer.roles & {"admin", *roles}), "KEY_ROLE_MISSING")
        return self.signer.org

    def spend(self, org: str, contract: str, acts: Mapping[str, int]) -> None:
        """Set how much an organisation has done today of what is counted by the day."""
        today = self.time // DAY_MS
        for place in [place for place in self.acts if place[:2] == (contract, org) and place[3] == today]:
            del self.acts[place]
        self.acts.update({(contract, org, act, today): count for act, count in acts.items()})

    def room_today(self, contract: str, act: str, most: int, code: str) -> None:
        """Require that the acting organisation did this less often today."""
        place = contract, self.signer.org, act, self.time // DAY_MS
        self.must(self.acts[place] < most, code)
        self.acting.append(place)

    def text(self, *texts: str, most: int = TEXT_MAX) -> None:
        """Require short texts."""
        self.must(all(len(text) <= most for text in texts), "TEXT_TOO_LONG")

    def hash(self, *hashes: bytes) -> None:
        """Require hashes of 32 bytes."""
        self.must(all(len(item) == HASH_BYTES for item in hashes), "BAD_HASH")

    def ident(self, *idents: str) -> None:
        """Require ids."""
        self.must(all(ID.fullmatch(item) is not None for item in idents), "BAD_ID")

    def own_name(self, ident: str) -> None:
        """Require "org/name" in the signer's own part of the names."""
        owner, slash, name = ident.partition("/")
        if self.must(slash == "/" and NAME.fullmatch(name) is not None, "BAD_ID"):
            self.must(owner == self.signer.org, "ID_NOT_OWN")

    def exact(self, value: Any, kind: type) -> None:
        """Require exactly this type: true is no number."""
        self.need(type(value) is kind, "TYPE_ERROR")

    # --- announcements

    @property
    def by(self) -> str:
        """The acting organisation as a subject."""
        return f"org:{self.signer.org}"

    def tell(self, event: str, subjects: Sequence[str], /, **fields: Any) -> None:
        """Announce "contract.Event"; `by` is added, and is a subject, unless it is given."""
        contract, name = event.split(".")
        self.told.append(Told(contract, name, {"by": self.by, **fields}, (*subjects, "by")))


def digest(value: Any) -> bytes:
    """Return SHA-256 of an encoded value."""
    return sha256(encode_value(value)).digest()


def distinct(items: Sequence[Any]) -> bool:
    """Tell whether no item comes twice."""
    return len(set(items)) == len(items)
