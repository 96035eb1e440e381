"""The grammars from which programs are generated, and their expansion.

A production is a text; `<kind>` in it is expanded by a production of that kind, `<block>` by indented
statements. At depth 0 only productions without `<…>` are taken, so every kind has one.
"""

# ruff: noqa: E501  (productions)

from __future__ import annotations

import random
import re

Grammar = dict[str, list[str]]

COMMON: Grammar = {
    "int": [
        "a", "b", "0", "1", "2", "7", "-3", "255", "10**12", "2**70", "True", "len(xs)", "len(s)", "n",
        "<int> + <int>", "<int> - <int>", "<int> * <int>", "<int> // <int>", "<int> % <int>", "<int> | <int>",
        "<int> & <int>", "<int> ^ <int>", "-<int>", "~<int>", "<int> << <int> % 9", "<int> >> abs(<int>) % 70",
        "<int> ** (<int> % 4)", "abs(<int>)", "(<int> if <bool> else <int>)", "sum(<ints>)", "len(<str>)",
        "len(<ints>)", "max(<int>, <int>)", "min(<int>, <int>, <int>)", "max(<ints>)", "min(<ints> + [3])",
        "<ints>[<int> % 3]", "<ints>[-1]", "<str>.find(<str>)", "<str>.rfind(<str>)", "<str>.count(<str>)",
        "<ints>.count(<int>)", "divmod(<int>, 7)[1]", "divmod(<int>, <int>)[0]", "int(str(<int>))", "ord('k')",
        "d.get(<str>, <int>)", "d[<str>]", "<pair>[0]", "(<int> + 0).bit_length()", "int(<bool>)",
        "int.from_bytes(<bytes>, 'big')", "twice(<int>)", "(<int> or <int>)", "(<int> and <int>)",
        "pick(<ints>, <int>)", "<bytes>[0]", "[<int>, <int>].index(<int>)", "sum([k for k in <ints> if k > <int>])",
        "sum(k for k in <ints> if k > <int>)", "max(<ints>, default=<int>)", "min(<ints>, key=twice)", "max(<int>, <int>, key=abs)",
        "max((i * j for i in <ints> for j in xs), default=0)", "shifted(<int>)", "shifted(<int>, <int>)", "min(<ints>, key=lambda i: -i % 5)",
        "len(<strs> and sorted(<strs>, key=len)[0])", "sum(1 // i for i in <ints>)",
    ],
    "str": [
        "s", "t", "''", "'k'", "'ab'", "'Zé'", "'中文'", "f'{a}-{s}'", "f'{t}{b}'", "'a,b,,c'", "' x  y '",
        "<str> + <str>", "<str> * (<int> % 3)", "<str>[<int> % 5:]", "<str>[:<int> % 4]", "<str>[::-1]", "<str>[0]",
        "str(<int>)", "'-'.join([<str>, <str>])", "<str>.replace(<str>, 'q', 2)", "<str>.replace('a', <str>)",
        "'+'.join(<str>.split(<str> + '/'))", "'|'.join(<str>.split())", "(<str> or <str>)", "<str>.strip('a ')",
        "<str>.partition('b')[2]", "<str>.removeprefix(<str>)", "<str>.removesuffix('b')", "str(<int>).zfill(5)",
        "(<str> if <bool> else <str>)", "<str>.lstrip(<str> + 'x')", "max(<str> + 'a', <str>)", "chr(97 + <int> % 26)",
        "<bytes>.hex()", "sorted([<str>, <str>])[0]", "''.join([c + '.' for c in <str>])", "str(<bool>)",
        "<str>.encode().decode()", "f'{<plain> + 1}|{xs[0]}|{len(s):03}'", "f'{a:>6}|{b:+}|{n:x}|{s:<4}|{t:*^7}'", "f'{n:,}{b:08}'",
        "','.join(w for w in <strs>)", "'.'.join(d)", "''.join(<str>)", "f\"{s + 'q'}{d['k']:2}\"", "<str>.encode('utf-8').decode('utf-8')", "''.join(list(reversed(<str>)))",
    ],
    "bytes": [
        "b''", "b'ab'", "b'\\x00\\xff'", "<str>.encode()", "<bytes> + <bytes>", "<bytes>[1:]",
        "(<int> % 65536).to_bytes(2, 'big')", "bytes.fromhex('00ff10')", "<bytes> * 2", "<bytes>.replace(b'a', b'cc')",
    ],
    "ints": [
        "xs", "ys", "[]", "[1, 2, 3]", "([5] * 2)", "list(d.values())", "<ints> + <ints>", "<ints> * (<int> % 3)",
        "sorted(<ints>)", "sorted(<ints>, reverse=<bool>)", "[i * 2 for i in <ints> if i > <int>]",
        "[i + j for i in <ints> for j in <ints> if i != j]", "list(range(<int> % 6))", "[<int>, <int>]",
        "list(range(<int> % 4, <int> % 9, 2))", "<ints>[<int> % 4:-1]", "<ints>[::-1]", "<ints>[::2]",
        "[k + j for k, j in enumerate(<ints>)]", "[i * j for i, j in zip(<ints>, <ints>)]", "list(reversed(<ints>))",
        "<ints>.copy()", "(<ints> if <bool> else <ints>)", "list(<pair>)", "[len(w) for w in <strs>]", "list(<bytes>)",
        "grow(<ints>, <int>)", "sorted(<ints>, key=abs)", "sorted(<ints>, key=lambda i: i % 3, reverse=<bool>)", "[*<ints>, <int>]",
        "sorted(i + 1 for i in <ints>)", "list(i for i in <ints> if i != <int>)", "[*range(<int> % 4), *<bytes>]", "sorted(<ints>, key=twice)",
    ],
    "plain": ["a", "b", "n", "len(xs)", "max(ys)", "xs[1]", "twice(a)", "(a if a > b else b)"],
    "strs": [
        "[]", "['a', 'b']", "list(d)", "list(d.keys())", "<str>.split(',')", "[<str>, <str>]", "list(<str>)",
        "sorted(<strs>)", "[w + 'x' for w in <strs> if w != <str>]", "[str(i) for i in <ints>]", "<strs> + <strs>",
    ],
    "pair": ["(1, 2)", "(a, b)", "(<int>, <int>)", "divmod(<int>, <int>)", "tuple([<int>, <int>])", "min([<pair>, <pair>])"],
    "bool": [
        "a < b", "s == t", "not xs", "'k' in d", "a in xs", "s in t", "a is None", "xs == ys", "d == e", "True",
        "(<int> < <int> <= <int>)", "(<bool> and <bool>)", "(<bool> or <bool>)", "(not <bool>)", "(<ints> < <ints>)",
        "(<str> >= <str>)", "(<int> != <int>)", "any(<ints>)", "all(<ints>)", "(<int> in <ints>)", "(<str> in <strs>)",
        "(<str> not in <str>)", "<str>.startswith(<str>)", "<str>.endswith('b')", "isinstance(<int>, int)", "(<pair> <= <pair>)",
        "(<bytes> == <bytes>)", "bool(<str>)", "(<pair> == <pair>)", "(d == <dict>)", "(<int> in list(range(<int> % 9)))",
        "any([i > <int> for i in <ints>])",
        "any(i > <int> for i in <ints>)", "all(10 // i < <int> for i in <ints>)", "any(w == s for w in <strs> if w)",
    ],
    "dict": [
        "d", "e", "{}", "{'k': 1}", "{<str>: <int>, 'z': <int>}", "{k: v + <int> for k, v in d.items() if v != <int>}",
        "{w: len(w) for w in <strs>}", "d.copy()", "dict(d)", "{str(i): i for i in <ints>}",
        "(<dict> | <dict>)", "{**<dict>, 'q': <int>}", "{'q': <int>, **<dict>, **d}", "dict((w, len(w)) for w in <strs>)",
    ],
    "simple": [
        "a = <int>", "b = <int>", "a, b = b, <int>", "(a, b) = <pair>", "n = <int>", "a += <int>", "b -= <int>", "a *= <int>",
        "b //= <int>", "a %= <int>", "s = <str>", "t = <str>", "s += <str>", "s, t = t, s", "xs = <ints>", "ys = <ints>",
        "xs, ys = ys, xs", "xs += <ints>", "xs.append(<int>)", "ys.insert(<int> % 7, <int>)", "xs[<int> % 3] = <int>",
        "xs[0] += <int>", "ys.extend(<ints>)", "ys.reverse()", "xs.sort()", "ys.sort(reverse=<bool>)", "xs.pop()",
        "ys.remove(<int>)", "xs.pop(<int> % 3)", "ys.clear()", "del xs[<int>]", "d[<str>] = <int>", "d[<str>] += <int>",
        "d.pop(<str>, 0)", "d.setdefault(<str>, <int>)", "d.update(<dict>)", "del d[<str>]", "e = d", "d = <dict>", "e = <dict>",
        "d.clear()", "assert <bool>, 'no'", "n: int = (<int> + 0)", "xs = ys", "pass", "a = pick(<ints>, <int>)",
        "xs = grow(ys, <int>)", "xs.sort(key=twice)", "ys.sort(key=lambda i: xs.append(i) or i)", "ys.sort(key=lambda i: -i, reverse=<bool>)",
        "d |= <dict>", "_u = <int>", "e = d | e",
    ],
    "compound": [
        "if <bool>:\n<block>", "if <bool>:\n<block>\nelse:\n<block>",
        "if <bool>:\n<block>\nelif <bool>:\n<block>\nelse:\n<block>",
        "for i in range(<int> % 4):\n<block>\n    a += i", "for i in list(xs):\n<block>\n    if <bool>:\n        break",
        "for key in list(d):\n<block>\n    if key == s:\n        continue\n    b += 1",
        "for key, value in list(d.items()):\n    n += value\n<block>", "for i, c in enumerate(<str>):\n    t += c\n<block>",
        "for i in <ints>:\n<block>\n    b += i", "for _ in <ints>:\n<block>", "for i in (k + 1 for k in <ints> if k > <int>):\n<block>\n    a += i", "for i in reversed(xs):\n    xs[0] += i\n<block>", "for i, k in enumerate(ys):\n    n += k\n<block>",
        "for key in d:\n<block>\n    if <bool>:\n        break", "for key, value in d.items():\n<block>\n    n += value",
        "for i, key in zip(xs, d):\n<block>\n    a += d[key] + i", "xs = [d.pop(key, 0) for key in <dict>]",
        "n = 3\nwhile n > 0 and <bool>:\n    n -= 1\n<block>", "for i, j in zip(<ints>, <strs>):\n<block>",
        "if <bool>:\n    return [<int>, <str>, <ints>]",
    ],
}  # fmt: skip
"""Programs that mean the same in CPython, or fail in both."""

