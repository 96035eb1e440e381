"""Hostile programs: what differs between hosts, versions, hash seeds or runs of CPython."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, rejected, reverted, works

PROGRAMS = (
    rejected("floats", body("return 0.1"), "FLOAT"),
    rejected("float exponent", body("return 1e400"), "FLOAT"),
    rejected("complex", body("return 1j"), "COMPLEX"),
    rejected("set order", body("return list({'a', 'b'})"), "SET"),
    rejected("is on ints", body("return 1000 is 1000"), "IS"),
    rejected("id", body("return id(1)"), "NOT_IN_LANGUAGE"),
    rejected("hash", body("return hash('a')"), "NOT_IN_LANGUAGE"),
    rejected("repr", body("return repr('a')"), "NOT_IN_LANGUAGE"),
    rejected("dir", body("return dir()"), "NOT_IN_LANGUAGE"),
    rejected("order of a set comprehension", body("return [x for x in {y for y in 'ab'}]"), "SET"),
    rejected("set builtin", body("return set([1])"), "NOT_IN_LANGUAGE"),
    rejected("is on texts", body("x = 'a'", "return x is 'a'"), "IS"),
    rejected("time", body("return now()"), "NOT_IN_LANGUAGE"),
    rejected("float division", body("return 1 / 3"), "FLOAT_DIVISION"),
    rejected("round", body("return round(5)"), "NOT_IN_LANGUAGE"),
    rejected("sort by a value", body("x = 1", "return sorted([1], key=x)"), "ARGUMENTS"),
    rejected("casefold", body("return 'ß'.casefold()"), "UNKNOWN_METHOD"),
    rejected("title", body("return 'ǆ'.title()"), "UNKNOWN_METHOD"),
    rejected("isnumeric", body("return '½'.isnumeric()"), "UNKNOWN_METHOD"),
    rejected("isidentifier", body("return 'x'.isidentifier()"), "UNKNOWN_METHOD"),
    rejected("str of a list", body("return str([1])") + "import os\n", "IMPORT"),
    reverted("repr through str", body("return str([1, 2])"), "TYPE_ERROR"),
    reverted("repr through an f-string", body("x = {'a': 1}", "return f'{x}'"), "TYPE_ERROR"),
    reverted("str of bytes", body("return str(b'a')"), "TYPE_ERROR"),
    reverted("full-width number", body("return int('１２')"), "VALUE_ERROR"),
    reverted("number with underscores", body("return int('1_0')"), "VALUE_ERROR"),
    reverted("number with a thin space", body("return int('\\u20091')"), "VALUE_ERROR"),
    works("upper case of sharp s", body("return 'ß'.upper()"), "ß"),
    works("lower case of dotted I", body("return 'İI'.lower()"), "İi"),
    works("superscripts are no digits", body("return ['²'.isdigit(), '٣'.isdigit(), 'é'.isalpha()]"), [False, False, False]),
    works("white space is ASCII", body("return 'a\\u00a0b\\u2003c\\x1cd'.split()"), ["a\u00a0b\u2003c\x1cd"]),
    works("order of texts is by code point", body("return sorted(['\\uffff', '\\U00010000', 'Z', 'a'])"), ["Z", "a", "\uffff", "\U00010000"]),
    works("sorting is stable", body("return sorted([(1, 'b'), (1, 'a'), (0, 'c')])"), [[0, "c"], [1, "a"], [1, "b"]]),
    works("sorting keeps True and 1 in order", body("return [x is None or isinstance(x, bool) for x in sorted([1, True, 0, False])]"), [False, True, False, True]),
    works("order of a dict after deletion", body("d = {'a': 1, 'b': 2, 'c': 3}", "del d['a']", "d['a'] = 4", "return [k for k in d]"), ["b", "c", "a"]),
    works("order of a dict from state", "m = Map(str, dict)\n" + body("m['x'] = {'b': 1, 'a': 2, 'Z': 3}", "return [k for k in m['x']]"), ["Z", "a", "b"]),
    works("order of int keys from state", "m = Map(str, dict)\n" + body("m['x'] = {10: 1, 9: 2, 'a': 3, 255: 4, 256: 5}", "return [str(k) for k in m['x']]"), ["9", "10", "255", "256", "a"]),
    works("floor division of negatives", body("return [-7 // 2, -7 % 2, 7 // -2, 7 % -2, -1 >> 10]"), [-4, 1, -4, -1, -1]),
    works("bools are numbers", body("return [True + True, sum([True, False, True]), 1 == True]"), [2, 2, True]),
    works("a huge number as text", body("return len(str(2 ** 4095))"), 1233),
    works("identity of equal lists", body("x = [1]", "return [x == [1], x is None]"), [True, False]),
    works("the answer of encode", body("return encode({'b': 1, 'a': [True, None]}).hex()"), "82a16192c3c0a16201"),
)  # fmt: skip
