"""`assent program new`, `check` and `run`: an author's tools for pages, which need no network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from chain.client.answers import reading
from chain.client.client import Client
from chain.client.console import json_option, print_folded, print_json, print_text, reports_errors
from chain.client.options import Session, open_session
from chain.client.options import run as run_async
from chain.client.trust import trust_line
from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from chain.primitives.values import Value
from contracts.language.faults import OutOfGas
from contracts.language.limits import SOURCE_BYTES_MAX
from contracts.pages.facts import charges_as_formulas, charges_said, wanted_of, whole_facts
from contracts.pages.faults import PageRefused
from contracts.pages.limits import DEFAULT_PAGE_GAS, Gas
from contracts.pages.page import Traced, page_hash, trace_whole
from privcompute.cli.charge_words import Charges, all_left, charges_json, is_charged, print_charges
from privcompute.cli.common import UsageFault, organisation_of
from privcompute.cli.grant_requests import basis_of, page_options
from privcompute.cli.held_grants import asking, held_grants, inferred
from privcompute.cli.page_needs import derive, known_program, page_text, parameter, traced
from privcompute.cli.page_samples import load_sample
from privcompute.cli.page_views import (
    check_json,
    held_json,
    show_check,
    show_held,
    show_trial,
    sizes_of,
    trial_json,
)
from privcompute.pages.ranges import large_divisors, large_values
from privcompute.pages.trial import Sample, try_out

UNREGISTERED = (
    "these needs follow from the page and its samples alone: registered datasets may ask for more, where a "
    "receiver owns a column or a text chooses single rows; ask the ledger: assent program check PAGE --as "
    "ORGDIR"
)
ASSUMED = (
    "a dataset without --owner is taken to be of an organisation of the dataset's own name, which says "
    "nothing of what a receiver owns"
)
STARTER = '''"""How many people owe by kind of housing, and how much, for whoever asked: an example to change.

