"""A Map in order: its pages are what sorting its keys gives, whatever was stored and deleted before."""

from __future__ import annotations

import random
from typing import Any

import pytest

from contracts.check import check_source
from contracts.language.limits import NODE_KEYS_MAX
from contracts.testing import LocalChain

SOURCE = """rows = Map({key}, int, ordered=True)

@export
def put(keys: list, n: int = 1):
    for key in keys:
        rows[key] = n

@export
def drop(keys: list):
    for key in keys:
        del rows[key]

@export
def bump(key: Value):
    rows[key] += 1

@view
def page(after: Value = None, limit: int = 100, prefix: Value = None) -> list:
    return rows.page(after, limit, prefix)

@export
def put_and_page(key: Value) -> list:
    rows[key] = 1
    return rows.page(limit=1000)

@view
def default() -> list:
    return rows.page()
"""


def chain_of(key: str) -> LocalChain:
    """Return a chain with the contract, its keys of this type."""
    chain = LocalChain("bank")
    chain.deploy(SOURCE.replace("{key}", key), "c")
    return chain


def walked(chain: LocalChain, limit: int, prefix: Any = None) -> list[Any]:
    """Return all keys, page by page."""
    found: list[Any] = []
    while page := chain.view("c", "page", after=found[-1] if found else None, limit=limit, prefix=prefix):
        found += page
    return found


def random_key(key: str, chance: random.Random) -> Any:
    """Return a key of a type, from a small set."""
    if key == "int":
        return chance.randrange(-500, 500)
    text = chance.choice(["a", "ab", "é", "中", "b/", "\U0001f600", ""]) + str(chance.randrange(60))
    if key == "str":
        return text
    return text.encode() if key == "bytes" else (text[:1], chance.randrange(60))


@pytest.mark.parametrize("key", ["int", "str", "bytes", "tuple[str, int]"])
def test_pages_are_what_sorting_gives_after_any_stores_and_deletions(key: str) -> None:
    seed = f"ordered/{key}"
    print(f"seed {seed}")
    chance, chain, model = random.Random(seed), chain_of(key), set()
    for turn in range(60):
        new = [random_key(key, chance) for _ in range(chance.randrange(1, 12))]
        if model and (turn % 3 == 2 or turn > 45):
            gone = chance.sample(sorted(model), min(len(model), chance.randrange(1, 30)))
            chain.call("c", "drop", keys=gone, gas=10_000_000)
            model -= set(gone)
        else:
            chain.call("c", "put", keys=new, gas=10_000_000)
            model |= set(new)
        if turn % 5 == 0:
            assert walked(chain, chance.choice([1, 7, 1000])) == sorted(model)
    assert walked(chain, 100) == sorted(model)
    for _ in range(20):
        after = random_key(key, chance)
        wanted = [item for item in sorted(model) if item > after][:5]
        assert chain.view("c", "page", after=after, limit=5) == wanted


def test_the_last_deletion_leaves_no_row_of_the_index() -> None:
    chain = chain_of("int")
    keys = list(range(300))
    for start in range(0, 300, 50):
        chain.call("c", "put", keys=keys[start : start + 50], gas=10_000_000)
    rows = [row for row in chain.state.rows if row[1].startswith(b"rows#")]
    assert len(rows) > 300 // NODE_KEYS_MAX
    random.Random("gone").shuffle(keys)
    for start in range(0, 300, 50):
        chain.call("c", "drop", keys=keys[start : start + 50], gas=10_000_000)
    assert [row for row in chain.state.rows if row[0] == "c"] == []
    chain.call("c", "put", keys=[5, 3])
    assert chain.view("c", "default") == [3, 5]


