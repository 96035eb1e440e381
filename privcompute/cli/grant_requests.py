"""What `grant request` asks for, by hand or as a page needs it; how owners are told what is beyond that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from chain.client.client import Client
from chain.primitives.files import read_bounded
from contracts.language.limits import SOURCE_BYTES_MAX
from privcompute.cli.amounts import EPSILON_DIGITS, parse_amount
from privcompute.cli.common import UsageFault
from privcompute.cli.declarations import owner_of
from privcompute.cli.page_needs import (
    BASIS_CHARS_MAX,
    Basis,
    Judgement,
    Needs,
    beyond,
    completed,
    dataset_version,
    derive,
    epsilon_beyond,
    membership_beyond,
    page_text,
    parameter,
    program_of_page,
    receivers_beyond,
)

RUN_EPSILON_MAX = 1_000 * 10**9
"""In 10^-9 (contracts/system/grants.py)."""
F = TypeVar("F", bound=Callable[..., Any])
_NEEDED = {
    "--dataset": "dataset_id",
    "--column": "columns",
    "--program": "programs",
    "--receiver": "receivers",
    "--runs": "runs",
}
"""Options without which a request by hand asks for nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, besides what only its author knows."""

    dataset: str
    version: int
    """0 for the current one."""
    columns: Mapping[str, str]
    programs: tuple[str, ...]
    receivers: tuple[str, ...]
    co_parties: tuple[str, ...]
    membership: tuple[str, ...]
    epsilon: int
    """What one run may take of the dataset's account, in 10^-9."""
    runs: int
    because: str
    said: str = ""
    """How it follows of a page, in words."""


def page_options(command: F) -> F:
    """Decorate a command that takes the datasets of the ledger that stand for those of a page."""
    return click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=OWNER/DATASET[@VERSION]",
        help="The dataset on the ledger that stands for NAME on the page. Repeat, in the order of the job.",
    )(command)


def asked_by_hand(given: Mapping[str, Any]) -> Asked:
    """Return what options ask for; raise UsageFault for one that is missing."""
    for option, name in _NEEDED.items():
        if not given[name]:
            raise UsageFault(f"give {option}, or --for PAGE to ask for what a page needs")
    if given["inputs"] or given["parameters"]:
        raise UsageFault("--input and --set say how a page is used: give --for PAGE, too")
    return Asked(
        given["dataset_id"],
        given["version"] or 0,
        given["columns"],
        tuple(given["programs"]),
        tuple(given["receivers"]),
        tuple(given["co_parties"]),
        tuple(given["membership"]),
        _epsilon_by_hand(given),
        given["runs"],
        given["because"],
    )


def _epsilon_by_hand(given: Mapping[str, Any]) -> int:
    noisy = [name for name, constraint in given["columns"].items() if constraint == "aggregate-only"]
    if given["epsilon"] is None and noisy:
        raise UsageFault(
            f"--column {noisy[0]}=aggregate-only is for figures with noise: say how much a run may take, "
            "such as --epsilon 0.5"
        )
    return given_epsilon(given["epsilon"]) or 0


def given_epsilon(text: str | None) -> int | None:
    """Return the epsilon that an option gives, in 10^-9; None without it."""
    return None if text is None else parse_amount(text, "--epsilon", EPSILON_DIGITS, RUN_EPSILON_MAX)


