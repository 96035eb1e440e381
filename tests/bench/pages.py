"""The programs and the pages that say the same, side by side: three processes over TLS on the demo's data.

The join is left out, since it is the same for both: identifiers are matched in the clear beforehand. Program
and page take turns, and times are those of the slowest party.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.tables import DatasetSchema
from privcompute.mpc.engine import Engine
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.net.links import Links
from privcompute.pages.evaluate import evaluate
from privcompute.pages.inputs import OwnDataset, PageRun, RowsOfJoin
from privcompute.pages.releases import results
from privcompute.programs import logistic_regression
from privcompute.programs import statistics as joint_statistics
from privcompute.programs.base import Context, JobInput, JobProgram, OwnData
from privcompute.programs.encoding import categories
from tests.bench.mpc import be_party, three_parties

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGES = Path(__file__).parents[2] / "contracts/system/pages"
ORGS = ("bank", "bureau", "registry")
NAMES = ("loans", "history", "residents")
MIN_GROUP = 20
_JOB = b"\x07" * 32
_LABEL = "creditability"


def run(repeats: int) -> dict[str, Any]:
    """Return for each program its time, bytes and rounds, those of its page, and both results."""
    reports = three_parties("tests.bench.pages", repeats)
    found: dict[str, Any] = {}
    for name in reports[0]:
        slowest = np.max([report[name]["seconds"] for report in reports], axis=0)
        found[name] = {
            "seconds": round(statistics.median(slowest.tolist()), 3),
            "bytes": max(report[name]["bytes"] for report in reports),
            "rounds": max(report[name]["rounds"] for report in reports),
            "result": reports[0][name]["result"],
        }
    return found


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", EXAMPLES / f"german_credit/{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Credit:
    """The demo's data: what the three owners hold, and which of their rows are common, in one order."""

    inputs: tuple[JobInput, ...]
    columns: tuple[Mapping[str, Any], ...]
    rows: tuple[Any, ...]

    @property
    def joined(self) -> int:
        """Number of rows that all hold."""
        return len(self.rows[0])


def credit() -> Credit:
    """Load the demo's data."""
    split, reference = _example("split"), _example("reference")
    with tempfile.TemporaryDirectory() as folder:
        split.split(Path(folder))
        loaded = [reference.load(Path(folder), org) for org in ORGS]
    places = [{each: row for row, each in enumerate(columns["id"].tolist())} for _, columns in loaded]
    common = sorted(set.intersection(*[set(at) for at in places]))
    edges = {dataset: list(found) for dataset, found in split.EDGES.items()}
    inputs = tuple(_declared(item, columns, edges) for item, columns in loaded)
    rows = tuple(np.array([at[each] for each in common]) for at in places)
    return Credit(inputs, tuple(columns for _, columns in loaded), rows)


def _declared(item: JobInput, columns: Mapping[str, Any], edges: Mapping[str, list[str]]) -> JobInput:
    """Return an input whose schema declares categories and edges, as the demo's does."""
    made = []
    for column in item.columns:
        if not column.numeric and column.use != "join":
            column = replace(column, categories=categories(columns[column.name], 1, column.name))
        made.append(replace(column, edges=tuple(edges.get(column.name, ()))))
    return replace(item, columns=tuple(made))


# --- the programs ----------------------------------------------------------------------------------------
def program(me: int, engine: Engine, data: Credit, one: JobProgram, given: Mapping[str, Any]) -> Steps[Any]:
    """Run a program; return its result at the first party."""
    parsed = one.check(given, data.inputs)
    own = {data.inputs[me].dataset: OwnData(data.columns[me], data.rows[me])}
    context = Context(_JOB, data.inputs, parsed, data.joined, MIN_GROUP, own)
    outputs = yield from one.run(engine, context)
    opened = yield from _opened(engine, outputs.shared)
    return None if me else one.finish(opened, outputs.public)


