"""An owner's judgement of its own part of a job: what its agent checks, and its data, with all figures.

It is the agent's own code, run by the owner before the agent does it. Nothing of it leaves this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from chain.primitives.errors import AssentError
from chain.primitives.keyfile import load_key
from privcompute.clock import now_ms
from privcompute.config import AgentConfig, AgentFiles, load_agent_config
from privcompute.data.datasets import DatasetStore, OpenedDataset, open_dataset
from privcompute.data.exposed import ExposedStore
from privcompute.data.results import JoinStore
from privcompute.job import steps
from privcompute.job.chain_reader import ChainReader
from privcompute.job.enforcement import JobRefusal
from privcompute.job.environment import AgentIdentity
from privcompute.job.exposure import Exposure
from privcompute.job.failures import cause_of
from privcompute.job.inputs import check_delta, exposure_findings, joined_versions, own_findings
from privcompute.job.proposal import Obstacle, obstacle
from privcompute.job.view import ACCEPTED, PROPOSED, JobView
from privcompute.pages.work import PageWork

_PHASE = {PROPOSED: "accepted", ACCEPTED: "meeting"}
"""State -> the phase for which an agent checks a job in it."""
JUDGEMENTS = 3
"""How often a job is judged that goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class OwnAgent:
    """What this command knows of the agent of the organisation that it speaks as."""

    identity: AgentIdentity
    datasets: DatasetStore
    joins: JoinStore
    exposed: ExposedStore
    """Rows that exact figures were over; it is read alone."""


@dataclass(frozen=True, slots=True)
class OwnJudgement:
    """What an owner finds on its own data; `rows` is 0 where they could not be read."""

    org: str
    dataset: str
    version: int
    rows: int
    joined: int | None
    """Rows that an earlier job over the same versions joined; None where none has."""
    columns: Sequence[tuple[str, str, str, str]]
    """(name, use, type, what its cells are) of every column that the job uses."""
    obstacles: Sequence[Obstacle]


def own_agent() -> OwnAgent | None:
    """Return the agent of the folder that the command speaks as (`--as`); None without one."""
    folder = click.get_current_context().params.get("as_")
    if not isinstance(folder, Path) or not (folder / "agent.toml").exists():
        return None
    config, files = load_agent_config(folder / "agent.toml")
    return open_own_agent(config, files)


def open_own_agent(config: AgentConfig, files: AgentFiles) -> OwnAgent:
    """Return an agent's identity and stores, to read alone."""
    identity = AgentIdentity(config.organisation, load_key(files.key), config.policy)
    return OwnAgent(
        identity, DatasetStore(files.datasets), JoinStore(files.joins), ExposedStore(files.exposed)
    )


async def judge_own_as_it_stands(
    agent: OwnAgent, reader: ChainReader, job: str
) -> tuple[JobView, OwnJudgement] | None:
    """Judge our part of a job on the ledger; None where there is no such job or we have none in it.

    Agents work on the job meanwhile. Where they move it between two reads, rows of two moments would
    contradict each other, so it is judged again, at most JUDGEMENTS times.
    """
    view, left = await reader.job(job), JUDGEMENTS
    while view is not None:
        own, left = await judge_own(agent, reader, view), left - 1
        if own is None:
            return None
        now = await reader.job(job)
        if left == 0 or now is None or now.state == view.state:
            return view, own
        view = now
    return None


async def judge_own(agent: OwnAgent, reader: ChainReader, view: JobView) -> OwnJudgement | None:
    """Judge our part of a job as the agent does; None where we have none."""
    org = agent.identity.org
    if view.spec.participant(org) is None:
        return None
    found = await _as_agent(agent, reader, view)
    inputs = view.inputs_of(org)
    if not inputs:
        return OwnJudgement(org, "", 0, 0, None, (), found)
    one = inputs[0]
    opened, faults = await _opened(agent, view)
    if opened is None:
        return OwnJudgement(org, one.dataset, one.version, 0, None, (), [*found, *faults])
    try:
        work = await steps.job_work(reader, view)
        policy, place = agent.identity.policy, view.owners.index(org)
        exposure = await steps.exposure_of(reader, policy, agent.exposed, view, work, place)
        found += await asyncio.to_thread(_findings, agent, view, work, opened, exposure)
        check_delta(one, opened.table.rows, await steps.delta_of(reader, view, place))
        (item,) = [given for given in work.inputs if given.dataset == one.dataset]
    except AssentError as error:
        objects = _told(one.dataset, error)
        if objects.code not in [other.code for other in found]:
            found.append(objects)
        return OwnJudgement(org, one.dataset, one.version, opened.table.rows, None, (), found)
    ids = agent.joins.rows_of(joined_versions(view.spec))
    columns = [(c.name, c.use, c.type, cells_in_words(opened.table.data[c.name])) for c in item.columns]
    joined = None if ids is None else len(ids)
    return OwnJudgement(org, one.dataset, one.version, opened.table.rows, joined, columns, found)


async def _as_agent(agent: OwnAgent, reader: ChainReader, view: JobView) -> list[Obstacle]:
    """Return the first thing for which our agent would refuse the job as it stands, if any."""
    phase = _PHASE.get(view.state)
    if phase is None:
        return []
    try:
        await steps.check(agent.identity, reader, agent.datasets, view, phase, now_ms())
    except AssentError as error:
        return [_told(f"our agent ({agent.identity.org})", error)]
    return []


async def _opened(agent: OwnAgent, view: JobView) -> tuple[OpenedDataset | None, list[Obstacle]]:
    one = view.inputs_of(agent.identity.org)[0]
    try:
        local = agent.datasets.load(one.dataset, one.version)
        return await asyncio.to_thread(open_dataset, local), []
    except AssentError as error:
        return None, [_told(f"{one.dataset}@{one.version}", error)]


def _findings(
    agent: OwnAgent, view: JobView, work: PageWork, opened: OpenedDataset, exposure: Exposure
) -> list[Obstacle]:
    local, least = opened.local, agent.identity.policy.min_joined_rows
    found = own_findings(work, view.spec, opened, agent.joins, least)
    limits = exposure_findings(work, view.spec, opened, agent.joins, exposure)
    about = f"{local.id}@{local.version}"
    own = [Obstacle(about, one.code, one.text, "") for one in found]
    return own + [obstacle(about, one.code, one.text) for one in limits]


def _told(about: str, error: AssentError) -> Obstacle:
    """Return what a step of the agent ended with; words of ours say what to do already."""
    if isinstance(error, JobRefusal):
        return obstacle(about, error.reason, str(error).removeprefix(f"{error.reason}: "))
    return Obstacle(about, cause_of(error).code, str(error), "")


def cells_in_words(cells: NDArray[Any]) -> str:
    """Say what the cells of one's own column are: their range, or how many different ones there are."""
    if cells.dtype == np.bool_:
        return f"{int(np.count_nonzero(cells)):,} true, {len(cells) - int(np.count_nonzero(cells)):,} false"
    if cells.dtype.kind in "ifM":
        return f"{cells.min()} to {cells.max()}" if len(cells) else "none"
    return f"{len(set(cells.tolist())):,} different"
