"""The main job of Assent on real data: every step is a command that you could type, and is printed as such.

    scripts/demo [--keep] [--folder DIR]

Four organisations start a ledger, three of them hold parts of German credit, grant its use, compute
jointly, meet every refusal, lose a validator on the way, and hand the auditor a proof.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from driver import ASSENT, ORGS, OWNERS, WAIT_S, Demo, DemoFailed, console, wait_for_job, wait_until
from rich import box
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).resolve().parent
DATASETS = {"bank": "bank/loans", "bureau": "bureau/history", "registry": "registry/residents"}
GRANTS = {"bank": "bank/own", "bureau": "bank/bureau", "registry": "bank/registry"}
NOT_GRANTED = ("foreign_worker", "personal_status_and_sex")
REVEAL_WAIT_S = 60
"""Time in which the bureau may object to job C after it was computed: a command may start slowly."""


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
        console.print(f"[green]$[/] [bold]python examples/german_credit/split.py {data}[/]")
        subprocess.run(split, check=True, stdout=subprocess.DEVNULL)
        for org in OWNERS:
            file, schema = str(data / f"{org}.csv"), str(data / f"{org}.schema.json")
            demo.as_org(org, "dataset", "register", DATASETS[org], file, "--schema", schema)


def adopt_policy(demo: Demo) -> None:
    """Deploy a member's own policy contract through proposal, approvals and commit."""
    with demo.part("Rules: a policy contract, written in Python by a member, approved by a majority"):
        source = "examples/contracts/purpose_hours.py"
        demo.assent("contract", "check", source)
        init = json.dumps(json.loads((HERE / "policy.json").read_text()))
        demo.as_org("bank", "contract", "propose", "purpose-hours", source, "--init", init)
        demo.as_org("bureau", "contract", "approve", "purpose-hours", "1")
        demo.as_org("registry", "contract", "approve", "purpose-hours", "1")
        demo.as_org("registry", "contract", "commit", "purpose-hours", "1")


def authorise(demo: Demo, suffix: str = "", *, quiet: bool = False) -> None:
    """The bank requests use, each owner approves with a quota of two runs."""
    data = demo.folder / "data"
    for org in OWNERS:
        columns = [
            f"{name}={'join-only' if name == 'id' else 'aggregate-only'}"
            for name in granted_columns(data, org)
        ]
        words = [word for column in columns for word in ("--column", column)]
        words += ["--purpose", "credit-risk-model", "--legal-basis", "contract with the customer"]
        words += ["--program", "joint-statistics", "--program", "logistic-regression", "--receiver", "bank"]
        words += [word for party in OWNERS if party not in (org, "bank") for word in ("--co-party", party)]
        words += ["--expires", "30d", "--runs", "2", "--min-group", "20", "--policy", "purpose-hours"]
        grant = GRANTS[org] + suffix
        demo.as_org("bank", "grant", "request", grant, "--dataset", DATASETS[org], *words, quiet=quiet)
        demo.as_org(org, "grant", "approve", grant, quiet=quiet)


def propose(demo: Demo, file: str, *more: str) -> str:
    """Propose a job and return its id."""
    answer = demo.as_org(
        "bank", "job", "propose", "--file", f"examples/german_credit/{file}", *more, "--json", quiet=True
    )
    job = str(json.loads(answer)["job"])
    console.print(f"  proposed job {job}")
    return job


def statistics(demo: Demo) -> None:
    """Job A."""
    with demo.part("Job A: private join and joint statistics"):
        job = propose(demo, "statistics.toml")
        demo.as_org("bank", "job", "watch", job)
        demo.as_org("bank", "job", "result", job)
        demo.summary.append(("Job A", f"joint statistics certified on the ledger, job {job[:16]}…"))


