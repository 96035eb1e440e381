"""From what a person says about a job to the exact spec that is proposed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import click
import pydantic

from chain.client.client import Client
from chain.primitives.errors import DecodeError
from chain.primitives.jsonvalue import from_json
from chain.primitives.settings import Section, load_toml, validate
from chain.primitives.values import Value
from privcompute.cli.common import UsageFault, need_state, pairs, parse_duration
from privcompute.cli.declarations import owner_of, read_columns, version_row
from privcompute.cli.page_jobs import SEE_PROGRAMS, exact, page_job
from privcompute.data.declared import Identifier, identifiers_differ
from privcompute.job.inputs import input_column
from privcompute.programs.base import JobInput
from privcompute.programs.registry import PROGRAMS

F = TypeVar("F", bound=Callable[..., Any])
NONCE_BYTES = 16
DEADLINES_MS = {
    "accept": 120_000,
    "bind": 3_600_000,
    "run": 600_000,
    "reveal": 120_000,
    "commit": 120_000,
    "certify": 120_000,
}
"""Time allowed for each state unless told otherwise; until `bind`, the parties wait for slots."""
_USE_OF = {
    "join-only": "join",
    "aggregate-only": "aggregate",
    "compare-only": "compare",
    "encrypted-only": "encrypted",
}


class InputRequest(Section):
    """One grant to use."""

    grant: str
    name: str = ""
    """What the page calls the dataset; "" for the one at this place of the page."""
    columns: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    """Column -> use; empty: every column of the grant, used as its constraint says. Of a page it follows."""


class JobRequest(Section):
    """A job file: what a person decides; everything else is read from the ledger."""

    program: str
    purpose: str
    profile: str | None = None
    """By default the strongest under which the page runs with so many parties."""
    min_group: int | None = None
    """By default the strictest grant's."""
    inputs: Annotated[list[InputRequest], pydantic.Field(min_length=1, max_length=8)]
    receivers: Annotated[list[str], pydantic.Field(default_factory=list, max_length=8)]
    """Of a page they follow; who states them all the same is told where they differ."""
    compute: Annotated[list[str], pydantic.Field(default_factory=list, max_length=8)]
    parameters: Annotated[dict[str, Any], pydantic.Field(default_factory=dict)]
    deadlines: Annotated[dict[str, str], pydantic.Field(default_factory=dict)]
    """State -> duration, such as run = "10m"."""

    @property
    def is_page(self) -> bool:
        """Whether a page is meant: a dataset has a name of a page, or no installed code has the id."""
        return self.program not in PROGRAMS or any(one.name for one in self.inputs)


def request_options(command: F) -> F:
    """Decorate a command that takes a job by options, beside its file or in its place (`read_request`)."""
    decorated: Any = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_OPTIONS = (
    click.option("--program", help="Program; see: assent program list, assent job programs."),
    click.option("--purpose", help="Purpose code, as in the grants."),
    click.option("--profile", help="Security profile. [default: the strongest that fits]"),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[NAME=]GRANT[:COLUMN=USE,…]",
        help="Grant to use (repeat). NAME is what a page calls the dataset; its columns follow of the page. "
        "Of another program, COLUMN=USE; by default all of the grant, as its constraints say.",
    ),
    click.option("--parameters", help="Parameters of the program as a JSON object."),
    click.option(
        "--receiver", "receivers", multiple=True, help="Who learns the result (repeat); of a page it follows."
    ),
    click.option("--compute", "compute", multiple=True, help="Who computes besides the owners (repeat)."),
    click.option("--min-group", type=click.IntRange(1), help="Fewest rows a figure rests on."),
    click.option(
        "--deadline", "deadlines", multiple=True, metavar="STATE=TIME", help="Such as run=10m (repeat)."
    ),
)


def read_request(file: Path | None, given: Mapping[str, Any]) -> JobRequest:
    """Return what a job file and the options (which override it) ask for; every fault is named."""
    content: dict[str, Any] = {} if file is None else load_toml(file, _Draft).model_dump(exclude_unset=True)
    for name in ("program", "purpose", "profile", "min_group"):
        if given[name] is not None:
            content[name] = given[name]
    for name in ("receivers", "compute"):
        if given[name]:
            content[name] = list(given[name])
    if given["inputs"]:
        content["inputs"] = [_input(text) for text in given["inputs"]]
    if given["deadlines"]:
        content["deadlines"] = {**content.get("deadlines", {}), **pairs(given["deadlines"], "--deadline", "")}
    if given["parameters"] is not None:
        content["parameters"] = _parameters(given["parameters"])
    return validate("job" if file is None else file.name, content, JobRequest)


