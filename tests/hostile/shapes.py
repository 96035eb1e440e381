"""Generated programs that build values of few objects and many bytes, and then have somebody write them out.

A seed gives a program: a text, a number or bytes; shared through lists, tuples and dicts; and taken by one of
the ways in which a contract's value is copied, compared, walked or made into text. In the tables below, ` / `
ends a line, and `<…>` stands for a size.
"""

from __future__ import annotations

import random

from corpus import Program

GAS = 10_000_000
"""The dearest transaction that genesis allows by default."""
PEER = """
kept = Var(Value, 0)

@export
def take(x: Value) -> int:
    return 1

@export
def keep(x: Value):
    kept.set(x)

@export
def give(n: int) -> Value:
    a = ["x" * 65_000] * n
    return [a] * n
"""
"""The contract `other`, to which values cross over."""
DECLARED = """
m = Map(str, Value)
k = Map(tuple[Value, int], int)
v = Var(Value, 0)
E = Event(x=Value, y=Value)
S = Event(x=list[subject])
other = Contract("other")

def typed(x: list[list[str] | list[bytes] | dict[str, str]]) -> int:
    return len(x)

def changed(x: Value):
    x["n"] = x

"""
_LEAVES = """
'x' * <n>
'😀' * <n>
'é' * <n>
'中' * <n>
b'x' * <n>
2 ** 4095
-2 ** <b>
'x'
''
b''
7
None
'org:' + 'x' * <s>
('x' * <n>).encode()
'x,' * <h>
str(2 ** 4000)
encode(['x' * <h>])
()
[]
{}
"""
_WRAPS = """
[a] * <c>
(a,) * <c>
[a, a]
(a, a)
{'a': a, 'b': a}
{1: a}
{str(i): a for i in range(<c>)}
[a for i in range(<c>)]
tuple([a] * <c>)
[[a] * <c>] * <c>
{'x' * <n>: a}
{'😀' * <n>: a}
[(i, a) for i in range(<c>)]
[{'a': a, 'b': 'c'}] * <c>
{i: [a, i] for i in range(<c>)}
([a] * <c>)[1:]
list([a] * <c>)
[a] + [a] * <c>
"""
_SINKS = """
return a
return {'r': a, 's': a}
return encode(a)
return sha256(encode(a)).hex()
m['k'] = a
v.set(a)
m['k'] = a / m['l'] = m['k'] / return m['l']
E(x=a, y=a)
k[(a, 1)] = 1
return k.get(((a, a), 1), 0)
other.take(x=a)
other.take(a)
other.keep(a)
return other.give(<c>)
return a == b
return a < b
return [a] == [b]
return (a, 1) < (b, 2)
return a in [b] * <c>
return [b] * <c> == [a] * <c>
return [b, b].count(a)
return len([b].index(a))
return sorted([a] * <c>)
return max([a] * <c>)
return ','.join([a] * <c>)
return str(a)
return f'{a}{a}'
return a + a
return a * <c>
return a[1:] + a[:1]
return [a[i] for i in range(<c>)]
return list(a)
return [x for x in a]
return dict([a] * <c>)
return [p for p in zip(a, a, a, a)]
x = [p for p in zip(zip(a, a), zip(a, a), enumerate(a))]
return list(enumerate(a))
return typed(a)
S(x=a)
S(x=['org:' + str(i) for i in range(<c>)])
changed(a) / return a
return a.upper()
return a.encode()
return a.decode()
return a.hex()
return a.split(',')
return a.split()
return a.replace('x', '😀')
return a.replace('x', a)
return a.copy()
a.append(a) / return a
a.update(a) / return a
return sum(a)
return a.partition('z')
return a.strip('x')
while True: /     encode(a)
while True: /     m['k'] = a
while True: /     other.take(x=a)
while a == b: /     pass
keep = [] / while True: /     keep.append(list(a))
keep = [] / while True: /     keep.append(a + a)
keep = [] / while True: /     keep.append(encode(a))
keep = [] / while True: /     keep.append(str(a))
keep = [] / for p in enumerate(a): /     keep.append(p)
keep = [] / while True: /     keep.append(a * 2)
keep = [] / while True: /     keep.append(m.get('k', a))
v.set(a) / keep = [] / while True: /     keep.append(v.get())
v.set(<leaf>) / keep = [] / while True: /     keep.append(v.get())
while True: /     E(x=a, y=1)
m['k'] = <leaf> / keep = [] / while True: /     keep.append([m['k'], other.take(x=[m['k']])])
"""
_SIZES = {
    "<n>": (1, 20, 63, 1_000, 30_000, 65_536),
    "<h>": (1, 40, 3_000, 30_000),
    "<c>": (2, 9, 100, 1_000, 9_999),
    "<b>": (62, 64, 700, 4_095),
    "<s>": (1, 100, 128),
}


def _one(rng: random.Random, table: str) -> str:
    """Return a line of a table with its sizes chosen."""
    text = rng.choice(table.strip().split("\n"))
    if "<leaf>" in text:
        text = text.replace("<leaf>", _one(rng, _LEAVES))
    for mark, choices in _SIZES.items():
        while mark in text:
            text = text.replace(mark, str(rng.choice(choices)), 1)
    return text.replace(" / ", "\n    ")


def program_of(seed: str) -> Program:
    """Return the program of a seed, with no verdict expected of it."""
    rng = random.Random(seed)
    lines = [f"a = {_one(rng, _LEAVES)}"]
    lines += [f"a = {_one(rng, _WRAPS)}" for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 6, 12, 30)))]
    make = "".join(f"    {line}\n" for line in (*lines, "return a"))
    main = f"    a = make()\n    b = make()\n    {_one(rng, _SINKS)}\n"
    source = f"{DECLARED}def make() -> Value:\n{make}\n@export\ndef main() -> Value:\n{main}"
    return Program(seed, source, "", gas=GAS, peer=PEER)
