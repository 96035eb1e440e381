"""Public parameters: what may be given, what a plan makes of them, and any number of datasets."""

from __future__ import annotations

from fractions import Fraction

import pytest

from contracts.language.faults import OutOfGas
from contracts.pages.faults import PageRefused
from contracts.pages.limits import PARAMETER_ITEMS_MAX, Gas
from contracts.pages.page import trace
from contracts.pages.parameters import ParameterReader, as_value
from contracts.pages.plan import Plan, decode_plan
from contracts.pages.tables import DatasetSchema

PAGE = '''"""A page with parameters."""

HALF = 1 / 2


def run(loans, *, column="amount", share=HALF, noisy=False, edges=(0, 1)):
    x = loans[column] * share
    release(count(bins(x, edges=edges)[:, 0]), to="bank", exact=True)
    if noisy:
        release(count(loans), to="city", noise=laplace(epsilon=share))
'''
MANY = '''"""A page of any number of datasets."""


def run(first, *others, share=1):
    rows = join([first] + [each for each in others])
    for table in others:
        release(count(rows), to=owner_of(table), exact=True, name=name_of(table))
'''


def traced(**parameters: object) -> Plan:
    plan = trace(PAGE, parameters=parameters)
    assert decode_plan(plan.data).hash == plan.hash
    return plan


def refusal(source: str = PAGE, schemas: dict[str, DatasetSchema] | None = None, **parameters: object) -> str:
    with pytest.raises(PageRefused) as refused:
        trace(source, schemas, parameters=parameters)
    return str(refused.value)


def test_what_is_given_takes_the_place_of_the_default_and_changes_the_plan() -> None:
    assert traced().hash == traced(column="amount", share=Fraction(1, 2), noisy=False, edges=[0, 1]).hash
    changes = ({"column": "rate"}, {"share": 1}, {"noisy": True}, {"edges": (0, Fraction(1, 3))})
    assert len({traced(**change).hash for change in changes} | {traced().hash}) == 5
    assert traced(column="rate").graph.columns[0].column == "rate"
    assert traced(share={"number": "1/2"}).hash == traced().hash


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"colum": "x"},
            "this page has no parameter 'colum'; instead: one of those that it has: column, share",
        ),
        ({"column": 3}, "parameter column is a number; instead: a text, as its default is"),
        ({"share": "0.3"}, "parameter share is a text; instead: a number, as its default is"),
        ({"share": 0.3}, "parameter share: a value of type float; instead: a number, a text, a boolean, or"),
        ({"share": 2**200}, "parameter share: a number of more than 128 bits"),
        ({"share": {"number": "2/4"}}, "parameter share: '2/4' is no number; instead: a canonical fraction"),
        ({"share": None}, "parameter share: a value of type NoneType"),
        ({"noisy": 1}, "parameter noisy is a number; instead: a boolean, as its default is"),
        ({"edges": [[[[[1]]]]]}, "parameter edges: lists inside more than 3 others; instead: flatter lists"),
        (
            {"edges": [0] * PARAMETER_ITEMS_MAX},
            "parameter edges: parameters of more than 1000 items together",
        ),
        ({"column": "x" * 257}, "parameter column: a text of 257 characters; instead: at most 256"),
        ({str(number): 1 for number in range(33)}, "33 parameters are given; instead: at most 32"),
    ],
)
def test_what_no_parameter_is_is_refused_with_what_to_give(given: dict[str, object], says: str) -> None:
    assert f": PARAMETER: {says}" in refusal(**given)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("def run(loans, *, x):", "RUN: parameter x has no default; instead: def run("),
        ("def run(*, x=1):", "RUN: run takes 1 to 8 datasets, without defaults"),
        ("def run(loans=1):", "RUN: run takes 1 to 8 datasets, without defaults"),
        ("def run(loans, *, loans=1):", "TWICE: a parameter stands twice; instead: another name"),
        ("def run(loans, **x):", "PARAMETERS: stars, / and decorators are not in pages"),
        ("def run(loans, *, x=zeros(3)):", "PARAMETER: a value of type Secret"),
        ("def run(loans, *, x=None):", "PARAMETER: a value of type NoneType"),
        ("def run(loans, *, x=y):", "UNKNOWN_NAME: nothing is called y"),
        ("def run(loans, *, x: int = 3):", "ANNOTATION: annotations are not in pages"),
        ("def other(*, x=3):\n    return x\n\n\ndef run(loans):", "PARAMETERS: stars, / and decorators"),
        (
            f"def run(loans, *, {', '.join(f'x{n}=1' for n in range(33))}):",
            "RUN: more than 32 public parameters",
        ),
    ],
)
def test_heads_of_run_that_say_too_little_or_too_much_are_refused(head: str, says: str) -> None:
    page = f'"""A page."""\n\n\n{head}\n    release(count(loans), to="bank", exact=True)\n'
    assert says in refusal(page)