def test_a_prefix_keeps_to_the_keys_that_begin_with_it() -> None:
    chain = chain_of("str")
    chain.call("c", "put", keys=["bank/1", "bank/2", "bank", "bankrupt", "bureau/1", "a"])
    assert walked(chain, 1, "bank/") == ["bank/1", "bank/2"]
    assert walked(chain, 10, "bank") == ["bank", "bank/1", "bank/2", "bankrupt"]
    assert chain.view("c", "page", after="a", prefix="b", limit=2) == ["bank", "bank/1"]
    pairs = chain_of("tuple[str, int]")
    pairs.call("c", "put", keys=[("bank", -2), ("bank", 9), ("bureau", 1)])
    assert pairs.view("c", "page", prefix=("bank",)) == [("bank", -2), ("bank", 9)]
    assert pairs.view("c", "page", prefix=("bank",), after=("bank", -2)) == [("bank", 9)]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"limit": 0}, "VALUE_ERROR"),
        ({"limit": 1001}, "VALUE_ERROR"),
        ({"after": "a"}, "TYPE_ERROR"),
        ({"after": True}, "TYPE_ERROR"),
        ({"prefix": 1}, "TYPE_ERROR"),
    ],
)
def test_a_page_that_cannot_be_is_refused(args: dict[str, Any], code: str) -> None:
    chain = chain_of("int")
    with chain.expect_revert(code):
        chain.view("c", "page", **args)


def test_a_transaction_sees_its_own_stores_in_order_and_a_failing_one_leaves_none() -> None:
    chain = chain_of("str")
    chain.call("c", "put", keys=["b"])
    assert chain.call("c", "put_and_page", key="a") == ["a", "b"]
    chain.call("c", "bump", key="a")
    before = dict(chain.state.rows)
    with chain.expect_revert("TYPE_ERROR"):
        chain.call("c", "put", keys=["c", 5])
    assert chain.state.rows == before
    assert chain.view("c", "default") == ["a", "b"]


def test_a_store_costs_little_more_in_a_large_map_than_in_a_small_one() -> None:
    chain, used = chain_of("int"), []
    for start in range(0, 2_000, 100):
        chain.call("c", "put", keys=list(range(start, start + 100)), gas=10_000_000)
        chain.call("c", "put", keys=[start + 50])
        used.append(chain.gas_of())
    assert used[-1] < used[0] + 1_000
    chain.view("c", "page", limit=1000)
    assert chain.gas_of() < 40_000


def test_pages_never_walk_more_than_they_are_paid_for() -> None:
    chain = chain_of("int")
    chain.call("c", "put", keys=list(range(150)), gas=10_000_000)
    with chain.expect_revert("OUT_OF_GAS"):
        chain.call("c", "page", limit=1000, gas=1_200)


def test_entries_stored_before_a_map_was_ordered_are_listed_once_they_are_stored_again() -> None:
    chain = LocalChain("bank")
    chain.deploy(SOURCE.replace("{key}", "str").replace(", ordered=True", "").replace("rows.page", "page_of")
                 + "\ndef page_of(after=None, limit=100, prefix=None):\n    return []\n", "c")  # fmt: skip
    chain.call("c", "put", keys=["b", "a"])
    rows = {place: data for place, data in chain.state.rows.items() if place[0] == "c"}
    later = chain_of("str")
    later.write(rows)
    assert later.view("c", "default") == []
    later.call("c", "bump", key="b")
    assert later.view("c", "default") == ["b"]
    later.call("c", "drop", keys=["a"])
    assert later.view("c", "default") == ["b"]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("m = Map(bool, int, ordered=True)\n", "HINT"),
        ("m = Map(tuple[str, Value], int, ordered=True)\n", "HINT"),
        ("m = Map(str, int, ordered=False)\n", "ARGUMENTS"),
        ("m = Map(str, int, sorted=True)\n", "ARGUMENTS"),
        ("m = Map(str, int)\n\ndef f():\n    return m.page()\n", "MAP_METHOD"),
        ("m = Map(str, int)\n\ndef f():\n    return list(m.keys())\n", "MAP_METHOD"),
        ("m = Map(str, int, ordered=True)\n\ndef f():\n    return m.page(1, 2, 3, 4)\n", "ARGUMENTS"),
        ("m = Map(str, int, ordered=True)\n\ndef f():\n    return m.page(1, after=2)\n", "ARGUMENTS"),
    ],
)
def test_a_map_that_has_no_order_says_how_to_have_one(source: str, rule: str) -> None:
    assert [item.rule for item in check_source(source, "x.py").diagnostics] == [rule]