def _opened(engine: Engine, shared: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    opened = {}
    for name, value in shared.items():
        opened[name] = yield from engine.reveal(value, [0])
    return opened


# --- the pages -------------------------------------------------------------------------------------------
def plan_of(data: Credit, page: str, parameters: Mapping[str, Any]) -> Plan:
    """Trace a page with the schemas of the demo's data."""
    schemas = {}
    for org, name, item in zip(ORGS, NAMES, data.inputs, strict=True):
        schemas[name] = DatasetSchema(
            org,
            {column.name: column.type for column in item.columns},
            ("id",),
            {column.name: len(column.categories) for column in item.columns if column.categories},
            {column.name: len(column.edges) - 1 for column in item.columns if column.edges},
        )
    source = (PAGES / page).read_text(encoding="utf-8")
    return trace(source, schemas, name=page, parameters=parameters)


def page_run(me: int, data: Credit, plan: Plan) -> PageRun:
    """Return one party's run of a plan."""
    joins = [f"n:join{number}" for number in range(1, plan.graph.joins + 1)]
    rows = {f"n:{place}": len(columns["id"]) for place, columns in enumerate(data.columns)}
    rows |= dict.fromkeys(joins, data.joined)
    mine = RowsOfJoin(np.arange(data.joined), data.rows[me])
    reads = [(data.inputs[read.dataset], read.column) for read in plan.graph.columns]
    columns = tuple(found for item, name in reads if (found := item.column(name)) is not None)
    own = {me: OwnDataset(data.columns[me], dict.fromkeys(joins, mine))}
    return PageRun(_JOB, (0, 1, 2), columns, rows, MIN_GROUP, own)


def page(me: int, engine: Engine, data: Credit, plan: Plan) -> Steps[Any]:
    """Run a plan; return its result at the first party."""
    outputs = yield from evaluate(engine, plan, page_run(me, data, plan))
    opened = yield from _opened(engine, outputs.shared)
    return None if me else results(opened, outputs.public)


def regression_parameters(data: Credit) -> dict[str, Any]:
    """Return the parameters of the page that say what the demo's regression does."""
    columns = [
        (name, column) for name, item in zip(NAMES, data.inputs, strict=True) for column in item.columns
    ]
    used = [(name, one) for name, one in columns if one.use != "join" and one.name != _LABEL]
    return {
        "label": ["loans", _LABEL],
        "positive": ["bad"],
        "numbers": [[name, one.name] for name, one in used if one.numeric],
        "categories": [[name, one.name] for name, one in used if not one.numeric],
        "receivers": ["bank"],
    }


def statistics_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the page that say what the demo's statistics do."""
    return {
        "columns": [_named(each) for each in given["columns"]],
        "figures": ["mean", "deviation"],
        "correlations": [[_named(each) for each in pair] for pair in given["correlations"]],
        "histograms": [_named(each["column"]) for each in given["histograms"]],
        "groups": [[_named(each["by"]), _named(each["of"])] for each in given["groups"]],
        "receivers": ["bank"],
    }


def _named(reference: str) -> list[str]:
    return reference.split("/")[1:]


# --- measuring -------------------------------------------------------------------------------------------
def works(me: int, engine: Engine, data: Credit) -> dict[str, Callable[[], Steps[Any]]]:
    """Return program and page of each kind."""
    said = {
        name: json.loads((EXAMPLES / f"german_credit/{name}.json").read_text(encoding="utf-8"))
        for name in ("regression", "statistics")
    }
    regression = plan_of(data, "logistic_regression.py", regression_parameters(data))
    figures = plan_of(data, "joint_statistics.py", statistics_parameters(said["statistics"]))
    return {
        "regression, program": lambda: program(
            me, engine, data, logistic_regression.PROGRAM, said["regression"]
        ),
        "regression, page": lambda: page(me, engine, data, regression),
        "statistics, program": lambda: program(
            me, engine, data, joint_statistics.PROGRAM, said["statistics"]
        ),
        "statistics, page": lambda: page(me, engine, data, figures),
    }


def _measure(me: int, repeats: int, links: Links) -> Steps[dict[str, Any]]:
    engine = yield from Rep3Engine.start(me, _JOB, os.urandom(ENTROPY_BYTES))
    data = credit()
    report: dict[str, Any] = {}
    for repetition in range(-1, repeats):
        for name, work in works(me, engine, data).items():
            item = report.setdefault(name, {"seconds": []})
            yield {party: b"\0" for party in range(3) if party != me}
            sent, rounds, begin = links.sent_bytes, links.rounds, time.perf_counter()
            item["result"] = yield from work()
            if repetition >= 0:
                item["seconds"].append(time.perf_counter() - begin)
            item["bytes"], item["rounds"] = links.sent_bytes - sent, links.rounds - rounds
    return report


if __name__ == "__main__":
    be_party(int(sys.argv[1]), lambda links: _measure(int(sys.argv[1]), int(sys.argv[2]), links))
