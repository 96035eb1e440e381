"""The standard pages on the demo's data: three processes over TLS.

The join is left out: identifiers are matched in the clear beforehand. Times are those of the slowest party,
processor times those of all three together.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.tables import DatasetSchema
from contracts.system import standard_pages
from privcompute.cli.page_jobs import exact
from privcompute.data.schema import Schema
from privcompute.data.schema_files import load_schema
from privcompute.data.sources import DataSource
from privcompute.data.tables import TypedTable, read_table
from privcompute.job.inputs import input_column
from privcompute.mpc.engine import Engine
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.net.links import Links
from privcompute.pages.evaluate import evaluate
from privcompute.pages.inputs import OwnDataset, PageRun, RowsOfJoin
from privcompute.pages.releases import results
from tests.bench.mpc import be_party, three_parties

EXAMPLE = Path(__file__).parents[2] / "examples/german_credit"
ORGS = ("bank", "bureau", "registry")
NAMES = ("loans", "history", "residents")
JOBS = {"regression": "logistic-regression", "statistics": "joint-statistics"}
"""Job file of the demo -> its page."""
MIN_GROUP = 20
_JOB = b"\x07" * 32


def run(repeats: int) -> dict[str, Any]:
    """Return for each page its time, processor time, bytes and rounds, and its result."""
    reports = three_parties("tests.bench.pages", repeats)
    found: dict[str, Any] = {}
    for name in reports[0]:
        slowest = np.max([report[name]["seconds"] for report in reports], axis=0)
        together = np.sum([report[name]["cpu"] for report in reports], axis=0)
        found[name] = {
            "seconds": round(statistics.median(slowest.tolist()), 3),
            "cpu_seconds": round(statistics.median(together.tolist()), 3),
            "bytes": max(report[name]["bytes"] for report in reports),
            "rounds": max(report[name]["rounds"] for report in reports),
            "result": reports[0][name]["result"],
        }
    return found


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", EXAMPLE / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Credit:
    """The demo's data: what the three owners hold, and which of their rows are common, in one order."""

    schemas: tuple[Schema, ...]
    tables: tuple[TypedTable, ...]
    rows: tuple[NDArray[np.int64], ...]

    @property
    def joined(self) -> int:
        """Number of rows that all hold."""
        return len(self.rows[0])


def credit() -> Credit:
    """Load the demo's data."""
    with tempfile.TemporaryDirectory() as folder:
        _example("split").split(Path(folder))
        schemas = [load_schema(Path(folder) / f"{org}.schema.json")[0] for org in ORGS]
        tables = [
            read_table(DataSource(Path(folder) / f"{org}.csv"), schema)
            for org, schema in zip(ORGS, schemas, strict=True)
        ]
    places = [{each: row for row, each in enumerate(table.ids)} for table in tables]
    common = sorted(set.intersection(*[set(at) for at in places]))
    rows = tuple(np.array([at[each] for each in common]) for at in places)
    return Credit(tuple(schemas), tuple(tables), rows)


def plan_of(data: Credit, job: str) -> Plan:
    """Trace the page of one of the demo's jobs with what its owners declare."""
    declared = {
        name: DatasetSchema(
            org,
            {column.name: column.type for column in schema.columns},
            tuple(schema.key),
            {column.name: len(column.categories) for column in schema.columns if column.categories},
            {column.name: len(column.edges) - 1 for column in schema.columns if column.edges},
        )
        for org, name, schema in zip(ORGS, NAMES, data.schemas, strict=True)
    }
    said = tomllib.loads((EXAMPLE / f"{job}.toml").read_text(encoding="utf-8"))
    page = standard_pages()[JOBS[job]]
    return trace(page, declared, name=JOBS[job], parameters=exact(said["parameters"]))


def page_run(me: int, data: Credit, plan: Plan) -> PageRun:
    """Return one party's run of a plan."""
    joins = [f"n:join{number}" for number in range(1, plan.graph.joins + 1)]
    rows = {f"n:{place}": table.rows for place, table in enumerate(data.tables)}
    rows |= dict.fromkeys(joins, data.joined)
    mine = RowsOfJoin(np.arange(data.joined), data.rows[me])
    by_name = [{column.name: column for column in schema.columns} for schema in data.schemas]
    columns = tuple(input_column(by_name[read.dataset][read.column], "plain") for read in plan.graph.columns)
    own = {me: OwnDataset(data.tables[me].data, dict.fromkeys(joins, mine))}
    return PageRun(_JOB, (0, 1, 2), columns, rows, MIN_GROUP, own)


def page(me: int, engine: Engine, data: Credit, plan: Plan) -> Steps[Any]:
    """Run a plan; return its result at the first party."""
    outputs = yield from evaluate(engine, plan, page_run(me, data, plan))
    opened: dict[str, Any] = {}
    for name, value in outputs.shared.items():
        opened[name] = yield from engine.reveal(value, [0])
    return None if me else results(opened, outputs.public)


def _measure(me: int, repeats: int, links: Links) -> Steps[dict[str, Any]]:
    engine = yield from Rep3Engine.start(me, _JOB, os.urandom(ENTROPY_BYTES))
    data = credit()
    plans: Mapping[str, Plan] = {job: plan_of(data, job) for job in JOBS}
    report: dict[str, Any] = {job: {"seconds": [], "cpu": []} for job in JOBS}
    for repetition in range(-1, repeats):
        for job, plan in plans.items():
            item = report[job]
            yield {party: b"\0" for party in range(3) if party != me}
            sent, rounds = links.sent_bytes, links.rounds
            begin, cpu = time.perf_counter(), time.process_time()
            item["result"] = yield from page(me, engine, data, plan)
            if repetition >= 0:
                item["seconds"].append(time.perf_counter() - begin)
                item["cpu"].append(time.process_time() - cpu)
            item["bytes"], item["rounds"] = links.sent_bytes - sent, links.rounds - rounds
    return report


if __name__ == "__main__":
    be_party(int(sys.argv[1]), lambda links: _measure(int(sys.argv[1]), int(sys.argv[2]), links))
