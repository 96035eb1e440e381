"""The campaign `kill`: every stage of every program, every role, and all that can happen to an agent there.

Three organisations with a node and an agent each are real processes. For each case one of the agents is hit
in the midst of a job (kill_agent.py), the other half of the fault follows (it is started again, goes on, gets
room), and what the job comes to is compared with the table (kill_table.py): the state, the runs used, the
result, and whom the end names.

What a case came to is kept in docs/campaigns/kill.jsonl with a digest of the sources that it is about, so
that several runs, on several machines, complete one campaign: what ran on the same sources is not run again.

    scripts/campaign kill                                 all cases that have not run: hours
    scripts/campaign kill --most 20                       the next 20 of them
    scripts/campaign kill --sample 10 --seed 3            some cases, whether or not they ran
    scripts/campaign kill --only "releasing bank"         those whose name holds these words
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.keyfile import load_key
from chain.primitives.values import Value
from privcompute.cli.job_spec import DEADLINES_MS, InputRequest, JobRequest, build_spec
from privcompute.config import AgentFiles, load_agent_config
from privcompute.data.evidence import EvidenceLog
from privcompute.data.results import ResultStore
from privcompute.job.view import FINAL
from tests.campaigns import record
from tests.campaigns.edits import ROOT, digest
from tests.campaigns.kill_agent import FILLER
from tests.campaigns.kill_table import JOIN, ORGS, PROGRAMS, Case, cases, expected, sample
from tests.lifeline import lifeline

HELD = {"bank": range(160), "bureau": range(20, 180), "registry": range(10, 140)}
COMMON = 120
POLICY = "\n[policy]\nreveal_wait_ms = 300\nmin_joined_rows = 5\n"
DEADLINE = "120s"
DISK_BYTES = 8 << 20
FULL_S, RESTART_S = 8.0, 1.0
HIT_S, END_S, READY_S = 240.0, 420.0, 240.0
"""How long each is waited for, on a busy machine, too: the hit, the job's end, an agent's start."""
POLL_S = 0.2
PARAMETERS: dict[str, dict[str, Any]] = {
    "joint-statistics": {"receivers": ["bank"], "columns": [["bureau", "amount"]], "figures": ["mean"]},
    "logistic-regression": {
        "receivers": ["bank"],
        "label": ["bank", "good"],
        "numbers": [[org, "amount"] for org in ORGS],
        "turns": 20,
    },
    JOIN: {"receivers": ["bank"]},
}
"""Pages call each dataset as its owner is called."""
TERMS = {"person": "join-only", "amount": "plain", "good": "plain"}


STORE = record.PARTS / "kill.jsonl"
SOURCES = (
    "privcompute/**/*.py",
    "contracts/system/*.py",
    "chain/client/*.py",
    "chain/primitives/*.py",
    "tests/campaigns/kill*.py",
)
"""Files on which it depends what a case comes to; nodes are only what everybody agrees by."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one case came to."""

    sources: str
    """Digest of the sources."""
    commit: str
    """Where it ran: who continues may check it out."""
    case: str
    seconds: int
    wrong: list[str]
    """What differs from the table."""


def fingerprint() -> str:
    """Return a digest of everything on which the outcomes depend."""
    found = sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))
    return digest(*(part for path in found for part in (str(path.relative_to(ROOT)), path.read_text())))[:16]


def read(path: Path = STORE) -> list[Ran]:
    """Return every outcome on record, of whatever sources."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Ran(**json.loads(line)) for line in lines]


def write(outcomes: Iterable[Ran], path: Path = STORE) -> None:
    """Put these outcomes on record in the place of all others."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in outcomes))


def left(chosen: list[Case], known: Iterable[Ran], sources: str, seed: int) -> list[Case]:
    """Return the cases that did not run on these sources, in an order that mixes stages, roles and faults."""
    done = {one.case for one in known if one.sources == sources}
    found = [case for case in chosen if str(case) not in done]
    random.Random(seed).shuffle(found)
    return found


class Unexpected(Exception):
    """A campaign that cannot go on: the text says what did not come about."""


class NotStarted(Unexpected):
    """An agent that did not start in time: that is the machine's doing, and no outcome of a case."""


def wait_for(what: str, seconds: float, ready: Callable[[], bool]) -> None:
    """Look again and again until something is so; raise Unexpected when it takes too long."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() >= until:
            raise Unexpected(f"{what}: not within {seconds:.0f} s")
        time.sleep(POLL_S)


def columns_of(org: str) -> tuple[str, ...]:
    """Return the columns of an organisation's table: the bank alone has labels."""
    return ("person", "amount", "good") if org == ORGS[0] else ("person", "amount")


