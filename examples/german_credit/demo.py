"""The main job of Assent on real data: every step is a command that you could type, and is printed as such.

    scripts/demo [--keep] [--folder DIR]

Four organisations start a ledger, three of them hold parts of German credit, grant its use, compute
jointly, meet every refusal, lose a validator on the way, and hand the auditor a proof.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from driver import ASSENT, ORGS, OWNERS, WAIT_S, Demo, DemoFailed, console, say, wait_for_job, wait_until
from rich import box
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).resolve().parent
DATASETS = {"bank": "bank/loans", "bureau": "bureau/history", "registry": "registry/residents"}
NAMES = {"bank": "loans", "bureau": "history", "registry": "residents"}
"""What pages call the dataset of each owner."""
GRANTS = {"bank": "bank/own", "bureau": "bank/bureau", "registry": "bank/registry"}
NOT_GRANTED = ("foreign_worker", "personal_status_and_sex")
PAGE, PURPOSE = "default-rates", "credit-risk-model"
EXAMPLE = "examples/german_credit"
REVEAL_WAIT_S = 60
"""Time in which the bureau may object to job D after it was computed: a command may start slowly."""
DIGITS = 12
"""Of a job's number, which name it in commands."""


def start(demo: Demo) -> None:
    """Create and start four validators and three agents."""
    with demo.part("A consortium: four validators, three agents"):
        where = str(demo.folder)
        demo.assent("init", where, "--orgs", ",".join(ORGS), "--base-port", "0")
        demo.assent("start", where)
        demo.assent("status", where)


def register(demo: Demo) -> None:
    """Split the data by columns and register each owner's part."""
    with demo.part("Data: German credit, split by columns among three owners"):
        data = demo.folder / "data"
        split = [sys.executable, str(HERE / "split.py"), str(data)]
        say(["python", f"{EXAMPLE}/split.py", str(data)])
        subprocess.run(split, check=True, stdout=subprocess.DEVNULL)
        for org in OWNERS:
            file, schema = str(data / f"{org}.csv"), str(data / f"{org}.schema.json")
            demo.as_org(org, "dataset", "register", DATASETS[org], file, "--schema", schema)


def adopt_policy(demo: Demo) -> None:
    """Deploy a member's own policy contract through proposal, approvals and commit."""
    with demo.part("Rules: a policy contract of the bank's, approved by a majority"):
        source = "examples/contracts/purpose_hours.py"
        demo.assent("contract", "check", source)
        init = json.dumps(json.loads((HERE / "policy.json").read_text()))
        demo.as_org("bank", "contract", "propose", "purpose-hours", source, "--init", init)
        demo.as_org("bureau", "contract", "approve", "purpose-hours", "1")
        demo.as_org("registry", "contract", "approve", "purpose-hours", "1")
        demo.as_org("registry", "contract", "commit", "purpose-hours", "1")


def vote_for_page(demo: Demo) -> None:
    """The registry writes a page; members read what the ledger derives of it, and vote."""
    with demo.part("Programs: a page of the registry's own, approved by a majority"):
        file = f"{EXAMPLE}/default_rates.py"
        say(["cat", file])
        console.print((HERE / "default_rates.py").read_text().rstrip(), markup=False)
        words = (PAGE, file, "--reason", "the yearly report")
        demo.as_org("registry", "program", "propose", *words, quiet=True)
        demo.as_org("bank", "program", "show", "1")
        demo.as_org("bank", "program", "approve", "1")
        demo.as_org("bureau", "program", "approve", "1")
        demo.as_org("registry", "program", "commit", "1")


