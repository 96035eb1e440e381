"""Hostile programs: time and memory taken by builtins and host functions."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, limited, reverted, spent, works

PROGRAMS = (
    limited("sum of a huge range", body("return sum(range(10 ** 12))"), "ELEMENTS"),
    limited("list of a huge range", body("return list(range(10 ** 12))"), "ELEMENTS"),
    limited("max of a huge range", body("return max(range(10 ** 12))"), "ELEMENTS"),
    limited("sort bomb", body("x = [str(i) * 9 for i in range(5000)]", "for i in range(1000):", "    x = sorted(x, reverse=i % 2 == 0)"), "ALLOCATION"),
    spent("int to text bomb", body("x = 3 ** 2500", "for i in range(10 ** 6):", "    str(x)")),
    reverted("text to int bomb", body("return int('9' * 60000)"), "VALUE_ERROR"),
    limited("text to int at the bound", body("return int('9' * 1240)"), "INT_BITS"),
    spent("hash bomb", body("x = b'a' * 60000", "for i in range(10 ** 6):", "    sha256(x)")),
    spent("signature bomb", body("x = b'a' * 32", "for i in range(10 ** 6):", "    verify_signature(x, x, x + x)")),
    spent("merkle bomb", body("x = b'a' * 32", "for i in range(10 ** 6):", "    merkle_verify(x, x, 0, 2 ** 4000, [x] * 40)")),
    works("huge range step", body("return list(range(0, 10 ** 1000, 10 ** 999))"), [n * 10**999 for n in range(10)]),
    works("bad merkle path", body("x = b'a' * 32", "return merkle_verify(x, x, -1, 5, ['a'])"), False),
    works("bad signature sizes", body("return verify_signature(b'', b'', b'')"), False),
    reverted("huge code", body("c = 'A' * 60000", "require(False, c)"), "VALUE_ERROR"),
    spent("sort long texts", body("x = ['a' * 60000 + str(i) for i in range(30)]", "for i in range(1000):", "    x.sort()")),
    spent("min of long texts", body("x = ['a' * 60000 + 'b', 'a' * 60000 + 'c']", "while True:", "    min(x)")),
    spent("sum of big ints", body("x = [3 ** 2500] * 5000", "while True:", "    sum(x)")),
    limited("all of many", body("x = [1] * 9999", "while True:", "    all(x)"), "ALLOCATION"),
    limited("sorted for nothing", body("x = list(range(9999))", "while True:", "    sorted(x)[0]"), "ALLOCATION"),
    spent("isinstance for ever", body("while isinstance(1, int):", "    pass")),
    spent("int of texts", body("x = '9' * 1200", "while True:", "    int(x)")),
    spent("encode for nothing", body("x = [[1] * 90] * 90", "while True:", "    encode(x)"), gas=1_000_000),
    limited("enumerate of a huge range", body("return list(enumerate(range(10 ** 12)))"), "ELEMENTS"),
    limited("zip of huge ranges", body("return list(zip(range(10 ** 12), range(10 ** 12)))"), "ELEMENTS"),
    limited("tuple of a huge range", body("return tuple(range(10 ** 12))"), "ELEMENTS"),
    limited("sorted huge range", body("return sorted(range(10 ** 12))"), "ELEMENTS"),
    limited("any of a huge range", body("return any(range(0, 10 ** 12))"), "ELEMENTS"),
    limited("sum beyond the bits", body("return sum([2 ** 4095] * 9)"), "INT_BITS"),
    reverted("from_bytes beyond the bits", body("return int.from_bytes(b'\\xff' * 60000, 'big')"), "VALUE_ERROR"),
    reverted("chr beyond Unicode", body("return chr(2 ** 4000)"), "VALUE_ERROR"),
    reverted("chr of a surrogate", body("return chr(0xD800)"), "VALUE_ERROR"),
    reverted("ord of two characters", body("return ord('ab')"), "TYPE_ERROR"),
    reverted("range without step", body("return list(range(1, 5, 0))"), "VALUE_ERROR"),
    reverted("sum of texts", body("return sum(['a'])"), "TYPE_ERROR"),
    reverted("max of nothing", body("return max([])"), "VALUE_ERROR"),
    reverted("sorted unlike things", body("return sorted([1, 'a'])"), "TYPE_ERROR"),
    reverted("fromhex of garbage", body("return bytes.fromhex('zz')"), "VALUE_ERROR"),
)  # fmt: skip
