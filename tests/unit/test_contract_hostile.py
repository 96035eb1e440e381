"""Hostile programs: each has one expected verdict, and the interpreter serves the next call as before."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

import pytest

from contracts.check import run_source

DEFAULT_GAS = 1_000_000
HONEST = "def main():\n    return sum([i * i for i in range(10)])\n"


def body(*lines: str) -> str:
    """Return a `main` of these lines."""
    return "def main():\n" + "".join(f"    {line}\n" for line in lines)


REJECTED: dict[str, tuple[str, str]] = {
    # --- reaching the host ---
    "dunder class": (body("return ().__class__"), "UNDERSCORE_NAME"),
    "dunder subclasses": (body("return ().__class__.__bases__[0].__subclasses__()"), "UNDERSCORE_NAME"),
    "dunder globals": (body("return main.__globals__"), "UNDERSCORE_NAME"),
    "dunder builtins name": (body("return __builtins__"), "UNDERSCORE_NAME"),
    "dunder import call": (body("return __import__('os')"), "UNDERSCORE_NAME"),
    "str.mro": (body("return str.mro()"), "UNKNOWN_METHOD"),
    "type attribute": (body("return str.join"), "ATTRIBUTE"),
    "value.mro": (body("x = 'a'", "return x.mro()"), "UNKNOWN_METHOD"),
    "getattr": (body("return getattr('a', 'upper')"), "UNKNOWN_NAME"),
    "setattr": (body("setattr('a', 'b', 1)"), "UNKNOWN_NAME"),
    "eval": (body("return eval('1')"), "UNKNOWN_NAME"),
    "exec": (body("exec('1')"), "UNKNOWN_NAME"),
    "compile": (body("return compile('1', '', 'eval')"), "UNKNOWN_NAME"),
    "open": (body("return open('/etc/passwd')"), "NOT_IN_LANGUAGE"),
    "input": (body("return input()"), "NOT_IN_LANGUAGE"),
    "globals": (body("return globals()"), "UNKNOWN_NAME"),
    "locals": (body("return locals()"), "UNKNOWN_NAME"),
    "vars": (body("return vars()"), "UNKNOWN_NAME"),
    "type": (body("return type(1)"), "NOT_IN_LANGUAGE"),
    "object": (body("return object()"), "UNKNOWN_NAME"),
    "super": (body("return super()"), "UNKNOWN_NAME"),
    "breakpoint": (body("breakpoint()"), "UNKNOWN_NAME"),
    "import": ("import os\n" + HONEST, "IMPORT"),
    "import inside": (body("import os", "return os.environ"), "IMPORT"),
    "format attribute": (body("return '{0.__class__}'.format(1)"), "UNKNOWN_METHOD"),
    "format_map": (body("return '{a}'.format_map({'a': 1})"), "UNKNOWN_METHOD"),
    "percent format": (body("return '%s' % main"), "PERCENT_FORMAT"),
    "f-string expression": (body("return f'{().__class__}'"), "FSTRING"),
    "f-string call": (body("return f'{open(1)}'"), "FSTRING"),
    "f-string nested": (body("x = 1", "return f'{x:{x}}'"), "FSTRING"),
    "f-string self-documenting": (body("x = 1", "return f'{x=}'"), "FSTRING"),
    "f-string lambda": (body("return f'{(lambda: 1)()}'"), "FSTRING"),
    "function as value": (body("x = len", "return x([1])"), "FUNCTION_VALUE"),
    "function in a list": (body("return [main]"), "FUNCTION_VALUE"),
    "method as value": (body("x = 'a'.upper", "return x()"), "ATTRIBUTE"),
    "calling a call": (body("return main()()"), "FUNCTION_VALUE"),
    "calling an item": (body("return [1][0]()"), "FUNCTION_VALUE"),
    "generator frame": (body("x = (i for i in [1])", "return x.gi_frame"), "GENERATOR"),
    "class body": ("class A:\n    x = 1\n", "CLASS"),
    "metaclass": ("class A(metaclass=type):\n    pass\n", "CLASS"),
    "decorator call": ("@eval('1')\ndef main():\n    return 1\n", "DECORATOR"),
    "default argument": ("def main(x=[]):\n    return x\n", "DEFAULT"),
    "annotation effect": ("def main(x: print('a')):\n    return x\n", "HINT"),
    "annotation subscript": ("def main(x: list[open]):\n    return x\n", "HINT"),
    "except swallows": (body("try:", "    return 1", "except:", "    return 2"), "TRY"),
    "finally": (body("try:", "    return 1", "finally:", "    return 2"), "TRY"),
    "with": (body("with main():", "    return 1"), "WITH"),
    "global": (body("global x", "x = 1"), "GLOBAL"),
    "nonlocal": (body("nonlocal x"), "GLOBAL"),
    "walrus": (body("return [(y := 1) for x in [1]]"), "WALRUS"),
    "match": (body("match 1:", "    case int():", "        return 1"), "MATCH"),
    "async": ("async def main():\n    return 1\n", "ASYNC"),
    "star import": ("from os import *\n", "IMPORT"),
    "ellipsis": (body("return ..."), "NOT_IN_LANGUAGE"),
    "assigning a builtin": ("len = 5\n" + HONEST, "RESERVED_NAME"),
    "assigning to ctx": (body("ctx.caller = 'org:bank'"), "TARGET"),
    "local ctx": (body("ctx = {}", "return ctx"), "RESERVED_NAME"),
    "parameter called require": ("def main(require):\n    return 1\n", "RESERVED_NAME"),
    "floats": (body("return 0.1"), "FLOAT"),
    "float exponent": (body("return 1e400"), "FLOAT"),
    "complex": (body("return 1j"), "COMPLEX"),
    "set order": (body("return list({'a', 'b'})"), "SET"),
    "is on ints": (body("return 1000 is 1000"), "IS"),
    "id": (body("return id(1)"), "UNKNOWN_NAME"),
    "hash": (body("return hash('a')"), "NOT_IN_LANGUAGE"),
    "repr": (body("return repr('a')"), "NOT_IN_LANGUAGE"),
    "dir": (body("return dir()"), "UNKNOWN_NAME"),
    "state at the top level": ("m = Map(str, int)\nx = m['a']\n" + HONEST, "TOP_LEVEL"),
    "call at the top level": (HONEST + "x = main()\n", "TOP_LEVEL"),
    "host function as lifecycle": (body("x = compile_contract", "return x"), "UNKNOWN_NAME"),
    # --- the parser and the compiler ---
    "deep brackets": ("x = " + "(" * 5000 + "1" + ")" * 5000, "TOO_DEEP"),
    "deep lists": ("x = " + "[" * 33 + "]" * 33, "TOO_DEEP"),
    "unary chain": ("x = " + "-" * 20_000 + "1", "TOO_LONG_EXPRESSION"),
    "not chain": (body("return " + "not " * 10_000 + "1"), "TOO_LONG_EXPRESSION"),
    "plus chain": ("x = " + "+".join(["1"] * 10_000), "TOO_LONG_EXPRESSION"),
    "attribute chain": (body("return x" + ".a" * 20_000), "TOO_LONG_EXPRESSION"),
    "subscript chain": (body("x = []", "return x" + "[0]" * 10_000), "TOO_LONG_EXPRESSION"),
    "call chain": (body("return main" + "()" * 10_000), "TOO_LONG_EXPRESSION"),
    "conditional chain": (body("return " + "1 if 1 else " * 5_000 + "1"), "TOO_LONG_EXPRESSION"),
    "lambda chain": ("x = " + "lambda:" * 8_000 + "1", "LAMBDA"),
    "comparison depth": (body("return " + "(1<" * 31 + "1" + ")" * 31 + "<(" * 1 + "1)" + "+1" * 99), "TOO_DEEP"),
    "deep blocks": ("def main():\n" + "".join(" " * n + "if 1:\n" for n in range(1, 60)) + " " * 60 + "return 1\n", "TOO_DEEP"),
    "long elif chain": (body("if 0:", "    return 1", *["elif 0:\n        return 1"] * 2_000), "TOO_DEEP"),
    "huge int literal": ("x = " + "9" * 50_000, "LONG_LITERAL"),
    "big hex literal": ("x = 0x" + "f" * 1_100, "LONG_LITERAL"),
    "huge source": ("#" * 70_000, "SOURCE_TOO_LONG"),
    "wide characters over the bound": ("#" + "中" * 30_000, "SOURCE_TOO_LONG"),
    "long name": ("x" * 1_000 + " = 1", "LONG_NAME"),
    "null byte": ("x = 1\0", "CONTROL_CHARACTER"),
    "form feed": ("\x0cx = 1", "CONTROL_CHARACTER"),
    "carriage return": ("x = 1\rimport os", "LINE_ENDING"),
    "next line U+0085": ("# a\x85import os", "CONTROL_CHARACTER"),
    "line separator": ("x = 'a\u2028b'", "CONTROL_CHARACTER"),
    "right-to-left override": ("# \u202e evil", "CONTROL_CHARACTER"),
    "byte order mark": ("\ufeffx = 1", "CONTROL_CHARACTER"),
    "lone surrogate": ("x = '\ud800'", "CONTROL_CHARACTER"),
    "full-width name": ("ｅval = 1", "NON_ASCII_NAME"),
    "ligature name": ("ﬁeld = 1", "NON_ASCII_NAME"),
    "mathematical name": (body("return 𝐞𝐯𝐚𝐥('1')"), "NON_ASCII_NAME"),
    "named escape": ("x = '\\N{DIGIT ONE}'", "ESCAPE"),
    "octal escape": ("x = '\\777'", "ESCAPE"),
    "bad escape": ("x = '\\q'", "ESCAPE"),
    "number then word": ("x = 1or 2", "NUMBER"),
    "leading zeros": ("x = 007", "NUMBER"),
    "unterminated string": ("x = '''abc", "SYNTAX"),
    "unbalanced": ("x = (1]", "SYNTAX"),
    "stray question mark": ("x = 1 ?", "SYNTAX"),
    "too many items": ("x = [" + "0," * 10_001 + "]", "TOO_MANY_ITEMS"),
    "too many arguments": (body("return max(" + "1," * 300 + ")"), "ARGUMENTS"),
    "constant bomb": ("x = 'a' * 10 ** 9\n", "CONSTANT"),
    "constant power": ("x = 10 ** 10 ** 10\n", "CONSTANT"),
    "constant doubling": ("a = [0] * 100\n" + "".join(f"{chr(98 + n)} = {chr(97 + n)} * 10\n" for n in range(9)), "CONSTANT"),
    "constant sharing": ("a0 = (1, 2)\n" + "".join(f"a{n + 1} = (a{n}, a{n})\n" for n in range(31)), "CONSTANT"),
    "constant nesting": ("a0 = []\n" + "".join(f"a{n + 1} = [a{n}]\n" for n in range(40)), "CONSTANT"),
    "constant failing": ("x = 1 // 0\n", "CONSTANT"),
    "constant wrong operation": ("x = 'a' - 1\n", "CONSTANT"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REJECTED))
def test_a_hostile_source_is_rejected_by_its_rule(name: str) -> None:
    source, rule = REJECTED[name]
    verdict = run_source(source, "main", {})
    assert (verdict["status"], verdict["code"]) == ("rejected", rule), verdict["detail"]


OUT, LIMIT = "out_of_gas", "limit"

RUN: dict[str, tuple[str, str, str]] = {
    # --- time ---
    "endless loop": (body("while True:", "    pass"), OUT, "OUT_OF_GAS"),
    "endless loop with continue": (body("while True:", "    continue"), OUT, "OUT_OF_GAS"),
    "huge range": (body("for i in range(10 ** 18):", "    pass"), OUT, "OUT_OF_GAS"),
    "sum of a huge range": (body("return sum(range(10 ** 12))"), LIMIT, "ELEMENTS"),
    "list of a huge range": (body("return list(range(10 ** 12))"), LIMIT, "ELEMENTS"),
    "max of a huge range": (body("return max(range(10 ** 12))"), LIMIT, "ELEMENTS"),
    "nested loops": (body("for a in range(10 ** 4):", "    for b in range(10 ** 4):", "        for c in range(10 ** 4):", "            pass"), OUT, "OUT_OF_GAS"),
    "nested comprehension": (body("return [1 for a in range(10 ** 6) for b in range(10 ** 6) if 0]"), OUT, "OUT_OF_GAS"),
    "nested comprehension kept": (body("return [1 for a in range(1000) for b in range(1000)]"), LIMIT, "ELEMENTS"),
    "growing while walked": (body("x = [1]", "for i in x:", "    x.append(i)"), LIMIT, "ELEMENTS"),
    "sort bomb": (body("x = [str(i) * 9 for i in range(5000)]", "for i in range(1000):", "    x = sorted(x, reverse=i % 2 == 0)"), OUT, "OUT_OF_GAS"),
    "sort long texts": (body("x = ['a' * 60000 + str(i) for i in range(30)]", "for i in range(1000):", "    x.sort()"), OUT, "OUT_OF_GAS"),
    "find bomb": (body("x = 'a' * 60000", "y = 'a' * 99 + 'b'", "for i in range(10 ** 4):", "    x.find(y)"), OUT, "OUT_OF_GAS"),
    "rfind bomb": (body("x = 'a' * 60000", "y = 'b' + 'a' * 30000", "for i in range(10 ** 4):", "    x.rfind(y)"), OUT, "OUT_OF_GAS"),
    "count bomb": (body("x = 'ab' * 30000", "for i in range(10 ** 5):", "    x.count('ab')"), OUT, "OUT_OF_GAS"),
    "replace bomb": (body("x = 'a' * 20000", "for i in range(10 ** 5):", "    x.replace('a', 'b')"), LIMIT, "ALLOCATION"),
    "in bomb": (body("x = 'a' * 60000", "for i in range(10 ** 5):", "    'b' in x"), OUT, "OUT_OF_GAS"),
    "list membership bomb": (body("x = list(range(9999))", "for i in range(10 ** 5):", "    -1 in x"), OUT, "OUT_OF_GAS"),
    "list equality bomb": (body("x = list(range(9999))", "y = list(range(9999))", "for i in range(10 ** 5):", "    x == y"), OUT, "OUT_OF_GAS"),
    "islower bomb": (body("x = 'a' * 60000 + 'A'", "for i in range(10 ** 5):", "    x.islower()"), OUT, "OUT_OF_GAS"),
    "split bomb": (body("x = ' a' * 4000", "for i in range(10 ** 5):", "    x.split()"), LIMIT, "ALLOCATION"),
    "power of a power": (body("return 10 ** 10 ** 10"), LIMIT, "INT_BITS"),
    "power bomb": (body("x = 3 ** 1200", "for i in range(10 ** 6):", "    y = x * x % (x - i - 1)"), OUT, "OUT_OF_GAS"),
    "power of one": (body("return 1 ** (10 ** 1000)"), "ok", ""),
    "shift bomb": (body("return 1 << 10 ** 9"), LIMIT, "INT_BITS"),
    "shift of nothing": (body("return 0 << 10 ** 100, 5 >> 10 ** 100"), "ok", ""),
    "factorial": ("def main():\n    n = 1\n    for i in range(1, 10000):\n        n *= i\n    return n\n", LIMIT, "INT_BITS"),
    "int to text bomb": (body("x = 3 ** 2500", "for i in range(10 ** 6):", "    str(x)"), OUT, "OUT_OF_GAS"),
    "text to int bomb": (body("return int('9' * 60000)"), "reverted", "VALUE_ERROR"),
    "text to int at the bound": (body("return int('9' * 1240)"), LIMIT, "INT_BITS"),
    "hash bomb": (body("x = b'a' * 60000", "for i in range(10 ** 6):", "    sha256(x)"), OUT, "OUT_OF_GAS"),
    "signature bomb": (body("x = b'a' * 32", "for i in range(10 ** 6):", "    verify_signature(x, x, x + x)"), OUT, "OUT_OF_GAS"),
    "merkle bomb": (body("x = b'a' * 32", "for i in range(10 ** 6):", "    merkle_verify(x, x, 0, 2 ** 4000, [x] * 40)"), OUT, "OUT_OF_GAS"),
    "integer keys that collide": (body("d = {}", "for i in range(9999):", "    d[(i << 45) % 2 ** 60] = i", "for j in range(100):", "    for i in range(9999):", "        d[(i << 45) % 2 ** 60]"), OUT, "OUT_OF_GAS"),
    "keys equal modulo 2^61-1": (body("d = {}", "d[2 ** 61 - 1] = 1"), "reverted", "VALUE_ERROR"),
    # --- memory ---
    "text repeat": (body("return 'a' * 10 ** 9"), LIMIT, "TEXT_LENGTH"),
    "text repeat by huge": (body("return 'a' * 10 ** 1000"), LIMIT, "TEXT_LENGTH"),
    "empty repeat by huge": (body("return len('' * 10 ** 1000) + len([] * 10 ** 1000)"), "ok", ""),
    "list repeat": (body("return [0] * 10 ** 9"), LIMIT, "ELEMENTS"),
    "tuple repeat": (body("return (0,) * 10 ** 9"), LIMIT, "ELEMENTS"),
    "text doubling": (body("x = 'ab'", "while True:", "    x = x + x"), LIMIT, "TEXT_LENGTH"),
    "bytes doubling": (body("x = b'ab'", "while True:", "    x += x"), LIMIT, "TEXT_LENGTH"),
    "list doubling": (body("x = [1]", "while True:", "    x += x"), LIMIT, "ELEMENTS"),
    "list of lists doubling": (body("x = [1]", "for i in range(60):", "    x = [x, x]", "return x == x"), LIMIT, "NESTING"),
    "shared structure compared": (body("x = [1]", "y = [1]", "for i in range(30):", "    x = [x, x]", "    y = [y, y]", "return x == y"), OUT, "OUT_OF_GAS"),
    "shared structure returned": (body("x = [1]", "for i in range(30):", "    x = [x, x]", "return x"), OUT, "OUT_OF_GAS"),
    "shared structure stored": ("v = Var(list, [])\n" + body("x = [1]", "for i in range(30):", "    x = [x, x]", "v.set(x)"), OUT, "OUT_OF_GAS"),
    "shared structure emitted": ("E = Event(x=list)\n" + body("x = [1]", "for i in range(30):", "    x = [x, x]", "E(x=x)"), OUT, "OUT_OF_GAS"),
    "shared structure encoded": (body("x = {'a': 1}", "for i in range(30):", "    x = {'a': x, 'b': x}", "return encode(x)"), OUT, "OUT_OF_GAS"),
    "shared structure hinted": ("def check(x: list[list[list[list[list[int]]]]]):\n    pass\n" + body("x = [1] * 99", "x = [x] * 99", "x = [x] * 99", "x = [x] * 99", "x = [x] * 99", "check(x)"), OUT, "OUT_OF_GAS"),
    "cycle returned": (body("x = []", "x.append(x)", "return x"), LIMIT, "NESTING"),
    "cycle compared": (body("x = []", "x.append(x)", "y = []", "y.append(y)", "return x == y"), LIMIT, "NESTING"),
    "cycle in a dict": (body("d = {}", "d['d'] = d", "return d"), LIMIT, "NESTING"),
    "cycle hashed": (body("x = [1]", "x[0] = x", "return sha256(encode(x))"), LIMIT, "NESTING"),
    "cycle searched": (body("x = []", "x.append(x)", "return [] in x"), "ok", ""),
    "cycle ordered": (body("x = []", "x.append(x)", "y = []", "y.append(y)", "return x < y"), LIMIT, "NESTING"),
    "deep value returned": (body("x = []", "for i in range(33):", "    x = [x]", "return x"), LIMIT, "NESTING"),
    "very deep value dropped": (body("x = []", "for i in range(20000):", "    x = [x]", "return 1"), "ok", ""),
    "many lists": (body("x = []", "for i in range(9999):", "    x.append([0] * 9999)"), LIMIT, "ALLOCATION"),
    "many texts": (body("x = []", "for i in range(9999):", "    x.append('a' * 60000)"), LIMIT, "ALLOCATION"),
    "many dicts": (body("x = []", "while True:", "    x = [{'a': 1, 'b': 2} for i in range(1000)]"), LIMIT, "ALLOCATION"),
    "many copies": (body("x = list(range(9999))", "while True:", "    y = x.copy()"), LIMIT, "ALLOCATION"),
    "many slices": (body("x = list(range(9999))", "while True:", "    y = x[:]"), LIMIT, "ALLOCATION"),
    "join bomb": (body("x = 'a' * 60000", "return x.join(['b'] * 9999)"), LIMIT, "TEXT_LENGTH"),
    "replace growth": (body("x = 'a' * 60000", "return x.replace('a', 'b' * 60000)"), LIMIT, "TEXT_LENGTH"),
    "replace nothing": (body("x = 'a' * 60000", "return x.replace('', 'b' * 60000)"), LIMIT, "TEXT_LENGTH"),
    "zfill bomb": (body("return '1'.zfill(10 ** 12)"), LIMIT, "TEXT_LENGTH"),
    "zfill backwards": (body("return '1'.zfill(-10 ** 1000)"), "ok", ""),
    "long f-string": (body("x = 'a' * 60000", "return f'{x}{x}'"), LIMIT, "TEXT_LENGTH"),
    "to_bytes bomb": (body("return (1).to_bytes(10 ** 12, 'big')"), "reverted", "VALUE_ERROR"),
    "hex growth": (body("return (b'a' * 60000).hex()"), LIMIT, "TEXT_LENGTH"),
    "dict growth": (body("d = {}", "for i in range(10 ** 6):", "    d[i] = i"), LIMIT, "ELEMENTS"),
    "dict update growth": (body("d = {i: i for i in range(9999)}", "d.update({i + 9999: 1 for i in range(9999)})"), LIMIT, "ELEMENTS"),
    "insert bomb": (body("x = list(range(9000))", "while True:", "    x.insert(0, 1)", "    x.pop(0)"), OUT, "OUT_OF_GAS"),
    "huge slice bounds": (body("return [1, 2, 3][-10 ** 1000:10 ** 1000:10 ** 999]"), "ok", ""),
    "huge index": (body("return [1][10 ** 1000]"), "reverted", "INDEX_ERROR"),
    "huge range step": (body("return list(range(0, 10 ** 1000, 10 ** 999))"), "ok", ""),
    "huge split count": (body("return 'a,b'.split(',', 10 ** 1000)"), "ok", ""),
    "huge insert place": (body("x = [1]", "x.insert(10 ** 1000, 2)", "return x"), "ok", ""),
    "result too large": (body("return ['a' * 60000, 'a' * 60000]"), LIMIT, "RESULT_BYTES"),
    # --- depth ---
    "endless recursion": ("def main():\n    return main()\n", LIMIT, "CALL_DEPTH"),
    "mutual recursion": ("def main():\n    return other()\ndef other():\n    return main()\n", LIMIT, "CALL_DEPTH"),
    "deep frames": ("def main():\n    return " + "(" * 24 + "main()" + "+1)" * 24 + "\n", LIMIT, "CALL_DEPTH"),
    "branching recursion": ("def main():\n    return f(60)\ndef f(n):\n    return 1 if n == 0 else f(n - 1) + f(n - 1)\n", OUT, "OUT_OF_GAS"),
    "recursion in a comprehension": ("def main():\n    return [main() for i in [1]]\n", LIMIT, "CALL_DEPTH"),
    # --- state ---
    "write bomb": ("m = Map(int, str)\n" + body("for i in range(10 ** 6):", "    m[i] = 'a' * 100"), OUT, "OUT_OF_GAS"),
    "event bomb": ("E = Event(x=str)\n" + body("while True:", "    E(x='a' * 1000)"), OUT, "OUT_OF_GAS"),
    "subject bomb": ("E = Event(x=list[subject])\n" + body("E(x=[f'org:{i}' for i in []] + ['org:' + str(i) for i in range(20)])"), LIMIT, "SUBJECTS"),
    "forged subject": ("E = Event(x=subject)\n" + body("E(x='org:bank\\nx')"), "reverted", "TYPE_ERROR"),
    "long map key": ("m = Map(str, int)\n" + body("m['a' * 2000] = 1"), LIMIT, "KEY_LENGTH"),
    "self call": ("c = Contract('contract')\n" + body("return c.main()"), "reverted", "REENTRANT"),
    "call of nobody": (body("return Contract('nobody').main()"), "reverted", "UNKNOWN_CONTRACT"),
    "call of a strange name": (body("return Contract('../orgs').main()"), "reverted", "UNKNOWN_CONTRACT"),
    "lifecycle host function": (body("return compile_contract('x = 1')"), "reverted", "LIFECYCLE_ONLY"),
    "lifecycle start": (body("return call_init('orgs', b'', {})"), "reverted", "LIFECYCLE_ONLY"),
    "forged code": (body("c = 'OK\\nx'", "require(False, c)"), "reverted", "VALUE_ERROR"),
    "huge code": (body("c = 'A' * 60000", "require(False, c)"), "reverted", "VALUE_ERROR"),
    "bad merkle path": (body("x = b'a' * 32", "return merkle_verify(x, x, -1, 5, ['a'])"), "ok", ""),
    "bad signature sizes": (body("return verify_signature(b'', b'', b'')"), "ok", ""),
    "decode of garbage": (body("return b'\\xed\\xa0\\x80'.decode()"), "reverted", "VALUE_ERROR"),
}  # fmt: skip
GAS = {"write bomb": 100_000_000, "event bomb": 1_000_000, "many dicts": 10_000_000, "many lists": 10_000_000}
GAS |= {
    "many copies": 10_000_000,
    "many slices": 10_000_000,
    "split bomb": 10_000_000,
    "replace bomb": 10_000_000,
}
GAS |= {"very deep value dropped": 10_000_000, "write bomb": 1_000_000}


@pytest.mark.parametrize("name", list(RUN))
def test_a_hostile_run_ends_with_its_verdict_and_the_next_call_is_served(name: str) -> None:
    source, status, code = RUN[name]
    gas = GAS.get(name, DEFAULT_GAS)
    verdict = run_source(source, "main", {}, gas=gas)
    assert (verdict["status"], verdict["code"] or "") == (status, code), verdict
    assert verdict["gas"] <= gas
    assert (verdict["gas"] == gas) is (status == OUT)
    assert run_source(HONEST, "main", {})["result"] == 285


def test_the_corpus_is_large() -> None:
    assert len(REJECTED) + len(RUN) >= 150
