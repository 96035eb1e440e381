"""What a page needs of grants on datasets of the ledger, and what grants ask for beyond that.

Needs follow of the page, its parameters and what its datasets declare; all of it is read from the ledger and
derived on this host. `Basis` says which these are: a request names it, so whoever approves derives the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from chain.client.client import Client
from chain.primitives.errors import AssentError
from chain.primitives.visible import one_line
from chain.primitives.words import counted
from contracts.language.faults import OutOfGas
from contracts.pages.facts import charges_as_formulas, charges_said
from contracts.pages.faults import PageRefused
from contracts.pages.limits import DATASETS_MAX, DEFAULT_PAGE_GAS, Gas
from contracts.pages.page import Traced, page_hash, trace_whole
from contracts.pages.parameters import as_value, said_value
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES, least_constraint
from contracts.pages.tables import DEFAULT_ID, DatasetSchema
from contracts.pages.types import COLUMN_KINDS
from privcompute.cli.amounts import EPSILON_DIGITS, show_amount
from privcompute.cli.common import UsageFault, need_state
from privcompute.cli.declarations import owner_of, read_schema, version_row
from privcompute.data.schema import Schema
from privcompute.job.enforcement import ALLOWED_USES

SEE_PROGRAMS = "see: assent program list"
BASIS_CHARS_MAX = 256
"""Characters of what a request says of its basis: a text argument of a contract."""
_BASIS = "page with "


NO_CHARGE: Mapping[str, Any] = {"epsilon": 0, "delta": 0, "rho": 0, "figures": {}}


class PageNotJudged(AssentError):
    """A page whose needs do not follow of what is given: the text says why."""

    code = "page_not_judged"


@dataclass(frozen=True, slots=True)
class Basis:
    """Which datasets stand for those of a page, and its public parameters."""

    inputs: Mapping[str, tuple[str, int]]
    """Name on the page -> (dataset, version), in the order of the job."""
    parameters: Mapping[str, Any]

    def text(self) -> str:
        """Return it as a request says it."""
        inputs = {name: f"{dataset}@{version}" for name, (dataset, version) in self.inputs.items()}
        return _BASIS + json.dumps(
            {"inputs": inputs, "parameters": dict(self.parameters)}, separators=(",", ":"), ensure_ascii=False
        )

    def said(self) -> str:
        """Return it as people read it: 0.5 where the ledger has 1/2."""
        inputs = [f"{name} = {dataset}@{version}" for name, (dataset, version) in self.inputs.items()]
        given = [f"{name} = {said_value(value)}" for name, value in self.parameters.items()]
        return f"its page is used with {', '.join(inputs)}; {', '.join(given) or 'its defaults'}"


def read_basis(text: str) -> Basis | None:
    """Return the basis that a request names; None where it says words of its own, or nothing."""
    if not text.startswith(_BASIS):
        return None
    try:
        found = json.loads(text.removeprefix(_BASIS), parse_float=_no_float, parse_constant=_no_float)
        inputs = {name: dataset_version(said) for name, said in found["inputs"].items()}
        parameters = dict(found["parameters"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageFault):
        return None
    known = {name: (dataset, version) for name, (dataset, version) in inputs.items() if version}
    whole = len(known) == len(inputs) <= DATASETS_MAX
    return Basis(known, parameters) if whole else None


def _no_float(text: str) -> float:
    raise ValueError(text)


def dataset_version(text: str) -> tuple[str, int]:
    """Return (dataset, version) of OWNER/NAME or OWNER/NAME@VERSION, 0 for none; raise UsageFault."""
    dataset, at, version = text.partition("@")
    owner_of(dataset)
    if at and not (version.isascii() and version.isdigit() and 0 < len(version) < 10 and int(version)):
        raise UsageFault(f"{text[:80]!r}: a version is a number from 1 on, as in {dataset}@1")
    return dataset, int(version or 0)


def parameter(text: str) -> Any:
    """Return a public parameter from JSON, where 0.3 is exactly 3/10; what is no JSON is a text."""
    try:
        return _exact(json.loads(text, parse_float=Fraction))
    except (ValueError, RecursionError, ZeroDivisionError):
        return text


def _exact(value: Any) -> Any:
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return as_value(value) if isinstance(value, Fraction) else value


# --- deriving --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Needs:
    """What a page needs: the columns of each of its datasets, and who receives."""

    program: str
    columns: Mapping[str, Mapping[str, str]]
    """Name on the page -> column -> constraint."""
    receivers: tuple[str, ...]
    membership: Mapping[str, Sequence[str]]
    """Name on the page -> who learns which of its rows are joined."""
    inputs: Mapping[str, tuple[str, int]]
    """Name on the page -> (dataset, version); none where the page is judged for any."""
    charges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name on the page -> what a run takes of the dataset's account, as `facts.brief_of` says it."""

    def of_dataset(self, dataset: str, version: int) -> dict[str, str]:
        """Return what is needed of a dataset's version, wherever it stands on the page."""
        found: dict[str, set[str]] = {}
        for name, place in self.inputs.items():
            if place == (dataset, version):
                for column, constraint in self.columns.get(name, {}).items():
                    found.setdefault(column, set()).add(constraint)
        return {column: together(sorted(several)) for column, several in sorted(found.items())}

    def membership_of(self, dataset: str, version: int) -> tuple[str, ...]:
        """Return who learns which rows of a dataset's version are joined, wherever it stands on the page."""
        names = [name for name, place in self.inputs.items() if place == (dataset, version)]
        return tuple(sorted({org for name in names for org in self.membership.get(name, ())}))

    def charge_of(self, dataset: str, version: int) -> Mapping[str, Any]:
        """Return what a run takes of a dataset's account: of several places on the page, where it is most."""
        found = [self.charges[name] for name, place in self.inputs.items() if place == (dataset, version)]
        return max(found, key=lambda one: int(one["epsilon"]), default=NO_CHARGE)


