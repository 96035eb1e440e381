"""A page as the work of a job: which joins and rows it has, what it takes, and what no job runs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contracts.pages.faults import PageRefused
from privcompute.job.joining import join_of
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.psi import ROWS_MAX, private_join
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.pages.columns import InputColumn, InputRefused, JobInput
from privcompute.pages.derived import PageInput, derive, known_types, not_granted
from privcompute.pages.estimate import BYTES_AT_ALL, FACTOR, of_join
from privcompute.pages.evaluate import SHARED_BOUND
from privcompute.pages.inputs import categories_of
from privcompute.pages.judging import OwnTable
from privcompute.pages.work import PageWork, WorkRun, of_plan

PARTIES = {"bank": 0, "bureau": 1, "registry": 2}
KEYS = {"loans": ("id",), "scores": ("no", "born"), "people": ("no", "born")}
OWNERS = {"loans": "bank", "scores": "bureau", "people": "registry"}
KINDS = ("a", "b")
ROWS = 200


def columns(name: str) -> tuple[InputColumn, ...]:
    keys = tuple(InputColumn(key, "text", "join") for key in KEYS[name])
    kind = InputColumn("kind", "category", "plain", missing="category", categories=KINDS)
    return (*keys, InputColumn("amount", "integer", "plain"), kind, InputColumn("rate", "decimal", "plain"))


def work(body: Sequence[str], names: Sequence[str], **parameters: Any) -> PageWork:
    inputs = [PageInput(name, OWNERS[name], KEYS[name], columns(name)) for name in names]
    lines = ['"""A test."""', "", "", f"def run({', '.join(names)}):", *(f"    {line}" for line in body)]
    derived = derive("\n".join([*lines, ""]), inputs, parameters, "bank")
    items = [
        (name, JobInput(f"{OWNERS[name]}/{name}", PARTIES[OWNERS[name]], columns(name))) for name in names
    ]
    return of_plan(derived.plan, items, [KEYS[name] for name in names], PARTIES)


def released(value: str, to: str = "bank") -> str:
    return f'release({value}, to="{to}", exact=True, name="{value[:40]}")'


def test_each_set_of_datasets_is_one_join_and_only_what_is_used_without_one_is_told() -> None:
    made = work(
        [
            "pair = join(scores, people)",
            "other = join(people, scores)",
            released("sum(pair.scores.amount)"),
            released("sum(other.people.amount)", "bureau"),
            released("mean(loans.amount)"),
        ],
        ["loans", "scores", "people"],
    )
    assert made.joined == ((1, 2),)
    assert set(made.sizes.values()) == {0}
    assert made.told == (0,)
    assert made.receivers == {"bank": 0, "bureau": 1}


def test_a_dataset_that_is_only_joined_is_told_to_nobody() -> None:
    made = work(["rows = join(scores, people)", released("count(rows)")], ["scores", "people"])
    assert (made.joined, made.told) == (((0, 1),), ())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (['release(mean(scores.rate), to="bank", noise=laplace(epsilon=1), name="x")'], "no low and high"),
        (
            ['release(sum(clip(scores.rate, 0, 1)), to="bank", noise=laplace(epsilon=0.00000001), name="x")'],
            "more noise than shares hold",
        ),
        (["rows = join(union(scores, people), loans, on=('no', 'id'))", released("count(rows)")], "union"),
        (["rows = join(scores, people, on='no')", released("count(rows)")], "some columns of a key"),
        (
            ["rows = join(scores, people, on=(['no', 'born'], ['born', 'no']))", released("count(rows)")],
            "order",
        ),
        (["rows = join(scores, people, on='amount')", released("count(rows)")], "by the registered key"),
        (["rows = scores", released("count(rows, by=rows.no)")], "categories of scores.no are not"),
    ],
)
def test_what_no_job_runs_is_refused_with_what_to_write_instead(body: list[str], says: str) -> None:
    with pytest.raises((InputRefused, PageRefused), match=says):
        work(body, ["loans", "scores", "people"])


def test_missing_cells_that_are_a_category_have_their_place_in_groups() -> None:
    made = work(
        ["rows = join(scores, people)", released("count(rows, by=rows.scores.kind)")], ["scores", "people"]
    )
    (kind,) = [column for column in made.columns if column.name == "kind"]
    assert categories_of(kind) == (*KINDS, "(missing)")
    assert made.sizes_for([5, 5])["n:join1"] == 5


def test_an_owner_judges_what_it_shares_as_it_is_and_nothing_else() -> None:
    body = [
        "rows = join(scores, people)",
        released("sum(rows.scores.amount * rows.people.amount)"),
        released("log(mean(rows.scores.rate))"),
    ]
    made = work(body, ["scores", "people"])
    cells = {"amount": np.arange(ROWS), "rate": np.full(ROWS, 2 * SHARED_BOUND)}

    def found(min_group: int = 5, **changes: Any) -> list[str]:
        own = OwnTable(min_group, made.inputs[0], cells | changes, ROWS)
        return [one.code for one in made.findings(own)]

    assert found() == [], "its mean alone leaves the owner"
    assert found(amount=np.full(ROWS, int(2 * SHARED_BOUND))) == ["DATA_OUT_OF_RANGE"]
    assert found(ROWS + 1) == ["DATA_TOO_FEW_ROWS"]


def test_rows_that_an_earlier_job_joined_are_judged_and_so_are_too_many() -> None:
    made = work(["rows = join(scores, people)", released("count(rows)")], ["scores", "people"])
    own = OwnTable(5, made.inputs[0], {}, ROWS)
    cases = ({"joined": np.arange(4)}, {"least_rows": ROWS + 1}, {"rows": ROWS_MAX + 1}, {})
    found = [[one.code for one in made.findings(replace(own, **changes))] for changes in cases]
    assert found == [["DATA_TOO_FEW_ROWS"], ["DATA_TOO_FEW_ROWS"], ["DATA_TOO_MANY_ROWS"], []]


def test_a_declared_domain_answers_in_place_of_the_cells() -> None:
    """Other cells under the same declaration give the same answer, which tells nothing of them."""
    body = ["rows = join(scores, people)", released("sum(rows.scores.rate * rows.people.rate)")]
    made = work(body, ["scores", "people"])
    wide = tuple(replace(one, low="0", high="1e300") if one.name == "rate" else one for one in made.columns)
    made, answers = replace(made, columns=wide), set()
    for cells in (np.linspace(0, 1, ROWS), np.full(ROWS, 1e299)):
        own = OwnTable(5, made.inputs[0], {"rate": cells}, ROWS)
        answers.add(tuple(one.code for one in made.findings(own)))
    assert answers == {("DATA_OUT_OF_RANGE",)}


def test_joins_alone_take_what_their_rows_take_and_nothing_on_shares() -> None:
    """A million rows of each of two owners take minutes and half a gigabyte."""
    made = work(["rows = join(scores, people)", released("count(rows)")], ["scores", "people"])
    few, many = made.estimate([1_000, 1_000]), made.estimate([1_000_000, 1_000_000])
    assert 1_000 * few.seconds == pytest.approx(many.seconds)
    assert 145 < many.seconds < 155
    assert many.memory - BYTES_AT_ALL == pytest.approx(600_000_000, rel=0.1)
    assert few.least_s == few.seconds / FACTOR


def test_a_join_takes_what_is_estimated() -> None:
    """Twice the stated factor, since a test shares its machine."""
    ids, owners = [f"person-{number}" for number in range(600)], 3
    begin = time.process_time()
    spec = join_of(bytes(32), range(owners), 0)
    run_local([private_join(spec, me, ids, random=secrets.token_bytes) for me in range(owners)])
    spent, said = (time.process_time() - begin) / owners, of_join(600 * owners, owners).seconds
    assert said / (2 * FACTOR) < spent < said * 2 * FACTOR


def test_the_points_of_each_join_of_each_job_are_its_own() -> None:
    one = join_of(bytes(32), (2, 0), 0)
    assert (one.parties, one.matcher) == ((0, 2), 2)
    others = [join_of(bytes(32), (2, 0), 1), join_of(b"\1" * 32, (2, 0), 0)]
    assert len({made.context for made in (one, *others)}) == 3


REGRESSION = [
    "rows = join(loans, scores, on=('id', 'no'))",
    "tested = lot(rows, 0.25)",
    "x = stack([real(rows.loans.amount), rows.scores.rate])",
    "w = zeros(2)",
    "rate = 0.1 / (1 + sqrt(sum(rows.scores.rate * rows.loans.amount)))",
    "for step in repeat(6):",
    "    w = w - rate * (x.T @ where(~tested, sigmoid(x @ w) - rows.loans.amount, 0))",
    "score = x @ w",
    "above = score[:, None] > score[None, :]",
    released("sum(where(tested, sum(above, axis=1), 0))"),
]


def run_of(made: PageWork, rows: int) -> Any:
    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, bytes(32), bytes([me]) * ENTROPY_BYTES)
        mine = {0: 0, 1: 1}.get(me)
        cells = {
            "amount": np.arange(rows) % 7,
            "rate": np.linspace(0, 1, rows),
            "kind": np.array(["a"] * rows),
        }
        order = {0: np.arange(rows)} if mine is not None else {}
        run = WorkRun(bytes(32), 5, (rows,), {}, mine, cells if mine is not None else {}, order)
        return (yield from made.run(engine, run))

    return run_local([party(me) for me in range(3)])


@pytest.mark.parametrize("rows", [40, 80])
def test_what_a_run_takes_is_estimated_by_the_steps_that_are_done(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds and bytes of a real run lie within a factor of two; a lot's share of pairs is what counts."""
    monkeypatch.setitem(KEYS, "scores", ("no",))
    made = work(REGRESSION, ["loans", "scores"])
    took = run_of(made, rows)
    said = made.estimate([rows, rows])
    joins = 3 * 2
    assert 0.5 < (said.rounds - joins) / max(took.rounds) < 2
    few, many = made.estimate([1_000, 1_000]), made.estimate([4_000, 4_000])
    assert few.seconds < many.seconds < 16 * few.seconds * 1.5


