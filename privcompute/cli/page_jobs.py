"""From what a person says about a job under a page to what follows of it: inputs, uses, receivers, plan.

Nobody writes down uses or receivers of such a job: they follow from the page, its parameters and the schemas.
What the grants lack is said column by column before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from chain.client.client import Client
from chain.primitives.values import Value
from privcompute.cli.common import UsageFault, need_state
from privcompute.cli.declarations import owner_of, read_schema, version_row
from privcompute.job.inputs import input_column
from privcompute.pages.columns import JobInput
from privcompute.pages.derived import DerivedPage, PageInput, derive, known_types, not_granted, number_value
from privcompute.pages.work import of_plan

SEE_PROGRAMS = "see: assent program list"


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """A grant to use, and what the page calls its dataset."""

    name: str
    terms: Any
    """The record of the grant."""


@dataclass(frozen=True, slots=True)
class PageJob:
    """What follows of a page and the grants of a job."""

    page: bytes
    grants: tuple[NamedGrant, ...]
    inputs: tuple[PageInput, ...]
    derived: DerivedPage

    def spec_inputs(self) -> list[Value]:
        """Return the inputs as specs have them."""
        return [
            {
                "name": one.name,
                "grant": one.terms["id"],
                "dataset": one.terms["dataset"],
                "version": one.terms["version"],
                "columns": dict(self.derived.uses[one.name]),
            }
            for one in self.grants
        ]

    def check(self, parties: Sequence[str]) -> list[JobInput]:
        """Raise InputRefused for what no job can run, whoever computes; return the inputs."""
        numbers = {org: number for number, org in enumerate(parties)}
        items = [
            (
                one.name,
                JobInput(grant.terms["dataset"], numbers[one.owner], one.columns),
            )
            for one, grant in zip(self.inputs, self.grants, strict=True)
        ]
        of_plan(self.derived.plan, items, [one.key for one in self.inputs], numbers)
        return [item for _, item in items]


async def page_job(
    client: Client, program: str, given: Sequence[tuple[str, str]], parameters: Mapping[str, Any]
) -> PageJob:
    """Return what follows of a program's page; `given` are (name on the page or "", grant).

    Raises UsageFault for what is missing, and PageRefused with the line of the page.
    """
    record: Any = await need_state(client, "programs", "programs", program, SEE_PROGRAMS)
    if record["status"] != "active":
        raise UsageFault(f"program {program}: the members retired it, so it starts nothing; {SEE_PROGRAMS}")
    source: Any = await need_state(client, "programs", "pages", record["page"], SEE_PROGRAMS)
    facts: Any = await need_state(client, "programs", "facts", record["page"], SEE_PROGRAMS)
    names = named([name for name, _ in given], facts["datasets"], program)
    grants = [
        NamedGrant(name, await need_state(client, "grants", "grants", grant, "see: assent grant list"))
        for name, (_, grant) in zip(names, given, strict=True)
    ]
    inputs = [await _page_input(client, one) for one in grants]
    derived = derive(source, inputs, exact(parameters), grants[0].terms["grantee"])
    check_grants(program, grants, derived)
    used = [
        PageInput(one.name, one.owner, one.key, _only(one, derived.uses.get(one.name, {}))) for one in inputs
    ]
    return PageJob(record["page"], tuple(grants), tuple(used), derived)


def named(given: Sequence[str], of_page: Sequence[str], program: str) -> list[str]:
    """Return the name on the page of each input; those that are not named stand in the order of the page."""
    found = []
    for number, name in enumerate(given):
        if not name and number >= len(of_page):
            raise UsageFault(
                f"program {program}: input {number + 1} has no name; say which dataset of the page it is:"
                " --input NAME=GRANT"
            )
        found.append(name or of_page[number])
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UsageFault(f"program {program}: {twice[0]} is named twice; give each dataset one grant")
    return found


async def _page_input(client: Client, grant: NamedGrant) -> PageInput:
    """Return a granted dataset with all columns that a page can read."""
    dataset, version = grant.terms["dataset"], grant.terms["version"]
    schema = await read_schema(client, dataset, await version_row(client, dataset, version))
    columns = tuple(input_column(one, "plain") for one in schema.columns)
    return PageInput(grant.name, owner_of(dataset), schema.key, known_types(columns))


def _only(one: PageInput, uses: Mapping[str, str]) -> Any:
    return tuple(column for column in one.columns if column.name in uses)


def check_grants(program: str, grants: Sequence[NamedGrant], derived: DerivedPage) -> None:
    """Raise UsageFault with every column whose grant does not cover what the page does with it."""
    by_name = {one.name: one.terms for one in grants}
    idle = next((one for one in grants if not derived.uses.get(one.name)), None)
    if idle is not None:
        raise UsageFault(
            f"program {program} uses no column of {idle.name}; leave the grant {idle.terms['id']} out, or "
            "check the parameters"
        )
    constraints = {
        (one.name, column): constraint
        for one in grants
        for column, constraint in one.terms["columns"].items()
    }
    lacking = not_granted(derived, constraints)
    if lacking:
        lines = [
            f"{by_name[one.dataset]['id']}: {by_name[one.dataset]['dataset']}, column {one.column!r}: "
            f"{one.release!r} needs {one.use}, granted is {one.constraint or 'nothing'}: {one.reason}"
            for one in lacking
        ]
        raise UsageFault(
            f"the grants do not cover what program {program} does; request wider ones (assent grant "
            "request), or change the parameters:\n  " + "\n  ".join(dict.fromkeys(lines))
        )


def exact(parameters: Any) -> Any:
    """Return parameters as pages take them: 0.3 is 3/10 exactly."""
    if isinstance(parameters, Mapping):
        return {name: exact(value) for name, value in parameters.items()}
    if isinstance(parameters, (list, tuple)):
        return [exact(value) for value in parameters]
    return number_value(Fraction(repr(parameters))) if isinstance(parameters, float) else parameters
