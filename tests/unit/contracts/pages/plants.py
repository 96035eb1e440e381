"""Faults planted into the tracer and the tables of labels: attacks, honest and random pages must show each.

A plant is a text of one file of `contracts/pages` and what stands there instead. The package is imported
afresh with it, and the tests' own helpers with it, so nothing of the sound package is left in what is tried.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "contracts/pages"
OWN = ("contracts.pages", "tests.unit.contracts.pages")
SEEDS = range(250)


@dataclass(frozen=True, slots=True)
class Plant:
    """A fault: its file, a text that stands there once, and what takes its place."""

    file: str
    before: str
    after: str

    def text(self) -> str:
        """Return the file with the fault; raise ValueError if its place is not there exactly once."""
        text = (FOLDER / f"{self.file}.py").read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(
                f"{self.file}.py has {self.before!r} {text.count(self.before)} times: mend the plant"
            )
        return text.replace(self.before, self.after)


def _labels(before: str, after: str) -> Plant:
    return Plant("labels", before, after)


def _releases(before: str, after: str) -> Plant:
    return Plant("releases", before, after)


def _flow(name: str, flow: str, other: str) -> Plant:
    text = (FOLDER / "primitives.py").read_text(encoding="utf-8")
    before = next(form for form in (f'"{name}", "{flow}"', f'"{name}",\n        "{flow}"') if form in text)
    return Plant("primitives", before, before.replace(f'"{flow}"', f'"{other}"'))


PLANTS: dict[str, Plant] = {
    # --- labels
    "computed cells stay raw": _labels(
        "            rowwise=every.values,\n            match",
        "            raw=every.values,\n            match",
    ),
    "computed cells forget their columns": _labels(
        "            rowwise=every.values,\n            match",
        "            rowwise=every.rowwise,\n            match",
    ),
    "computed cells forget the join": _labels(
        "            match=every.match,\n            atoms=every.atoms,\n            chosen=every.chosen,\n"
        "            crossed=crossed",
        "            atoms=every.atoms,\n            chosen=every.chosen,\n            crossed=crossed",
    ),
    "rows forget the figures in them": _labels(
        "            atoms=every.atoms,\n            chosen=every.chosen,\n            crossed=crossed",
        "            chosen=every.chosen,\n            crossed=crossed",
    ),
    "a public choice of rows is forgotten": _labels(
        "return Label(chosen=True, ", "return Label(chosen=False, "
    ),
    "a public choice does not count": _labels("return rest == 0 and not self.chosen", "return rest == 0"),
    "figures in rows do not cross": _labels(
        "crossed = every.crossed or every.in_figures != 0", "crossed = every.crossed"
    ),
    "identifiers choose groups": _labels(
        '        return read.kind == "text" and not read.categories\n', "        return False\n"
    ),
    "or of keys is a key": _flow("or", "local", "both"),
    "own thresholds compare": _labels("if one.raw and other.raw and one.only", "if one.only"),
    "columns of one owner compare": _labels(
        "if mine.isdisjoint(self.owners[column] for column in bits_of(other.raw)):", "if mine:"
    ),
    "a comparison forgets one side": _labels("versus=both.raw", "versus=one.raw"),
    "any product is a square": _labels(
        'if one == other and label.only("raw") and label.raw:', 'if label.only("raw") and label.raw:'
    ),
    "squares of what is computed": _labels(
        'if one == other and label.only("raw") and label.raw:', "if one == other:"
    ),
    "sorted cells stay as they are": _flow("sort", "cross", "view"),
    "running sums stay as they are": _flow("running_sum", "cross", "view"),
    "the greatest is a sum": _flow("greatest", "fold", "view"),
    "the first rows are a figure of nothing": _labels(
        "label = Label(figure=every.values, match=every.match, noised=every.noised)",
        "label = Label(match=every.match, noised=every.noised)",
    ),
    "products over rows stay by row": _labels(
        'len(shape) - 1 if name == "matmul" else 0', '0 if name == "matmul" else 0'
    ),
    "weights are unweighted": _labels(
        '    counts = every.only("raw", "key", "square")',
        '    counts = every.only("raw", "key", "square", "rowwise")',
    ),
    "comparisons choose what is summed": _labels(" and not summand.raw | summand.square\n", "\n"),
    "keys of a sum are forgotten": _labels(
        "            count=summand.key | choice.key | choice.raw, sum=", "            count=summand.key, sum="
    ),
    "bits that choose are forgotten": _labels(
        "            count=summand.key | choice.key | choice.raw, sum=",
        "            count=summand.key | choice.key, sum=",
    ),
    "mixed sums forget the choice": _labels(
        "    return Label(figure=every.values, match=every.match, noised=every.noised)\n",
        "    return Label(figure=summand.values, match=every.match, noised=every.noised)\n",
    ),
    "mixed sums forget the join": _labels(
        "    return Label(figure=every.values, match=every.match, noised=every.noised)\n",
        "    return Label(figure=every.values, noised=every.noised)\n",
    ),
    "noise inside covers sums of any size": _labels(
        "if place is None or not self.atoms[place].bounded:", "if place is None:"
    ),
    "noise inside covers products that others see through": _labels(
        'product = self.graph.name(node) == "matmul" and not every.crossed',
        'product = self.graph.name(node) == "matmul"',
    ),
    "noise inside forgets the columns": _labels(
        "return Label(match=label.match, noised=label.values | label.noised, spread=spread)",
        "return Label(match=label.match, noised=label.noised, spread=spread)",
    ),
    "rows forget what they hold by noise": _labels(
        "            noised=every.noised,\n            spread=spread,\n", "            spread=spread,\n"
    ),
    "what a loop carries is bounded as it begins": _labels(
        "after = [merged([one, other]) for", "after = [replace(merged([one, other]), spread=one.spread) for"
    ),
    "a loop is gone through once": _labels("        return after != before\n", "        return False\n"),
    "a loop forgets its begin": _labels("after = [merged([one, other])", "after = [merged([other])"),
    "a figure forgets what it follows from": _labels("atoms=atoms | 1 << place", "atoms=1 << place"),
    "a join forgets its ids": _labels(
        "match=every.values | every.match, spread=BIT", "match=every.match, spread=BIT"
    ),
    "noise covers sums of any size": _labels("if in_bounds and not every.crossed:", "if in_bounds:"),
    "noise covers cells that leave the range of shares": _labels(
        "return self._in_range(node, through(name, spreads, real))", "return through(name, spreads, real)"
    ),
    "noise covers groups that are no bits": _labels(
        "in_bounds = all(label.spread is not None for label in choosing)", "in_bounds = True"
    ),
    # --- releases
    "single rows are aggregates": _releases('"rows": {"row": "plain"', '"rows": {"row": "aggregate"'),
    "other figures are aggregates": _releases('        "figure": "plain",', '        "figure": "aggregate",'),
    "tallies are aggregates": _releases(
        '"exact": {\n        "count": "aggregate",\n        "tally": "plain"',
        '"exact": {\n        "count": "aggregate",\n        "tally": "aggregate"',
    ),
    "tallies are compared": _releases(
        '"exact": {\n        "count": "aggregate",\n        "tally": "plain"',
        '"exact": {\n        "count": "aggregate",\n        "tally": "compare"',
    ),
    "sums are compared": _releases(
        '"exact": {\n        "count": "aggregate",\n        "tally": "plain",\n        "sum": "aggregate"',
        '"exact": {\n        "count": "aggregate",\n        "tally": "plain",\n        "sum": "compare"',
    ),
    "comparisons with noise are any figure": _releases(
        '"noisy": {\n        "count": "noisy",\n        "tally": "compare"',
        '"noisy": {\n        "count": "noisy",\n        "tally": "noisy"',
    ),
    "what stays shares needs nothing": _releases('"shares": {"row": "encrypted"', '"shares": {"row": "join"'),
    "rows that count are not of the release": _releases(
        "[labels.of[one.value]] + ([] if one.rows is None else [labels.of[one.rows]])",
        "[labels.of[one.value]]",
    ),
    "the receiver may choose": _releases("return own != 0, others if own else 0", "return own != 0, 0"),
    "the receiver's sums are no choice": _releases(
        "for column in bits_of(label.in_figures):",
        "for column in bits_of(label.count | label.tally | label.figure):",
    ),
    "the receiver's keys are no choice": _releases(
        "for column in bits_of(label.in_figures):",
        "for column in bits_of(label.tally | label.sum | label.figure):",
    ),
    "the receiver's limits are no choice": _releases(
        "for column in bits_of(label.in_figures):",
        "for column in bits_of(label.count | label.sum | label.figure):",
    ),
    "noise is no condition": _releases(
        '"aggregate-only": ("noisy", "compare", "encrypted"),',
        '"aggregate-only": ("noisy", "aggregate", "compare", "encrypted"),',
    ),
    "exact aggregates cover single cells": _releases(
        '"exact-aggregate": ("aggregate", "noisy", "compare", "encrypted"),',
        '"exact-aggregate": ("aggregate", "noisy", "compare", "encrypted", "plain"),',
    ),
    "compared columns are aggregates": _releases(
        '"compare-only": ("compare", "encrypted"),', '"compare-only": ("compare", "noisy", "encrypted"),'
    ),
    "what the initiator owns chooses for nobody": _releases(
        "{one.receiver, initiator}, graph", "{one.receiver}, graph"
    ),
    "what is not granted is covered": _releases("COVERS.get(constraint, ())", "COVERS.get(constraint, USES)"),
    "noise on rows passes": _releases(
        '    if by_row:\n        raise Unfit("NOISE_ON_ROWS"',
        '    if False:\n        raise Unfit("NOISE_ON_ROWS"',
    ),
    "unbounded noise passes": _releases(
        "any(not atom.bounded or graph.homes[atom.node] != -1 for atom in atoms)",
        "all(not atom.bounded for atom in atoms[1:])",
    ),
    "noise inside covers what is added to it": _releases(
        "    if label.values:\n        raise", "    if False:\n        raise"
    ),
    "noise of nothing passes": _releases("    if not label.noised:\n", "    if False:\n"),
    "noise is drawn anew where it is covered again": _releases(
        "if drawn_anew(graph, asked", "if False and drawn_anew(graph, asked"
    ),
    "columns with noise inside need nothing": _releases(
        '    "rows": {"row": "plain", "noised": "noisy"', '    "rows": {"row": "plain", "noised": "join"'
    ),
    "one of many sums is charged": _releases("    for atom in atoms:\n", "    for atom in atoms[:1]:\n"),
    "joined sums tell nobody": _releases(
        "told = label.match != 0 and (own or by_row)", "told = label.match != 0 and by_row"
    ),
    # --- tracer
    "sums are over all rows": Plant(
        "builder", "args if rows is None else (*args, rows), attrs", "args, attrs"
    ),
    "filters forget the rows before": Plant(
        "tables",
        '        rows = self.build.apply("and", [before, condition]).node\n',
        "        rows = condition.node\n",
    ),
    "where= forgets the rows before": Plant(
        "builtins", '        bit = bench.build.apply("and", [joined, bit])\n', ""
    ),
    "equal nodes are made equal by name alone": Plant(
        "builder", "        key = (name, args, attrs)\n", "        key = (name, args, ())\n"
    ),
    "a branch on a secret takes one way": Plant(
        "tracer",
        'self._refuse(test, "SECRET_BRANCH", f"a branch on a {said_kind(value)}", "where(condition, x, y)")',
        "return True",
    ),
    "releases show all rows": Plant(
        "builtins", "    rows = value.rows if value.cells.by_row else None\n", "    rows = None\n"
    ),
}


class _Planted(MetaPathFinder, Loader):
    """Finds the one module that has the fault."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        del path, target
        return spec_from_loader(fullname, self) if fullname == self.name else None

    def create_module(self, spec: ModuleSpec) -> None:
        del spec

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.text, f"{self.name} with a fault", "exec"), module.__dict__)  # noqa: S102 (our source)


