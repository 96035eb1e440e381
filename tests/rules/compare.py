"""Whether contracts and model came to the same: code, result, events, and every row of the state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chain.primitives.runtimeport import OK, Event, Outcome
from chain.primitives.values import decode_stored
from tests.rules.base import Told
from tests.rules.chain import Chain
from tests.rules.model import Answer, Model
from tests.rules.rows import EMPTY, SETS, as_read, is_read


@dataclass(frozen=True, slots=True)
class Difference:
    """What the contracts did that the model did not, or the reverse; `what` names the kind."""

    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"


def of_answer(outcome: Outcome, answer: Answer) -> Difference | None:
    """Compare what one call came to."""
    code = "" if outcome.status == OK else outcome.code or outcome.status
    if code and code not in answer.codes:
        wanted = " or ".join(sorted(answer.codes)) or "accepted"
        return Difference("refused", f"contract {code}, model {wanted} ({outcome.detail[:160]})")
    if not code and answer.codes:
        return Difference("accepted", f"contract accepts, model {' or '.join(sorted(answer.codes))}")
    if code:
        return None
    result = decode_stored(outcome.result)
    if not same(result, answer.result):
        return Difference("result", f"contract {short(result)}, model {short(answer.result)}")
    return of_events(outcome.events, answer.told)


def of_events(events: Iterable[Event], told: Iterable[Told]) -> Difference | None:
    """Compare events, in whatever order."""
    left = list(told)
    for event in events:
        fields = decode_stored(event.fields)
        found = next((t for t in left if _is(event, fields, t)), None)
        if found is None:
            near = [t for t in left if (t.contract, t.name) == (event.contract, event.name)]
            return Difference(
                "event", f"contract {event.contract}.{event.name} {_unlike(fields, event, near)}"
            )
        left.remove(found)
    if left:
        return Difference("event", f"model alone: {left[0].contract}.{left[0].name} {short(left[0].fields)}")
    return None


def _is(event: Event, fields: dict[str, Any], told: Told) -> bool:
    if event.name != told.name or event.contract != told.contract:
        return False
    return same(fields, dict(told.fields)) and frozenset(event.subjects) == told.histories


def _unlike(fields: dict[str, Any], event: Event, near: list[Told]) -> str:
    if not near:
        return f"{short(fields)}, the model has none"
    wanted = near[0]
    wrong = {
        name: (fields.get(name), wanted.fields.get(name))
        for name in fields.keys() | wanted.fields.keys()
        if not same({name: fields.get(name)}, {name: wanted.fields.get(name)})
    }
    return short(wrong or {"subjects": (event.subjects, wanted.histories)})


def of_state(chain: Chain, model: Model) -> Difference | None:
    """Compare every row that the README describes."""
    wanted = model.rows()
    for place, stored in chain.rows.items():
        if not is_read(place):
            continue
        expected = wanted.pop(place, EMPTY.get(place[:2]))
        found = as_read(place, stored, model)
        if not same(found, expected):
            return Difference(
                "state", f"{'.'.join(place[:2])}[{short(place[2])}]: {_rows_unlike(found, expected)}"
            )
    if wanted:
        place, expected = next(iter(wanted.items()))
        return Difference(
            "state", f"{'.'.join(place[:2])}[{short(place[2])}]: model alone, {short(expected)}"
        )
    return None


def _rows_unlike(found: Any, expected: Any) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        wrong = {
            name: (found.get(name), expected.get(name))
            for name in found.keys() | expected.keys()
            if not same({name: found.get(name)}, {name: expected.get(name)})
        }
        return f"(contract, model) {short(wrong)}"
    return f"contract {short(found)}, model {short(expected)}"


def same(found: Any, expected: Any) -> bool:
    """Tell whether two values are equal; the README says no order of votes and the like."""
    return bool(found == expected) or bool(_ordered(found) == _ordered(expected))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: sorted(item) if name in SETS and isinstance(item, list) else _ordered(item)
            for name, item in value.items()
        }
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def short(value: Any) -> str:
    """Return a text of bounded length."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
