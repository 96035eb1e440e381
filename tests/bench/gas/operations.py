"""The operation classes that gas is measured on: a setup that runs once, and a line that is repeated.

Each line of a table is one operation; ` / ` stands for the end of a line, and `N` for a size: a table with
sizes is measured at each of them. Operations leave what they work on as it was, so that every repetition does
the same work. Searches have the worst contents for CPython's algorithm: those are what the schedule charges.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.primitives.crypto import PrivateKey

HELPERS = """
cells = Map(int, Value)
texts = Map(str, Value)
pairs = Map(tuple[str, int], int)
rows = Map(int, int, ordered=True)
one = Var(int, 0)
Noted = Event(a=int, b=Value)
Filed = Event(a=subject, b=Value)
class Term(Record):
    start: int
    end: int | None = None


class Grant(Record):
    owner: str
    rows: int
    term: Term


class Asked(Protocol):
    def unchanged(self, n: int) -> int: ...


terms = Map(int, Term)
BIG = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
FLAT = {"a": 1, "b": 2, "c": 3}
DEEP = {"a": [1, 2], "b": {"c": [3]}}


def nothing():
    return None


def unchanged(n: int) -> int:
    return n


def recorded(g: Grant) -> Grant:
    return g


def listed(gs: list[Term]) -> int:
    return 1


def typed(a: int, b: str, c: list[int]) -> int:
    return a


def mostly(a: int, b: int = 1, c: str = "", d: int = 0) -> int:
    return a


def down(n: int) -> int:
    if n == 0:
        return 0
    return down(n - 1)

