"""What `assent program check` and `run` print: grants, leakage, plan, costs, and figures side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from chain.client.console import Missing, print_folded, print_lines, print_table, print_text
from chain.primitives.values import Value
from chain.primitives.visible import one_line
from contracts.pages.cost import Cost
from contracts.pages.leakage import size_names
from contracts.pages.page import Traced
from contracts.pages.parameters import as_value, said_value
from contracts.pages.plan import Plan
from privcompute.cli.charge_words import print_taken
from privcompute.cli.held_grants import HeldFor
from privcompute.cli.page_needs import grants_needed
from privcompute.pages.releases import CUT
from privcompute.pages.trial import Beside, Trial

ROUND_MS = 0.3
"""A round between processes of one host; between hosts it takes as long as a message there and back."""
BYTES_A_SECOND = 60_000_000
_CELLS_SHOWN = 12
_WIDTH = 80
_UNKNOWN = 8
"""Categories or bins of a column of which nothing is known."""


def show_check(
    name: str,
    traced: Traced,
    charges: Mapping[str, Any],
    counts: Mapping[str, int],
    joined: int | None,
    *,
    with_plan: bool,
) -> None:
    """Print what follows from a page."""
    plan = traced.plan
    print_text(f"{name}: {len(plan.graph)} steps, {len(plan.releases)} releases")
    print_text(f"page {plan.page_hash.hex()}")
    print_text(f"plan {plan.hash.hex()}")
    if traced.parameters:
        print_table(
            "parameters",
            ["name", "value"],
            [[key, said_value(value)] for key, value in traced.parameters.items()],
        )
    rows = [[f"{one[0]}.{one[1]}", needed] for one, needed in grants_needed(plan).items()]
    print_table("grants needed", ["column", "constraint"], rows)
    for dataset, orgs in plan.membership.items():
        if orgs:
            print_folded(
                f"membership of {dataset}: {', '.join(orgs)} learn which of its rows are joined", under=6
            )
    print_taken("what a run takes of accounts", charges)
    print_text("what leaves:")
    for line in plan.leakage.splitlines():
        print_lines(fill(one_line(line), _WIDTH, initial_indent="  ", subsequent_indent="    "))
    _show_costs(plan, counts, joined)
    if with_plan:
        print_lines("\n".join(plan_lines(plan)))


def show_held(held: Sequence[HeldFor], org: str, commands: Sequence[str]) -> None:
    """Print what an organisation holds for a page, what is missing, and the commands that ask for it."""
    rows = [
        [
            f"{one.dataset}@{one.version}.{column}",
            constraint,
            one.columns.get(column, ""),
            one.grant,
            Missing(one.missing_of(column)),
        ]
        for one in held
        for column, constraint in one.needed.items()
    ]
    print_table(f"grants of {org}", ["column", "needed", "granted", "by grant", "missing"], rows)
    lacks = [
        [one.grant or one.dataset, [Missing(text) for text in one.missing]] for one in held if one.missing
    ]
    if lacks:
        print_table("missing", ["grant or dataset", "what"], lacks)
    for command in commands:
        print_folded(f"ask for it: {command}", under=6)
    if not lacks:
        print_text("nothing is missing")


def held_json(held: Sequence[HeldFor], org: str, commands: Sequence[str]) -> Value:
    """Return what `check --json` says of grants held."""
    return {
        "org": org,
        "datasets": [
            {
                "dataset": one.dataset,
                "version": one.version,
                "needed": dict(one.needed),
                "grant": one.grant,
                "granted": dict(one.columns),
                "missing": list(one.missing),
            }
            for one in held
        ],
        "ask": list(commands),
    }


def plan_lines(plan: Plan) -> list[str]:
    """Return a line for each step of a plan: its number, primitive, operands, texts, and type."""
    graph, said = plan.graph, size_names(plan.graph, plan.datasets)
    lines = []
    for node in range(len(graph)):
        name, attrs = graph.name(node), list(graph.attrs[node])
        if name == "column":
            read = graph.columns[int(attrs[0])]
            attrs = [f"{plan.datasets[read.dataset].name}.{read.column}"]
        words = [f"#{arg}" for arg in graph.args[node]] + attrs
        shape = ", ".join(
            str(size) if isinstance(size, int) else said(size) for size in graph.cells[node].shape
        )
        depth, home = 0, graph.homes[node]
        while home != -1:
            depth, home = depth + 1, graph.homes[home]
        kind = graph.cells[node].kind
        typed = "" if kind == "loop" else f": {kind}[{shape}]" if shape else f": {kind}"
        lines.append(f"{'  ' * depth}#{node} {name}({', '.join(words)}){typed}")
    for one in plan.asked:
        lines.append(
            f"{'release' if one.receiver else 'keep'} #{one.value} {one.name!r} {one.receiver}".rstrip()
        )
    return lines


# --- costs -----------------------------------------------------------------------------------------------
def sizes_of(plan: Plan, counts: Mapping[str, int], joined: int | None) -> dict[str, int] | None:
    """Return what the sizes of a plan are for stated rows; None unless each dataset has some."""
    names = [one.name for one in plan.datasets]
    if any(name not in counts for name in names):
        return None
    sizes = {f"n:{place}": counts[name] for place, name in enumerate(names)}
    least = joined or min(counts[name] for name in names)
    found = {str(size) for cells in plan.graph.cells for size in cells.shape if isinstance(size, str)}
    for size in sorted(found):
        if size.startswith("n:join"):
            sizes[size] = least
        elif size.startswith("n:"):
            sizes[size] = sum(sizes[f"n:{part}"] for part in size[2:].split("+"))
        else:
            sizes[size] = _UNKNOWN
    return sizes


def cost_rows(cost: Cost, sizes: Mapping[str, int] | None, said: Callable[[str], str]) -> list[list[str]]:
    """Return measure, formula and, for stated rows, figure of one profile's cost."""
    rows = []
    for measure, formula in (("rounds", cost.rounds), ("bytes sent", cost.sent), ("bytes held", cost.memory)):
        value = "" if sizes is None else f"{formula.value(sizes):,}"
        rows.append([measure, value, formula.text(said)])
    if sizes is not None:
        rows.append(["seconds", f"{seconds(cost, sizes):.1f}", "on one host"])
    return rows


