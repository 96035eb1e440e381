"""What follows of a page for a job: plan, uses, receivers and profiles, from nobody's word.

Everybody derives it anew, as the contract `programs` does (`derive`): from the text of the page, the job's
parameters, and what the dataset versions declare of the columns that the job names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from chain.primitives.errors import AssentError
from chain.primitives.values import Value
from contracts.language.faults import OutOfGas
from contracts.pages.charges import EPSILON_UNIT
from contracts.pages.facts import brief_of, parameters_of, schemas_of
from contracts.pages.limits import DEFAULT_PAGE_GAS, Gas
from contracts.pages.numbers import plain_text
from contracts.pages.page import page_hash, trace_whole
from contracts.pages.parameters import as_value
from contracts.pages.plan import Plan
from contracts.pages.releases import ColumnRefusal, against
from contracts.pages.types import COLUMN_KINDS
from privcompute.pages.columns import InputColumn


class PageTooLarge(AssentError):
    """A page whose tracing takes more gas than agents give it: write repeat(n), or less."""

    code = "page_refused"


@dataclass(frozen=True, slots=True)
class PageInput:
    """A dataset of a job as its page sees it."""

    name: str
    """On the page."""
    owner: str
    key: tuple[str, ...]
    """The registered key."""
    columns: tuple[InputColumn, ...]
    """What its version declares of the columns that the page may see."""

    def declared(self) -> Value:
        """Return it as contracts have it (`datasets.declared_of`); a rule `category` makes a category."""
        columns: dict[str, Value] = {}
        for one in self.columns:
            more = 1 if one.categories and one.missing == "category" else 0
            bins = max(len(one.edges) - 1, 0)
            columns[one.name] = [one.type, len(one.categories) + more, bins, one.low, one.high, one.missing]
        return {"name": self.name, "owner": self.owner, "key": list(self.key), "columns": columns}


@dataclass(frozen=True, slots=True)
class DerivedPage:
    """What a job under a page is held against."""

    plan: Plan
    uses: Mapping[str, Mapping[str, str]]
    """Dataset on the page -> column -> use."""
    receivers: tuple[str, ...]
    profiles: tuple[str, ...]
    membership: Mapping[str, tuple[str, ...]]
    """Dataset on the page -> who learns which of its rows are joined."""
    charges: Mapping[str, Value]
    """Dataset on the page -> what its account is charged with (contracts/pages/charges.py)."""


@dataclass(frozen=True, slots=True)
class Following:
    """What grants are asked of a plan beside uses, by the names of inputs; whoever asks derives it itself."""

    membership: Mapping[str, Sequence[str]]
    """Who learns which rows are joined."""
    epsilon: Mapping[str, int]
    """What the account is charged, in 10^-9."""


def following_of(plan: Plan) -> Following:
    """Return what grants are asked of a plan."""
    return Following(plan.membership, {name: charge.epsilon for name, charge in plan.charges.items()})


def epsilon_text(epsilon: int) -> str:
    """Return an epsilon of 10^-9 as people write it."""
    return plain_text(Fraction(epsilon, EPSILON_UNIT))


def derive(
    source: str, inputs: Sequence[PageInput], parameters: Mapping[str, Value], initiator: str
) -> DerivedPage:
    """Return what follows of a page; raise PageRefused with line and remedy, or PageTooLarge."""
    gas = Gas(DEFAULT_PAGE_GAS)
    try:
        traced = trace_whole(
            source,
            schemas_of([one.declared() for one in inputs]),
            payer=gas,
            parameters=parameters_of(dict(parameters)),
            initiator=initiator,
        )
        facts = brief_of(traced, gas)
    except OutOfGas:
        raise PageTooLarge(
            f"the page takes more than {DEFAULT_PAGE_GAS:,} units of gas to trace; it needs repeat(n) in"
            " place of loops, or less"
        ) from None
    uses = {name: dict(columns) for name, columns in facts["uses"].items()}
    membership = {name: tuple(orgs) for name, orgs in facts["membership"].items()}
    return DerivedPage(
        traced.plan, uses, tuple(facts["receivers"]), tuple(facts["profiles"]), membership, facts["charges"]
    )


def not_granted(
    derived: DerivedPage, constraints: Mapping[tuple[str, str], str]
) -> tuple[ColumnRefusal, ...]:
    """Return the uses that constraints of grants, by (dataset on the page, column), do not cover, and why."""
    return against(derived.plan.uses, derived.plan.releases, constraints)


def known_types(columns: Sequence[InputColumn]) -> tuple[InputColumn, ...]:
    """Return the columns whose types pages know."""
    return tuple(one for one in columns if one.type in COLUMN_KINDS)


def number_value(number: Fraction) -> Value:
    """Return a public number as the ledger holds it."""
    return as_value(number)


def is_text_of(source: object, page: bytes) -> bool:
    """Tell whether something is the text of the page of that hash."""
    return isinstance(source, str) and page_hash(source) == page