`loans` and `people` are datasets of two owners; `check` says what the page uses and what leaves, `run` tries
it on files of your own.
"""


def run(loans, people, *, receiver="regulator", epsilon=1):
    rows = join(loans, people)
    housing, noise = rows.people.housing, laplace(epsilon=epsilon)
    release(count(rows, by=housing), to=receiver, noise=noise, name="people by housing")
    release(mean(clip(rows.loans.amount, 0, 20000)), to=receiver, noise=noise, name="mean amount")
'''
_file = click.argument("file", type=click.Path(path_type=Path))
_parameters = click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A public parameter, as JSON or a text. Repeat.",
)
_data = click.option(
    "--data",
    "files",
    multiple=True,
    metavar="NAME=FILE",
    help="A dataset of the page and a file of it. Repeat.",
)
_schemas = click.option(
    "--schema", "schema_files", multiple=True, metavar="NAME=FILE", help="Schema file of a dataset. Repeat."
)
_keys = click.option(
    "--key", "keys", multiple=True, metavar="NAME=COLUMN", help="Column that identifies a row; id. Repeat."
)
_owners = click.option(
    "--owner",
    "owners",
    multiple=True,
    metavar="NAME=ORG",
    help="Owner of a dataset; by default one called like it. Repeat.",
)


class PageFileError(AssentError):
    """A file of a page that cannot be read or written: the text names it and says why."""

    code = "page_file"


@click.command("new")
@_file
@reports_errors
def new(file: Path) -> None:
    """Write a small page to FILE, to begin with."""
    try:
        with file.open("x", encoding="utf-8") as made:
            made.write(STARTER)
    except FileExistsError:
        raise PageFileError(f"{file} exists; name another file, or remove it") from None
    except OSError as error:
        raise PageFileError(f"{file}: {error.strerror or error}; name a file in a folder of yours") from None
    print_text(f"wrote {file}; next: assent program check {file}")


@click.command("check")
@click.argument("file", metavar="PAGE", type=click.Path(path_type=Path))
@_parameters
@_data
@_schemas
@_keys
@_owners
@click.option("--rows", "rows", multiple=True, metavar="NAME=COUNT", help="Rows to state costs for. Repeat.")
@click.option("--joined", type=click.IntRange(1), help="Rows that a join has; the least of --rows.")
@click.option("--plan", "with_plan", is_flag=True, help="Print every step of the plan, too.")
@page_options
@click.option("--org", help="Whose grants; by default the organisation of --as.")
@click.option(
    "--genesis", type=click.Path(path_type=Path), help="Genesis file; answers are proved against it."
)
@click.option("--node", metavar="URL", help="RPC address of a node, http://host:port.")
@click.option(
    "--as", "as_", type=click.Path(path_type=Path), help="Organisation folder: what grants it holds is said."
)
@json_option
@reports_errors
def check(
    file: Path,
    given: tuple[str, ...],
    files: tuple[str, ...],
    schema_files: tuple[str, ...],
    keys: tuple[str, ...],
    owners: tuple[str, ...],
    rows: tuple[str, ...],
    joined: int | None,
    with_plan: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Say what PAGE uses, which grants it needs, what leaves, and what it costs.

    PAGE is a file. Without --data columns may be of any type. Every refusal has its line and what to write
    instead. With --as, or --node, PAGE may be the ID of a program, too, and it says which of these grants an
    organisation holds, what is missing and how to ask for it; --input says which datasets of the ledger stand
    for those of the page, where their names do not tell.
    """
    if where["as_"] is None and where["node"] is None:
        if where["inputs"] or where["org"]:
            raise UsageFault("--input and --org ask a node: give --as ORGDIR, or --node URL")
    elif files:
        raise UsageFault("--data reads files of this host, --as and --node ask for datasets of the ledger")
    else:
        session = open_session(where["as_"], where["node"], None, where["genesis"])
        with nullcontext() if session.genesis else reading(session.url, "what `assent program check` asks"):
            run_async(_check_held(session, file, given, where, as_json=as_json))
        return
    samples = _samples(files, schema_files, keys, owners)
    traced = _traced(file, samples, given)
    counts = {name: sample.rows for name, sample in samples.items()}
    counts |= _stated_rows(rows)
    assumed = [name for name in samples if name not in _pairs(owners, "--owner")]
    charges = _charges(traced, registered=bool(samples))
    wanted = wanted_of(traced)
    sizes = sizes_of(traced.plan, counts, joined)
    large = [*large_divisors(traced.plan, sizes), *large_values(traced.plan, sizes)]
    gas, unfit = _proposing(file)
    if as_json:
        more: dict[str, Value] = {"assumed_owners": [*assumed], "proposal_gas": gas, "not_proposable": unfit}
        more["warnings"] = [*large]
        more["to_register"] = [f"{file.name}:{line}: {what}" for line, what in wanted]
        print_json({**check_json(traced, charges, counts, joined), **more})
        return
    show_check(str(file), traced, charges, counts, joined, with_plan=with_plan)
    for number, what in wanted:
        print_folded(f"warning: {file.name}:{number}: a job is refused unless {what} are registered")
    for line in large:
        print_folded(f"warning: {line}")
    if assumed:
        told = " ".join([f"--owner {name}=ORG" for name in assumed])
        print_folded(f"{ASSUMED}: give {told}")
    print_folded(
        f"with its defaults it cannot be proposed: {unfit}"
        if unfit
        else f"to propose it takes about {gas:,} units of gas (tx_gas_max: assent params show)"
    )
    print_folded(UNREGISTERED)


def _stated_rows(rows: tuple[str, ...]) -> dict[str, int]:
    """Return how many rows datasets have by --rows."""
    stated = _pairs(rows, "--rows")
    for name, text in stated.items():
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
            raise UsageFault(f"--rows {name}={text[:40]}: a number of rows, such as {name}=10000")
    return {name: int(text) for name, text in stated.items()}


@click.command("run")
@_file
@_data
@_schemas
@_keys
@_owners
@_parameters
@click.option(
    "--min-group", type=click.IntRange(1), default=1, show_default=True, help="Hide figures over fewer rows."
)
@json_option
@reports_errors
def run(
    file: Path,
    files: tuple[str, ...],
    schema_files: tuple[str, ...],
    keys: tuple[str, ...],
    owners: tuple[str, ...],
    given: tuple[str, ...],
    min_group: int,
    as_json: bool,
) -> None:
    """Run the page in FILE on sample files of this host, in the clear and among three parties, side by side.

    Nothing is sent anywhere. Give each dataset of the page: --data loans=loans.csv --data people=people.csv
    """
    samples = _samples(files, schema_files, keys, owners)
    if not samples:
        raise UsageFault("give each dataset of the page a file: --data loans=loans.csv")
    traced = _traced(file, samples, given)
    ordered = [samples[one.name] for one in traced.plan.datasets]
    trial = try_out(traced.plan, ordered, min_group, os.urandom)
    if as_json:
        print_json(trial_json(traced, trial))
    else:
        show_trial(str(file), traced, trial, min_group)