"""

_VALUES = """
x = 7; y = 3; z = 0; t = 'abc'; u = 'abd'; b = b'ab'
g = Grant('abc', 1, Term(1))
xs = [1, 2, 3, 4]; d = {'a': 1, 'b': 2, 'n': 3}; p = (1, 2); ps = [(1, 2), (3, 4)]
"""
_NODES = """
w = Term(x)
w = Grant(t, y, g.term)
w = g.rows
w = g.term.start
g.rows = y
g.rows += 1
k: Grant = g
w = recorded(g)
w = mostly(x)
w = mostly(x, d=y)
k: Asked = Contract(t)
f'{x:>12,}'
f'{t:*^12}'
w = [*xs]
w = {**d}
w = {'a': 1, **d, 'b': 2}
w = max(x, y, key=abs)
z = sum(i for i in xs)
w = date.parse('2024-05-01T12:00:00.250Z')
w = date.iso(1714564800250)
w = date.day(1714564800250)
w = date.parts(1714564800250)
w = date.weekday(1714564800250)
w = date.add_days(1714564800250, 40)
w = date.add_months(1714564800250, 5)
5
x
z = x
x, y = x, y
z = x + y
z = x - y
z = x * y
z = x // y
z = x % y
z = x ** y
z = x << y
z = x >> y
z = x & y
z = x | y
z = x ^ y
z = -x
z = ~x
z = +x
z += x
z -= x
z //= y
z = x == y
z = x < y
z = x != y
z = y < x < 9
z = x is None
z = x and y
z = z or y
z = not x
z = x if y else t
z = True + True
z = t == u
z = t < u
z = p == p
z = ps == ps
z = t + u
z = [x, y]
z = [1, 2, 3, 4, 5, 6, 7, 8]
z = (x, y)
z = []
z = {}
z = {'a': x, 'b': y, 'c': t}
z = {t: x, u: y}
z = f'{t}-{x}'
z = f'{t}'
z = xs[2]
z = xs[-1]
z = d['b']
z = t[1]
z = b[1]
xs[1] = x
d['a'] = x
xs[1] += x
d['n'] += 1
d['q'] = 1; del d['q']
z = xs[1:3]
z = t[1:]
z = 3 in xs
z = 'b' in d
z = 'b' in t
z = 9 not in xs
z = 1 in p
if x > y: z = 1 / else: z = 2
if z: pass / elif x: pass
assert x, 'text'
require(x, 'CODE')
require(x, t.upper())
z = isinstance(x, int)
a: int = x
c: list[int] = xs
e: tuple[int, int] = p
z = BIG
z = FLAT
z = DEEP
z = FLAT['b']
z = BIG[3]
z = ctx.org
z = ctx.block_time
z = ctx.roles
z = len(xs)
nothing()
z = typed(x, t, xs)
z = down(20)
z = down(n=1)
for i in range(3): pass
for i in range(100): pass
for i in xs: z = i
for i in d: z = i
for c in t: continue
for k, v in d.items(): z = v
for i, v in enumerate(xs): z = v
for i, v in zip(xs, xs): z = v
for v in enumerate(enumerate(enumerate(enumerate(enumerate(xs))))): pass
for v in zip(zip(xs, xs), zip(xs, xs), zip(xs, xs), xs, xs, xs, xs): pass
for i in range(9): /     if i > 2: break
k = 5 / while k > 0: k -= 1
z = [i for i in range(100)]
z = [i for i in range(2)]
z = [i for i in xs if i > 2]
z = {i: i for i in range(100)}
z = [i + j for i in range(10) for j in range(10)]
z = [j for i, j in enumerate(xs)]
"""
_INTEGERS = """
s = f'{x:,}'
s = f'{x:_b}'
w = x + z
w = x - y
w = x * y
w = x // y
w = x % y
w = x & z
w = x | y
w = x >> 9
w = y << 9
w = x == z
w = x < z
w = -x
w = divmod(x, y)
w = str(x)
w = int(s)
w = f'{x}'
w = x.bit_length()
w = x.to_bytes(512, 'big')
w = int.from_bytes(raw, 'big')
w = abs(x)
w = encode(x)
w = 3 ** N
w = 2 ** N
w = max(x, y)
w = sorted([x, y, z])
"""
_TEXTS = """
x = t + u
x = t * 3
x = t[1:]
x = t[::2]
x = t == u
x = t < u
x = 'z' in t
x = t.find('b b')
x = t.rfind('ba b')
x = t.count('ab')
x = t.index('b')
x = t.replace('a', 'cd')
x = t.replace('z', 'y')
x = w.split(',')
x = w.split()
x = t.split()
x = t.partition('z')
x = t.strip()
x = t.strip('ab')
x = t.rstrip('xyz')
x = t.upper()
x = c.lower()
x = t.lower()
x = t.lstrip()
x = t.isalpha()
x = t.isalnum()
x = t.isupper()
x = t.isdigit()
x = t.islower()
x = t.isspace()
x = t.isascii()
x = t.startswith('ab')
x = t.endswith(u)
x = t.removeprefix('ab')
x = t.removesuffix('ba')
x = t.zfill(9)
x = t.encode()
x = c.encode()
x = c.encode().decode()
x = b.decode()
x = b.hex()
x = bytes.fromhex(h)
x = b + b
x = b.find(b'z')
x = b == b
x = b[1]
x = b.replace(b'a', b'')
x = b[::-1]
x = f'{t}{u}'
x = list(t)
x = list(c)
x = [a for a in t]
x = sha256(b)
x = len(t)
x = t in [u, u, u]
x = encode(t)
x = str(t)
x = t.count('a')
x = c.find('中中')
x = c[1:]
x = c + 'a'
x = c.replace('é', 'a')
"""
_WORST_SEARCH = """
x = k in t
x = t.find(k)
x = t.count(k)
x = t.replace(k, '')
x = t.split(k)
"""
_WORST_LAST = "x = t.rfind(k)"
_WIDE = """
x = t + u
x = t * 3
x = t[1:]
x = t[::2]
x = t == u
x = t < u
x = '😁' in t
x = t.find('z')
x = t.find('😁')
x = t.find(k)
x = t.rfind('😁')
x = t.count('😀')
x = t.replace('😀', 'é')
x = t.replace('z', 'y')
x = t.split('😁')
x = w.split()
x = t.partition('z')
x = t.strip()
x = t.strip('😁')
x = t.upper()
x = t.isalpha()
x = t.isspace()
x = t.startswith(u)
x = t.endswith(u)
x = v.startswith(a)
x = q.endswith(a)
x = a < v
x = max(a, v)
x = [a] < [v]
x = sorted([a, v])
x = t.removeprefix('😀')
x = t.zfill(9)
x = t.encode()
x = b.decode()
x = f'{t}{u}'
x = ','.join([t, u])
x = [t, u, t]
x = list(t)
x = [a for a in t]
x = encode(t)
x = encode([t, u])
x = t in [u, u, u]
x = d[t[:-1] + '😀']
x = sorted([t, u])
x = {t: 1}
"""
_SHARED = """
x = encode([t] * 40)
x = encode([[t] * 4] * 10)
x = encode([(t,)] * 40)
x = encode([{t: 1}] * 40)
x = encode((((((t,),),),),))
x = encode([z] * 40)
x = [[t] * 40] == [[u] * 40]
x = ((t,),) < ((u,),)
x: list[bytes | int | bool | tuple | str] = [t] * 40
"""
_JOINS = """
x = ','.join(xs)
x = ''.join(xs)
x = b''.join(bs)
"""
_FIXED = """
y = chr(20013)
y = ord('a')
y = 'é'.upper()
y = int('12')
y = str(12)
y = bool(x)
y = encode(x)
y = encode(None)
y = encode('text')
y = encode((x, x))
y = min(x, 2)
"""
_LISTS = """
x = listed(gs)
x = [g.start for g in gs]
x = [*xs, *ys]
x = (*ts, 1)
x = sum(i for i in xs)
x = any(i < 0 for i in xs)
x = list(i for i in xs)
x = ','.join(s for s in ss)
x = dict((s, 1) for s in ss)
x = sum(i + j for i in xs for j in (1, 2))
x = sorted(xs, key=abs)
x = sorted(xs, key=lambda i: -i)
x = sorted(xs, key=unchanged)
x = sorted(xs, key=lambda i: (i % 7, i))
x = max(xs, key=lambda i: -i)
xs.sort(key=abs)
xs.append(1); xs.pop()
x = xs.pop(0); xs.insert(0, x)
x = xs + ys
x = xs * 1
x = xs[1:]
x = xs[::-1]
x = xs.copy()
x = list(xs)
x = tuple(xs)
x = list(range(N))
x = xs.index(xs[-1])
x = xs.count(3)
x = ns.index(ns[-1])
x = hs.index(k)
x = hs.count(k)
xs.reverse()
xs.sort()
xs.append(-1); xs.remove(-1)
x = xs.copy(); x.clear()
x = divmod(len(xs), 7)
x = [1]; x.extend(xs)
x = [1]; x += xs
x = sorted(xs)
x = sorted(ss)
x = sorted(ns)
x = sorted(xs, reverse=True)
x = sorted(ls)
x = xs == ys
x = ns == ns[:]
x = ss == ss[:]
x = xs < ys
x = ns < ns[:]
x = -1 in xs
x = 'none' in ss
x = [0, 1] in ns
x = [-1] in ns
x = -1 in ts
x = sum(xs)
x = max(xs)
x = min(ss)
x = any(zs)
x = all(ss)
x = list(zip(xs, ss))
x = list(enumerate(xs))
x = list(reversed(xs))
x = encode(xs)
x = encode(ss)
x = encode(ns)
x = encode(ts)
for a in xs: pass
x = [a for a in ss]
x: list[int] = xs
y: list[str] = ss
z: list[list[int]] = ns
"""
_DICTS = """
x = d | e
x = {**d, **e}
d |= d
x = ','.join(d)
x = d[k]
x = d.get(k)
x = k in d
x = d.get('none', 1)
x = g[1]
d[k] = 1
x = d.pop(k); d[k] = x
x = d.setdefault(k, 1)
x = d.copy()
x = {}; x.update(d)
x = dict(d)
x = dict(ps)
x = list(d)
x = len(d)
x = list(d.items())
x = list(d.values())
x = sorted(d)
x = d == d.copy()
x = {a: b for a, b in d.items()}
x = encode(d)
x = encode(e)
x = encode(g)
for a, b in d.items(): pass
x = sum([b for b in e.values()])
y: dict[str, int] = d
x = max(e)
x = sorted(ps)
x = encode(ps)
"""
_CHOSEN_KEYS = """
x = 7 in c
x = c.get(7, 1)
x = {**c}
x = {'a': 1, **c}
x = c | c
c.update(c.copy())
x = c == c.copy()
for a, b in c.items(): pass
x = encode(c)
"""
_LONG_KEYS = """
x = d[k[:-1] + 'k']
x = k[:-1] + 'k' in d
x = encode(d)
"""
_EFFECTS = (
    ("read", "z = texts['abc']", True),
    ("read", "z = texts.get(t, {})", True),
    ("read", "z = cells.get(1)", False),
    ("read", "z = 2 in cells", False),
    ("read", "z = 'abc' in texts", True),
    ("read", "z = pairs.get(p, 0)", False),
    ("read", "z = one.get()", False),
    ("read", "z = terms[1]", False),
    ("write", "terms[2] = Term(1)", False),
    ("write", "cells[1] = x", True),
    ("write", "texts[t] = x", True),
    ("write", "pairs[p] = 1", False),
    ("write", "one.set(1)", False),
    ("update", "cells[2] += 1", False),
    ("delete", "cells[3] = 1; del cells[3]", False),
    ("update", "rows[2] = 1", False),
    ("delete", "rows[3] = 1; del rows[3]", False),
    ("read", "z = rows.page(2, 5)", False),
    ("read", "z = rows.page(limit=1000)", False),
    ("event", "Noted(a=7, b=x)", True),
    ("filed", "Filed(a='topic:bank', b=x)", True),
)
"""What the ledger does, a line, whether its size is that of x. The ledger finds a row; hashes and stores one;
both; deletes one; keeps an event; files it in the log of a subject too."""
_STORED = (
    ("an int", "7", 1),
    ("a text of 1,000", "'a' * 1000", 1_003),
    ("a text of 8,000", "'a' * 8000", 8_003),
    ("100 ints", "[i for i in range(100)]", 103),
    ("a record", "{'name': 'bank', 'amount': 5, 'since': 100000, 'parts': ['a', 'b']}", 43),
)
_PROOFS = "x = merkle_verify(leaf, leaf, 0, 2 ** N - 1, path)"
_NUMBERS = """
x = 3 ** (N // 2) + 1; y = 3 ** (N // 4) + 2; z = 3 ** (N // 2) + 7; s = str(x); raw = x.to_bytes(512, 'big')
"""
_STRINGS = """
t = 'ab' * (N // 2); u = 'ab' * (N // 2); b = t.encode(); h = b.hex(); c = 'é中' * (N // 8)
w = ', ' * (N // 2)
"""
_EMOJI = """
t = '😀' * N; u = '😀' * N; b = t.encode(); d = {t: 1}; w = ' 😀' * (N // 2); k = '😀' * (N // 2) + '😁'
a = 'a' * N; v = a + '中'; q = '中' + a
"""
_PARTS = "t = 'a' * N; u = 'a' * N; z = 2 ** 4000"
_ITEMS = """
xs = [i * 7919 % N for i in range(N)]; ts = tuple(xs); ys = list(xs); ss = [str(i) for i in xs]; zs = [0] * N
ns = [[i] for i in range(N // 8)]; ls = ['a' * 99 + s for s in ss]
gs = [Term(i, i) for i in xs]
hs = ['a' * 503 + str(10000 + i) for i in xs]; k = hs[-1][:9] + hs[-1][9:]
"""
_PAIRS = """
d = {str(i): i for i in range(N)}; e = {'e' + str(i): i for i in range(N)}
g = {i: i for i in range(min(N, 128))}; ps = [(str(i), i) for i in range(N)]
k = str(N - 1)
"""
_PASSED = """
c = {}; s = 7
for i in range(N): s = (5 * s + 1) % 256; c[s] = i
"""
"""Each key in its own slot, all of them where CPython looks for 7 in 256 slots (Objects/dictobject.c)."""
_LAST_NEEDLES = (
    "t = 'a' * N; k = 'ab' + 'a' * 60",
    "t = 'a' * N; k = 'ab' + 'a' * (N - 100)",
)
_NEEDLES = (
    "t = 'a' * N; k = 'a' * 12 + 'ba'",
    "t = 'a' * N; k = 'a' * 60 + 'ba'",
    "t = 'a' * N; k = 'a' * 96 + 'ba'",
    "t = 'a' * N; k = 'a' * (N - 100) + 'ba'",
    "t = 'a' * N; k = 'a' * (N // 2) + 'b' + 'a' * (N // 3)",
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One class at one size."""

    group: str
    name: str
    setup: str
    repeated: str
    size: int = 0
    """Bytes that reach the ledger."""


def _table(group: str, table: str, setup: str, sizes: tuple[int, ...] = ()) -> list[Operation]:
    setup = setup.strip()
    made = []
    for line in table.strip().split("\n"):
        if not sizes:
            made.append(Operation(group, line, setup, line.replace(" / ", "\n")))
        made += [
            Operation(group, f"{line}  [N = {size}]", _at(setup, size), _at(line.replace(" / ", "\n"), size))
            for size in sizes
        ]
    return made


def _at(source: str, size: int) -> str:
    return source.replace("N", str(size))


def _signature(size: int) -> Operation:
    """Return the verification of a true signature over a message of this size."""
    key = PrivateKey(bytes(32))
    signature = key.sign(b"a" * size).hex()
    setup = f"k = bytes.fromhex('{key.public.hex()}'); m = b'a' * {size}; s = bytes.fromhex('{signature}')"
    line = "x = verify_signature(k, m, s)"
    return Operation("host", f"{line}  [N = {size}]", setup, line)


def effects() -> list[Operation]:
    """Return reads, writes and events, small and large; `size` counts the bytes that reach the ledger."""
    found = []
    for group, line, sized in _EFFECTS:
        for name, value, size in _STORED if sized else _STORED[:1]:
            setup = f"x = {value}; t = 'abc'; p = ('bank', 7)"
            setup += "; cells[2] = 1; texts[t] = x; pairs[p] = 1; one.set(1); terms[1] = Term(1)"
            setup += "\nfor i in range(300):\n    rows[i * 101 % 1009] = 1\nrows[2] = 1"
            found.append(Operation(group, f"{line}  [x = {name}]" if sized else line, setup, line, size))
    return found


def everything() -> list[Operation]:
    """Return every class of pure work."""
    searches = [
        Operation("search", f"{made.name} {setup}", made.setup, made.repeated)
        for table, needles in ((_WORST_SEARCH, _NEEDLES), (_WORST_LAST, _LAST_NEEDLES))
        for setup in needles
        for made in _table("search", table, setup, (300, 1_900, 29_900))
    ]
    proof = "leaf = sha256(b'a'); path = [leaf] * N"
    return [
        *_table("node", _NODES, _VALUES),
        *_table("int", _INTEGERS, _NUMBERS, (40, 300, 2_000)),
        *_table("text", _TEXTS, _STRINGS, (8, 300, 8_000)),
        *_table("wide", _WIDE, _EMOJI, (8, 300, 8_000)),
        *_table("shared", _SHARED, _PARTS, (8, 1_000)),
        *_table("text", _JOINS, "xs = ['abc'] * N; bs = [b'abcdefgh'] * N", (10, 1_000, 8_000)),
        *_table("text", _FIXED, "x = 1"),
        *searches,
        *_table("list", _LISTS, _ITEMS, (8, 250, 4_000)),
        *_table("dict", _DICTS, _PAIRS, (8, 250, 4_000)),
        *_table("dict", _CHOSEN_KEYS, _PASSED, (127,)),
        *_table("dict", _LONG_KEYS, "k = 'k' * N; d = {k: 1}", (40, 60_000)),
        *_table("host", _PROOFS, proof, (1, 30)),
        *[_signature(size) for size in (32, 60_000)],
    ]
