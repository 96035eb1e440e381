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
from chain.primitives.settings import Section, load_toml, validate
from chain.primitives.values import Value
from privcompute.cli.common import UsageFault, need_state, pairs, parse_duration
from privcompute.cli.declarations import owner_of, read_columns, version_row
from privcompute.cli.page_jobs import SEE_PROGRAMS, exact, page_job
from privcompute.data.declared import Identifier, identifiers_differ
from privcompute.job.inputs import input_column
from privcompute.pages.columns import JobInput

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


class InputRequest(Section):
    """One grant to use."""

    grant: str
    name: str = ""
    """What the page calls the dataset; "" for the one at this place of the page."""


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
    """They follow of the page; who states them all the same is told where they differ."""
    compute: Annotated[list[str], pydantic.Field(default_factory=list, max_length=8)]
    parameters: Annotated[dict[str, Any], pydantic.Field(default_factory=dict)]
    deadlines: Annotated[dict[str, str], pydantic.Field(default_factory=dict)]
    """State -> duration, such as run = "10m"."""


def request_options(command: F) -> F:
    """Decorate a command that takes a job by options, beside its file or in its place (`read_request`)."""
    decorated: Any = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_OPTIONS = (
    click.option("--program", help="Program; see: assent program list."),
    click.option("--purpose", help="Purpose code, as in the grants."),
    click.option("--profile", help="Security profile. [default: the strongest that fits]"),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[NAME=]GRANT",
        help="Grant to use (repeat). NAME is what the page calls the dataset.",
    ),
    click.option("--parameters", help="Parameters of the program as a JSON object."),
    click.option(
        "--receiver",
        "receivers",
        multiple=True,
        help="Who learns the result (repeat); it follows.",
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
    said, colon, _ = text.partition(":")
    if colon:
        raise UsageFault(f"--input {text}: the uses of columns follow of the page; leave :COLUMN=USE out")
    name, equals, grant = said.rpartition("=")
    if equals and not name:
        raise UsageFault(f"--input {text}: a name of the page stands before =, or nothing at all")
    return {"grant": grant, "name": name}


def _parameters(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UsageFault(f"--parameters: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UsageFault('--parameters: give a JSON object, for example {"held_out": 0.3}')
    return content


async def build_spec(client: Client, request: JobRequest) -> dict[str, Value]:
    """Return the spec: grants, dataset versions, owners and agent keys as our node proves them now.

    Uses, receivers and plan are what follows of the page; raises UsageFault for what its grants lack, and
    what page and plan object to.
    """
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
    roles = dict.fromkeys(dict.fromkeys(grant["owner"] for grant in grants), "owner")
    roles |= {org: "compute" for org in request.compute if org not in roles}
    roles |= {org: "receiver" for org in receivers if org not in roles}
    found.check(list(roles))
    return {
        "program": request.program,
        "page": found.page,
        "plan": found.derived.plan.hash,
        "parameters": exact(request.parameters),
        "purpose": request.purpose,
        "profile": request.profile or await _strongest(client, found.derived.profiles, len(roles)),
        "min_group": request.min_group or max(grant["min_group"] for grant in grants),
        "inputs": found.spec_inputs(),
        "participants": [await _participant(client, org, role) for org, role in roles.items()],
        "receivers": receivers,
        "deadlines": _deadlines(request.deadlines),
        "nonce": secrets.token_bytes(NONCE_BYTES),
    }


async def _strongest(client: Client, profiles: Sequence[str], parties: int) -> str:
    """Return the strongest of these profiles that so many parties run, or the strongest if none does."""
    records = [await need_state(client, "grants", "profiles", name, SEE_PROGRAMS) for name in profiles]
    fitting = [one for one in records if one["parties_min"] <= parties <= one["parties_max"]]
    return str(max(fitting or records, key=lambda one: one["rank"])["name"])


async def check_before_proposing(client: Client, spec: Mapping[str, Any]) -> None:
    """Raise UsageFault for parties that the profile does not take, and identifiers that differ."""
    profile = await need_state(client, "grants", "profiles", spec["profile"], "see: assent program show")
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
