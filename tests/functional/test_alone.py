"""One organisation's own folder alone on its host: every command works there, or says what to do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from live import assent

from chain.cli.init import create_consortium
from chain.cli.layout import OrgFolder
from chain.cli.main import main
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit
from chain.primitives.keyfile import save_key
from tests.unit.chain.cli.commands import all_commands, required, takes

pytestmark = pytest.mark.functional
ID = "ab" * 32
CONTRACT = "counter = Var(int)\n\n\n@export\ndef up():\n    counter.set(1)\n"
WORDS = {
    "tx_id": ID, "job_id": ID, "subject": "org:bank", "terms": "{}", "dataset_id": "bank/d",
    "grant_id": "bank/g",
    "new_key": "new.key", "admin_key": "new.key", "key_text": "new.key", "old_key": "new.key",
    "agent_key": "new.key", "roles": "steward", "changes": "block_txs=500", "rule": "majority",
    "expires": "30d", "org_id": "bank", "address": "node.example:1", "columns": "x=plain", "digits": ID,
    "schema": ID, "folder": "{bank}", "path": "{bank}", "file": "data.csv", "genesis": "{bank}/genesis.json",
    "org": "bank", "name": "bank-node", "contract": "orgs", "method": "check", "node_key": "new.key",
}  # fmt: skip
GIVEN = {
    "init": ["trial", "--orgs", "one", "--base-port", "0"],
    "logs": ["{bank}", "-n", "3"],
    "found request": ["founders/bank", "--founding", "x", "--address", "node.example:30300"],
    "org new": ["joining", "--genesis", "{bank}/genesis.json", "--base-port", "0"],
    "org propose-admit": [
        *("acme", "--name", "Acme", "--roles", "auditor", "--admin-key", "new.key"),
    ],
    "key new": ["made.key"],
    "key seal": ["new.key"],
    "key unseal": ["new.key"],
    "key show": ["new.key"],
    "call": ["datasets", "dataset_of", "--args", '{"id": "bank/d"}'],
    "job watch": [ID, "--timeout", "1"],
    "job preflight": ["job.toml"],
    "job propose": ["job.toml"],
    "tx wait": [ID, "--timeout", "1"],
    "agent run": ["--config", "{bank}/agent.toml"],
    "node import": ["data.csv", "--config", "{bank}/node.toml"],
    "node prune": ["--config", "{bank}/node.toml"],
    "contract new": ["made"],
    "contract check": ["contract.py"],
    "contract test": ["contract.py"],
    "contract propose": ["counter", "contract.py"],
    "contract publish": ["contract.py"],
    "program new": ["page.py"],
    "program check": ["page.py"],
    "node token new": ["ci", "--config", "{bank}/node.toml"],
    "node token remove": ["ci", "--config", "{bank}/node.toml"],
    "node token list": ["--config", "{bank}/node.toml"],
    "dataset register": ["bank/d", "data.csv", "--yes", "--key", "id"],
}
"""The smallest real use of a command, where `required` with WORDS would be none."""
REMEDY = re.compile(
    r"; |see[: ]|assent |give |name |make |put |required|Usage: |next: |not a file of|doubtful|wrong"
)
"""What a refusal has, so that whoever reads it can go on: it names a command, or what to give."""
LAST = ("restart", "stop")
"""Commands after which nothing answers any more, in the order in which they are tried."""
NEEDS_NOBODY = {
    "init", "start", "status", "logs", "doctor", "stop", "org list", "org show", "validator list", "key new",
    "key show", "contract new", "contract list", "program new", "program list", "dataset list", "grant list",
    "job list", "proposal list", "node token new", "node token list", "node token remove", "found request",
    "org new",
    "node evidence list", "block show",
}  # fmt: skip
"""What an organisation alone does without anything else."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> OrgFolder:
    """The folder of an organisation with its genesis, and no other one around."""
    made = create_consortium(tmp_path_factory.mktemp("made") / "c", ["bank"], ["bank"], 0, "alone")
    alone = OrgFolder(tmp_path_factory.mktemp("host") / "bank")
    shutil.move(made.org("bank").path, alone.path)
    shutil.move(made.genesis, alone.path / "genesis.json")
    for config in (alone.node_config, alone.agent_config):
        config.write_text(config.read_text().replace("../genesis.json", "genesis.json"))
    shutil.rmtree(made.path)
    return alone


def test_every_command_explains_itself() -> None:
    for words, command in all_commands():
        told = CliRunner().invoke(main, [*words, "--help"], catch_exceptions=False)
        assert told.exit_code == 0, words
        assert told.output.startswith(f"Usage: main {' '.join(words)}"), words
        assert command.help, words


def test_every_command_works_in_one_organisations_folder_or_says_what_to_do(
    bank: OrgFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSENT_AS", str(bank.path))
    (tmp_path / "data.csv").write_text("id,x\n" + "".join(f"{n},{n % 7}\n" for n in range(40)))
    (tmp_path / "contract.py").write_text(CONTRACT)
    save_key(tmp_path / "new.key", PrivateKey.generate())
    worked: set[str] = set()
    faults: list[str] = []
    assert assent("start", bank.path).returncode == 0
    try:
        everything = {" ".join(words): (words, command) for words, command in all_commands()}
        order = [*(name for name in everything if name not in LAST), *(n for n in LAST if n in everything)]
        for name in order:
            words, command = everything[name]
            given = GIVEN[name] if name in GIVEN else required(command, WORDS)
            if takes(command, "--config") and name not in GIVEN:
                given = [*given, "--config", str(bank.node_config)]
            typed = [*words, *(word.replace("{bank}", str(bank.path)) for word in given)]
            told = CliRunner().invoke(main, typed, input="")
            faults.append(fault_of(typed, told))
            if told.exit_code == 0:
                worked.add(name)
    finally:
        assent("stop", bank.path)
    assert not any(faults), "\n".join(filter(None, faults))
    assert worked >= NEEDS_NOBODY, NEEDS_NOBODY - worked


def fault_of(typed: list[str], told: Result) -> str:
    """Return how a command ended otherwise than done, or refused in words with a remedy; else nothing."""
    crashed = told.exception is not None and not isinstance(told.exception, SystemExit)
    bug = crashed or told.exit_code == Exit.BUG or "Traceback" in told.output
    if not bug and (told.exit_code == 0 or REMEDY.search(told.output)):
        return ""
    return f"{' '.join(typed)}\n{told.exit_code} {told.exception!r}\n{told.output[-1_500:]}"
