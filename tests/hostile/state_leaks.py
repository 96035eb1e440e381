"""Hostile programs: something of one call that the next call, or another contract, could see."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import rejected, reverted, works

PROGRAMS = (
    works("constant list changed through a name", "L = [1]\n@export\ndef plant():\n    x = L\n    x.append(2)\n    return x\n@export\ndef main():\n    return L\n", [1], before=("plant", "plant")),
    works("constant changed through a parameter", "L = [1]\ndef put(x: list):\n    x.append(2)\n@export\ndef plant():\n    y = L\n    put(y)\n@export\ndef main():\n    return L\n", [1], before=("plant", "plant")),
    works("constant changed through a result", "L = {'a': [1]}\ndef give():\n    return L\n@export\ndef plant():\n    x = give()\n    x['a'].append(2)\n@export\ndef main():\n    return L\n", {"a": [1]}, before=("plant", "plant")),
    works("constant changed inside a tuple", "L = ([1], 2)\n@export\ndef plant():\n    x = L\n    x[0].append(9)\n@export\ndef main():\n    return L[0]\n", [1], before=("plant",)),
    works("constant changed while walked", "L = [[1], [2]]\n@export\ndef plant():\n    xs = L\n    for x in xs:\n        x.append(9)\n@export\ndef main():\n    return L\n", [[1], [2]], before=("plant",)),
    works("constant changed in a comprehension", "L = [[1], [2]]\n@export\ndef plant():\n    xs = L\n    return [x.append(9) for x in xs]\n@export\ndef main():\n    return L\n", [[1], [2]], before=("plant",)),
    works("constant changed by swapping", "L = [1, 2]\n@export\ndef plant():\n    x = L\n    x[0], x[1] = x[1], x[0]\n@export\ndef main():\n    return L\n", [1, 2], before=("plant",)),
    works("constant sorted in place", "L = [2, 1]\n@export\ndef plant():\n    x = L\n    x.sort()\n    return x\n@export\ndef main():\n    return L\n", [2, 1], before=("plant",)),
    works("constant extended by itself", "L = [1]\n@export\ndef plant():\n    x = L\n    x += L\n    return x\n@export\ndef main():\n    return L\n", [1], before=("plant", "plant")),
    works("default of a Var changed", "v = Var(list, [1])\n@export\ndef plant():\n    x = v.get()\n    x.append(2)\n@export\ndef main():\n    return v.get()\n", [1], before=("plant", "plant")),
    works("value read from state changed", "m = Map(str, list)\n@export\ndef plant():\n    m['a'] = [1]\n    x = m['a']\n    x.append(2)\n@export\ndef main():\n    return m['a']\n", [1], before=("plant",)),
    works("value changed after it was stored", "m = Map(str, list)\n@export\ndef plant():\n    x = [1]\n    m['a'] = x\n    x.append(2)\n@export\ndef main():\n    return m['a']\n", [1], before=("plant",)),
    works("default of get kept", "m = Map(str, list)\nL = [1]\n@export\ndef plant():\n    x = m.get('a', L)\n    x.append(2)\n@export\ndef main():\n    return m.get('a', L)\n", [1], before=("plant", "plant")),
    works("writes of a reverted call", "m = Map(str, int)\n@export\ndef plant():\n    m['a'] = 1\n    require(False, 'NO')\n@export\ndef main():\n    return 'a' in m\n", False, before=("plant",)),
    works("writes of a call without gas", "m = Map(str, int)\n@export\ndef plant():\n    m['a'] = 1\n    while True:\n        pass\n@export\ndef main():\n    return 'a' in m\n", False, before=("plant",)),
    works("writes of a call at a cap", "m = Map(str, int)\n@export\ndef plant():\n    m['a'] = 1\n    return 'a' * 10 ** 9\n@export\ndef main():\n    return 'a' in m\n", False, before=("plant",)),
    works("deletion of a reverted call", "m = Map(str, int)\n@export\ndef seed():\n    m['a'] = 1\n@export\ndef plant():\n    del m['a']\n    require(False, 'NO')\n@export\ndef main():\n    return m['a']\n", 1, before=("seed", "plant")),
    works("a view that writes", "v = Var(int, 0)\n@view\ndef plant():\n    v.set(5)\n@export\ndef main():\n    return v.get()\n", 0, before=("plant",)),
    works("depth left over from a deep call", "def f(n: int) -> int:\n    return 0 if n == 0 else f(n - 1)\n@export\ndef plant():\n    return f(1000)\n@export\ndef main():\n    return f(40)\n", 0, before=("plant", "plant", "plant")),
    works("memory left over from a large call", "@export\ndef plant():\n    x = []\n    while True:\n        x = [0] * 9999\n@export\ndef main():\n    return len([0] * 9999)\n", 9999, before=("plant", "plant")),
    reverted("a local of the call before", "@export\ndef plant():\n    secret = 5\n    return secret\n@export\ndef main():\n    if ctx.height < 0:\n        secret = 1\n    return secret\n", "UNBOUND", before=("plant",)),
    reverted("a local of the turn before", "@export\ndef main():\n    for i in [1, 2]:\n        if i == 3:\n            x = i\n    return x\n", "UNBOUND", before=()),
    rejected("constant lost through a parameter", "L = [1]\ndef put(x: list):\n    x.append(2)\n@export\ndef main():\n    put(L)\n", "LOST_CHANGE"),
    rejected("constant lost through a result", "L = {'a': [1]}\ndef give():\n    return L\n@export\ndef main():\n    give()['a'].append(2)\n", "LOST_CHANGE"),
    rejected("constant lost while walked", "L = [[1], [2]]\n@export\ndef main():\n    for x in L:\n        x.append(9)\n", "LOST_CHANGE"),
    rejected("constant lost in a comprehension", "L = [[1], [2]]\n@export\ndef main():\n    return [x.append(9) for x in L]\n", "LOST_CHANGE"),
    rejected("a variable of a comprehension", "@export\ndef main():\n    x = [i for i in [1]]\n    return i\n", "UNKNOWN_NAME"),
    rejected("a module variable", "n = 0\n@export\ndef main():\n    n += 1\n    return n\n", "HIDDEN_NAME"),
)  # fmt: skip