def enough_for(uses: Sequence[str]) -> str:
    """Return the strictest constraint that covers these uses."""
    return least_constraint(uses)


def together(constraints: Sequence[str]) -> str:
    """Return the strictest constraint that covers the uses of all of these."""
    if len(constraints) == 1:
        return constraints[0]
    return least_constraint(sorted(set().union(*[ALLOWED_USES[one] for one in constraints])))


def grants_needed(plan: Plan) -> dict[tuple[str, str], str]:
    """Return the constraint of a grant that each column needs, by (dataset, column)."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for use in plan.uses:
        wanted.setdefault((use.dataset, use.column), []).append(use.use)
    return {column: least_constraint(sorted(set(uses))) for column, uses in sorted(wanted.items())}


def needs_of(
    program: str, plan: Plan, inputs: Mapping[str, tuple[str, int]], charges: Mapping[str, Any]
) -> Needs:
    """Return what a plan needs."""
    columns: dict[str, dict[str, str]] = {each.name: {} for each in plan.datasets}
    for (dataset, column), constraint in grants_needed(plan).items():
        columns[dataset][column] = constraint
    receivers = sorted({one.receiver for one in plan.releases} - {SHARES})
    return Needs(program, columns, tuple(receivers), plan.membership, dict(inputs), charges)


async def page_text(client: Client, program: str) -> str:
    """Return the page of a program, proved; raise UsageFault where it is no page."""
    record: Any = await need_state(client, "programs", "programs", program, SEE_PROGRAMS)
    text: Any = await client.state("programs", "pages", record["page"])
    if not isinstance(text, str) or page_hash(text) != record["page"]:
        raise UsageFault(f"program {program}: the node shows no page of its hash; ask another node")
    return text


async def program_of_page(client: Client, text: str) -> str:
    """Return the active program whose page this is; raise UsageFault where members approved none."""
    found = await known_program(client, text)
    if not found:
        raise UsageFault("no program of the ledger is this page; first: assent program propose NAME FILE")
    return found


async def known_program(client: Client, text: str) -> str:
    """Return the active program whose page this is, proved; "" where members approved none."""
    wanted = page_hash(text)
    async for ident, record in client.entries("programs", "programs"):
        found: Any = record
        if found["page"] == wanted and found["status"] == "active":
            proved: Any = await client.state("programs", "programs", ident)
            if proved is not None and proved["page"] == wanted and proved["status"] == "active":
                return str(ident)
    return ""


async def completed(client: Client, inputs: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Return inputs with the current version of each dataset that names none."""
    found = {}
    for name, (dataset, version) in inputs.items():
        if not version:
            row: Any = await need_state(client, "datasets", "datasets", dataset, "see: assent dataset list")
            version = int(row["version"])
        found[name] = (dataset, version)
    return found


async def derive(client: Client, program: str, text: str, basis: Basis, grantee: str) -> Needs:
    """Return what a page needs of datasets of the ledger for jobs of a grantee; raise PageNotJudged."""
    schemas = {}
    for name, (dataset, version) in basis.inputs.items():
        row = await version_row(client, dataset, version)
        schemas[name] = schema_for(owner_of(dataset), await read_schema(client, dataset, row))
    found = traced(program, text, schemas, basis.parameters, grantee)
    try:
        charges = charges_said(found, Gas(DEFAULT_PAGE_GAS))
    except PageRefused as refused:
        raise PageNotJudged(f"page {program} cannot run on what is registered:\n{refused}") from None
    return needs_of(program, found.plan, basis.inputs, charges)


