"""The methods of str and bytes.

Unicode tables differ between CPython versions, so methods about case, classes of characters and white space
act on ASCII only; every other character passes through unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from chain.primitives.values import Value
from contracts.language.faults import Reverted
from contracts.language.limits import ELEMENTS_MAX, MEM_TEXT, MEM_WIDE
from contracts.language.run.machine import Machine
from contracts.language.run.payments import need, new_items, pay_search
from contracts.language.run.values import is_narrow, order_gas, type_name, wrong_type
from contracts.language.run.walks import collect

Method = Callable[..., Value]

_WHITE = " \t\n\r\x0b\x0c"
_WHITE_RUN = re.compile(r"[ \t\n\r\x0b\x0c]+")
_CLASSES = {"isdigit": str.isdigit, "isalpha": str.isalpha, "isalnum": str.isalnum}
_HAS_LOWER, _HAS_UPPER = re.compile(r"[a-z]"), re.compile(r"[A-Z]")


def _pay_part(m: Machine, text: Value, part: Value, what: str) -> None:
    """Pay for comparing a part with the start or the end of a text."""
    need(part, type(text), what)
    m.charge(order_gas(len(part), narrow=is_narrow(text) and is_narrow(part)))


def _case(change: Callable[[bytes], bytes]) -> Method:
    """CPython's case methods of bytes act on ASCII only, and leave the bytes of other characters alone."""

    def method(m: Machine, text: str) -> str:
        m.text(len(text), text.isascii())
        m.charge(len(text) >> (5 if text.isascii() else 3))
        return change(text.encode()).decode()

    return method


def _is_class(test: Callable[[str], bool]) -> Method:
    """A class of characters; CPython's own test is the language's when the text is ASCII."""

    def method(m: Machine, text: str) -> bool:
        if not text.isascii() or not test(text[:1]):
            return False
        m.charge(len(text) >> 4)
        return test(text)

    return method


def _is_space(m: Machine, text: str) -> bool:
    if not text or text[0] not in _WHITE:
        return False
    m.charge(len(text) >> 3)
    return text.strip(_WHITE) == ""


def _has_only(wanted: re.Pattern[str], other: re.Pattern[str]) -> Method:
    def method(m: Machine, text: str) -> bool:
        m.charge(len(text) >> 4)
        return wanted.search(text) is not None and other.search(text) is None

    return method