def seconds(cost: Cost, sizes: Mapping[str, int]) -> float:
    """Return an estimate for three parties on one host."""
    return cost.rounds.value(sizes) * ROUND_MS / 1_000 + cost.sent.value(sizes) / BYTES_A_SECOND


def _show_costs(plan: Plan, counts: Mapping[str, int], joined: int | None) -> None:
    sizes, said = sizes_of(plan, counts, joined), size_names(plan.graph, plan.datasets)
    for cost in plan.cost:
        print_table(
            f"cost, profile {cost.profile}", ["measure", "#value", "formula"], cost_rows(cost, sizes, said)
        )
    if sizes is None:
        print_text("for figures, state the rows: --rows NAME=COUNT for each dataset")


def check_json(
    traced: Traced, charges: Mapping[str, Any], counts: Mapping[str, int], joined: int | None
) -> Value:
    """Return what `check --json` prints."""
    plan = traced.plan
    sizes, said = sizes_of(plan, counts, joined), size_names(plan.graph, plan.datasets)
    return {
        "page": plan.page_hash.hex(),
        "plan": plan.hash.hex(),
        "datasets": [one.name for one in plan.datasets],
        "parameters": {name: as_value(value) for name, value in traced.parameters.items()},
        "uses": [[one.dataset, one.column, one.use, plan.releases[one.release].name] for one in plan.uses],
        "grants": [[*column, needed] for column, needed in grants_needed(plan).items()],
        "membership": {name: list(orgs) for name, orgs in plan.membership.items()},
        "charges": dict(charges),
        "leakage": plan.leakage.splitlines(),
        "costs": {
            one.profile: {
                "rounds": one.rounds.text(said),
                "sent": one.sent.text(said),
                "memory": one.memory.text(said),
                **({} if sizes is None else _figures(one, sizes)),
            }
            for one in plan.cost
        },
        "steps": plan_lines(plan),
    }


