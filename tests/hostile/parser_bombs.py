"""Hostile programs: sources that exhaust the parser, or that two parsers read differently."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, rejected, works

PROGRAMS = (
    rejected("deep brackets", "x = " + "(" * 5000 + "1" + ")" * 5000, "TOO_DEEP"),
    rejected("deep lists", "x = " + "[" * 33 + "]" * 33, "TOO_DEEP"),
    rejected("unary chain", "x = " + "-" * 20_000 + "1", "TOO_LONG_EXPRESSION"),
    rejected("not chain", body("return " + "not " * 10_000 + "1"), "TOO_LONG_EXPRESSION"),
    rejected("plus chain", "x = " + "+".join(["1"] * 10_000), "TOO_LONG_EXPRESSION"),
    rejected("attribute chain", body("return x" + ".a" * 20_000), "TOO_LONG_EXPRESSION"),
    rejected("subscript chain", body("x = []", "return x" + "[0]" * 10_000), "TOO_LONG_EXPRESSION"),
    rejected("call chain", body("return main" + "()" * 10_000), "TOO_LONG_EXPRESSION"),
    rejected("conditional chain", body("return " + "1 if 1 else " * 5_000 + "1"), "TOO_LONG_EXPRESSION"),
    rejected("lambda chain", "x = " + "lambda:" * 8_000 + "1", "LAMBDA"),
    rejected("comparison depth", body("return " + "(1<" * 31 + "1" + ")" * 31 + "<(" * 1 + "1)" + "+1" * 99), "TOO_DEEP"),
    rejected("deep blocks", "def main():\n" + "".join(" " * n + "if 1:\n" for n in range(1, 60)) + " " * 60 + "return 1\n", "TOO_DEEP"),
    rejected("long elif chain", body("if 0:", "    return 1", *["elif 0:\n        return 1"] * 2_000), "TOO_DEEP"),
    rejected("huge int literal", "x = " + "9" * 50_000, "LONG_LITERAL"),
    rejected("big hex literal", "x = 0x" + "f" * 1_100, "LONG_LITERAL"),
    rejected("huge source", "#" * 70_000, "SOURCE_TOO_LONG"),
    rejected("wide characters over the bound", "#" + "中" * 30_000, "SOURCE_TOO_LONG"),
    rejected("generator chain", body("return sum(" + "x for x in (" * 40 + "1" + ")" * 41), "TOO_DEEP"),
    rejected("nested f-strings", body("return " + "f'{" * 20 + "1" + "}'" * 20), "FSTRING"),
    rejected("await chain", body("return " + "await " * 9_000 + "1"), "TOO_LONG_EXPRESSION"),
    rejected("yield chain", body("return (" + "yield " * 9_000 + "1)"), "TOO_LONG_EXPRESSION"),
    rejected("decorator chain", "@export\n" * 7_000 + "def main():\n    return 1\n", "DECORATOR"),
    rejected("comma chain", "x = " + "1," * 16_000, "TOO_MANY_ITEMS"),
    rejected("more tokens than a source may hold", "x = " + "1," * 30_000, "TOO_MANY_TOKENS"),
    rejected("more fields than a source may hold", body("a = 1", "return f'" + "{a}" * 15_000 + "'"), "TOO_MANY_TOKENS"),
    rejected("assignment chain", body("x = " * 10_000 + "1"), "TOO_LONG_EXPRESSION"),
    rejected("dots", "x = " + "." * 60_000, "TOO_LONG_EXPRESSION"),
    rejected("deep slices", body("x = []", "return x" + "[x" * 100 + "]" * 100), "TOO_DEEP"),
    rejected("deep subscripts of hints", "def main(x: " + "list[" * 500 + "int" + "]" * 500 + "):\n    return 1\n", "TOO_DEEP"),
    rejected("deep tuples of targets", body("(" * 33 + "a" + ",)" * 33 + " = 1"), "TOO_DEEP"),
    rejected("power chain", body("return " + "2 ** " * 9_000 + "2"), "TOO_LONG_EXPRESSION"),
    rejected("comparison chain", body("return " + "1 < " * 9_000 + "2"), "TOO_LONG_EXPRESSION"),
    rejected("is not chain", body("return " + "1 is not " * 6_000 + "2"), "TOO_LONG_EXPRESSION"),
    works("adjacent strings", body("return len(" + "'a' " * 15_000 + ")"), 15_000),
    works("adjacent strings with newlines", body("return len(" + "'a'\n" * 15_000 + ")"), 15_000),
    rejected("open brackets only", "(" * 60_000, "TOO_DEEP"),
    rejected("close brackets only", ")" * 60_000, "SYNTAX"),
    rejected("open quotes", "x = '" * 10_000, "TOO_LONG_EXPRESSION"),
    works("backslashes", body("return " + "\\\n" * 30_000 + "15_000"), 15_000),
    works("many short functions", "def main():\n    return f1999()\n" + "".join(f"def f{n}():\n    return {n}\n" for n in range(2_000)), 1999),
    works("comments and blank lines only cost their bytes", body("return 1") + "#\n" * 32_000, 1),
)  # fmt: skip