def test_a_page_of_any_number_of_datasets_takes_them_in_the_order_that_is_given() -> None:
    schemas = {name: DatasetSchema(f"owner-of-{name}", {"no": "text"}, ("no",)) for name in "bac"}
    plan = trace(MANY.replace("first, ", "b, ").replace("[first]", "[b]"), schemas)
    assert [each.name for each in plan.datasets] == ["b", "a", "c"]
    assert [(one.receiver, one.name) for one in plan.releases] == [("owner-of-a", "a"), ("owner-of-c", "c")]
    assert {use.column for use in plan.uses} == {"no"}, "the registered key joins them"
    assert [each.name for each in trace(MANY).datasets] == ["first", "others1"]
    many = {f"d{place}": DatasetSchema("bank", {"id": "text"}) for place in range(9)}
    assert "DATASET: 9 datasets are given, a page takes 1 to 8" in refusal(
        MANY.replace("first, ", "").replace("[first] + ", ""), many
    )


def test_ids_of_several_columns_join_as_many_of_each_table() -> None:
    page = '''"""A page."""


def run(loans, people):
    rows = join(loans, people, on=(["name", "born"], ["who", "birthday"]))
    release(count(rows), to="bank", exact=True)
    release(sum(rows.loans.amount), to="bank", exact=True)
'''
    plan = trace(page)
    assert decode_plan(plan.data).hash == plan.hash
    assert {use.column for use in plan.uses if use.use == "join"} == {"name", "born", "who", "birthday"}
    assert "JOIN: ids of 1, 2 columns are joined" in refusal(page.replace('["name", "born"]', '"name"'))
    assert "JOIN: a dataset is joined with itself" in refusal(page.replace('"born"', '"name"'))
    assert "JOIN: an id is named by a number" in refusal(page.replace('["name", "born"]', "3"))
    nine = ", ".join(f'"c{place}"' for place in range(9))
    assert "1 to 8" in refusal(page.replace('"name", "born"', nine).replace('"who", "birthday"', nine))


def test_registered_categories_and_bins_are_sizes_that_are_known() -> None:
    page = '''"""A page."""


def run(loans):
    hot = concat([one_hot(loans.kind), bins(loans.amount)])
    keep(sum(hot), name="counts")
'''
    columns = {"kind": "category", "amount": "integer"}
    known = DatasetSchema("bank", columns, categories={"kind": 4}, bins={"amount": 2})
    plan = trace(page, {"loans": known})
    assert plan.graph.cells[plan.asked[0].value].shape == (6,)
    assert decode_plan(plan.data).hash == plan.hash
    assert "SHAPE: concat takes values whose last axis has a public size" in refusal(
        page, {"loans": DatasetSchema("bank", columns)}
    )


def test_parameters_on_the_ledger_are_read_as_they_were_given() -> None:
    for value in (3, -(2**60), Fraction(3, 10), "text", True, [1, ["a", False], Fraction(1, 3)]):
        read = ParameterReader(Gas(10_000)).read(value)
        assert ParameterReader(Gas(10_000)).read(as_value(read)) == read
        assert type(read) is type(ParameterReader(Gas(10_000)).read(as_value(read)))


def test_items_of_parameters_are_paid_before_they_are_read() -> None:
    with pytest.raises(OutOfGas):
        ParameterReader(Gas(99)).read([1] * 10)
    with pytest.raises(OutOfGas):
        ParameterReader(Gas(99)).read("x" * 10)