FULL: Grammar = {
    **COMMON,
    "int": [
        *COMMON["int"], "ctx.height", "ctx.block_time", "total.get()", "counts.get(<str>, 0)", "counts[<str>]",
        "LIMIT", "<any>", "2**4000", "10**18", "len(encode(<any>))", "helper(<int>, <any>)", "len(<any>)", "TABLE[<str>]",
        "date.parse(<str>)", "date.weekday(<int>)", "date.add_months(<int>, <int>)", "date.add_days(<any>, <any>)", "len(date.iso(<int>))", "date.parts(<any>)[0]",
        "merkle_verify(<bytes>, <bytes>, <int>, <int>, [])", "TREE[<int>]",
        "other.count()", "other.put(key=<str>, n=<int>)", "other.give(x=<any>)", "Contract(<str>).count()", "Contract('other').put('k', <int>)",
    ],
    "str": [*COMMON["str"], "ctx.caller", "ctx.org", "ctx.tx_id", "names.get(<int>, '')", "<any>", "<str>.upper()", "<str>.lower()"],
    "bytes": [*COMMON["bytes"], "sha256(<bytes>)", "encode(<any>)", "<any>"],
    "ints": [*COMMON["ints"], "lists.get(<str>, [])", "lists[<str>]", "<any>", "[0] * <int>", "list(range(<int>))", "TREE"],
    "bool": [*COMMON["bool"], "<str> in counts", "<any> == <any>", "<any> < <any>", "<any> in <any>", "verify_signature(<bytes>, <bytes>, <bytes>)"],
    "any": [
        "a", "s", "xs", "d", "None", "b'x'", "()", "TABLE", "<int>", "<str>", "<ints>", "<dict>", "<bytes>", "<pair>", "<strs>", "<bool>",
        "[<any>, <any>]", "{<any>: <any>}", "(<any>, <any>)", "<any> + <any>", "<any>[<any>]", "<any> * <int>", "[x for x in <any>]",
        "str(<any>)", "int(<any>)", "sorted(<any>)", "dict(<any>)", "max(<any>)", "<any>.copy()", "<any>.get(<any>)", "<any> ** <int>",
        "<any> << <int>", "tuple(<any>)", "sum(<any>)", "<any>[<any>:<any>]", "list(zip(<any>, <any>))", "sum(x for x in <any>)", "sorted(<any>, key=lambda x: <any>)", "max(<any>, key=len, default=<any>)",
        "{**<any>}", "[*<any>]", "<any> | <any>", "','.join(x for x in <any>)", "list(x for x in <any> for y in <any>)", "sorted(<any>, key=str)", "xs.append(xs)", "kept.get()",
    ],
    "simple": [
        *COMMON["simple"], "counts[<str>] = <int>", "counts[<str>] += <int>", "del counts[<str>]", "names[<int>] = <str>",
        "lists[<str>] = <ints>", "total.set(<int>)", "kept.set(<any>)", "total.set(total.get() + 1)", "Seen(who='org:' + ctx.org, n=<int>)",
        "Seen(who=<str>, n=<int>)", "Noted(about=['job:a', 'job:b'], data=<any>)", "require(<bool>, 'NO')", "require(<bool>, <str>)",
        "xs = [xs, xs]", "xs.append(ys)", "s += s", "xs += xs", "a = a * a", "d[<any>] = <any>", "s = <any>", "d = {'d': d, 'e': d}",
        "sorted_rows[<str>] = <int>", "del sorted_rows[<str>]", "xs = sorted_rows.page(<any>, <int>)", "xs = sorted_rows.page(prefix=<any>, limit=<int>)",
        "lists[s] = xs", "e = {1: <any>}", "x: list[int] = <any>", "n: str = <any>",
        "other.put(key=<str>, n=<int>)", "other.put(key=<str>, n=<any>)", "other.refuse(code=<str>)",
    ],
    "compound": [
        *COMMON["compound"], "while <bool>:\n<block>", "for i in <any>:\n<block>", "for i in range(<int>):\n<block>",
        "if <any>:\n    raise Denied", "for i in range(40):\n<block>", "while True:\n<block>",
    ],
}  # fmt: skip
"""The whole language, ill-typed and hostile expressions included."""

