"""`assent contract new`, `check` and `run`: an author's tools, which need no network.

The group is mounted by the `assent` command, which adds the commands that talk to a node.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from chain.primitives.errors import AssentError
from chain.primitives.execution import OK, REJECTED, Outcome
from chain.primitives.files import read_bounded
from chain.primitives.jsonvalue import to_json
from chain.primitives.visible import json_text, visible
from contracts import tracebacks
from contracts.check import CheckReport, check_source, parse_arguments, run_outcome, verdict_of
from contracts.language.limits import DEFAULT_GAS, SOURCE_BYTES_MAX
from contracts.starter import write_starter
from contracts.testing import CallFailed

GAS_MAX = 10**12
_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))


@click.group()
def contract() -> None:
    """Write, check, run and govern contracts."""


@contract.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, as_json: bool) -> None:
    """Check FILE as deployment would: every refusal with line, column, rule and what to write instead.

    Exits 0 when the contract can be deployed, 1 when it is refused. Warnings name what deploys, and yet may
    not do what you mean; they refuse nothing.
    """
    report = check_source(_read(file), str(file))
    if as_json:
        _print(json.dumps({"file": str(file), **report.to_json()}, sort_keys=True))
    elif report.program is None:
        for item in report.diagnostics:
            _print(item.render(str(file)))
    else:
        _print_summary(report, file)
    if report.program is None:
        raise click.exceptions.Exit(1)


def _print_summary(report: CheckReport, file: Path) -> None:
    assert report.program is not None
    found: Any = report.program.abi
    _print(f"{file}: ok, source {report.program.source_hash.hex()}, IR {report.program.ir_hash.hex()}")
    for name, method in found["methods"].items():
        defaults = method.get("defaults", {})
        params = ", ".join(
            f"{param}: {hint}" + (f" = {json.dumps(to_json(defaults[param]))}" if param in defaults else "")
            for param, hint in method["params"]
        )
        nested = "(nested=True)" if method["kind"] == "export" and method["nested"] else ""
        guard = f" @only{json_text(method['only'])}" if "only" in method else ""
        returns = "" if method["returns"] == "Value" else f" -> {method['returns']}"
        _print(f"  @{method['kind']}{nested} {name}({params}){returns}{guard}")
    for item in report.warnings:
        _print(item.render(str(file), "warning "))


@contract.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), help="Folder to write into; NAME when left out.")
def new(name: str, into: Path | None) -> None:
    """Write a small authorisation contract called NAME, with a test that passes and names for editors."""
    folder = into or Path(name)
    try:
        files = write_starter(name, folder)
    except AssentError as error:
        raise click.ClickException(visible(f"{error.code}: {error}")) from None
    for file in files:
        _print(f"wrote {file}")
    _print(
        f"next: pytest {shlex.quote(str(folder))}, then assent contract check {shlex.quote(str(files[0]))}"
    )


@contract.command()
@_FILE
@click.option("--call", required=True, metavar="NAME", help="Function to run, decorated or not.")
@click.option(
    "--args",
    "arguments",
    default="{}",
    metavar="JSON",
    help='Object by name, or array in order; bytes are {"$bytes": "00ff"}.',
)
@click.option("--init", metavar="JSON", help="Deploy first, running @init with these arguments.")
@click.option("--gas", type=click.IntRange(0, GAS_MAX), default=DEFAULT_GAS, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(file: Path, call: str, arguments: str, init: str | None, gas: int, as_json: bool) -> None:
    """Run one function of FILE on an empty chain in memory and print the verdict.

    Exits 0 whatever the verdict; status is ok, rejected, reverted, out_of_gas or limit.
    """
    source = _read(file)
    try:
        given = parse_arguments(arguments)
        first = None if init is None else parse_arguments(init)
        if isinstance(first, list):
            raise click.BadParameter("give a JSON object of arguments by name", param_hint="--init")
        outcome = run_outcome(source, call, given, gas=gas, init=first)
    except CallFailed as failed:
        raise click.ClickException(visible(_traceback(failed.outcome, "@init", file, source))) from None
    except AssentError as error:
        raise click.ClickException(visible(f"{error.code}: {error}")) from None
    if as_json:
        _print(json.dumps({"file": str(file), **verdict_of(outcome)}, sort_keys=True))
    elif outcome.status == OK:
        result = json_text(verdict_of(outcome)["result"])
        _print(f"ok, {outcome.gas_used} gas: {result}")
    elif outcome.status == REJECTED:
        found = check_source(source, str(file)).diagnostics
        _print("rejected: " + "\n".join(item.render(str(file)) for item in found))
    else:
        _print(_traceback(outcome, call, file, source))


def _traceback(outcome: Outcome, call: str, file: Path, source: str) -> str:
    return tracebacks.render(outcome, call, lambda _: tracebacks.Source(str(file), source))


def _print(text: str) -> None:
    click.echo(visible(text))


def _read(file: Path) -> str:
    """Return the text of a contract file; a file beyond the bound or not UTF-8 is refused as a source is."""
    try:
        return read_bounded(file, SOURCE_BYTES_MAX).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise click.ClickException(
            visible(f"{file}: cannot be read ({error.strerror}); name a contract file")
        ) from None
