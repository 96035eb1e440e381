"""`assent contract new`, `check` and `run`: an author's tools, which need no network.

The group is mounted by the `assent` command, which adds the commands that talk to a node.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from chain.primitives.errors import AssentError, Exit
from chain.primitives.files import read_bounded
from chain.primitives.jsonvalue import to_json
from chain.primitives.runtimeport import OK, REJECTED
from chain.primitives.visible import json_text, visible
from contracts import tracebacks
from contracts.check import (
    CheckReport,
    check_library,
    check_source,
    is_text,
    parse_arguments,
    run_outcome,
    verdict_of,
)
from contracts.language.ir import source_hash
from contracts.language.limits import DEFAULT_GAS, SOURCE_BYTES_MAX
from contracts.starter import write_starter
from contracts.testing import CallFailed

GAS_MAX = 10**12
_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))


_LIBRARIES = click.option(
    "--library",
    "libraries",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="File of a library that FILE names by its hash. May be repeated.",
)


@click.group()
def contract() -> None:
    """Write, check, run and govern contracts."""


@contract.command()
@_FILE
@_LIBRARIES
@click.option("--as-library", is_flag=True, help="Check FILE as a library, and print the hash that names it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, libraries: tuple[Path, ...], as_library: bool, as_json: bool) -> None:
    """Check FILE as deployment would: every refusal with line, column, rule and what to write instead.

    Exits 0 when the contract can be deployed, 1 when it is refused. Warnings name what deploys, and yet may
    not do what you mean; they refuse nothing.
    """
    if as_library and libraries:
        raise click.UsageError("--library is for a contract that names libraries; a library names none")
    if as_library:
        report = check_library(_read(file), str(file))
    else:
        report = check_source(_read(file), str(file), [_read(library) for library in libraries])
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
    _print_methods(found.get("methods", {}))
    _print_names(found)
    for item in report.warnings:
        _print(item.render(str(file), "warning "))


def _print_names(found: Any) -> None:
    """Print the libraries that a contract names, or what a library gives to contracts."""
    for name, digest in found.get("libraries", {}).items():
        _print(f"  library {name} {digest.hex()}")
    for name, function in found.get("functions", {}).items():
        _print(f"  {name}({_params(function)}){_returns(function)}")
    if "functions" in found:
        for name, record in found["records"].items():
            _print(f"  record {name}({_params(record | {'params': record['fields']})})")
        for name, hint in found["constants"].items():
            _print(f"  {name}: {hint}")


def _params(method: Any) -> str:
    defaults = method.get("defaults", {})
    return ", ".join(
        f"{param}: {hint}" + (f" = {json.dumps(to_json(defaults[param]))}" if param in defaults else "")
        for param, hint in method["params"]
    )


def _returns(method: Any) -> str:
    return "" if method["returns"] == "Value" else f" -> {method['returns']}"


def _print_methods(methods: Any) -> None:
    for name, method in methods.items():
        nested = "(nested=True)" if method["kind"] == "export" and method["nested"] else ""
        guard = f" @only{json_text(method['only'])}" if "only" in method else ""
        _print(f"  @{method['kind']}{nested} {name}({_params(method)}){_returns(method)}{guard}")


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
@_LIBRARIES
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
def run(
    file: Path,
    libraries: tuple[Path, ...],
    call: str,
    arguments: str,
    init: str | None,
    gas: int,
    as_json: bool,
) -> None:
    """Run one function of FILE on an empty chain in memory and print the verdict.

    Exits 0 whatever the verdict; status is ok, rejected, reverted, out_of_gas or limit.
    """
    source = _read(file)
    texts = {library: _read(library) for library in libraries}
    shown = _sources(file, source, texts)
    try:
        given = parse_arguments(arguments)
        first = None if init is None else parse_arguments(init)
        if isinstance(first, list):
            raise click.BadParameter("give a JSON object of arguments by name", param_hint="--init")
        outcome = run_outcome(source, call, given, gas=gas, init=first, libraries=list(texts.values()))
    except CallFailed as failed:
        raise click.ClickException(visible(tracebacks.render(failed.outcome, "@init", shown))) from None
    except AssentError as error:
        raise click.ClickException(visible(f"{error.code}: {error}")) from None
    if as_json:
        _print(json.dumps({"file": str(file), **verdict_of(outcome)}, sort_keys=True))
    elif outcome.status == OK:
        result = json_text(verdict_of(outcome)["result"])
        _print(f"ok, {outcome.gas_used} gas: {result}")
    elif outcome.status == REJECTED:
        found = check_source(source, str(file), list(texts.values())).diagnostics
        _print("rejected: " + "\n".join(item.render(str(file)) for item in found))
    else:
        _print(tracebacks.render(outcome, call, shown))


def _sources(file: Path, source: str, libraries: Mapping[Path, str]) -> tracebacks.Sources:
    """Return where the source of a place is: the file of the contract, or of the library that it is in."""
    by_hash = {
        source_hash(text).hex(): tracebacks.Source(str(path), text)
        for path, text in libraries.items()
        if is_text(text)
    }
    contract_file = tracebacks.Source(str(file), source)
    return lambda place: by_hash.get(place.library) if place.library else contract_file


def _print(text: str) -> None:
    click.echo(visible(text))


class _Unreadable(click.ClickException):
    """A file that the disk or the system does not give."""

    exit_code = Exit.IO


def _read(file: Path) -> str:
    """Return the text of a contract file; a file beyond the bound or not UTF-8 is refused as a source is."""
    try:
        return read_bounded(file, SOURCE_BYTES_MAX).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise _Unreadable(
            visible(f"{file}: cannot be read ({error.strerror}); name a contract file")
        ) from None