def traced(
    program: str,
    text: str,
    schemas: Mapping[str, DatasetSchema] | None,
    parameters: Mapping[str, Any],
    initiator: str = "",
) -> Traced:
    """Return a page's plan with its places; raise PageNotJudged where datasets and parameters do not fit."""
    try:
        return trace_whole(text, schemas, name=program, parameters=parameters, initiator=initiator)
    except PageRefused as refused:
        raise PageNotJudged(f"page {program} cannot be traced with what is given:\n{refused}") from None
    except OutOfGas:
        raise PageNotJudged(
            f"page {program}: tracing it takes more than {DEFAULT_PAGE_GAS:,} units of gas"
        ) from None


def schema_for(owner: str, schema: Schema) -> DatasetSchema:
    """Return what tracing needs of a declared schema, counted as the contract `datasets` counts."""
    usable = [column for column in schema.columns if column.type in COLUMN_KINDS]
    extra = {one.name: int(one.missing == "category") for one in usable}
    return DatasetSchema(
        owner,
        {one.name: one.type for one in usable},
        tuple(schema.key),
        {one.name: len(one.categories) + extra[one.name] for one in usable if one.categories},
        {one.name: len(one.edges) - 1 for one in usable if len(one.edges) > 1},
        {one.name: (one.low, one.high) for one in usable},
        frozenset(one.name for one in usable if one.missing == "mean"),
    )


# --- comparing -------------------------------------------------------------------------------------------
def allows_no_more(constraint: str, needed: str) -> bool:
    """Tell whether a constraint allows no use that another does not."""
    return ALLOWED_USES.get(constraint, frozenset({"?"})) <= ALLOWED_USES.get(needed, frozenset())


def allows_all(constraint: str, needed: str) -> bool:
    """Tell whether a constraint allows every use that another does."""
    return ALLOWED_USES.get(needed, frozenset({"?"})) <= ALLOWED_USES.get(constraint, frozenset())


def beyond(columns: Mapping[str, str], needed: Mapping[str, str]) -> Iterator[str]:
    """Yield what columns of a grant allow beyond what is needed of each, in words."""
    for name, constraint in columns.items():
        if name not in needed:
            yield f"column {name}={constraint}, which its pages do not use"
        elif not allows_no_more(constraint, needed[name]):
            yield f"column {name}={constraint}, where {needed[name]} is enough"


def receivers_beyond(receivers: Sequence[str], needed: Sequence[str]) -> Iterator[str]:
    """Yield receivers of a grant to whom nothing is released, in words."""
    for name in receivers:
        if name not in needed:
            yield f"receiver {name}, to whom its pages release nothing"


def membership_beyond(membership: Sequence[str], needed: Sequence[str]) -> Iterator[str]:
    """Yield organisations that may learn which rows are joined, and to whom nothing tells it, in words."""
    for name in membership:
        if name not in needed:
            yield f"membership {name}, to whom its pages do not tell which rows are joined"


def epsilon_beyond(epsilon: int, needed: int) -> Iterator[str]:
    """Yield what a run may take as epsilon beyond what is needed, both in 10^-9, in words."""
    if epsilon > needed:
        shown, enough = show_amount(epsilon, EPSILON_DIGITS), show_amount(needed, EPSILON_DIGITS)
        yield f"epsilon {shown} a run, where {enough} is enough"


