"""What every program promises: named parameter errors, uses, stable hashes, bounded announcements."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import privcompute
from chain.primitives.values import encode_value
from privcompute.errors import PeerMisbehaved
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rounds import Round, Steps
from privcompute.programs.base import (
    InputColumn,
    InputRefused,
    JobInput,
    ParameterInvalid,
    announce,
    decimal_text,
    scale_finely,
)
from privcompute.programs.join import join_of
from privcompute.programs.registry import PROGRAMS, program, records

USES = {"plain", "join", "aggregate", "compare", "encrypted"}


def inputs(use: str = "aggregate", kind: str = "integer") -> tuple[JobInput, ...]:
    return (
        JobInput("bank/a", 0, (InputColumn("id", "id", "join"), InputColumn("x", kind, use))),
        JobInput("bureau/b", 1, (InputColumn("id", "id", "join"), InputColumn("y", "text", use))),
    )


def test_every_program_states_what_the_ledger_registers() -> None:
    assert set(PROGRAMS) == {"private-join", "joint-statistics", "logistic-regression"}
    for record in records():
        assert set(record) == {"id", "kind", "code_hash", "leakage", "uses", "profiles", "status"}
        assert len(record["code_hash"]) == 32
        assert set(record["uses"]) <= USES
        assert len(record["leakage"]) > 200
        encode_value(record)


def test_programs_have_distinct_and_repeatable_code_hashes() -> None:
    hashes = [item.code_hash() for item in PROGRAMS.values()]
    assert len(set(hashes)) == len(hashes)
    assert hashes == [item.code_hash() for item in PROGRAMS.values()]


def test_a_code_hash_covers_every_file_that_the_program_computes_with() -> None:
    package = Path(privcompute.__file__).parent
    for item in PROGRAMS.values():
        waiting, seen = list(item.sources), {"errors.py"}  # texts of errors compute nothing
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += imported((package / name).read_text(encoding="utf-8"))
        assert seen - {"errors.py"} <= set(item.files()), item.id


def imported(source: str) -> list[str]:
    """Return the modules of privcompute that a source imports, as paths below the package."""
    package, found = Path(privcompute.__file__).parent, []
    pattern = re.compile(r"^from privcompute\.([\w.]+) import (\(.*?\)|.*?)$", re.MULTILINE | re.DOTALL)
    for module, names in pattern.findall(source):
        path = module.replace(".", "/")
        of_folder = (package / path).is_dir()
        found += [f"{path}/{name}.py" for name in re.findall(r"\w+", names)] if of_folder else [f"{path}.py"]
    return found


def test_an_unknown_program_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(InputRefused, match=r"joint-statistics, logistic-regression, private-join"):
        program("regression")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"columns": ["bank/a/x"], "quantiles": ["1.5"]}, r'quantiles.0 = .1.5.: .*from "0" to "1"'),
        ({"columns": ["bank/a/x"], "statistics": ["median"]}, "statistics.0 = 'median'"),
        ({"columns": ["x"]}, 'a column as "owner/dataset/column"'),
        ({"colums": ["bank/a/x"]}, "colums: unknown key"),
        ({"histograms": [{"column": "bank/a/x", "edges": ["3", "2"]}]}, "edges in ascending order"),
        ({"columns": ["bank/a/x"], "min_group": 0}, r"min_group = 0: .*rows in 1..1000000"),
        ({"columns": ["bank/a/x"], "min_group": True}, "min_group = True"),
    ],
)
def test_a_bad_parameter_is_named_with_its_range(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterInvalid, match=text):
        program("joint-statistics").check(parameters, inputs())


@pytest.mark.parametrize(
    ("parameters", "use", "kind", "text"),
    [
        ({"columns": ["bank/a/z"]}, "aggregate", "integer", "bank/a/z: not among the job's inputs"),
        ({"columns": ["bank/a/x"], "statistics": ["max"]}, "aggregate", "integer", "max needs use 'plain'"),
        (
            {"columns": ["bank/a/x"], "quantiles": ["0.5"]},
            "aggregate",
            "integer",
            "quantile needs use 'plain'",
        ),
        ({"columns": ["bank/a/x"]}, "aggregate", "text", "mean needs numbers"),
        ({"columns": ["bank/a/x"]}, "encrypted", "integer", "use 'encrypted', joint-statistics offers"),
        ({}, "aggregate", "integer", "no figure asked for"),
    ],
)
def test_inputs_that_do_not_fit_the_parameters_are_refused(
    parameters: dict[str, Any], use: str, kind: str, text: str
) -> None:
    with pytest.raises(InputRefused, match=text):
        program("joint-statistics").check(parameters, inputs(use, kind))


def test_use_plain_covers_every_figure() -> None:
    program("joint-statistics").check({"columns": ["bank/a/x"], "statistics": ["max"]}, inputs("plain"))


def test_a_join_needs_two_owners_with_keys_of_as_many_columns() -> None:
    one, other = inputs()
    join = program("private-join")
    only_ids = tuple(JobInput(item.dataset, item.owner, item.columns[:1]) for item in (one, other))
    join.check({}, only_ids)
    with pytest.raises(InputRefused, match="two or more datasets"):
        join.check({}, only_ids[:1])
    with pytest.raises(InputRefused, match="named twice"):
        join.check({}, (only_ids[0], only_ids[0]))
    with pytest.raises(InputRefused, match="bank/a: the columns of its key, one or more, need use 'join'"):
        join.check({}, (JobInput("bank/a", 0, ()), only_ids[1]))
    born = InputColumn("born", "date", "join")
    wider = [replace(item, columns=(*item.columns, born)) for item in only_ids]
    join.check({}, wider)
    with pytest.raises(InputRefused, match="as many columns; here bank/a by 2, bureau/b by 1"):
        join.check({}, (wider[0], only_ids[1]))


def test_the_points_of_each_join_of_each_job_are_its_own() -> None:
    one = join_of(bytes(32), (2, 0))
    assert (one.parties, one.matcher) == ((0, 2), 2)
    others = [join_of(bytes(32), (2, 0), 1), join_of(b"\1" * 32, (2, 0))]
    assert len({made.context for made in (one, *others)}) == 3


def test_announcements_reach_every_party() -> None:
    engines = [PlaintextEngine(party, 3) for party in range(3)]
    run = run_local([announce(engine, [0, 2], {"party": engine.me}) for engine in engines])
    assert all(heard == {0: {"party": 0}, 2: {"party": 2}} for heard in run.results)


@pytest.mark.parametrize("message", [b"", b"\xcc\x01", b"\xc1", b"\x01\x01"])
def test_a_malformed_announcement_names_its_sender(message: bytes) -> None:
    def liar() -> Steps[None]:
        yield Round({0: message}, {})

    with pytest.raises(PeerMisbehaved, match="announcement of party 1"):
        run_local([announce(PlaintextEngine(0, 2), [1], None), liar()])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(-(2**70), 2**70), st.integers(1, 2**40), st.integers(1, 9))
def test_decimal_text_is_the_nearest_decimal(numerator: int, denominator: int, digits: int) -> None:
    text = decimal_text(numerator, denominator, digits)
    assert abs(Fraction(text) - Fraction(numerator, denominator)) <= Fraction(1, 2 * 10**digits)
    assert text != "-0." + "0" * digits


@pytest.mark.parametrize("factor", [1 / 3, 1 / 860, 4 / 300_000, 1e-6])
def test_small_public_factors_keep_their_precision(factor: float) -> None:
    engine = PlaintextEngine()
    values = np.array([1.0, -250_000.0, 7e6])
    scaled = run_local([scale_finely(engine, engine.constant(values, 16), factor)]).results[0]
    error = np.abs(scaled.words[0].view(np.int64) / 65_536 - values * factor)
    assert np.all(error <= 2**-16 + np.abs(values * factor) * 2**-16)