def ask_for_page(demo: Demo, grantee: str, page: str, *more: str, quiet: bool = False) -> None:
    """Ask each owner for what a page needs, which follows of the page; each approves."""
    for org in OWNERS:
        words = ["--for", page, "--dataset", DATASETS[org]]
        words += [word for each in OWNERS for word in ("--input", f"{NAMES[each]}={DATASETS[each]}")]
        words += [*more, "--expires", "30d", "--min-group", "20"]
        grant, again = f"{grantee}/{NAMES[org]}", quiet or org != OWNERS[0]
        demo.as_org(grantee, "grant", "request", grant, *words, quiet=again)
        demo.as_org(org, "grant", "approve", grant, quiet=again)


def authorise_page(demo: Demo) -> None:
    """The registry asks each owner for what its page needs."""
    with demo.part("Authorisations for the page: what it needs, and no more"):
        ask_for_page(demo, "registry", PAGE, "--purpose", "yearly-report", "--legal-basis", "statistics act")
        demo.as_org("registry", "program", "check", PAGE)


def authorise_statistics(demo: Demo) -> None:
    """The bank asks for what its statistics need: with noise, of no more than columns for noise."""
    given = in_the_clear().parameters("statistics")
    words = [word for name, value in given.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    words += ["--purpose", PURPOSE, "--legal-basis", "contract with the customer"]
    words += ["--because", "means, ages by bins and loans by housing, with noise of epsilon 2 together"]
    ask_for_page(demo, "bank", "joint-statistics", *words)


def authorise(demo: Demo, suffix: str = "", *, quiet: bool = False) -> None:
    """The bank requests use for an exact regression, each owner approves one run."""
    data = demo.folder / "data"
    for org in OWNERS:
        columns = [
            f"{name}={'join-only' if name == 'id' else 'plain'}" for name in granted_columns(data, org)
        ]
        words = [word for column in columns for word in ("--column", column)]
        words += ["--because", "an exact AUC may tell single rows: it needs plain"]
        words += ["--purpose", PURPOSE, "--legal-basis", "contract with the customer"]
        words += ["--program", "logistic-regression", "--receiver", "bank"]
        words += [word for party in OWNERS if party not in (org, "bank") for word in ("--co-party", party)]
        words += [word for party in OWNERS if party != org for word in ("--membership", party)]
        words += ["--expires", "30d", "--runs", "1", "--min-group", "20", "--policy", "purpose-hours"]
        grant, again = GRANTS[org] + suffix, quiet or org != "bureau"
        demo.as_org("bank", "grant", "request", grant, "--dataset", DATASETS[org], *words, quiet=again)
        demo.as_org(org, "grant", "approve", grant, quiet=again)


def propose(demo: Demo, org: str, file: str, *more: str) -> str:
    """Propose a job and return its id."""
    answer = demo.as_org(org, "job", "propose", "--file", f"{EXAMPLE}/{file}", *more, "--json", quiet=True)
    job = str(json.loads(answer)["job"])
    console.print(f"  proposed job {job}")
    return job


def own_page(demo: Demo) -> None:
    """Job A, under the registry's page."""
    with demo.part("Job A: private join, and the registry's page"):
        demo.as_org("registry", "job", "preflight", f"{EXAMPLE}/default_rates.toml")
        job = propose(demo, "registry", "default_rates.toml")
        demo.as_org("registry", "job", "watch", job[:DIGITS])
        demo.as_org("registry", "job", "result", job[:DIGITS])
        demo.as_org("bank", "job", "result", job[:DIGITS], refused="holds no result")
        show_check(demo, result_of(demo, "registry", job), rates_in_the_clear)
        demo.as_org("bank", "dataset", "account", DATASETS["bank"])
        demo.summary.append(
            ("Job A", f"dp: a page of its own, figures with noise, epsilon 2, job {job[:DIGITS]}…")
        )


def result_of(demo: Demo, org: str, job: str) -> list[dict[str, Any]]:
    """Return the figures that an organisation's agent keeps of a job."""
    done = subprocess.run(
        [str(ASSENT), "job", "result", job, "--json", "--as", str(demo.folder / org)],
        capture_output=True,
        check=True,
    )
    figures: list[dict[str, Any]] = json.loads(done.stdout)["values"]["figures"]
    return figures


def rates_in_the_clear(demo: Demo, figure: dict[str, Any]) -> list[float]:
    """Return the cells of a figure of the registry's page, computed in the clear."""
    what, by = str(figure["name"]).split(" by ")
    clear = in_the_clear().default_rates(demo.folder / "data", by)
    place = ("loans", "default rate", "mean amount").index(what)
    return [clear[category][place] for category in figure["axes"][0]["categories"]]


def statistics_in_the_clear(demo: Demo, figure: dict[str, Any]) -> list[float]:
    """Return the same of a figure of the standard statistics."""
    (axis,) = figure["axes"] or [{}]
    found: list[float] = in_the_clear().statistic(demo.folder / "data", figure["name"], axis)
    return found


def check_figures(
    demo: Demo, figures: list[dict[str, Any]], in_clear: Callable[[Demo, dict[str, Any]], list[float]]
) -> tuple[int, int]:
    """Hold figures with noise against those in the clear; return how many intervals hold theirs, of how many.

    An interval holds its figure with 95 %; noise five times as far as its ends comes once in 100,000 demos.
    """
    within = told = 0
    for figure in figures:
        if figure["kind"] != "dp":
            continue
        ends = figure["interval"]
        cells = [figure["value"], ends["low"], ends["high"]]
        each = zip(*cells, strict=True) if figure["axes"] else [tuple(cells)]
        for (value, *interval), exact in zip(each, in_clear(demo, figure), strict=True):
            low, high = (float(end) if end is not None else None for end in interval)
            reach = [abs(float(value) - end) for end in (low, high) if end is not None]
            if len(reach) == 2 and abs(float(value) - exact) > 5 * max(reach):
                raise DemoFailed(f"{figure['name']}: {value}, in the clear {exact}")
            within += (low is None or low <= exact) and (high is None or exact <= high)
            told += 1
    return within, told


def show_check(demo: Demo, figures: list[dict[str, Any]], in_clear: Any) -> None:
    """Print how many intervals of figures with noise hold what is computed in the clear."""
    within, told = check_figures(demo, figures, in_clear)
    console.print(f"[dim]  {within} of {told} intervals hold the figure that is computed in the clear[/]")


def in_the_clear() -> ModuleType:
    """Return the module that computes the same figures with numpy and scikit-learn."""
    sys.path.insert(0, str(HERE))
    return importlib.import_module("reference")


def statistics(demo: Demo) -> None:
    """Job B."""
    with demo.part("Job B: joint statistics with noise, a standard page"):
        job = propose(demo, "bank", "statistics.toml")
        demo.as_org("bank", "job", "watch", job[:DIGITS])
        demo.as_org("bank", "job", "result", job[:DIGITS])
        show_check(demo, result_of(demo, "bank", job), statistics_in_the_clear)
        demo.summary.append(("Job B", f"dp: a standard page's statistics, epsilon 2, job {job[:DIGITS]}…"))


def regression(demo: Demo) -> None:
    """Job C, with a validator killed while it runs."""
    with demo.part("Job C: a model that stays shares, its AUC exact; a validator is killed"):
        view = demo.ask("bank", "getNodeInfo")
        job = propose(demo, "bank", "regression.toml")
        wait_for_job(demo, job, ("running", "computed", "revealed", "committed", "certified"), "job C runs")
        pid = int((demo.folder / "regulator" / "node.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        console.print(
            f"[green]$[/] [bold]kill -9 {pid}[/]   (the regulator's validator; primary: {view['primary']})"
        )
        demo.as_org("bank", "job", "watch", job[:DIGITS])
        demo.assent("status", str(demo.folder))
        demo.assent("start", str(demo.folder), "--org", "regulator")
        wait_until(lambda: _lag(demo) <= 0, "the regulator's validator catches up")
        demo.assent("status", str(demo.folder))
        demo.as_org("bank", "job", "result", job[:DIGITS])
        compare(demo, job)


def _lag(demo: Demo) -> int:
    return int(demo.ask("bank", "getBlockNumber")) - int(demo.ask("regulator", "getBlockNumber"))


def compare(demo: Demo, job: str) -> None:
    """Show the joint model's metrics beside those of scikit-learn on the same rows, in the clear."""
    kept = json.loads((demo.folder / "bank" / "agent" / "joins" / f"{job}.json").read_text())
    (joined,) = kept["joins"].values()
    reference = in_the_clear()
    plain = reference.regression(
        demo.folder / "data", ids=joined, job=bytes.fromhex(job), given=reference.parameters()
    )
    values = {one["name"]: float(one["value"]) for one in result_of(demo, "bank", job)}
    table = Table(title="the same rows, two ways", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("metric", "joint, on shares", "plaintext (scikit-learn)", "difference"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, clear in (("AUC", plain.auc), ("KS", plain.ks)):
        table.add_row(name, f"{values[name]:.4f}", f"{clear:.4f}", f"{abs(values[name] - clear):.4f}")
    console.print(table)
    if abs(values["AUC"] - plain.auc) > 0.01:
        raise DemoFailed("the joint AUC differs by more than 0.01 from the plaintext one")
    demo.summary.append(
        ("Job C", f"exact: AUC {values['AUC']:.4f}, in the clear {plain.auc:.4f}, job {job[:DIGITS]}…")
    )
    demo.summary.append(("Killed validator", "the ledger went on; it restarted and caught up"))


def granted_columns(data: Path, org: str) -> list[str]:
    """Return the columns of an owner's dataset that the bank asks for."""
    schema = json.loads((data / f"{org}.schema.json").read_text())
    return [column["name"] for column in schema["columns"] if column["name"] not in NOT_GRANTED]


def refusals(demo: Demo) -> None:
    """What the ledger refuses, with its reasons."""
    with demo.part("Refusals: a column without a grant, another purpose"):
        file = ("job", "propose", "--file", f"{EXAMPLE}/statistics.toml")
        column = json.dumps(
            {"columns": [], "groups": [[["residents", "foreign_worker"]]], "receivers": ["bank"]}
        )
        demo.as_org("bank", *file, "--parameters", column, refused="granted is nothing")
        demo.as_org("bank", *file, "--purpose", "marketing", refused="PURPOSE_MISMATCH")


def take_time_to_object(demo: Demo) -> None:
    """Let the bureau keep every result in shares for a while: a fast job may end before a slow command."""
    config = demo.folder / "bureau" / "agent.toml"
    lines = ("", "[policy]", f"reveal_wait_ms = {REVEAL_WAIT_S * 1_000}", "")
    shown = shlex.join(["printf", r"\n".join(lines)])
    console.print(f"[green]$[/] [bold]{escape(shown)} >> {config}[/]")
    config.write_text(config.read_text() + "\n".join(lines))
    demo.assent("stop", str(demo.folder), "--org", "bureau")
    demo.assent("start", str(demo.folder), "--org", "bureau")


def revocation(demo: Demo) -> None:
    """A grant revoked while a job runs stops the result."""
    with demo.part("A second run is refused; a revoked grant stops a result"):
        file = ("job", "propose", "--file", f"{EXAMPLE}/regression.toml")
        demo.as_org("bank", *file, refused="QUOTA_EXHAUSTED")
        demo.summary.append(("Refused", "no grant of a column, PURPOSE_MISMATCH, QUOTA_EXHAUSTED"))
        take_time_to_object(demo)
        authorise(demo, "-2", quiet=True)
        inputs = [word for org in OWNERS for word in ("--input", f"{NAMES[org]}={GRANTS[org]}-2")]
        slow = in_the_clear().parameters() | {"turns": 500}
        job = propose(demo, "bank", "regression.toml", *inputs, "--parameters", json.dumps(slow))
        wait_for_job(demo, job, ("running", "computed"), "job D runs")
        demo.as_org("bureau", "grant", "revoke", "bank/bureau-2", "--reason", "the customer objected")
        wait_for_job(demo, job, ("aborted", "expired"), "job D is stopped", WAIT_S + REVEAL_WAIT_S)
        demo.as_org("bank", "job", "show", job[:DIGITS])
        demo.as_org("bank", "job", "result", job[:DIGITS], refused="holds no result")
        demo.summary.append(("Revoked while running", f"no result was released, job {job[:DIGITS]}…"))


def audit(demo: Demo, keep: bool) -> None:
    """Trail, export, and a verification with every node stopped."""
    with demo.part("Audit: the whole history, proved offline"):
        subject, package = "dataset:bureau/history", str(demo.folder / "bureau-history.audit")
        demo.as_org("regulator", "audit", "trail", subject)
        demo.as_org("regulator", "audit", "export", subject, "-o", package)
        demo.assent("stop", str(demo.folder))
        genesis = str(demo.folder / "genesis.json")
        demo.assent("audit", "verify", package, "--genesis", genesis)
        content = bytearray(Path(package).read_bytes())
        content[len(content) // 2] ^= 1
        changed = Path(package).with_suffix(".changed")
        changed.write_bytes(content)
        console.print(f"[dim]  one bit of byte {len(content) // 2} changed in {changed.name}[/]")
        demo.assent("audit", "verify", str(changed), "--genesis", genesis, refused="UNREADABLE")
        demo.summary.append(("Audit package", "verified with all nodes stopped; a changed byte is found"))
    if keep:
        demo.assent("start", str(demo.folder))


def clear(folder: Path) -> None:
    """Remove what an earlier demo left, and nothing else."""
    if (folder / "consortium.json").exists():
        subprocess.run([str(ASSENT), "stop", str(folder)], stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(folder)
    elif folder.exists():
        raise DemoFailed(f"{folder} exists and is not a consortium: name another folder with --folder")


def run(demo: Demo, keep: bool) -> None:
    """Run every step."""
    start(demo)
    register(demo)
    adopt_policy(demo)
    vote_for_page(demo)
    authorise_page(demo)
    own_page(demo)
    with demo.part("Authorisations for standard pages: noise for figures, `plain` for an exact AUC"):
        authorise_statistics(demo)
        authorise(demo)
        demo.as_org("regulator", "grant", "list")
    statistics(demo)
    refusals(demo)
    regression(demo)
    revocation(demo)
    audit(demo, keep)


def main() -> int:
    """Read the command line, run, and leave no process behind unless told to."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the consortium running")
    parser.add_argument("--folder", type=Path, default=Path("demo-consortium"), help="where it lives")
    options = parser.parse_args()
    demo = Demo(options.folder)
    finished = False
    try:
        clear(options.folder)
        run(demo, options.keep)
        finished = True
    except (DemoFailed, subprocess.SubprocessError) as error:
        console.print(f"\n[bold red]the demo failed:[/] {escape(str(error))}", markup=True)
        console.print(f"logs: {options.folder}/*/node.log and agent.log", markup=False)
    finally:
        if not (options.keep and finished) and (options.folder / "consortium.json").exists():
            subprocess.run([str(ASSENT), "stop", str(options.folder)], stdout=subprocess.DEVNULL, check=False)
    if not finished:
        return 1
    table = Table(title="What was shown", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    for name, what in demo.summary:
        table.add_row(f"[bold]{name}[/]", what)
    console.print(table)
    console.print(
        f"done in {time.monotonic() - demo.began:.0f} s. Everything above is a command: `assent` is {ASSENT}"
    )
    if options.keep:
        console.print(
            f"the consortium runs: assent status {options.folder}; stop it with: assent stop {options.folder}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