def test_the_abi_lists_the_maps_in_order_and_says_nothing_where_there_is_none() -> None:
    ordered = check_source("m = Map(str, int, ordered=True)\nn = Map(str, int)\n", "x.py").program
    plain = check_source("n = Map(str, int)\n", "x.py").program
    assert ordered is not None
    assert plain is not None
    assert ordered.abi["ordered"] == ["m"]
    assert "ordered" not in plain.abi


MEMBERS = ("bank", "bureau", "registry", "regulator")
PLAIN = SOURCE.replace(", ordered=True", "").replace("rows.page(after, limit, prefix)", "[]")
PLAIN = PLAIN.replace("rows.page(limit=1000)", "[]").replace("rows.page()", "[]")
NO_MAP = "@view\ndef page() -> list:\n    return []\n"


def upgraded(*sources: str) -> LocalChain:
    """Return a chain on which the members put these versions into force, after one key of the first."""
    chain = LocalChain.consortium(*MEMBERS)
    chain.adopt(sources[0], "c")
    chain.advance(height=1)
    chain.as_("bank").call("c", "put", keys=["a"])
    for source in sources[1:]:
        chain.adopt(source, "c")
        chain.advance(height=1)
    return chain


TEXTS, NUMBERS = SOURCE.replace("{key}", "str"), SOURCE.replace("{key}", "int")
PAIRS = SOURCE.replace("{key}", "tuple[str, int]")


@pytest.mark.parametrize(
    "later",
    [
        (NUMBERS,),
        (PAIRS,),
        (PLAIN.replace("{key}", "str"),),
        (NO_MAP, NUMBERS),
        (NO_MAP, PLAIN.replace("{key}", "int")),
    ],
)
def test_a_version_that_changes_or_drops_the_order_of_a_map_is_not_committed(later: tuple[str, ...]) -> None:
    chain = upgraded(TEXTS, *later[:-1])
    with chain.expect_revert("ORDER_CHANGED"):
        chain.adopt(later[-1], "c")
    assert chain.view("c", "page") == (["a"] if len(later) == 1 else [])


def test_a_map_keeps_its_order_over_versions_that_do_not_have_it_and_a_plain_one_may_become_ordered() -> None:
    chain = upgraded(TEXTS, NO_MAP, TEXTS)
    chain.as_("bank").call("c", "put", keys=["b"])
    assert chain.view("c", "page") == ["a", "b"]
    chain = upgraded(PLAIN.replace("{key}", "str"), TEXTS)
    chain.as_("bank").call("c", "put", keys=["b"])
    assert chain.view("c", "page") == ["b"]


@pytest.mark.parametrize(
    ("before", "stored", "after", "key"),
    [
        ("str", "a", "int", 5),
        ("int", 5, "str", "a"),
        ("bytes", b"a", "str", "a"),
        ("str", "a", "tuple[str, int]", ("a", 1)),
        ("tuple[str, int]", ("a", 1), "tuple[int, str]", (1, "a")),
        ("tuple[str, int]", ("a", 1), "tuple[str, str]", ("b", "a")),
        ("tuple[str, int]", ("a", 1), "str", "a"),
    ],
)
def test_an_order_of_keys_of_another_type_reverts_whatever_is_asked_of_it(
    before: str, stored: Any, after: str, key: Any
) -> None:
    old, chain = chain_of(before), chain_of(after)
    old.call("c", "put", keys=[stored])
    chain.write({place: data for place, data in old.state.rows.items() if place[0] == "c"})
    for method, args in (("put", {"keys": [key]}), ("put_and_page", {"key": key})):
        with chain.expect_revert("TYPE_ERROR"):
            chain.call("c", method, **args)
    asked: list[dict[str, Any]] = [{}, {"after": key}]
    asked += [{"prefix": key if type(key) is str else key[:1]}] if type(key) is not int else []
    for args in asked:
        with chain.expect_revert("TYPE_ERROR"):
            chain.view("c", "page", **args)