def _figures(cost: Cost, sizes: Mapping[str, int]) -> dict[str, Value]:
    return {
        "stated": {
            "rounds": cost.rounds.value(sizes),
            "sent": cost.sent.value(sizes),
            "memory": cost.memory.value(sizes),
            "seconds": f"{seconds(cost, sizes):.3f}",
        }
    }


# --- side by side ----------------------------------------------------------------------------------------
def show_trial(name: str, traced: Traced, trial: Trial, min_group: int) -> None:
    """Print every figure as it is in the clear and among three parties."""
    counts = ", ".join(
        f"{one.name} {trial.rows[f'n:{place}']:,}" for place, one in enumerate(traced.plan.datasets)
    )
    joins = ", ".join(f"{rows:,}" for size, rows in trial.rows.items() if size.startswith("n:join"))
    print_text(f"{name} on {counts} rows" + (f", joined {joins}" if joins else ""))
    for one in trial.figures:
        rows = [list(row) for row in _cells(one)]
        title = f"{one.name}, to {one.receiver}"
        last = "#95 % interval" if one.noise else "#difference"
        print_table(one_line(title), ["cell", "#in the clear", "#three parties", last], rows)
        if one.noise:
            print_text(one.noise)
    if any(one.cut for one in trial.figures):
        print_folded(CUT)
    for kept, shape in trial.kept.items():
        print_text(f"{kept} stays shares: {' x '.join(map(str, shape)) or 'one'} cells")
    for warning in trial.warnings:
        print_text(f"warning: {warning}")
    print_text(f"{trial.rounds:,} rounds; a party sent at most {trial.sent:,} bytes; the join is not counted")
    if min_group == 1 and any(one.axes for one in trial.figures):
        print_text("nothing is hidden: jobs hide figures over few rows, as --min-group N does here")


def _cells(one: Beside) -> Sequence[tuple[str, str, str, str]]:
    rows = []
    for number, place in enumerate(np.ndindex(one.joint.shape)):
        if number == _CELLS_SHOWN:
            most = "" if one.noise else f"at most {one.difference:.2g}"
            rows.append((f"… {one.joint.size - number:,} more", "", "", most))
            break
        clear, joint = float(one.clear[place]), float(one.joint[place])
        hidden = bool(np.isnan(joint))
        apart = "" if hidden else f"{abs(joint - clear):.2g}"
        if one.low is not None and one.high is not None:
            apart = f"{_end(float(one.low[place]))} … {_end(float(one.high[place]))}"
        rows.append((_called(one, place), _number(clear), "hidden" if hidden else _number(joint), apart))
    return rows


def _end(value: float) -> str:
    return "any" if np.isnan(value) else _number(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6f}"


def _called(one: Beside, place: tuple[int, ...]) -> str:
    words = []
    for axis, index in zip(one.axes, place, strict=True):
        if "categories" in axis:
            words.append(str(axis["categories"][index]))
        elif "edges" in axis:
            words.append(f"{axis['edges'][index]} … {axis['edges'][index + 1]}")
        else:
            words.append(f"{'row ' if 'rows' in axis else ''}{index + 1}")
    return ", ".join(words)


def trial_json(traced: Traced, trial: Trial) -> Value:
    """Return what `run --json` prints; numbers are decimal text, and null where hidden."""
    return {
        "page": traced.plan.page_hash.hex(),
        "plan": traced.plan.hash.hex(),
        "rows": dict(trial.rows),
        "rounds": trial.rounds,
        "sent": trial.sent,
        "kept": {name: list(shape) for name, shape in trial.kept.items()},
        "warnings": list(trial.warnings),
        "figures": [
            {
                "name": one.name,
                "receiver": one.receiver,
                "axes": one.axes,
                "clear": _texts(one.clear),
                "joint": _texts(one.joint),
                "difference": f"{one.difference:.6g}",
                "noise": one.noise,
                "interval": [] if one.low is None else [_texts(one.low), _texts(one.high)],
            }
            for one in trial.figures
        ],
    }


def _texts(cells: Any) -> Value:
    if np.ndim(cells):
        return [_texts(part) for part in cells]
    return None if np.isnan(cells) else f"{float(cells):.10g}"