def _of_ours(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in OWN) and name != __name__


@contextmanager
def planted(plant: Plant) -> Iterator[None]:
    """Have the package with a fault while this lasts."""
    finder = _Planted(f"contracts.pages.{plant.file}", plant.text())
    kept = {name: module for name, module in sys.modules.items() if _of_ours(name)}
    for name in kept:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _of_ours(name)]:
            del sys.modules[name]
        sys.modules.update(kept)


def noticed(plant: Plant) -> str:
    """Return what shows a fault, "" if nothing does."""
    with planted(plant):
        attacks = importlib.import_module("tests.unit.contracts.pages.test_laundering")
        for rule, cases in (
            (attacks.test_what_carries_more_out_than_is_granted_is_refused_with_its_reason, attacks.ATTACKS),
            (attacks.test_what_no_grant_could_allow_is_refused_when_it_is_traced, attacks.BEFORE_ANY_GRANT),
            (attacks.test_what_the_grants_allow_is_not_refused, attacks.HONEST),
        ):
            for case in cases:
                if not _holds(rule, case):
                    return f"attacks: {case}"
        for rule in (
            attacks.test_a_figure_that_packs_many_sums_counts_as_many,
            attacks.test_a_figure_of_rows_that_hold_figures_counts_all_of_them,
            attacks.test_own_sums_over_joined_rows_tell_membership_and_say_so,
            attacks.test_what_the_initiator_owns_chooses_for_no_receiver,
        ):
            if not _holds(rule):
                return rule.__name__
        soundness = importlib.import_module("tests.unit.contracts.pages.soundness")
        for seed in SEEDS:
            if not _holds(_agrees, soundness, seed):
                return f"random page of seed {seed}"
    return ""


def _agrees(soundness: ModuleType, seed: int) -> None:
    assert soundness.compared([seed]).differ == []


def _holds(rule: Any, *args: object) -> bool:
    try:
        rule(*args)
    except (Exception, pytest.fail.Exception):
        return False
    return True