def lacking(columns: Mapping[str, str], needed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (column, what is missing) of columns that a grant does not allow as they are needed."""
    for name, constraint in needed.items():
        if name not in columns:
            yield name, "not granted"
        elif not allows_all(columns[name], constraint):
            yield name, f"{columns[name]} does not allow what {constraint} does"


# --- judging a request -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Judgement:
    """What a request asks for, held against what its pages need."""

    judged: bool
    """False where a program is no page: then nothing follows."""
    beyond: tuple[str, ...]
    said: str
    """How it was judged, or why not, in words."""
    words: str
    """The reason that the request gives in words; "" for none."""
    needed: Mapping[str, str]
    """Column -> constraint that is enough."""
    receivers: tuple[str, ...]
    membership: tuple[str, ...] | None = None
    """Who needs to learn which rows are joined; None where the owners of what is joined are not known."""
    charges: tuple[Mapping[str, Any], ...] = ()
    """What a run takes of the dataset's account, of each program."""

    @property
    def epsilon(self) -> int:
        """What a run may need, in 10^-9."""
        return max((int(one["epsilon"]) for one in self.charges), default=0)

    @property
    def refused(self) -> bool:
        """Whether it asks for more without a reason."""
        return bool(self.beyond) and not self.words

    def narrowed(self, grant: Mapping[str, Any]) -> dict[str, Any]:
        """Return the terms that leave what is needed of a grant: stricter, or as it stands."""
        columns = {}
        for name, constraint in grant["columns"].items():
            if name in self.needed:
                enough = allows_no_more(constraint, self.needed[name])
                columns[name] = constraint if enough else self.needed[name]
        receivers = [name for name in grant["receivers"] if name in self.receivers]
        terms: dict[str, Any] = {}
        if columns != grant["columns"]:
            terms["columns"] = columns
        if receivers != grant["receivers"]:
            terms["receivers"] = receivers
        if self.membership is not None:
            membership = [name for name in grant["membership"] if name in self.membership]
            if membership != grant["membership"]:
                terms["membership"] = membership
        if grant["run_epsilon"] > self.epsilon:
            terms["run_epsilon"] = self.epsilon
        return terms


def not_judged(why: str, words: str) -> Judgement:
    """Return the judgement of what cannot be judged."""
    return Judgement(False, (), why, words, {}, ())


async def judge(client: Client, grant: Mapping[str, Any]) -> Judgement:
    """Hold a grant's columns and receivers against what its pages need, from rows of the ledger now."""
    stated = str(grant["asked_because"])
    basis = read_basis(stated)
    words = "" if basis is not None else one_line(stated)
    found = []
    key = () if basis is not None else await _key_of(client, grant["dataset"], grant["version"])
    for program in grant["programs"]:
        if await client.state("programs", "programs", program) is None:
            return not_judged(f"{program} is no program yet: what it needs is not known", words)
        text = await page_text(client, program)
        try:
            found.append(await _needs(client, program, text, basis, key, grant["grantee"]))
        except (PageNotJudged, UsageFault) as fault:
            return Judgement(True, (f"all of it: {fault}"[:600],), "", words, {}, ())
    return compared(grant, found, basis, words)


async def _key_of(client: Client, dataset: str, version: int) -> tuple[str, ...]:
    row = await version_row(client, dataset, version)
    place = (owner_of(dataset), bytes(row["schema"]))
    schema: Any = await need_state(client, "datasets", "schemas", place, "see: assent dataset list")
    return tuple([str(name) for name in schema["key"]])


async def _needs(
    client: Client, program: str, text: str, basis: Basis | None, key: Sequence[str], grantee: str
) -> Needs:
    if basis is not None:
        return await derive(client, program, text, basis, grantee)
    plan = traced(program, text, None, {}).plan
    found = needs_of(program, plan, {}, charges_as_formulas(plan, Gas(DEFAULT_PAGE_GAS)))
    return replace(found, columns={name: _keyed(each, key) for name, each in found.columns.items()})


def _keyed(columns: Mapping[str, str], key: Sequence[str]) -> dict[str, str]:
    """Return needs with the columns of a key in the place of the id that a page has for any datasets."""
    found = {name: constraint for name, constraint in columns.items() if name != DEFAULT_ID}
    if DEFAULT_ID in columns:
        found = dict.fromkeys(key, columns[DEFAULT_ID]) | found
    return found


def compared(grant: Mapping[str, Any], found: Sequence[Needs], basis: Basis | None, words: str) -> Judgement:
    """Return the judgement of a grant by what its pages need.

    Without a basis any dataset of a page may be the grant's: that one counts of which it asks for least more.
    """
    needed: dict[str, set[str]] = {}
    charges = []
    for needs in found:
        if basis is not None:
            one = needs.of_dataset(grant["dataset"], grant["version"])
            charges.append(needs.charge_of(grant["dataset"], grant["version"]))
        else:
            name = _nearest(grant["columns"], needs.columns)
            one = dict(needs.columns.get(name, {}))
            charges.append(needs.charges.get(name, NO_CHARGE))
        for column, constraint in one.items():
            needed.setdefault(column, set()).add(constraint)
    enough = {column: together(sorted(several)) for column, several in sorted(needed.items())}
    receivers = tuple(sorted({name for needs in found for name in needs.receivers}))
    more = [*beyond(grant["columns"], enough), *receivers_beyond(grant["receivers"], receivers)]
    membership = None
    if basis is not None:
        place = (grant["dataset"], grant["version"])
        membership = tuple(sorted({name for needs in found for name in needs.membership_of(*place)}))
        more += membership_beyond(grant["membership"], membership)
    more += epsilon_beyond(grant["run_epsilon"], max((int(one["epsilon"]) for one in charges), default=0))
    pages = counted(len(found), "page")
    with_what = "defaults, for any datasets" if basis is None else "what the request names"
    said = f"{pages} traced with {with_what}"
    return Judgement(True, tuple(more), said, words, enough, receivers, membership, tuple(charges))


def _nearest(columns: Mapping[str, str], several: Mapping[str, Mapping[str, str]]) -> str:
    """Return the dataset of a page beyond whose needs these columns go least, the first of such."""
    return min(several, key=lambda name: len([*beyond(columns, several[name])]), default="")