def regression(demo: Demo) -> None:
    """Job B, with a validator killed while it runs."""
    with demo.part("Job B: private join and logistic regression, while a validator is killed"):
        view = demo.ask("bank", "getNodeInfo")
        job = propose(demo, "regression.toml")
        wait_for_job(demo, job, ("running", "computed", "revealed", "committed", "certified"), "job B runs")
        pid = int((demo.folder / "regulator" / "node.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        console.print(
            f"[green]$[/] [bold]kill -9 {pid}[/]   (the regulator's validator; primary: {view['primary']})"
        )
        demo.as_org("bank", "job", "watch", job)
        demo.assent("status", str(demo.folder))
        demo.assent("start", str(demo.folder), "--org", "regulator")
        wait_until(lambda: _lag(demo) <= 0, "the regulator's validator catches up")
        demo.assent("status", str(demo.folder))
        result = json.loads(demo.as_org("bank", "job", "result", job, "--json"))
        compare(demo, job, result)


def _lag(demo: Demo) -> int:
    return int(demo.ask("bank", "getBlockNumber")) - int(demo.ask("regulator", "getBlockNumber"))


def compare(demo: Demo, job: str, result: dict[str, Any]) -> None:
    """Show the joint model's metrics beside those of scikit-learn on the same rows, in the clear."""
    sys.path.insert(0, str(HERE))
    import reference

    kept = json.loads((demo.folder / "bank" / "agent" / "joins" / f"{job}.json").read_text())
    (joined,) = kept["joins"].values()
    values = result["values"]
    plain = reference.regression(
        demo.folder / "data",
        ids=joined,
        job=bytes.fromhex(job),
        parameters=granted_parameters(demo.folder / "data"),
        min_group=job_file("regression.toml")["min_group"],
    )
    table = Table(title="the same rows, two ways", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("metric", "joint (rep3, no one sees the data)", "plaintext (scikit-learn)", "difference"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, clear in (("auc", plain.auc), ("ks", plain.ks)):
        joint = float(values[name])
        table.add_row(name.upper(), f"{joint:.4f}", f"{clear:.4f}", f"{abs(joint - clear):.4f}")
    console.print(table)
    if abs(float(values["auc"]) - plain.auc) > 0.01:
        raise DemoFailed("the joint AUC differs by more than 0.01 from the plaintext one")
    demo.summary.append(
        ("Job B", f"AUC {float(values['auc']):.4f} jointly, {plain.auc:.4f} in the clear, job {job[:16]}…")
    )
    demo.summary.append(("Killed validator", "the ledger went on; it restarted and caught up"))


def job_file(name: str) -> dict[str, Any]:
    """Return what a job file says."""
    return tomllib.loads((HERE / name).read_text())


def regression_parameters() -> dict[str, Any]:
    """Return the parameters of job B."""
    return dict(job_file("regression.toml")["parameters"])


def granted_parameters(data: Path) -> dict[str, Any]:
    """Return the parameters of job B with the features spelled out: every column that was granted."""
    parameters = regression_parameters()
    features = [
        f"{DATASETS[org]}/{name}" for org in OWNERS for name in granted_columns(data, org) if name != "id"
    ]
    return parameters | {"features": [name for name in features if name != parameters["label"]]}


def granted_columns(data: Path, org: str) -> list[str]:
    """Return the columns of an owner's dataset that the bank asks for."""
    schema = json.loads((data / f"{org}.schema.json").read_text())
    return [column["name"] for column in schema["columns"] if column["name"] not in NOT_GRANTED]


def refusals(demo: Demo) -> None:
    """What the ledger refuses, with its reasons."""
    with demo.part("Refusals: a column that was not granted, a purpose that does not match"):
        file = ("job", "propose", "--file", "examples/german_credit/regression.toml")
        column = "bank/registry:id=join,foreign_worker=encrypted"
        inputs = ("--input", "bank/own", "--input", "bank/bureau", "--input", column)
        demo.as_org("bank", *file, *inputs, refused="COLUMN_NOT_GRANTED")
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
    with demo.part("A third run is refused; a grant revoked while a job runs stops its result"):
        file = ("job", "propose", "--file", "examples/german_credit/regression.toml")
        demo.as_org("bank", *file, refused="QUOTA_EXHAUSTED")
        demo.summary.append(
            ("Refused", "COLUMN_NOT_GRANTED, PURPOSE_MISMATCH, QUOTA_EXHAUSTED at the third run")
        )
        take_time_to_object(demo)
        authorise(demo, "-2", quiet=True)
        inputs = [word for org in OWNERS for word in ("--input", GRANTS[org] + "-2")]
        slow = regression_parameters() | {"iterations": 500}
        job = propose(demo, "regression.toml", *inputs, "--parameters", json.dumps(slow))
        wait_for_job(demo, job, ("running", "computed"), "job C runs")
        demo.as_org("bureau", "grant", "revoke", "bank/bureau-2", "--reason", "the customer objected")
        wait_for_job(demo, job, ("aborted", "expired"), "job C is stopped", WAIT_S + REVEAL_WAIT_S)
        demo.as_org("bank", "job", "show", job)
        demo.as_org("bank", "job", "result", job, refused="holds no result")
        demo.summary.append(("Revoked while running", f"no result was released, job {job[:16]}…"))


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
        demo.assent("audit", "verify", str(changed), "--genesis", genesis, refused="NOT VALID")
        demo.summary.append(
            ("Audit package", f"verified with all nodes stopped; one changed byte is found ({package})")
        )
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
    with demo.part("Authorisations: the bank requests, each owner approves two runs"):
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
