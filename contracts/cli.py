"""`assent contract check` and `run`: an author's first commands; governance commands join the same group."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from chain.primitives.errors import AssentError
from chain.primitives.jsonvalue import from_json
from contracts.check import check_source, read_source, run_source

GAS_DEFAULT = 1_000_000
GAS_MAX = 1_000_000_000


@click.group()
def contract() -> None:
    """Check, run, propose and govern contracts."""


def _fail(error: AssentError) -> None:
    click.echo(f"error [{error.code}]: {error}", err=True)
    sys.exit(1)


@contract.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def check(file: Path, as_json: bool) -> None:
    """Say whether FILE would be accepted as a contract, and if not, where and how to write it instead."""
    try:
        found = check_source(read_source(file))
    except AssentError as error:
        _fail(error)
        return
    if as_json:
        fields = ("rule", "line", "column", "reason", "instead")
        click.echo(json.dumps([{name: getattr(item, name) for name in fields} for item in found], indent=1))
    elif not found:
        click.echo(f"{file}: accepted")
    else:
        click.echo("\n".join(item.render(str(file)) for item in found))
    sys.exit(1 if found else 0)


@contract.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--call", "function", required=True, help="Function to run; any, decorated or not.")
@click.option("--args", "args_text", default="{}", help="Arguments as a JSON object.")
@click.option("--gas", type=click.IntRange(1, GAS_MAX), default=GAS_DEFAULT, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def run(file: Path, function: str, args_text: str, gas: int, as_json: bool) -> None:
    """Run one function of FILE on empty state, without a network; exits 0 whatever the verdict."""
    try:
        verdict = run_source(read_source(file), function, _arguments(args_text), gas)
    except AssentError as error:
        _fail(error)
        return
    detail = verdict.pop("detail")
    if as_json:
        click.echo(json.dumps(verdict, ensure_ascii=False))
        return
    click.echo(f"{verdict['status']} {verdict['code']}  gas {verdict['gas']}".replace("  ", " "))
    click.echo(detail if detail else json.dumps(verdict["result"], ensure_ascii=False))


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = from_json(json.loads(text))
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--args") from None
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object of argument names and values", param_hint="--args")
    return value
