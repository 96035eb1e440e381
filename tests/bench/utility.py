"""What noise costs in accuracy: pages with noise on the demo's data, beside the same figures without.

Pages are evaluated in the clear with as much noise as agents draw for them, so that many runs take seconds.
More rows than the demo has, or fewer, are drawn from its joined rows with replacement.
"""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.tables import DatasetSchema
from contracts.system import standard_pages
from privcompute.cli.page_jobs import exact
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.pages.clear import ClearData, ClearRun
from privcompute.pages.columns import InputRefused
from privcompute.pages.inputs import cells_of_kind, lot
from privcompute.pages.noise import Noise, noise_of, noise_within
from privcompute.pages.noisy import downstream
from tests.bench.pages import EXAMPLE, NAMES, ORGS, Credit, credit
from tests.bench.utility_plot import drawn

EPSILONS = (0.1, 0.5, 1.0, 3.0)
ROWS = (100, 200, 400, 831, 2_000, 5_000, 10_000, 20_000)
Cells = NDArray[np.float64]
Figures = Mapping[str, Cells]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a page, how far it may be from the one without noise, and what is useful."""

    page: str
    name: str
    unit: str
    error: Callable[[Figures, Figures], float]
    """Of the figures with noise, and of those without."""
    useful: float
    """The greatest error with which it says something."""


def _apart(name: str, times: float = 1.0) -> Callable[[Figures, Figures], float]:
    """Return the median over cells of how far they are apart."""
    return lambda noisy, clear: float(np.median(np.abs(noisy[name] - clear[name]))) * times


def _relative(name: str) -> Callable[[Figures, Figures], float]:
    """Return the same in hundredths of the figure without noise."""
    return lambda noisy, clear: (
        100 * float(np.median(np.abs(noisy[name] - clear[name]) / np.maximum(np.abs(clear[name]), 1e-9)))
    )


MEASURES = (
    Measure("rates", "default rate by housing", "pp", _apart("default rate by housing", 100), 5),
    Measure("rates", "mean amount by housing", "%", _relative("mean amount by housing"), 10),
    Measure("rates", "loans by purpose", "%", _relative("loans by purpose"), 10),
    Measure("statistics", "mean of amounts", "%", _relative("mean of loans.credit_amount"), 10),
    Measure("statistics", "mean of ages", "%", _relative("mean of residents.age_in_years"), 10),
    Measure("statistics", "people by age", "%", _relative("bins of residents.age_in_years"), 10),
    Measure("deviation", "deviation of amounts", "%", _relative("deviation of loans.credit_amount"), 10),
    Measure(
        "correlation", "correlation", "",
        _apart("correlation of loans.credit_amount and loans.duration_in_month"), 0.1,
    ),
    Measure("model", "AUC that is lost", "", lambda noisy, clear: float(clear["AUC"] - noisy["AUC"]), 0.03),
    Measure("model", "AUC told", "", lambda noisy, _: abs(float(noisy["told"] - noisy["AUC"])), 0.05),
)  # fmt: skip
MODEL = "noisy_model"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the table: its text, its parameters, and which of them share an epsilon."""

    text: str
    parameters: Mapping[str, Any]
    shares: Mapping[str, float]
    """Parameter -> the part that it has of a whole epsilon."""

    def plan(self, schemas: Mapping[str, DatasetSchema], epsilon: float) -> Plan:
        """Trace it for an epsilon of all that it tells."""
        given = dict(self.parameters) | {name: round(epsilon * part, 6) for name, part in self.shares.items()}
        return trace(self.text, schemas, parameters=exact(given))


def pages() -> dict[str, Page]:
    """Return the pages of the table: the demo's of a member, standard statistics, the model with noise."""

    def given(name: str) -> dict[str, Any]:
        return dict(tomllib.loads((EXAMPLE / f"{name}.toml").read_text(encoding="utf-8"))["parameters"])

    def text(name: str) -> str:
        return (EXAMPLE / f"{name}.py").read_text(encoding="utf-8")

    standard, columns = standard_pages()["joint-statistics"], given("statistics")["columns"]
    none: dict[str, Any] = {"receivers": ["bank"], "columns": []}
    return {
        "rates": Page(text("default_rates"), {}, {"epsilon": 1}),
        "statistics": Page(standard, given("statistics"), {"epsilon": 1}),
        "deviation": Page(
            standard, none | {"columns": columns[:1], "figures": ["deviation"]}, {"epsilon": 1}
        ),
        "correlation": Page(standard, none | {"correlations": [columns[:2]]}, {"epsilon": 1}),
        "model": Page(text(MODEL), given(MODEL), {"epsilon": 2 / 3, "quality": 1 / 3}),
    }