def named_values(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return NAME=VALUE options as a dict, each name once; raise UsageFault."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in found:
            raise UsageFault(f"{option} {text[:80]!r}: each name once, as in {option} loans=…")
        found[name] = value
    return found


async def basis_of(client: Client, inputs: tuple[str, ...], parameters: tuple[str, ...]) -> Basis:
    """Return the datasets and parameters that options name, with their current versions."""
    named = {name: dataset_version(text) for name, text in named_values(inputs, "--input").items()}
    if not named:
        raise UsageFault("say which datasets stand for those of the page: --input loans=OWNER/NAME (repeat)")
    values = {name: parameter(text) for name, text in named_values(parameters, "--set").items()}
    return Basis(await completed(client, named), values)


async def needs_on_ledger(client: Client, page: str, basis: Basis, org: str) -> Needs:
    """Return what PAGE, a file or the id of a program, needs of datasets of the ledger for jobs of `org`."""
    if Path(page).exists():
        text = page_file(Path(page))
        return await derive(client, await program_of_page(client, text), text, basis, org)
    return await derive(client, page, await page_text(client, page), basis, org)


def page_file(path: Path) -> str:
    """Return the text of a page's file; raise UsageFault."""
    try:
        return read_bounded(path, SOURCE_BYTES_MAX).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(f"{path}: cannot be read ({error}); give the page as a file of UTF-8 text") from None


async def asked_for_page(client: Client, given: Mapping[str, Any], org: str) -> Asked:
    """Return what a page needs of a dataset for jobs of `org`, and what options add with a reason."""
    basis = await basis_of(client, given["inputs"], given["parameters"])
    return for_needs(await needs_on_ledger(client, given["page"], basis, org), basis, given)


def for_needs(needs: Needs, basis: Basis, given: Mapping[str, Any]) -> Asked:
    """Return the request that needs make; raise UsageFault for more without a reason."""
    dataset, version = _which(basis, given)
    needed = needs.of_dataset(dataset, version)
    if not needed:
        raise UsageFault(f"page {needs.program} uses no column of {dataset}: it needs no grant on it")
    columns = needed | given["columns"]
    receivers = tuple(dict.fromkeys([*needs.receivers, *given["receivers"]]))
    programs = tuple(dict.fromkeys([needs.program, *given["programs"]]))
    learning = needs.membership_of(dataset, version)
    membership = tuple(dict.fromkeys([*learning, *given["membership"]]))
    more = [*beyond(columns, needed), *receivers_beyond(receivers, needs.receivers)]
    more += membership_beyond(membership, learning)
    more += [f"program {name}" for name in programs[1:]]
    charged = int(needs.charge_of(dataset, version)["epsilon"])
    wished = given_epsilon(given["epsilon"])
    epsilon = charged if wished is None else wished
    more += epsilon_beyond(epsilon, charged)
    if more and not given["because"]:
        raise UsageFault(
            f"{'; '.join(more)}: more than page {needs.program} needs; leave it out, or say why: "
            "--because TEXT"
        )
    owners = [owner_of(other) for other, _ in basis.inputs.values() if other != dataset]
    others = dict.fromkeys([*owners, *receivers, *given["co_parties"]])
    return Asked(
        dataset,
        version,
        columns,
        programs,
        receivers,
        tuple([name for name in others if name != owner_of(dataset)]),
        membership,
        epsilon,
        given["runs"] or 1,
        given["because"] or stated(basis),
        f"it asks for {'more than' if more else 'exactly'} what page {needs.program} needs of {dataset}",
    )


def stated(basis: Basis) -> str:
    """Return a basis as a request says it; raise UsageFault for one that is longer than a text may be."""
    text = basis.text()
    if len(text) > BASIS_CHARS_MAX:
        raise UsageFault(
            f"what the page is used with takes {len(text)} characters in a request, at most "
            f"{BASIS_CHARS_MAX}: say it in words instead: --because TEXT"
        )
    return text


def _which(basis: Basis, given: Mapping[str, Any]) -> tuple[str, int]:
    every = list(dict.fromkeys(basis.inputs.values()))
    places = [
        (dataset, version)
        for dataset, version in every
        if given["dataset_id"] in (None, dataset) and given["version"] in (None, version)
    ]
    if len(places) != 1:
        listed = ", ".join(f"{dataset}@{version}" for dataset, version in every)
        raise UsageFault(f"a grant is on one dataset: name one of the inputs by --dataset ({listed})")
    return places[0]


def judgement_lines(judged: Judgement) -> Iterator[str]:
    """Yield what an owner reads of a request beside its terms."""
    if not judged.judged:
        yield f"not held against pages: {judged.said}"
    elif judged.beyond:
        yield f"it asks for more than its pages need: {'; '.join(judged.beyond)}"
        yield f"its reason: {judged.words}" if judged.words else "it gives no reason in words"
    else:
        yield f"it asks for no more than its pages need ({judged.said})"