class _Draft(Section):
    """A job file before the options complete it."""

    program: str | None = None
    purpose: str | None = None
    profile: str | None = None
    min_group: int | None = None
    inputs: list[InputRequest] | None = None
    receivers: list[str] | None = None
    compute: list[str] | None = None
    parameters: dict[str, Any] | None = None
    deadlines: dict[str, str] | None = None


def _input(text: str) -> dict[str, Any]:
    said, _, columns = text.partition(":")
    name, equals, grant = said.rpartition("=")
    if equals and not name:
        raise UsageFault(f"--input {text}: a name of a page stands before =, or nothing at all")
    listed = tuple(part for part in columns.split(",") if part)
    return {"grant": grant, "name": name, "columns": pairs(listed, "--input", "encrypted")}


def _parameters(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UsageFault(f"--parameters: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UsageFault('--parameters: give a JSON object, for example {"test_rows": 100}')
    return content


async def build_spec(client: Client, request: JobRequest) -> dict[str, Value]:
    """Return the spec: grants, dataset versions, owners and agent keys as our node proves them now.

    Of a page, uses, receivers and plan are what follows; raises UsageFault for what its grants lack, and what
    page and plan object to.
    """
    if request.is_page:
        return await _page_spec(client, request)
    if not request.receivers:
        raise UsageFault("the job has no receiver: say who learns the result, --receiver ORG")
    grants = [
        await need_state(client, "grants", "grants", one.grant, "see: assent grant list")
        for one in request.inputs
    ]
    return await _spec(
        client,
        request,
        grants,
        _no_floats(request.parameters),
        [*request.receivers],
        [
            {
                "grant": one.grant,
                "dataset": grant["dataset"],
                "version": grant["version"],
                "columns": one.columns or _default_uses(grant),
            }
            for one, grant in zip(request.inputs, grants, strict=True)
        ],
    )


async def _page_spec(client: Client, request: JobRequest) -> dict[str, Value]:
    stated = next((one for one in request.inputs if one.columns), None)
    if stated is not None:
        raise UsageFault(
            f"input {stated.grant}: program {request.program} is a page, from which the uses of columns "
            "follow; leave :COLUMN=USE out"
        )
    given = [(one.name, one.grant) for one in request.inputs]
    found = await page_job(client, request.program, given, request.parameters)
    receivers = [*found.derived.receivers]
    if not receivers:
        raise UsageFault(f"program {request.program} releases nothing to anybody with these parameters")
    if request.receivers and sorted(request.receivers) != receivers:
        raise UsageFault(
            f"program {request.program} releases to {', '.join(receivers)}, as its page and parameters say; "
            f"the job states {', '.join(request.receivers)}: leave --receiver out, or change the parameters"
        )
    grants = [one.terms for one in found.grants]
    spec = await _spec(client, request, grants, exact(request.parameters), receivers, found.spec_inputs())
    found.check([one["org"] for one in spec["participants"]])
    profile = request.profile or await _strongest(client, found.derived.profiles, len(spec["participants"]))
    return spec | {"profile": profile, "page": found.page, "plan": found.derived.plan.hash}


async def _strongest(client: Client, profiles: Sequence[str], parties: int) -> str:
    """Return the strongest of these profiles that so many parties run, or the strongest if none does."""
    records = [await need_state(client, "grants", "profiles", name, SEE_PROGRAMS) for name in profiles]
    fitting = [one for one in records if one["parties_min"] <= parties <= one["parties_max"]]
    return str(max(fitting or records, key=lambda one: one["rank"])["name"])


async def _spec(
    client: Client,
    request: JobRequest,
    grants: Sequence[Any],
    parameters: Value,
    receivers: list[str],
    inputs: list[Value],
) -> dict[str, Any]:
    roles = dict.fromkeys(dict.fromkeys(grant["owner"] for grant in grants), "owner")
    roles |= {org: "compute" for org in request.compute if org not in roles}
    roles |= {org: "receiver" for org in receivers if org not in roles}
    return {
        "program": request.program,
        "parameters": parameters,
        "purpose": request.purpose,
        "profile": request.profile or "rep3",
        "min_group": request.min_group or max(grant["min_group"] for grant in grants),
        "inputs": inputs,
        "participants": [await _participant(client, org, role) for org, role in roles.items()],
        "receivers": receivers,
        "deadlines": _deadlines(request.deadlines),
        "nonce": secrets.token_bytes(NONCE_BYTES),
    }


async def check_before_proposing(client: Client, spec: Mapping[str, Any]) -> None:
    """Raise what the program itself objects to, with its full text: agents would only give the code.

    Columns that a dataset does not have are left to the ledger, which refuses them by name of the grant.
    """
    program = None if "page" in spec else PROGRAMS[spec["program"]]
    offered = (
        "see: assent program show"
        if program is None
        else f"{program.id} runs under {', '.join(program.profiles)}"
    )
    profile = await need_state(client, "grants", "profiles", spec["profile"], offered)
    check_parties(profile, spec["participants"])
    numbers = {one["org"]: index for index, one in enumerate(spec["participants"])}
    inputs: list[JobInput] = []
    joined: list[tuple[str, Identifier]] = []
    for one in spec["inputs"]:
        version = await version_row(client, one["dataset"], one["version"])
        declared = await read_columns(client, one["dataset"], version, sorted(one["columns"]))
        if declared.keys() != one["columns"].keys():
            return
        columns = tuple(input_column(declared[name], one["columns"][name]) for name in declared)
        inputs.append(JobInput(one["dataset"], numbers[owner_of(one["dataset"])], columns))
        if "join" in one["columns"].values():
            joined.append((one["dataset"], version["identifier"]))
    check_datasets(profile, spec["participants"], inputs)
    for other in joined[1:]:
        difference = identifiers_differ(joined[0], other)
        if difference is not None:
            raise UsageFault(
                f"identifiers differ: {difference}; a job joins datasets whose owners declare the same: one "
                "of them registers a version like the other's (docs/data-owner.md)"
            )
    if program is not None:
        program.check(spec["parameters"], inputs)


def check_parties(profile: Mapping[str, Any], participants: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageFault unless so many participants run the profile, as its record on the ledger says."""
    least, most = profile["parties_min"], profile["parties_max"]
    if least <= len(participants) <= most:
        return
    named = ", ".join(f"{one['org']} ({one['role']})" for one in participants)
    wanted = f"exactly {least}" if least == most else f"{least} to {most}"
    if len(participants) < least:
        remedy = "add a computing organisation with --compute"
    else:
        remedy = "leave out a --receiver or --compute that owns no input, or a grant"
    raise UsageFault(
        f"profile {profile['name']} runs among {wanted} participants, receivers included; this job has "
        f"{len(participants)}: {named}; {remedy}, or choose another --profile"
    )


def check_datasets(
    profile: Mapping[str, Any], participants: Sequence[Mapping[str, Any]], inputs: Sequence[JobInput]
) -> None:
    """Raise UsageFault when an owner brings more datasets than the profile takes."""
    most = profile["datasets_max"]
    for index, one in enumerate(participants):
        brought = [item.dataset for item in inputs if item.owner == index]
        if len(brought) > most:
            raise UsageFault(
                f"profile {profile['name']} takes {most} dataset{'s' if most > 1 else ''} of an owner; this "
                f"job has {len(brought)} of {one['org']} ({', '.join(brought)}): name one grant of an owner, "
                "or let the owner register both as one dataset"
            )


def _no_floats(parameters: dict[str, Any]) -> Value:
    try:
        return from_json(parameters)
    except DecodeError as error:
        raise UsageFault(f'parameters: {error}; write a decimal number in quotes, such as "0.01"') from None


def _default_uses(grant: Value) -> dict[str, str]:
    plain = sorted(name for name, constraint in grant["columns"].items() if constraint not in _USE_OF)
    if plain:
        raise UsageFault(
            f"grant {grant['id']}: column {plain[0]!r} is granted as plain, so say how it is used: "
            f"--input {grant['id']}:{plain[0]}=encrypted,…"
        )
    return {name: _USE_OF[constraint] for name, constraint in grant["columns"].items()}


async def _participant(client: Client, org: str, role: str) -> dict[str, Value]:
    record = await need_state(client, "orgs", "orgs", org, "see: assent org list")
    if not record["agent_key"]:
        raise UsageFault(f"{org}: has no agent registered, so it cannot take part as {role}")
    return {"org": org, "role": role, "agent_key": record["agent_key"]}


def _deadlines(given: Mapping[str, str]) -> dict[str, Value]:
    unknown = sorted(set(given) - set(DEADLINES_MS))
    if unknown:
        raise UsageFault(f"deadline {unknown[0]!r}: the states are {', '.join(DEADLINES_MS)}")
    return DEADLINES_MS | {name: parse_duration(text, f"--deadline {name}=") for name, text in given.items()}