def _charges(traced: Traced, *, registered: bool) -> dict[str, Value]:
    """Return what a run takes of accounts: in numbers, or refused, where samples say what is declared."""
    gas = Gas(DEFAULT_PAGE_GAS)
    return charges_said(traced, gas) if registered else charges_as_formulas(traced.plan, gas)


def derivation_gas(source: str, name: str) -> int:
    """Return the gas that the ledger takes to derive what follows of a page, with its defaults.

    Raises PageRefused where it would refuse the page, OutOfGas beyond DEFAULT_PAGE_GAS.
    """
    meter = Gas(DEFAULT_PAGE_GAS)
    trace_whole(source, payer=meter, name=name)
    meter = Gas(DEFAULT_PAGE_GAS)
    whole_facts(source, [], {}, meter)
    return DEFAULT_PAGE_GAS - meter.left


def _proposing(file: Path) -> tuple[int, str]:
    """Return the gas that a proposal of a page takes, and why there can be none, which is empty else."""
    try:
        return derivation_gas(_read(file), file.name), ""
    except PageRefused as refused:
        return 0, str(refused)
    except OutOfGas:
        return 0, f"tracing it takes more than {DEFAULT_PAGE_GAS:,} units of gas; use repeat(n), or less"


async def _check_held(
    session: Session, page: Path, given: tuple[str, ...], where: Mapping[str, Any], *, as_json: bool
) -> None:
    org = where["org"] or organisation_of(where["as_"])
    async with session.client() as client:
        if page.exists():
            source = _read(page)
            program = await known_program(client, source)
        else:
            program, source = str(page), await page_text(client, str(page))
        inputs = where["inputs"] or await _inferred(client, source, given)
        basis = await basis_of(client, inputs, given)
        needs = await derive(client, program, source, basis, org)
        held = await held_grants(client, org, needs)
        charges: Charges = [
            (*needs.inputs[name], one) for name, one in needs.charges.items() if is_charged(one)
        ]
        left = await all_left(client, org, charges)
        trust = trust_line(client)
    commands = [asking(str(page), basis, org, one, given) for one in held if one.missing]
    if as_json:
        shown = {"page": page_hash(source).hex(), "program": program, "held": held_json(held, org, commands)}
        print_json(shown | {"takes": charges_json(charges, left)})
        return
    print_text(f"{page}: {program or f'no program yet; first: assent program propose NAME {page}'}")
    show_held(held, org, commands)
    print_charges("what a run takes of accounts", charges, left, org)
    print_text(trust)


async def _inferred(client: Client, source: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return --input options for datasets that are called as the page calls them."""
    values = {name: parameter(text) for name, text in _pairs(given, "--set").items()}
    names = [one.name for one in traced("the page", source, None, values).plan.datasets]
    found = await inferred(client, names)
    return tuple([f"{name}={dataset}" for name, (dataset, _) in found.items()])


COMMANDS = (new, check, run)
"""What the group `program` has of this module."""


def _samples(
    files: Sequence[str], schema_files: Sequence[str], keys: Sequence[str], owners: Sequence[str]
) -> dict[str, Sample]:
    named = _pairs(files, "--data")
    more = {
        option: _pairs(texts, option)
        for option, texts in (("--schema", schema_files), ("--key", keys), ("--owner", owners))
    }
    for option, pairs in more.items():
        strange = next((name for name in pairs if name not in named), None)
        if strange is not None:
            raise UsageFault(f"{option} {strange}=…: there is no --data {strange}=FILE")
    return {
        name: load_sample(
            name,
            Path(path),
            Path(more["--schema"][name]) if name in more["--schema"] else None,
            more["--key"].get(name, ""),
            more["--owner"].get(name, name),
        )
        for name, path in named.items()
    }


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in found:
            raise UsageFault(f"{option} {text[:80]!r}: each name once, as in {option} loans=…")
        found[name] = value
    return found


def _traced(file: Path, samples: Mapping[str, Sample], given: Sequence[str]) -> Traced:
    schemas = {name: sample.schema() for name, sample in samples.items()} or None
    parameters = {name: parameter(text) for name, text in _pairs(given, "--set").items()}
    try:
        return trace_whole(_read(file), schemas, name=file.name, parameters=parameters)
    except OutOfGas:
        raise PageFileError(
            f"{file}: tracing takes more than {DEFAULT_PAGE_GAS:,} units of gas; use repeat(n), or less"
        ) from None


def _read(file: Path) -> str:
    try:
        return read_bounded(file, SOURCE_BYTES_MAX).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PageFileError(f"{file} is no UTF-8 text at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise PageFileError(f"{file}: {error.strerror or error}; give a file that can be read") from None
