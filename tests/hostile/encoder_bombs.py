"""Hostile programs: results, events and stored values that are dear to encode."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, limited, reverted, spent, works

PROGRAMS = (
    limited("long keys in order", "m = Map(str, int, ordered=True)\n" + body("for i in range(10 ** 6):", "    m['a' * 1000 + str(i)] = 1"), "WRITTEN_BYTES", gas=10_000_000),
    limited("many keys in order", "m = Map(int, int, ordered=True)\n" + body("for i in range(10 ** 6):", "    m[i * 7919 % 100003] = 1"), "WRITTEN_BYTES", gas=10_000_000),
    limited("big numbers in order", "m = Map(int, int, ordered=True)\n" + body("for i in range(10 ** 6):", "    m[2 ** 4000 + i] = 1"), "WRITTEN_BYTES", gas=10_000_000),
    limited("pages of long keys", "m = Map(str, int, ordered=True)\n" + body("for i in range(8):", "    m['a' * 900 + str(i)] = 1", "while len(m.page(limit=1)) > 0:", "    pass"), "ALLOCATION", gas=10_000_000),
    limited("deep value returned", body("x = []", "for i in range(33):", "    x = [x]", "return x"), "NESTING"),
    limited("result too large", body("return ['a' * 60000, 'a' * 60000]"), "RESULT_BYTES"),
    limited("write bomb", "m = Map(int, str)\n" + body("for i in range(10 ** 6):", "    m[i] = 'a' * 100"), "WRITTEN_BYTES"),
    limited("event bomb", "E = Event(x=str)\n" + body("while True:", "    E(x='a' * 1000)"), "WRITTEN_BYTES"),
    limited("subject bomb", "E = Event(x=list[subject])\n" + body("E(x=[f'org:{i}' for i in []] + ['org:' + str(i) for i in range(20)])"), "SUBJECTS"),
    limited("long map key", "m = Map(str, int)\n" + body("m['a' * 2000] = 1"), "KEY_LENGTH"),
    limited("wide dict returned", body("return {str(i): 'a' * 50 for i in range(2000)}"), "RESULT_BYTES"),
    limited("many big ints returned", body("return [2 ** 4095] * 200"), "RESULT_BYTES"),
    limited("long text of wide characters", body("return '中' * 60000"), "RESULT_BYTES"),
    limited("many events", "E = Event(x=int)\n" + body("for i in range(2000):", "    E(x=i)"), "EVENTS", gas=10_000_000),
    limited("a large event", "E = Event(x=list)\n" + body("E(x=['a' * 60000, 'b' * 60000])"), "EVENT_BYTES"),
    limited("many large events", "E = Event(x=str)\n" + body("for i in range(9):", "    E(x='a' * 60000)"), "WRITTEN_BYTES", gas=10_000_000),
    limited("a large value stored", "m = Map(int, list)\n" + body("for i in range(9):", "    m[i] = ['a' * 60000]"), "WRITTEN_BYTES", gas=100_000_000),
    limited("deep value stored", "v = Var(Value, 0)\n" + body("x = 1", "for i in range(40):", "    x = [x]", "v.set(x)"), "NESTING"),
    limited("deep value emitted", "E = Event(x=list)\n" + body("x = [1]", "for i in range(40):", "    x = [x]", "E(x=x)"), "NESTING"),
    limited("deep value as a key", "m = Map(tuple[Value, int], int)\n" + body("x = (1,)", "for i in range(40):", "    x = (x,)", "m[x, 1] = 1"), "NESTING"),
    reverted("a list as a key of state", "m = Map(tuple[Value, int], int)\n" + body("m[[1], 1] = 1", "return m[[2], 1]"), "KEY_ERROR"),
    spent("wide value encoded again and again", body("x = {str(i): i for i in range(5000)}", "while True:", "    encode(x)")),
    works("largest nesting returned", body("x = 1", "for i in range(31):", "    x = [x]", "return len(encode(x))"), 32),
)  # fmt: skip