HEAD = {
    "common": "",
    "full": (
        'LIMIT = 2 ** 64 - 1\nTABLE = {"k": 1, "ab": 2}\nTREE = [1, [2, 3]]\ncounts = Map(str, int)\nnames = Map(int, str)\n'
        "sorted_rows = Map(str, int, ordered=True)\nlists = Map(str, list)\ntotal = Var(int, 3)\nkept = Var(Value, None)\nSeen = Event(who=subject, n=int)\n"
        'Noted = Event(about=list[subject], data=Value)\nDenied = Error("DENIED")\nother = Contract("other")\n\n'
        "def helper(n: int, x):\n    if n % 5 == 0:\n        return n\n    return helper(n - 1, [x])\n\n"
    ),
}
FUNCTIONS = """def grow(items, n):
    items = items + [n]
    items.sort()
    return items

def twice(n):
    return n + n

def shifted(n, by=3, times=-2):
    return n * times + by

def pick(items, n):
    for k in items:
        if k >= n:
            return k
    return -1

"""
OTHER = """entries = Map(str, int)
Put = Event(by=subject, key=str, n=int)

@view
def count() -> int:
    return entries.get("k", 0)

@view
def give(x):
    return x

@export(nested=True)
def put(key: str, n: int) -> int:
    entries[key] = entries.get(key, 0) + n
    Put(by=ctx.caller, key=key, n=n)
    return entries[key]

@export(nested=True)
def refuse(code: str):
    entries["k"] = 99
    require(False, code)
"""
"""A second contract, which programs of the whole language call."""
START = (
    "a, b, n, s, t = 3, -7, 5, 'ab', 'xabc'",
    "xs, ys = [4, 1, 9], [2, 2]",
    "d, e = {'k': 5, 'ab': 1}, {}",
)
END = "return [a, b, n, s, t, xs, ys, d, e]"
GRAMMARS = {"common": COMMON, "full": FULL}
NOISE = ("(", ")", "[", "]", "{", "}", ":", ",", "=", "lambda", "import os", "__class__", "0x", "1e9", "'", "\\", "\n", "    ", ".", "é", "\u202e", "@", "f'{", "yield", "\x00", "**", ":=", "await ", "global a")  # fmt: skip
_HOLE = re.compile(r"<([a-z]+)>")