class NoisyRun(ClearRun):
    """A plan in the clear, with noise on the sums that the page goes on with."""

    def __init__(self, plan: Plan, world: ClearData, chance: np.random.Generator | None) -> None:
        """Prepare it; without chance no noise is drawn."""
        super().__init__(plan, world)
        self.chance = chance
        self.within = noise_within(plan)

    def value(self, node: int, name: str, args: tuple[int, ...], attrs: tuple[str, ...]) -> Any:
        """Return the value of a node."""
        made = super().value(node, name, args, attrs)
        if name == "noised" and self.chance is not None:
            return made + self.drawn(self.within[node], node, np.shape(made))
        return made

    def drawn(self, noise: Noise, node: int, shape: tuple[int, ...]) -> Cells:
        """Return noise as agents draw it, but for bits far behind the point."""
        assert self.chance is not None
        if noise.mechanism == "gaussian":
            units = np.rint(self.chance.normal(0.0, (3 * float(noise.size)) ** 0.5, shape))
        else:
            p = -np.expm1(-1 / float(noise.size))
            units = 1.0 * self.chance.geometric(p, shape) - self.chance.geometric(p, shape)
        return np.asarray(units / (1 << FRACTION_BITS if self.graph.cells[node].kind == "real" else 1))

    def told(self, number: int) -> Cells:
        """Return what a release tells, once all values are there: with noise of its own where it has some."""
        asked = self.plan.asked[number]
        noise = noise_of(self.plan, number)
        if self.chance is None or not noise:
            return np.asarray(self.values[asked.value], np.float64)
        kept = list(self.values)
        for node in downstream(self.graph, asked.value, noise):
            if node in noise:
                self.values[node] = kept[node] + self.drawn(noise[node], node, np.shape(kept[node]))
            else:
                name, args = self.graph.name(node), self.graph.args[node]
                self.values[node] = self.value(node, name, args, self.graph.attrs[node])
        made, self.values = np.asarray(self.values[asked.value], np.float64), kept
        return made


class Drawn:
    """The demo's joined rows, or more of them, for pages in the clear."""

    def __init__(self, data: Credit) -> None:
        """Take what owners declare and hold."""
        self.schemas = {
            name: DatasetSchema(
                org,
                {column.name: column.type for column in schema.columns},
                tuple(schema.key),
                {column.name: len(column.categories) for column in schema.columns if column.categories},
                {column.name: len(column.edges) - 1 for column in schema.columns if column.edges},
                {column.name: (column.low, column.high) for column in schema.columns},
            )
            for org, name, schema in zip(ORGS, NAMES, data.schemas, strict=True)
        }
        self.domains = {
            f"{name}.{column.name}": [*map(float, column.edges)] if column.edges else [*column.categories]
            for name, schema in zip(NAMES, data.schemas, strict=True)
            for column in schema.columns
        }
        self.columns = {
            name: {column: cells[rows] for column, cells in table.data.items()}
            for name, table, rows in zip(NAMES, data.tables, data.rows, strict=True)
        }
        self.rows = data.joined

    def world(self, plan: Plan, rows: int, seed: int) -> ClearData:
        """Return so many rows: those of the demo where they are as many, else drawn from them."""
        chance = np.random.default_rng([seed, rows])
        taken = np.arange(rows) if rows == self.rows else chance.integers(0, self.rows, rows)
        every = np.arange(rows)
        data: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in NAMES}
        for read in plan.graph.columns:
            name = plan.datasets[read.dataset].name
            data[name][read.column] = cells_of_kind(self.columns[name][read.column][taken], read.kind)
        lots = {
            attrs: lot(seed.to_bytes(32, "big"), 0, rows, Fraction(attrs[1])).astype(np.float64)
            for attrs in {plan.graph.attrs[n] for n in range(len(plan.graph)) if plan.graph.name(n) == "lot"}
        }
        joined = dict.fromkeys(range(len(NAMES)), (every, every))
        return ClearData(data, self.domains, lots, {"n:join1": joined})


def figures_of(plan: Plan, world: ClearData, chance: np.random.Generator | None) -> Figures:
    """Return what a page tells, with noise if there is chance; of the model also the AUC of its scores."""
    run = NoisyRun(plan, world, chance)
    run.every()
    found = {one.name: run.told(number) for number, one in enumerate(plan.asked) if one.receiver}
    for one in plan.asked:
        if one.name == "AUC, KS, accuracy":
            found["told"], found["AUC"] = found[one.name][0], np.asarray(run.values[one.value], np.float64)[0]
    return found


def measured(
    data: Drawn, page: Page, measures: Sequence[Measure], rows: int, epsilon: float, seeds: int
) -> dict[str, list[float]]:
    """Return by measure the error of each seed; none where shares cannot hold as much noise."""
    plan = page.plan(data.schemas, epsilon)
    found: dict[str, list[float]] = {one.name: [] for one in measures}
    for seed in range(seeds):
        world = data.world(plan, rows, seed)
        chance = np.random.default_rng([seed, rows, round(epsilon * 1000)])
        try:
            clear, noisy = figures_of(plan, world, None), figures_of(plan, world, chance)
        except InputRefused:
            break
        for one in measures:
            found[one.name].append(one.error(noisy, clear))
    return found


