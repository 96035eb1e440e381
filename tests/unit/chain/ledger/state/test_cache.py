"""The cache of nodes by path."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.state.cache import LIST_EXTRA, NODE_EXTRA, NodeCache

MAX = 4 * LIST_EXTRA
BYTES = st.sampled_from([0, 1, 255])
PATHS = st.lists(BYTES, max_size=3).map(bytes)
SIZES = st.integers(1, 1_500)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PATHS, SIZES),
        st.tuples(st.just("update"), st.dictionaries(PATHS, SIZES, max_size=8), st.lists(PATHS, max_size=4)),
        st.tuples(st.just("grow"), PATHS, st.integers(-500, 500)),
        st.tuples(st.just("clear"), st.none(), st.none()),
    ),
    max_size=40,
)
EVERY = [bytes(path) for path in ([], *([a] for a in (0, 1, 255)))]
EVERY += [path + bytes([a]) for path in EVERY[1:] for a in (0, 1, 255)]
EVERY += [path + bytes([a]) for path in EVERY if len(path) == 2 for a in (0, 1, 255)]


class Modelled:
    """A cache and the dict that it would be if it never forgot."""

    def __init__(self) -> None:
        self.cache = NodeCache(MAX)
        self.model: dict[bytes, bytearray] = {}

    def step(self, step: str, first: Any, second: Any) -> None:
        if step == "add":
            self.model[first] = bytearray(second)
            self.cache.add(first, self.model[first])
        elif step == "update":
            made = {path: bytearray(size) for path, size in first.items()}
            for path in second:
                self.model.pop(path, None)
            self.model |= made
            self.cache.update(made, second, 0)
        elif step == "grow":  # a node that is kept changes in place
            node = self.cache.get(first)
            if node is not None:
                by = max(second, 1 - len(node))
                node[:] = bytes(len(node) + by)
                self.cache.update({}, [], by)
        else:
            self.model.clear()
            self.cache.clear()

    def kept(self) -> dict[bytes, bytearray]:
        return {path: node for path in EVERY if (node := self.cache.get(path)) is not None}

    def weight(self) -> int:
        return weight(self.kept())


def weight(nodes: dict[bytes, bytearray]) -> int:
    lists = {path[:-1] for path in nodes if path}
    return LIST_EXTRA * len(lists) + sum(len(node) + NODE_EXTRA for node in nodes.values())


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_what_is_kept_was_given_last_and_its_account_is_exact(steps: list[tuple[str, Any, Any]]) -> None:
    modelled = Modelled()
    for step in steps:
        modelled.step(*step)
        for path, node in modelled.kept().items():
            assert node is modelled.model[path]
            assert not path or modelled.cache.below(path[:-1])[path[-1]] is node  # type: ignore[index]
        assert modelled.cache.room == MAX - modelled.weight()
        assert step[0] != "update" or modelled.cache.room >= 0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_only_an_update_that_leaves_too_much_forgets_and_lower_nodes_go_first(
    steps: list[tuple[str, Any, Any]],
) -> None:
    modelled = Modelled()
    for step in steps:
        before = modelled.kept()
        modelled.step(*step)
        kept = modelled.kept()
        whole = {path: modelled.model[path] for path in {*before, *_given(step)} & modelled.model.keys()}
        gone = whole.keys() - kept.keys()
        if step[0] == "add":
            assert not gone, "only an update makes room"
        if gone:
            assert weight(whole) > MAX
            assert b"" not in gone, "the root stays"
            assert all(len(path) <= min(map(len, gone)) for path in kept)
            assert not {path[:-1] for path in gone} & {path[:-1] for path in kept if path}, (
                "neighbours go together"
            )


def _given(step: tuple[str, Any, Any]) -> list[bytes]:
    kind, first, _ = step
    return [first] if kind == "add" else list(first) if kind == "update" else []


def test_what_was_known_longest_goes_first_and_an_eighth_more_than_must() -> None:
    size = 64 * (LIST_EXTRA + NODE_EXTRA + 100)
    cache = NodeCache(size)
    for above in range(64):
        cache.add(bytes([above, 7]), bytearray(100))
    assert cache.room == 0
    cache.update({bytes([64, 7]): bytearray(100)}, [], 0)
    assert [above for above in range(65) if cache.get(bytes([above, 7])) is None] == list(range(9))
    assert cache.room == 8 * (LIST_EXTRA + NODE_EXTRA + 100)