def _strip(which: str) -> Method:
    cut = {"strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip}[which]

    def method(m: Machine, text: str, characters: Value = None) -> str:
        chosen = _WHITE if characters is None else need(characters, str, which)
        m.charge(len(chosen) >> 5)
        if text and (text[0] in chosen or text[-1] in chosen):
            # CPython looks for wide characters by their low bytes, and one at a time where those agree.
            narrow = text.isascii() and chosen.isascii()
            m.charge(len(text) * (3 + (len(chosen) >> 5 if narrow else len(chosen))) >> 5)
            m.text(len(text), text.isascii())
        return cut(text, chosen)

    return method


def _split(m: Machine, text: str, separator: Value = None, most: Value = -1) -> list[str]:
    need(most, int, "split")
    limit = min(most, ELEMENTS_MAX + 1) if most >= 0 else ELEMENTS_MAX + 1
    m.text(len(text), text.isascii())
    if separator is None:
        m.charge(len(text) >> 3)
        parts = _split_white(text, limit)
        m.charge(len(parts))
    elif need(separator, str, "split") == "":
        raise Reverted("VALUE_ERROR", "split by an empty text")
    else:
        pay_search(m, text, separator)
        m.charge(len(text) >> 5)
        parts = text.split(separator, limit)
    new_items(m, len(parts))
    m.charge(3 * len(parts) >> 3)
    m.allocate(MEM_TEXT * len(parts))
    return parts


def _split_white(text: str, limit: int) -> list[str]:
    stripped = text.lstrip(_WHITE)
    if not stripped:
        return []
    if limit == 0:
        return [stripped]
    parts = _WHITE_RUN.split(stripped, limit)
    return parts if parts[-1] else parts[:-1]


def _join(m: Machine, text: Value, items: Value) -> Value:
    kind = type(text)
    if type(items) not in (list, tuple):
        items = collect(m, items)
    m.charge(len(items))
    for item in items:
        if type(item) is not kind:
            raise wrong_type(f"join of {type_name(item)} by {type_name(text)}")
    length = sum(map(len, items)) + len(text) * max(0, len(items) - 1)
    m.text(length, kind is bytes or (text.isascii() and all(map(str.isascii, items))))
    return text.join(items)


def _replace(m: Machine, text: Value, old: Value, new: Value, most: Value = -1) -> Value:
    pay_search(m, text, old)
    need(new, type(text), "replace")
    need(most, int, "replace")
    m.charge(len(text) >> 6)
    found = len(text) + 1 if not old else text.count(old)
    times = found if most < 0 else min(found, most)
    if times:  # found again, and each place rewritten
        pay_search(m, text, old)
        m.charge(times >> 2)
    m.text(max(0, len(text) + times * (len(new) - len(old))), is_narrow(text) and is_narrow(new))
    return text.replace(old, new, times)


def _starts(m: Machine, text: Value, part: Value) -> bool:
    _pay_part(m, text, part, "startswith")
    return bool(text.startswith(part))


def _ends(m: Machine, text: Value, part: Value) -> bool:
    _pay_part(m, text, part, "endswith")
    return bool(text.endswith(part))


def _find(m: Machine, text: Value, part: Value) -> int:
    pay_search(m, text, part)
    return int(text.find(part))


def _rfind(m: Machine, text: Value, part: Value) -> int:
    pay_search(m, text, part)
    m.charge(len(text) >> 7)
    place = text[::-1].find(part[::-1])  # CPython's own rfind is quadratic in the worst case
    return -1 if place < 0 else len(text) - len(part) - int(place)


def _text_index(m: Machine, text: Value, part: Value) -> int:
    place = _find(m, text, part)
    if place < 0:
        raise Reverted("VALUE_ERROR", "index: the part does not occur")
    return place


def _text_count(m: Machine, text: Value, part: Value) -> int:
    pay_search(m, text, part)
    m.charge(len(text) >> 6)
    return int(text.count(part))


def _remove_prefix(m: Machine, text: str, part: Value) -> str:
    m.text(len(text), text.isascii())
    return text.removeprefix(need(part, str, "removeprefix"))


def _remove_suffix(m: Machine, text: str, part: Value) -> str:
    m.text(len(text), text.isascii())
    return text.removesuffix(need(part, str, "removesuffix"))


def _partition(m: Machine, text: str, part: Value) -> tuple[str, str, str]:
    pay_search(m, text, part)
    if not part:
        raise Reverted("VALUE_ERROR", "partition by an empty text")
    m.text(len(text), text.isascii())
    new_items(m, 3)
    m.allocate(2 * MEM_TEXT)
    return text.partition(part)


def _zfill(m: Machine, text: str, width: Value) -> str:
    m.text(max(len(text), need(width, int, "zfill")), text.isascii())
    return text.zfill(max(0, width))


def _is_ascii(_: Machine, text: str) -> bool:
    return text.isascii()


_UTF_8 = frozenset({"utf-8", "utf8", "UTF-8"})


def _only_utf_8(encoding: Value, what: str) -> None:
    if need(encoding, str, what) not in _UTF_8:
        raise Reverted("VALUE_ERROR", f'{what}: texts are encoded as "utf-8" alone')


def _encode(m: Machine, text: str, encoding: Value = "utf-8") -> bytes:
    _only_utf_8(encoding, "encode")
    if text.isascii():
        m.text(len(text))
        m.charge(len(text) >> 10)
        return text.encode()
    m.charge(len(text) >> 6)
    m.allocate(MEM_WIDE * len(text))  # at most; the cap is held against what it is
    data = text.encode()
    m.text(len(data))
    return data


def _decode(m: Machine, data: bytes, encoding: Value = "utf-8") -> str:
    _only_utf_8(encoding, "decode")
    m.text(len(data), data.isascii())
    m.charge(len(data) >> 10 if data.isascii() else len(data) >> 5)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Reverted("VALUE_ERROR", "decode: the bytes are not UTF-8") from None


def _hex(m: Machine, data: bytes) -> str:
    m.text(2 * len(data))
    m.charge(len(data) >> 6)
    return data.hex()


TEXT: dict[str, Method] = {
    "encode": _encode,
    "isascii": _is_ascii,
    "islower": _has_only(_HAS_LOWER, _HAS_UPPER),
    "isupper": _has_only(_HAS_UPPER, _HAS_LOWER),
    "lower": _case(bytes.lower),
    "partition": _partition,
    "removeprefix": _remove_prefix,
    "removesuffix": _remove_suffix,
    "split": _split,
    "upper": _case(bytes.upper),
    "zfill": _zfill,
    "isspace": _is_space,
    **{name: _is_class(test) for name, test in _CLASSES.items()},
    **{name: _strip(name) for name in ("strip", "lstrip", "rstrip")},
}
BYTES: dict[str, Method] = {"decode": _decode, "hex": _hex}
BOTH: dict[str, Method] = {
    "count": _text_count,
    "endswith": _ends,
    "find": _find,
    "index": _text_index,
    "join": _join,
    "replace": _replace,
    "rfind": _rfind,
    "startswith": _starts,
}
