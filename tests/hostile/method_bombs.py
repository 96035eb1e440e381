"""Hostile programs: time and memory taken by methods of str, bytes, list, dict and int."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, limited, reverted, spent, works

PROGRAMS = (
    spent("find bomb", body("x = 'a' * 60000", "y = 'a' * 99 + 'b'", "for i in range(10 ** 4):", "    x.find(y)")),
    spent("rfind bomb", body("x = 'a' * 60000", "y = 'b' + 'a' * 30000", "for i in range(10 ** 4):", "    x.rfind(y)")),
    spent("count bomb", body("x = 'ab' * 30000", "for i in range(10 ** 5):", "    x.count('ab')")),
    limited("replace bomb", body("x = 'a' * 20000", "for i in range(10 ** 5):", "    x.replace('a', 'b')"), "ALLOCATION", gas=10_000_000),
    spent("islower bomb", body("x = 'a' * 60000 + 'A'", "for i in range(10 ** 5):", "    x.islower()")),
    limited("split bomb", body("x = ' a' * 4000", "for i in range(10 ** 5):", "    x.split()"), "ALLOCATION", gas=10_000_000),
    limited("join bomb", body("x = 'a' * 60000", "return x.join(['b'] * 9999)"), "TEXT_LENGTH"),
    limited("replace growth", body("x = 'a' * 60000", "return x.replace('a', 'b' * 60000)"), "TEXT_LENGTH"),
    limited("replace nothing", body("x = 'a' * 60000", "return x.replace('', 'b' * 60000)"), "TEXT_LENGTH"),
    limited("zfill bomb", body("return '1'.zfill(10 ** 12)"), "TEXT_LENGTH"),
    works("zfill backwards", body("return '1'.zfill(-10 ** 1000)"), '1'),
    reverted("to_bytes bomb", body("return (1).to_bytes(10 ** 12, 'big')"), "VALUE_ERROR"),
    limited("hex growth", body("return (b'a' * 60000).hex()"), "TEXT_LENGTH"),
    limited("dict update growth", body("d = {str(i): i for i in range(9999)}", "d.update({str(i + 9999): 1 for i in range(9999)})"), "ELEMENTS", gas=10_000_000),
    spent("insert bomb", body("x = list(range(9000))", "while True:", "    x.insert(0, 1)", "    x.pop(0)")),
    works("huge split count", body("return 'a,b'.split(',', 10 ** 1000)"), ['a', 'b']),
    works("huge insert place", body("x = [1]", "x.insert(10 ** 1000, 2)", "return x"), [1, 2]),
    limited("many copies", body("x = list(range(9999))", "while True:", "    y = x.copy()"), "ALLOCATION", gas=10_000_000),
    reverted("decode of garbage", body("return b'\\xed\\xa0\\x80'.decode()"), "VALUE_ERROR"),
    spent("rstrip bomb", body("x = 'a' * 60000", "while True:", "    x.rstrip('b')")),
    spent("startswith bomb", body("x = 'a' * 60000", "y = 'a' * 59999", "while True:", "    x.startswith(y)")),
    spent("list.count bomb", body("x = [[1]] * 9999", "while True:", "    x.count([1])")),
    spent("list.index bomb", body("x = [1] * 9999 + [2]", "while True:", "    x.index(2)")),
    spent("list.remove bomb", body("x = [0] * 9998", "while True:", "    x.append(1)", "    x.remove(1)")),
    spent("dict.get bomb", body("d = {'a' * 60000: 1}", "k = 'a' * 60000", "while True:", "    d.get(k)")),
    spent("reverse bomb", body("x = list(range(9999))", "while True:", "    x.reverse()")),
    spent("isdigit bomb", body("x = '1' * 60000", "while x.isdigit():", "    pass")),
    limited("partition bomb", body("x = 'a' * 100", "while True:", "    x.partition('b')"), "ALLOCATION"),
    limited("upper bomb", body("x = 'ab' * 30000", "while True:", "    x.upper()"), "ALLOCATION", gas=10_000_000),
    limited("list.extend bomb", body("x = [1]", "while True:", "    x.extend(x)"), "ELEMENTS"),
    spent("strip of wide characters", body("c = (chr(0x5200) + chr(0x0151)) * 32000 + chr(0x5151)", "return (chr(0x5151) * 60000).strip(c)"), gas=10_000_000),
    limited("walks over a dict whose keys were deleted", body("d = {}", "for i in range(9999):", "    d[str(i)] = i", "for i in range(9998):", "    del d[str(i)]", "while True:", "    for k in d:", "        pass"), "ALLOCATION", gas=10_000_000),
    spent("walks over a dict whose keys were popped", body("d = {}", "for i in range(9999):", "    d[str(i)] = i", "for i in range(9998):", "    d.pop(str(i))", "while True:", "    y: dict[str, int] = d"), gas=10_000_000),
    limited("dict.copy bomb", body("x = {str(i): i for i in range(9999)}", "while True:", "    y = x.copy()"), "ALLOCATION", gas=10_000_000),
    limited("setdefault growth", body("d = {}", "for i in range(20000):", "    d.setdefault(i, [])"), "ELEMENTS", gas=10_000_000),
    limited("encode growth", body("return ('中' * 60000).encode()"), "TEXT_LENGTH"),
    limited("split into too many", body("return ('a,' * 11000).split(',')"), "ELEMENTS"),
    reverted("update while walked", body("x = {'a': 1}", "for k in x:", "    x.update({k + 'b': 1})"), "CHANGED_WHILE_WALKED"),
    reverted("split by nothing", body("return 'abc'.split('')"), "VALUE_ERROR"),
    reverted("pop from nothing", body("return [].pop()"), "INDEX_ERROR"),
    reverted("a method of the wrong type", body("x = 5", "return x.upper()"), "TYPE_ERROR"),
    reverted("join of numbers", body("return ','.join([1, 2])"), "TYPE_ERROR"),
)  # fmt: skip