def test_grants_are_held_against_what_follows_and_types_that_pages_lack_are_not_seen() -> None:
    inputs = [PageInput("loans", "bank", ("id",), columns("loans"))]
    source = (
        '"""A test."""\n\n\ndef run(loans):\n    release(greatest(loans.amount), to="bureau", exact=True)\n'
    )
    derived = derive(source, inputs, {}, "bank")
    (lacking,) = not_granted(derived, {("loans", "amount"): "aggregate-only"})
    assert (lacking.column, lacking.use) == ("amount", "plain")
    assert not_granted(derived, {("loans", "amount"): "plain"}) == ()
    assert derived.uses == {"loans": {"amount": "plain"}}
    strange = InputColumn("at", "strange", "plain")
    assert known_types((*columns("loans"), strange)) == columns("loans")


@pytest.mark.parametrize(
    ("asks", "reads", "matcher"),
    [(0, [0], 2), (2, [2], 1), (2, [1], 0), (1, [0, 2], 2), (2, [0, 1, 2], 1)],
)
def test_who_asks_or_reads_does_not_count_the_common_rows_first(
    asks: int, reads: list[int], matcher: int
) -> None:
    """The matcher knows their number before it is judged: an owner without an interest, if there is one."""
    assert join_of(bytes(32), range(3), 0, ({asks, *reads}, {asks})).matcher == matcher


def test_of_two_owners_the_one_that_did_not_ask_matches() -> None:
    assert join_of(bytes(32), (0, 1), 0, ({0, 1}, {1})).matcher == 0
    assert join_of(bytes(32), (0, 1), 0, ({0, 1}, {0})).matcher == 1
