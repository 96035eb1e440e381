"""What honest parties do before and during some attacks, and must be able to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain.cli import processes
from tests.floods.arena import MEMBER, PARTICIPANT, Arena
from tests.floods.target import FloodsFailed

OWNERS = ("bank", "bureau", "registry")
ROWS = 60
JOB_RUNS = 20
ACCEPTED_MAX_S = 20.0
CERTIFIED_MAX_S = 40.0
REJOIN_MAX_S = 5.0
"""A restarted validator has a peer by then, whoever else connects."""
POLL_S = 0.1
COMMAND_S = 60.0
TRIES = 3
ENDED = ("certified", "aborted", "expired", "disputed")
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """What belongs to one attack; `before` runs in calm, `during` while the attack goes on."""

    during: Callable[[Arena, list[str]], Awaitable[Facts]]
    """(arena, places of the honest clients) -> facts; "missed" says what should have been possible."""
    extra_s: float
    """How much longer the attack lasts for it."""
    before: Callable[[Arena], Awaitable[None]] | None = None


async def press_storage(arena: Arena, places: list[str]) -> Facts:
    """Large transactions through another node make every node's storage open new files."""
    return {"large transactions taken": await arena.press_storage(places[-1])}


async def rejoin(arena: Arena, _: list[str]) -> Facts:
    """A validator is restarted and must find its peers."""
    node = arena.nodes[MEMBER]
    await node.stop()
    node.spawn()
    began = time.monotonic()
    while time.monotonic() - began < 60:
        info = await arena.ask(MEMBER, "getNodeInfo")
        if info is not None and info["peers"] > 0:
            break
        await asyncio.sleep(0.05)
    took = round(time.monotonic() - began, 1)
    facts: Facts = {"seconds until a restarted validator has a peer": took}
    if took > REJOIN_MAX_S:
        facts["missed"] = f"a restarted validator had no peer for {took} s, at most {REJOIN_MAX_S:.0f}"
    return facts


# --- a job ------------------------------------------------------------------------------------------


async def assent(*words: str) -> str:
    """Run one command as an operator does; raise FloodsFailed with its output."""
    command = [str(Path(sys.executable).with_name("assent")), *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    if process.returncode != 0:
        raise FloodsFailed(f"{' '.join(command[1:4])}: {output.decode(errors='replace')[-500:]}")
    return output.decode()


async def prepare_job(arena: Arena) -> None:
    """Start the agents afresh, but for the participant's; once: register data, and grant its use."""
    folder = arena.consortium.path
    await stop_agents(arena)
    for org in OWNERS:
        if org != PARTICIPANT:
            processes.start(arena.nodes[org].org, "agent")
    if (folder / "granted").exists():
        return
    for org in OWNERS:
        table = folder / f"{org}.csv"
        table.write_text("id,value\n" + "".join(f"{n},{n * 3 % 17}\n" for n in range(ROWS)))
        as_org = ("--as", str(folder / org))
        await assent("dataset", "register", f"{org}/data", str(table), "--id-column", "id", "--yes", *as_org)
        others = [word for party in OWNERS if party not in (org, "bank") for word in ("--co-party", party)]
        others += [word for party in OWNERS if party != org for word in ("--membership", party)]
        await assent(
            "grant", "request", f"bank/{org}", "--dataset", f"{org}/data", "--column", "id=join-only",
            "--purpose", "floods", "--legal-basis", "test", "--because", "a flood",
            "--program", "private-join", "--receiver", "bank",
            *others, "--expires", "1d", "--runs", str(JOB_RUNS), "--min-group", "20",
            "--as", str(folder / "bank"),
        )  # fmt: skip
        await assent("grant", "approve", f"bank/{org}", *as_org)
    (folder / "granted").touch()


async def propose_job(arena: Arena) -> None:
    """Propose a join among three owners; wait until the two honest agents have accepted it."""
    await prepare_job(arena)
    inputs = [word for org in OWNERS for word in ("--input", f"{org}=bank/{org}")]
    parameters = json.dumps({"receivers": ["bank"], "tell_owners": False})
    answer = await assent(
        "job", "propose", "--program", "private-join", "--purpose", "floods", *inputs,
        "--parameters", parameters,
        "--min-group", "20", "--json", "--as", str(arena.consortium.path / "bank"),
    )  # fmt: skip
    arena.job = str(json.loads(answer)["job"])
    await _job_shows(arena, lambda job: len(job.get("accepted", ())) >= 2, ACCEPTED_MAX_S)


async def run_job(arena: Arena, _: list[str]) -> Facts:
    """The third agent, honest in truth, starts: the job must be certified, whatever is sent to the first."""
    began = time.monotonic()
    processes.start(arena.nodes[PARTICIPANT].org, "agent")
    job = await _job_shows(arena, lambda job: job.get("state") in ENDED, CERTIFIED_MAX_S)
    took = round(time.monotonic() - began, 1)
    facts: Facts = {"job": job.get("state", "unknown"), "seconds of the job": took}
    found = processes.find(arena.nodes["bank"].org, "agent")
    facts["agent MiB"] = 0 if found is None else round(found.memory_info().rss / 1_048_576)
    facts["agent threads"] = 0 if found is None else found.num_threads()
    if facts["job"] not in ENDED:  # the next job must not wait for its deadline
        with contextlib.suppress(FloodsFailed):
            await assent("job", "cancel", arena.job, "--as", str(arena.consortium.path / "bank"))
    if facts["job"] != "certified":
        facts["missed"] = f"a job among honest agents is {facts['job']} after {took} s"
    elif found is None:
        facts["missed"] = "the attacked agent ended"
    return facts


async def _job_shows(arena: Arena, holds: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    """Poll a job on the ledger until it shows something, or the time is over; return what it shows."""
    deadline, job = time.monotonic() + seconds, dict[str, Any]()
    while time.monotonic() < deadline and not holds(job):
        entry = await arena.ask("bureau", "getState", contract="jobs", map="jobs", key=arena.job)
        job = (entry or {}).get("value") or job
        await asyncio.sleep(POLL_S)
    return job


async def stop_agents(arena: Arena) -> None:
    """Stop every agent that a story started."""
    for org in OWNERS:
        await asyncio.to_thread(processes.stop, arena.nodes[org].org, "agent")


JOB = Story(run_job, CERTIFIED_MAX_S, propose_job)
STORIES: dict[str, Story] = {
    "idle-connections": Story(press_storage, 8.0),
    "silent-connections": Story(rejoin, 20.0),
    "doorway-crowd": Story(rejoin, 20.0),
    "agent-leaves": JOB,
    "agent-fresh-keys": JOB,
    "agent-silence": JOB,
    "all": JOB,
}
"""By the name of the attack."""
