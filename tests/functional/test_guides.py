"""What contracts/GUIDE.md and the pages of the examples say to type works, on a real consortium."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from live import ORGS, assent, assent_here

from chain.cli.init import org_ports
from chain.cli.layout import ConsortiumFolder
from chain.primitives.errors import ConfigError
from privcompute.cli.account_commands import DEFAULT_CAPS
from privcompute.data.literals import TYPES
from privcompute.data.normalisation import MEANINGS
from privcompute.data.proposals import DOUBTS
from privcompute.data.schema import DAY_FORMATS, MISSING_RULES, NUMBER_FORMATS, SENSITIVITIES
from privcompute.data.text_files import DELIMITERS, ENCODINGS
from tests.schemas import column, declaring, seal_of

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted((REPOSITORY / "examples/contracts").glob("*/README.md"))


def commands(text: str) -> list[str]:
    """Return the commands of a console block."""
    return [line[2:] for line in text.splitlines() if line.startswith("$ ")]


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the guide in a folder, as a reader would; what others outlive has its own process."""
    program, *words = shlex.split(command)
    if program == "assent":
        run = assent if words[0] in ("start", "stop") else assent_here
        return run(*words, *(["--base-port", "0"] if words[0] == "init" else []), cwd=folder)
    if program == "python":
        return subprocess.run(
            [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
        )
    assert program == "pytest"
    line = [sys.executable, "-m", "pytest", "-p", "no:asyncio", "-p", "no:cacheprovider", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.functional
def test_the_guide_leads_from_an_empty_folder_to_the_second_version(tmp_path: Path) -> None:
    guide = (REPOSITORY / "contracts/GUIDE.md").read_text(encoding="utf-8")
    run = 0
    try:
        for kind, name, text in BLOCK.findall(guide):
            if kind == "python":
                (tmp_path / name).write_text(text, encoding="utf-8")
            for command in commands(text) if kind == "console" else []:
                done = typed(command, tmp_path)
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                run += 1
    finally:
        assent("stop", "consortium", cwd=tmp_path)
    assert run >= 25


def follow(guide: str, folder: Path) -> dict[str, list[str]]:
    """Do what a guide says; return what each kind of command printed, in order. A block `refused` fails.

    Its files take the place of what a reader would edit, and JOB is the job that was proposed last.
    """
    job, said = "JOB", dict[str, list[str]]()
    try:
        for kind, name, text in BLOCK.findall(guide):
            if kind != "console" and name:
                (folder / name).write_text(text, encoding="utf-8")
            for command in commands(text) if kind == "console" else []:
                done = typed(command.replace("JOB", job), folder)
                assert (done.returncode != 0) == (name == "refused"), f"{command}\n{done.stdout}{done.stderr}"
                said.setdefault(" ".join(shlex.split(command)[:3]), []).append(done.stdout)
                if found := re.search(r"^proposed job (\w{12})", done.stdout):
                    job = found[1]
    finally:
        assent("stop", "consortium", cwd=folder)
    return said


@pytest.mark.functional
def test_the_guide_for_data_owners_leads_from_a_file_with_faults_to_a_registered_dataset(
    tmp_path: Path,
) -> None:
    said = follow((REPOSITORY / "docs/data-owner.md").read_text(encoding="utf-8"), tmp_path)
    assert len(said) == 12
    (account,) = said["assent dataset account"]
    assert "bank/loans: account of version 1, with the default caps" in account
    assert "row 2" in said["assent dataset inspect"][0]
    assert "4 rows, 5 columns" in said["assent dataset register"][0]
    assert "1 rows with missing cells were left out" in said["assent dataset register"][0]
    assert "4 rows match" in said["assent dataset check"][0]
    (judged,) = said["assent job preflight"]
    for words in ("at bank: 1 finding", "DATA_TOO_FEW_ROWS", "4 rows, the job needs 10", "4 different"):
        assert words in judged


@pytest.mark.functional
def test_the_guide_for_requesters_leads_from_three_files_to_a_certified_result(tmp_path: Path) -> None:
    said = follow((REPOSITORY / "docs/requester.md").read_text(encoding="utf-8"), tmp_path)
    before, after = said["assent job preflight"]
    assert "as bank would propose it: 1 finding" in before
    assert "100 rows, the job needs 105" in before
    assert "nothing is in its way" in after
    assert re.search("DATA_TOO_FEW_ROWS|EXACT_FIGU", said["assent job why"][0]), "whoever is first"
    assert said["assent grant list"][-1].count("0+0 of 2") == 3
    assert "certified: " in said["assent job propose"][-1]
    (shown,) = said["assent job result"]
    assert re.search(r"^ people +90 *$", shown, re.MULTILINE)
    assert re.search(r"^ own +-?\d+ +\d+ … \d+ *$", shown, re.MULTILINE)
    assert re.search(r"^ mean income +-?[\d.]+ +[\d.]+ … [\d.]+ *$", shown, re.MULTILINE)
    assert "as committed on the ledger" in shown


def free_base() -> int:
    """Return a port from which on each organisation has ten, the first three free, as in the guide."""
    for base in range(20_300, 30_000, 100):
        with contextlib.suppress(ConfigError):
            org_ports(len(ORGS), base)
            return base
    raise AssertionError("no free ports")


def of_another(command: str, org: str, base: int) -> str:
    """Return a command of the guide, written for the bank, as another founder types it on this machine."""
    place = base + 10 * ORGS.index(org)
    for port in (0, 2):
        command = re.sub(rf"\w+\.bank\.example:3030{port}", f"localhost:{place + port}", command)
    if org == "regulator":
        command = re.sub(r" --agent-address \S+", "", command)
    return re.sub(r"\bbank(?=\s|$)", org, command).replace("First Bank", org.capitalize())


@pytest.mark.functional
def test_the_guide_for_founders_leads_four_companies_from_nothing_to_a_chain(tmp_path: Path) -> None:
    """Each types on a host of its own; cards, draft and signatures are all that the hosts share."""
    guide = (REPOSITORY / "docs/founding.md").read_text(encoding="utf-8")
    base, said = free_base(), {}
    hosts = {org: tmp_path / f"host-{org}" for org in ORGS}
    for host in hosts.values():
        host.mkdir()
    try:
        for _, name, text in BLOCK.findall(guide):
            for command in commands(text):
                for org, host in hosts.items() if name == "each" else [("bureau", hosts["bureau"])]:
                    done = typed(of_another(command, org, base), host)
                    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                    said[org, " ".join(shlex.split(command)[:3])] = done.stdout
                shared = [*tmp_path.glob("*/*/*.card.json"), *tmp_path.glob("*/*/*.signature.json")]
                for path in [*shared, *hosts["bureau"].glob("founding.json")]:
                    for host in hosts.values():
                        if host != path.parent:
                            shutil.copy(path, host)
    finally:
        for org, host in hosts.items():
            assent("stop", org, cwd=host)
    for org in ORGS:
        assert "signed by all 4" in said[org, "assent found install"]
        assert said[org, "assent org list"].count("active") == 4


def test_the_tables_of_the_guide_for_data_owners_name_every_doubt_step_type_and_encoding() -> None:
    guide = (REPOSITORY / "docs/data-owner.md").read_text(encoding="utf-8")
    words = [*DOUBTS, *MEANINGS, *TYPES, *SENSITIVITIES, *MISSING_RULES, *NUMBER_FORMATS, *DAY_FORMATS]
    assert [word for word in words if f"`{word}`" not in guide] == []
    assert [word for word in (*ENCODINGS, *DELIMITERS) if word not in guide] == []


def test_the_page_of_what_figures_tell_has_the_figures_that_the_formula_gives() -> None:
    """Whoever knows all other rows guesses one of two values with chance e^epsilon / (1 + e^epsilon)."""
    page = (REPOSITORY / "docs/what-figures-tell.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9.]+) \| ([0-9.]+) \| ", page, re.MULTILINE)
    assert [float(epsilon) for epsilon, _ in rows] == [0.1, 0.5, 1, 2, 3, 8]
    for epsilon, said in rows:
        unit = 10 ** len(said.partition(".")[2])
        most = 100 / (1 + math.exp(-float(epsilon)))
        assert float(said) == math.ceil(most * unit) / unit, epsilon
    defaults = {name: DEFAULT_CAPS[name] / 10**9 for name in ("epsilon", "grantee_epsilon")}
    assert defaults == {"epsilon": 8, "grantee_epsilon": 3}, (
        "the page explains what holds where an owner set none"
    )


def test_the_page_for_authors_of_policies_has_an_example_that_passes_its_test(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/policies.md").read_text(encoding="utf-8")
    run = 0
    for kind, name, text in BLOCK.findall(page):
        if kind == "python":
            (tmp_path / name).write_text(text, encoding="utf-8")
        for command in commands(text) if kind == "console" else []:
            done = typed(command, tmp_path)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            run += 1
    assert run == 2


@pytest.mark.functional
def test_the_pages_of_the_examples_put_their_contracts_in_force(consortium: ConsortiumFolder) -> None:
    columns = [column("income", "decimal")]
    seal = {"$bytes": seal_of(columns).hex()}
    ((method, args),) = declaring(columns)
    loans = {"id": "bank/loans", "schema": seal, "root": {"$bytes": "07" * 32}, "size_bucket": "100-1000"}
    loans |= {"approvers": ["bank"], "threshold": 1, "description": ""}
    bank = f"{consortium.path}/bank"
    for name, told in ((method, args | {"schema": seal}), ("register", loans)):
        words = ("tx", "send", "datasets", name, "--args", json.dumps(told), "--as", bank)
        done = assent_here(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(PAGES) == 5
    for page in PAGES:
        for kind, _, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            for command in commands(text) if kind == "console" else []:
                words = [
                    re.sub(r"^consortium/", f"{consortium.path}/", word) for word in shlex.split(command)
                ]
                done = assent_here(*words[1:], cwd=REPOSITORY)
                assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"