class Writer:
    """Writes programs of one grammar; everything follows from the seed."""

    def __init__(self, kind: str, seed: str) -> None:
        """Write programs of this kind (`common` or `full`)."""
        self.kind = kind
        self.grammar = GRAMMARS[kind]
        self.leaves = {
            kind: [text for text in texts if not _HOLE.search(text)] for kind, texts in self.grammar.items()
        }
        self.random = random.Random(seed)

    def program(self) -> str:
        """Return one program: constants, state, helpers and an exported `main` that shows every variable."""
        depth = self.random.choice((1, 2, 2, 3))
        lines = [*START, *self.block(depth), END]
        main = "@export\ndef main():\n" + "".join(f"    {line}\n" for line in lines)
        source = HEAD[self.kind] + FUNCTIONS + main
        return self.disturbed(source) if self.kind == "full" and self.random.random() < 0.15 else source

    def block(self, depth: int) -> list[str]:
        """Return the lines of one to five statements."""
        lines: list[str] = []
        for _ in range(self.random.randint(1, 5)):
            compound = depth > 0 and self.random.random() < 0.4
            lines += self.statement("compound" if compound else "simple", depth)
        return lines

    def statement(self, kind: str, depth: int) -> list[str]:
        """Return the lines of one statement."""
        lines: list[str] = []
        for line in self.random.choice(self.grammar[kind]).split("\n"):
            if line == "<block>":
                lines += [f"    {inner}" for inner in self.block(depth - 1)]
            else:
                lines.append(self.expanded(line, self.random.choice((0, 1, 1, 2, 2, 3))))
        return lines

    def expanded(self, text: str, depth: int) -> str:
        """Fill the holes of a production."""
        return _HOLE.sub(lambda hole: self.expression(hole[1], depth), text)

    def expression(self, kind: str, depth: int) -> str:
        """Return one expression of a kind."""
        if depth <= 0:
            return self.random.choice(self.leaves[kind])
        text = self.random.choice(self.grammar[kind])
        filled = self.expanded(text, depth - 1 - self.random.randint(0, 1))
        return f"({filled})" if filled != text else text

    def disturbed(self, source: str) -> str:
        """Return the source with a few characters cut, doubled or put in."""
        for _ in range(self.random.randint(1, 3)):
            place = self.random.randrange(len(source))
            length = self.random.randint(1, 8)
            piece = self.random.choice(("", source[place : place + length] * 2, self.random.choice(NOISE)))
            source = source[:place] + piece + source[place + length * (piece == "") :]
        return source
