"""Driver of the demo: it prints and runs commands, asks nodes, and waits for what the ledger will show."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

ASSENT = Path(sys.executable).with_name("assent")
ORGS = ("bank", "bureau", "registry", "regulator")
OWNERS = ("bank", "bureau", "registry")
STEPS = 12
COLUMNS = 80
ENDS = ("certified", "rejected", "aborted", "expired")
WAIT_S = 90.0

console = Console(highlight=False, soft_wrap=True, emoji=False)


class DemoFailed(Exception):
    """A command did not do what this demo states: its output stands above."""


@dataclass
class Demo:
    """Where the consortium lies, and what the summary will say."""

    folder: Path
    began: float = field(default_factory=time.monotonic)
    step: int = 0
    summary: list[tuple[str, str]] = field(default_factory=list)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Announce a step and say how long it took."""
        self.step += 1
        begin = time.monotonic()
        console.print(f"\n[bold cyan]━━ {self.step}/{STEPS} {title}[/]")
        yield
        console.print(f"[dim]   {time.monotonic() - begin:.1f} s[/]")

    def assent(self, *words: str, refused: str = "", quiet: bool = False) -> str:
        """Print and run one command; `refused` is the code with which it must fail."""
        say(["assent", *words])
        done = subprocess.run(
            [str(ASSENT), *words],
            capture_output=True,
            text=True,
            timeout=WAIT_S * 2,
            check=False,
            env={**os.environ, "COLUMNS": str(COLUMNS - 2)},
        )
        output = done.stdout + done.stderr
        if not quiet or done.returncode not in (0, 1):
            console.print("\n".join(map(folded, output.rstrip().splitlines())), markup=False)
        if refused and (done.returncode == 0 or refused not in output):
            raise DemoFailed(f"expected a refusal with {refused}:\n{output}")
        if not refused and done.returncode != 0:
            raise DemoFailed(f"exit code {done.returncode}:\n{output}")
        return done.stdout

    def as_org(self, org: str, *words: str, refused: str = "", quiet: bool = False) -> str:
        """Run one command in an organisation's name."""
        return self.assent(*words, "--as", str(self.folder / org), refused=refused, quiet=quiet)

    def ask(self, org: str, method: str, **params: Any) -> Any:
        """Call an organisation's node over JSON-RPC."""
        listen = tomllib.loads((self.folder / org / "node.toml").read_text())["rpc"]["listen"]
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        asked = urllib.request.Request(f"http://{listen}/", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.loads(answer.read())["result"]

    def job_state(self, job: str, org: str = "bank") -> str:
        """Return the state of a job as an organisation's node shows it."""
        entry = self.ask(org, "getState", **_job_entry(job))
        return str(entry["value"]["state"]) if entry["value"] else "unknown"


def say(command: Sequence[str]) -> None:
    """Print a command as a person types it."""
    first, *more = lines_of(command)
    console.print(f"[green]$[/] [bold]{escape(first)}[/]")
    for line in more:
        console.print(f"[bold]{escape('    ' + line)}[/]")


def folded(line: str) -> str:
    """Return a line of output, indented, broken at blanks where a narrow screen ends."""
    blank = "  " + " " * (len(line) - len(line.lstrip()))
    inside = textwrap.TextWrapper(
        COLUMNS, initial_indent=blank, subsequent_indent=blank + "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return inside.fill(line.strip()) if len(line) + 2 > COLUMNS else "  " + line


def lines_of(command: Sequence[str], width: int = COLUMNS - 6) -> list[str]:
    """Return a command in lines that a shell reads as one, an option beside its value."""
    parts: list[str] = []
    for word in command:
        beside = parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-")
        quoted = shlex.quote(word)
        if beside:
            parts[-1] += f" {quoted}"
        else:
            parts.append(quoted)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) < width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def wait_until(
    holds: Callable[[], bool], what: str, seen: Callable[[], str] = str, seconds: float = WAIT_S
) -> None:
    """Wait for something that the ledger will show; raise DemoFailed with what is `seen` after a while."""
    deadline, silence = time.monotonic() + seconds, ""
    while True:
        try:
            if holds():
                return
        except OSError as error:  # a node that starts or has much to do: it is asked again
            silence = f"\nlast silence of a node: {error}"
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {seconds:.0f} s in vain: {what}{silence}\n{seen()}")
        time.sleep(0.05)


def wait_for_job(demo: Demo, job: str, states: tuple[str, ...], what: str, seconds: float = WAIT_S) -> None:
    """Wait until a job is in one of these states; raise DemoFailed once it has ended in another."""

    def reached() -> bool:
        state = demo.job_state(job)
        if state in ENDS and state not in states:
            raise DemoFailed(f"{what}: in vain, the job is {state}\n{sighting(demo, job)}")
        return state in states

    wait_until(reached, what, lambda: sighting(demo, job), seconds)


def sighting(demo: Demo, job: str) -> str:
    """Return how a job stands on the ledger and at each agent, for a failure to say why."""
    lines = []
    for org in OWNERS:
        try:
            lines.append(f"ledger as {org} shows it: {demo.ask(org, 'getState', **_job_entry(job))['value']}")
        except (OSError, KeyError) as error:
            lines.append(f"the node of {org} does not say: {error!r}")
        status = demo.folder / org / "agent" / "status" / f"{job}.json"
        lines.append(f"agent of {org}: {status.read_text() if status.exists() else 'never saw the job'}")
    return "\n".join(lines)


def _job_entry(job: str) -> dict[str, str]:
    return {"contract": "jobs", "map": "jobs", "key": job}
