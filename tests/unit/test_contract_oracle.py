"""Generated programs of the common subset give the same result here as under CPython."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.jsonvalue import to_json
from contracts.check import run_source

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
INTS, TEXTS, LISTS, DICTS = ("a", "b"), ("s", "t"), ("xs", "ys"), ("d", "e")
Text = st.SearchStrategy[str]


def join(template: str, *parts: Text) -> Text:
    """Fill a template with generated parts."""
    return st.tuples(*parts).map(lambda items: template.format(*items))


def number(depth: int) -> Text:
    """An expression that is an int."""
    leaf = st.sampled_from(
        (*INTS, "0", "1", "2", "7", "-3", "10**12", "True", "len(xs)", "len(s)", "d.get('k', 4)")
    )
    if depth == 0:
        return leaf
    one, two, words, items = number(depth - 1), number(depth - 1), text(depth - 1), many(depth - 1)
    operator = st.sampled_from(("+", "-", "*", "//", "%", "|", "&", "^"))
    return st.one_of(
        leaf,
        join("({} {} {})", one, operator, two),
        join("(-{})", one),
        join("abs({})", one),
        join("({} if {} else {})", one, truth(depth - 1), two),
        join("sum({})", items),
        join("len({})", words),
        join("max({}, {})", one, two),
        join("min({} + [3])", items),
        join("{}[{} % 3]", items, one),
        join("{}.find({})", words, words),
        join("{}.count({})", items, one),
        join("({} << {} % 9)", one, two),
        join("divmod({}, 7)[1]", one),
    )


def text(depth: int) -> Text:
    """An expression that is a str."""
    leaf = st.sampled_from((*TEXTS, "''", "'k'", "'ab'", "'Zé'", "f'{a}-{s}'"))
    if depth == 0:
        return leaf
    one, two, count = text(depth - 1), text(depth - 1), number(depth - 1)
    return st.one_of(
        leaf,
        join("({} + {})", one, two),
        join("({} * ({} % 3))", one, count),
        join("{}[{} % 5:]", one, count),
        join("{}[::-1]", one),
        join("str({})", count),
        join("'-'.join([{}, {}])", one, two),
        join("{}.replace({}, 'q', 2)", one, two),
        join("'+'.join({}.split({} + '/'))", one, two),
        join("({} or {})", one, two),
    )


def many(depth: int) -> Text:
    """An expression that is a list of ints."""
    leaf = st.sampled_from((*LISTS, "[]", "[1, 2, 3]", "([5] * 2)"))
    if depth == 0:
        return leaf
    one, two, count = many(depth - 1), many(depth - 1), number(depth - 1)
    return st.one_of(
        leaf,
        join("({} + {})", one, two),
        join("sorted({}, reverse={})", one, truth(depth - 1)),
        join("[i * 2 for i in {} if i > {}]", one, count),
        join("[i + j for i in {} for j in {} if i != j]", one, two),
        join("list(range({} % 6))", count),
        join("[{}, {}]", count, count),
        join("{}[{} % 4:-1]", one, count),
        join("list(d.values())", st.just("")),
        join("[k + n for k, n in enumerate({})]", one),
    )


def truth(depth: int) -> Text:
    """An expression used as a condition."""
    leaf = st.sampled_from(
        ("a < b", "s == t", "not xs", "'k' in d", "a in xs", "s in t", "a is None", "xs == ys")
    )
    if depth == 0:
        return leaf
    one, two = number(depth - 1), number(depth - 1)
    return st.one_of(
        leaf,
        join("({} < {} <= {})", one, two, one),
        join("({} and {})", leaf, leaf),
        join("(not {})", leaf),
        join("({} < {})", many(depth - 1), many(depth - 1)),
        join("({} >= {})", text(depth - 1), text(depth - 1)),
        join("any([{}, {}])", one, two),
    )


def assignment() -> Text:
    """A statement that changes something."""
    operator = st.sampled_from(("+=", "-=", "*=", "//=", "%="))
    return st.one_of(
        join("{} = {}", st.sampled_from(INTS), number(2)),
        join("{} {} {}", st.sampled_from(INTS), operator, number(1)),
        join("{} = {}", st.sampled_from(TEXTS), text(2)),
        join("{} = {}", st.sampled_from(LISTS), many(2)),
        join("{} += {}", st.sampled_from(LISTS), many(1)),
        join("xs.append({})", number(1)),
        join("ys.insert({}, {})", number(1), number(1)),
        join("xs[{} % 3] = {}", number(1), number(1)),
        join("d[{}] = {}", text(1), number(1)),
        join(
            "{} = {{key: value for key, value in d.items() if value != {}}}",
            st.sampled_from(DICTS),
            number(1),
        ),
        join("a, b = b, {}", number(1)),
        join("d.pop({}, 0)", text(1)),
        join("xs, ys = ys, xs", st.just("")),
        join("e = d", st.just("")),
        join("xs = helper(xs, {})", number(1)),
        join("del xs[{}]", number(0)),
    )


def block(depth: int) -> st.SearchStrategy[list[str]]:
    """A list of lines, indented relative to the block."""
    if depth == 0:
        return st.lists(assignment(), min_size=1, max_size=2)
    inner = block(depth - 1)
    compound = st.one_of(
        st.tuples(truth(1), inner, inner).map(lambda p: [f"if {p[0]}:", *_in(p[1]), "else:", *_in(p[2])]),
        st.tuples(number(1), inner).map(lambda p: [f"for i in range({p[0]} % 4):", *_in(p[1]), "    a += i"]),
        st.tuples(truth(1), inner).map(
            lambda p: ["for i in list(xs):", *_in(p[1]), f"    if {p[0]}:", "        break"]
        ),
        inner.map(
            lambda lines: [
                "for key in list(d):",
                *_in(lines),
                "    if key == s:",
                "        continue",
                "    b += 1",
            ]
        ),
    )
    lines = st.one_of(assignment().map(lambda line: [line]), compound)
    return st.lists(lines, min_size=1, max_size=4).map(
        lambda blocks: [line for one in blocks for line in one]
    )


def _in(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def program(lines: list[str]) -> str:
    """Wrap generated lines into a function whose result shows every variable."""
    head = ["a, b, s, t = 3, -7, 'ab', 'xabc'", "xs, ys = [4, 1, 9], [2, 2]", "d, e = {'k': 5, 'ab': 1}, {}"]
    body = [*head, *lines, "return [a, b, s, t, xs, ys, d, e, xs is None]"]
    helper = "def helper(items, n):\n    items = items + [n]\n    items.sort()\n    return items\n"
    return helper + "def main():\n" + "\n".join(_in(body)) + "\n"


def under_cpython(source: str) -> Any:
    """Return (True, result as JSON), or (False, None) when CPython raises."""
    names: dict[str, Any] = {}
    exec(compile(source, "generated", "exec"), names)  # noqa: S102  (our own generated text)
    try:
        return True, to_json(names["main"]())
    except Exception:
        return False, None


@SETTINGS
@given(block(2))
def test_generated_programs_agree_with_cpython(lines: list[str]) -> None:
    source = program(lines)
    worked, expected = under_cpython(source)
    first = run_source(source, "main", {}, gas=10_000_000)
    again = run_source(source, "main", {}, gas=10_000_000)
    assert first == again
    if first["status"] == "limit":  # the cap on ints or lists, which CPython does not have
        return
    assert (first["status"] == "ok") is worked, (source, first)
    if worked:
        assert first["result"] == expected, source