def table_of(org: str) -> str:
    """Return an organisation's table as CSV."""
    lines = [",".join(columns_of(org))]
    for number in HELD[org]:
        cells = [f"p{number}", str(number * 3 + len(org)), "yes" if number % 2 else "no"]
        lines.append(",".join(cells[: len(columns_of(org))]))
    return "\n".join(lines) + "\n"


class Scene:
    """A consortium whose agents are hit, one after another."""

    def __init__(self, made: ConsortiumFolder, folder: Path) -> None:
        self._made, self._folder = made, folder
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._hits = 0
        self._expires = int(time.time() * 1_000) + 30 * 86_400_000

    def files(self, org: str) -> AgentFiles:
        """Return the paths of an agent."""
        return load_agent_config(self._made.org(org).agent_config)[1]

    def data(self, org: str) -> Path:
        """Return the path of an organisation's table."""
        return self._folder / f"{org}.csv"

    # --- agents -----------------------------------------------------------------------------------

    def start(self, org: str, *hit: str) -> None:
        """Start an agent, or with `hit` one that is hit, and wait until it is ready."""
        config = self._made.org(org).agent_config.resolve()
        command = [str(Path(sys.executable).with_name("assent")), "agent", "run", "--config", str(config)]
        if hit:
            command = [sys.executable, "-m", "tests.campaigns.kill_agent", str(config), *hit]
        path = self._made.org(org).log("agent")
        before = path.stat().st_size if path.exists() else 0
        with path.open("ab") as log:
            self._agents[org] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        try:
            wait_for(f"{org}: agent", READY_S, lambda: b" ready: peers at" in path.read_bytes()[before:])
        except Unexpected as error:
            raise NotStarted(str(error)) from None

    def stop(self, org: str) -> None:
        """End an agent in good order."""
        agent = self._agents.pop(org, None)
        if agent is not None:
            agent.terminate()
            agent.wait(READY_S)

    def close(self) -> None:
        """Kill every agent."""
        for agent in self._agents.values():
            agent.kill()
            agent.wait()

    # --- the ledger -------------------------------------------------------------------------------

    async def _send(self, org: str, role: str, contract: str, method: str, args: dict[str, Value]) -> None:
        folder, genesis = self._made.org(org), load_genesis(self._made.genesis)
        async with Client(node_url(folder), genesis) as client:
            account = SigningClient(client, load_key(folder.key(role)), genesis.chain_id)
            await account.send(contract, method, args, gas_limit=8_000_000)

    def send(self, org: str, contract: str, method: str, **args: Value) -> None:
        """Call a method as an organisation's administrator."""
        asyncio.run(self._send(org, "admin", contract, method, args))

    def state(self, contract: str, name: str, key: Value) -> Any:
        """Return an entry as the bank's node shows it."""

        async def read() -> Any:
            async with Client(node_url(self._made.org(ORGS[0])), load_genesis(self._made.genesis)) as client:
                return await client.state(contract, name, key)

        return asyncio.run(read())

    def register(self) -> None:
        """Register everybody's table."""
        for org in ORGS:
            self.data(org).write_text(table_of(org))
            words = (
                "dataset",
                "register",
                f"{org}/data",
                str(self.data(org)),
                "--id-column",
                "person",
                "--yes",
            )
            command = [str(Path(sys.executable).with_name("assent")), *words]
            command += ["--as", str(self._made.org(org).path)]
            subprocess.run(command, check=True, capture_output=True)

    def grant(self) -> None:
        """Grant the bank the use of every table anew: runs of a grant come back a few times a day alone."""
        for org in ORGS:
            terms: dict[str, Value] = {
                "id": self._grant_of(org),
                "dataset": f"{org}/data",
                "version": 1,
                "columns": {name: TERMS[name] for name in columns_of(org)},
                "purpose": "research",
                "legal_basis": "consent",
                "asked_because": "",
                "programs": list(PROGRAMS),
                "receivers": list(ORGS),
                "co_parties": list(ORGS),
                "membership": list(ORGS),
                "profile": "rep3",
                "not_before": 0,
                "expires": self._expires,
                "quota_runs": 2,
                "run_epsilon": 10**9,
                "min_group": 5,
                "policy": "",
            }
            self.send("bank", "grants", "request", **terms)
            self.send(org, "grants", "approve", id=self._grant_of(org), terms={})

    def _grant_of(self, org: str) -> str:
        """Return the grant on an organisation's table under which the present case runs."""
        return f"bank/g-{org}-{self._hits}"

    def propose(self, program: str) -> None:
        """Propose a job of a program, as the bank."""
        request = JobRequest(
            program=program,
            purpose="research",
            profile="dh-psi" if program == JOIN else "rep3",
            inputs=[InputRequest(name=org, grant=self._grant_of(org)) for org in ORGS],
            receivers=[],
            compute=[],
            parameters=PARAMETERS[program],
            deadlines=dict.fromkeys(DEADLINES_MS, DEADLINE),
        )

        async def spec() -> dict[str, Value]:
            async with Client(node_url(self._made.org(ORGS[0])), load_genesis(self._made.genesis)) as client:
                return await build_spec(client, request)

        self.send("bank", "jobs", "propose", spec=asyncio.run(spec()))

    def used(self) -> list[int]:
        """Return how many runs of each grant are used."""
        return [self.state("grants", "standing", self._grant_of(org))["used"] for org in ORGS]

    # --- a case -----------------------------------------------------------------------------------

    def run(self, case: Case) -> list[str]:
        """Carry out a case; return what differs from the table."""
        self._hits += 1
        marker = self._folder / f"hit-{self._hits}"
        victim = "" if not case.victim else str(self.files(case.org).data_dir / case.victim)
        if case.victim == "data":
            victim = str(self.data(case.org))
        for org in ORGS:
            if org == case.org:
                self.stop(org)
                self.start(org, case.step, case.fault, victim, str(marker))
            elif org not in self._agents:
                self.start(org)
        self.grant()
        try:
            self.propose(case.program)
            wait_for(f"{case}: the hit", HIT_S, lambda: marker.exists() and marker.read_text() != "")
            job = marker.read_text()
            self._second_half(case)
            wait_for(f"{case}: the end", END_S, lambda: self._final(job))
            return self._differences(case, job)
        finally:
            self.data(case.org).write_text(table_of(case.org))

    def _final(self, job: str) -> bool:
        return self.state("jobs", "jobs", job)["state"] in FINAL

    def _second_half(self, case: Case) -> None:
        """Let the agent come back, go on, or have room again."""
        agent, folder = self._agents[case.org], self.files(case.org).data_dir
        if case.fault.startswith("stop"):
            time.sleep(int(case.fault.removeprefix("stop")))
            agent.send_signal(signal.SIGCONT)
        elif case.fault == "full":
            time.sleep(FULL_S)
            (folder / FILLER).unlink(missing_ok=True)
            hard = psutil.Process(agent.pid).rlimit(psutil.RLIMIT_FSIZE)[1]
            psutil.Process(agent.pid).rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        elif case.victim != "data":
            agent.wait(HIT_S)
            time.sleep(RESTART_S)
            self.start(case.org)

    def _differences(self, case: Case, job: str) -> list[str]:
        state = self.state("jobs", "jobs", job)["state"]
        used = sorted(set(self.used()))
        allowed = expected(case)
        wrong = []
        if len(used) != 1 or (state, used[0]) not in allowed:
            wrong.append(f"{state} with runs used {used}, expected one of {sorted(allowed)}")
        if state == "certified":
            files = self.files("bank")
            if ResultStore(files.results).load(job) is None:
                wrong.append("the bank has no result")
            kept = json.loads((files.joins / f"{job}.json").read_text())
            rows = [len(ids) for ids in kept["joins"].values()]
            if set(rows) != {COMMON}:
                wrong.append(f"the bank's rows in common are {rows}, {COMMON} are right")
            return wrong
        said = [(org, *cause) for org in ORGS for cause in self._causes(org, job)]
        wrong += [
            f"{org} files {code} about {', '.join(named) or 'nobody'}"
            for org, code, named in said
            if case.org not in (org, *named)
        ]
        if not said and state == "aborted":
            wrong.append("nobody says why it was aborted")
        return wrong

    def _causes(self, org: str, job: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what an agent filed as it ended a job: the code, and whom it names."""
        for entry in EvidenceLog(self.files(org).evidence).entries():
            if entry.job == job and entry.kind in ("abort", "reject"):
                facts = entry.body["detail"]
                yield entry.body["cause"], tuple(facts[name] for name in ("org", "other") if name in facts)


@contextmanager
def scene(disks: bool) -> Iterator[Scene]:
    """Set a consortium up, each agent on a small disk of its own if we may mount one; take it down again."""
    with lifeline(), tempfile.TemporaryDirectory(prefix="assent-kill-") as name:
        folder, mounted = Path(name), list[Path]()
        made = create_consortium(folder / "c", list(ORGS), list(ORGS), 0, "kill")
        stage = Scene(made, folder)
        try:
            for org in made.orgs:
                with org.agent_config.open("a") as file:
                    file.write(POLICY)
                mounted += _mount(org, load_agent_config(org.agent_config)[1].data_dir) if disks else []
            list(start_consortium(made, agents=False))
            stage.register()
            yield stage
        finally:
            stage.close()
            list(stop_consortium(made))
            for path in mounted:
                subprocess.run(["umount", str(path)], check=False, capture_output=True)


def _mount(org: OrgFolder, folder: Path) -> list[Path]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", f"assent-{org.name}", str(folder)]
    with suppress(OSError):
        if subprocess.run(words, check=False, capture_output=True).returncode == 0:
            return [folder]
    return []


def run(
    chosen: list[Case],
    tell: Callable[[str], None],
    *,
    disks: bool = True,
    keep: Callable[[Case, int, list[str]], None] = lambda *_: None,
) -> list[str]:
    """Carry out cases; return what failed, by name. `keep` gets what each came to, and its seconds."""
    failures: list[str] = []
    if not chosen:
        return failures
    with scene(disks) as stage:
        for case in chosen:
            begin = time.monotonic()
            try:
                wrong = stage.run(case)
            except NotStarted as error:
                tell(f"again {case}: {error}")
                stage.close()
                stage._agents.clear()
                continue
            except Unexpected as error:
                wrong = [str(error)]
                stage.close()
                stage._agents.clear()
            took = round(time.monotonic() - begin)
            tell(f"{'WRONG' if wrong else 'ok   '} {case}, {took} s {'; '.join(wrong)}")
            failures += [f"{case}: {text}"[:300] for text in wrong]
            keep(case, took, wrong)
    return failures


def run_rest(chosen: list[Case], most: int, seed: int, tell: Callable[[str], None]) -> list[Ran]:
    """Carry out at most so many (0: all) of the cases that are left; return all that ran on these sources."""
    sources, commit, kept = fingerprint(), record.commit()[0], read()
    for other, count in Counter(one.commit for one in kept if one.sources != sources).items():
        tell(f"{count} cases ran on other sources, at {other[:10]}: they say nothing of these")

    def keep(case: Case, seconds: int, wrong: list[str]) -> None:
        kept.append(Ran(sources, commit, str(case), seconds, wrong))
        write(kept)

    rest = left(chosen, kept, sources, seed)
    run(rest[:most] if most else rest, tell, keep=keep)
    of_these = [one for one in kept if one.sources == sources]
    if len(of_these) == len(cases()):
        write(of_these)
    tell(f"{len(of_these)} of {len(cases())} cases have run on these sources")
    return of_these


def figures(ran: list[Ran]) -> dict[str, int]:
    """Return what the campaign counts."""
    faults = Counter(one.case.rpartition(" ")[2] for one in ran)
    counted = {"cases": len(ran), "wrong": sum(bool(one.wrong) for one in ran)}
    counted |= {"minutes": round(sum(one.seconds for one in ran) / 60)}
    return counted | {f"fault {fault}": count for fault, count in sorted(faults.items())}


def main(words: list[str]) -> int:
    """Run the campaign; tell its result on the last line."""
    parser = argparse.ArgumentParser(description="Agents are hit at every stage of a job.")
    parser.add_argument("--most", type=int, default=0, help="so many of the cases that are left; 0 for all")
    parser.add_argument("--sample", type=int, default=0, help="so many cases, whether or not they ran")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample, or the order")
    parser.add_argument("--only", default="", help="cases whose name holds all these words")
    options = parser.parse_args(words)
    chosen = sample(options.sample, options.seed) if options.sample else cases()
    chosen = [case for case in chosen if all(word in str(case).split() for word in options.only.split())]

    def tell(line: str) -> None:
        print(line, flush=True)

    if options.sample:
        begin, failures = time.monotonic(), run(chosen, tell)
        counted = {"cases": len(chosen), "minutes": round((time.monotonic() - begin) / 60)}
    else:
        ran = run_rest(chosen, options.most, options.seed, tell)
        failures = [f"{one.case}: {text}"[:300] for one in ran for text in one.wrong]
        counted = figures(ran)
    result = {
        "seeds": str(options.seed),
        "size": f"{counted['cases']} cases of {len(cases())}",
        "figures": counted,
        "failures": failures,
    }
    print(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