def exact_auc(data: Drawn, seeds: int) -> dict[str, float]:
    """Return the median AUC without noise: of the model's few features, and of the standard page's many."""
    given = tomllib.loads((EXAMPLE / "regression.toml").read_text(encoding="utf-8"))["parameters"]
    many = trace(standard_pages()["logistic-regression"], data.schemas, parameters=exact(given))
    few = pages()["model"].plan(data.schemas, 1.0)
    found: dict[str, list[float]] = {"few features": [], "many features": []}
    for seed in range(seeds):
        for name, plan in (("few features", few), ("many features", many)):
            figures = figures_of(plan, data.world(plan, data.rows, seed), None)
            found[name].append(float(figures["AUC"]))
    return {name: round(statistics.median(every), 4) for name, every in found.items()}


def measure(seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the errors of all measures, by rows and epsilon, and from how many rows they are useful."""
    data, every = Drawn(credit()), pages()
    found: list[dict[str, Any]] = []
    for name, page in every.items():
        measures = [one for one in MEASURES if one.page == name]
        for rows in ROWS:
            say(f"{name}: {rows:,} rows")
            for epsilon in EPSILONS:
                errors = measured(data, page, measures, rows, epsilon, seeds)
                found += [_row(one, rows, epsilon, errors[one.name]) for one in measures]
    return {
        "seeds": seeds,
        "joined": data.rows,
        "exact_auc": exact_auc(data, seeds),
        "errors": found,
        "useful_from": {one.name: useful_from(one, found) for one in MEASURES},
    }


def _row(one: Measure, rows: int, epsilon: float, errors: Sequence[float]) -> dict[str, Any]:
    parts = [float(f"{np.quantile(errors, part):.3g}") if errors else None for part in (0.25, 0.5, 0.75)]
    quarters = [parts[0], parts[2]]
    return {"figure": one.name, "rows": rows, "epsilon": epsilon, "median": parts[1], "quarters": quarters}


def useful_from(one: Measure, found: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Return by epsilon from how many rows on three of four runs are useful; None where that is beyond."""
    useful: dict[str, int | None] = {}
    for epsilon in EPSILONS:
        mine = [row for row in found if row["figure"] == one.name and row["epsilon"] == epsilon]
        first: int | None = None
        for row in sorted(mine, key=lambda row: -int(row["rows"])):
            if row["quarters"][1] is None or row["quarters"][1] > one.useful:
                break
            first = int(row["rows"])
        useful[f"{epsilon:g}"] = first
    return useful


def text_of(found: Mapping[str, Any]) -> str:
    """Return two tables in 80 columns: errors at the demo's rows, and from how many rows they are useful."""
    head = [f"ε {epsilon:g}" for epsilon in EPSILONS]
    lines = [
        f"error at {found['joined']} rows: median of {found['seeds']} runs, ± half of the middle half",
        "",
    ]
    lines.append(_line("", head))
    for one in MEASURES:
        mine = [
            row for row in found["errors"] if row["figure"] == one.name and row["rows"] == found["joined"]
        ]
        cells = [_cell(row) for row in sorted(mine, key=lambda row: float(row["epsilon"]))]
        lines.append(_line(f"{one.name}, {one.unit}" if one.unit else one.name, cells))
    lines += ["", f"rows from which it is useful, of {ROWS[0]:,} to {ROWS[-1]:,}", ""]
    lines.append(_line("", head))
    for one in MEASURES:
        useful = found["useful_from"][one.name]
        each = [f"{useful[f'{epsilon:g}']:,}" if useful[f"{epsilon:g}"] else "more" for epsilon in EPSILONS]
        lines.append(_line(f"{one.name} within {one.useful:g} {one.unit}".rstrip(), each))
    auc = found["exact_auc"]
    lines += [
        "",
        f"AUC without noise: {auc['few features']:.3f} of its features, {auc['many features']:.3f} of all",
    ]
    return "\n".join(lines)


def _line(name: str, cells: Sequence[str]) -> str:
    return (f"{name:<35}" + "".join(f"{cell:>11}" for cell in cells)).rstrip()


def _cell(row: Mapping[str, Any]) -> str:
    if row["median"] is None:
        return "refused"
    low, high = row["quarters"]
    return f"{_said(row['median'])} ±{_said((high - low) / 2)}"


def _said(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 10 else f"{number:.1f}" if abs(number) >= 1 else f"{number:.2f}"


def plot_of(found: Mapping[str, Any]) -> str:
    """Return the plot of four of the measures."""
    shown = ("default rate by housing", "mean of amounts", "correlation", "AUC that is lost")
    return drawn(found, [(one.name, one.unit, one.useful) for one in MEASURES if one.name in shown])
