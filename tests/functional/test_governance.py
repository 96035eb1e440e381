"""The members of a running consortium decide by command line, and anyone checks what they decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from live import rpc

from chain.cli import processes
from chain.cli.key import prove_key
from chain.cli.layout import ConsortiumFolder
from chain.cli.main import main
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey

pytestmark = pytest.mark.functional

COUNTER = """
count = Var(int, 0)

@init
def setup(start: int):
    count.set(start)

@export
def add(n: int) -> int:
    count.set(count.get() + n)
    return count.get()
"""

TERMS = """
LIMIT = 3

def few(count: int) -> int:
    require(count < LIMIT, "TOO_MANY")
    return count
"""
SHARING = """terms = Library("{digest}")

@export
def take(count: int) -> int:
    return terms.few(count) {more}
"""


class Desk:
    """Commands in this process, as one of the organisations."""

    def __init__(self, consortium: ConsortiumFolder) -> None:
        self._consortium, self._founders = consortium, consortium.orgs

    def run(self, org: str, *words: str | Path) -> Any:
        """Run a command that must succeed; return its JSON."""
        result = self._invoke(org, words)
        assert result.exit_code == 0, result.output
        shown = json.loads(result.stdout)
        if isinstance(shown, dict) and "gasUsed" in shown:
            self._wait_everywhere(shown["height"])
        return shown

    def text(self, org: str, *words: str) -> str:
        """Run a command that must succeed; return what a person reads on 80 columns."""
        folder = str(self._consortium.org(org).path)
        result = CliRunner().invoke(main, words, env={"ASSENT_AS": folder, "COLUMNS": "80"})
        assert result.exit_code == 0, result.output
        return result.output

    def _wait_everywhere(self, height: int) -> None:
        """Wait until every founder's node has certified a height, as members who talk to one another do."""
        for org in self._founders:
            done = lambda org=org: rpc(org, "getBlockNumber")["result"] >= height  # noqa: E731
            processes.wait_until(org, "node", done, 20)

    def refusal(self, org: str, *words: str | Path) -> str:
        """Run a command that must be refused; return the message."""
        result = self._invoke(org, words)
        assert result.exit_code != 0, result.output
        return str(json.loads(result.stdout)["error"]["message"])

    def _invoke(self, org: str, words: tuple[str | Path, ...]) -> Any:
        folder = str(self._consortium.org(org).path)
        return CliRunner().invoke(main, [*map(str, words), "--json"], env={"ASSENT_AS": folder})

    def decide(self, group: str, *what: str) -> Any:
        """Approve a proposal as two more organisations and commit it."""
        for org in ("bureau", "registry"):
            self.run(org, group, "approve", *what)
        return self.run("regulator", group, "commit", *what)


def test_a_contract_and_a_member_come_in_by_vote_and_the_proofs_convince_an_outsider(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    """Propose, approve, commit, restrict, list at a height, prove; then admit, add a node, set a limit."""
    desk = Desk(consortium)
    source, proofs = tmp_path / "counter.py", tmp_path / "proofs.json"
    source.write_text(COUNTER)
    made = desk.run("bank", "contract", "propose", "counter", source, "--init", '{"start": 5}')
    assert made["readiness"]["missing"] == ["bureau", "registry", "regulator"]
    assert "NOT_ENOUGH_VOTES" in desk.refusal("bank", "contract", "commit", "counter", "1")
    assert "ALREADY_VOTED" in desk.refusal("bank", "contract", "approve", "counter", "1")
    since = desk.decide("contract", "counter", "1")["result"]

    shown = desk.run("regulator", "contract", "show", "counter", "--proof", proofs)
    assert (shown["active_at"], shown["approved_by"]) == (since, ["bank", "bureau", "registry"])
    _check_proofs(desk, consortium, proofs)
    before = desk.run("bank", "contract", "list", "--at", str(since - 1))
    assert "counter" not in [item["name"] for item in before["contracts"]]
    assert "no contract 'counter' runs" in desk.refusal("bank", "contract", "show", "counter", "--at", "1")

    desk.run("bank", "contract", "acl", "counter", "--allow", "add=bank,role:admin")
    desk.decide("proposal", "1")
    assert "ACCESS_DENIED" in desk.refusal("bureau", "tx", "send", "counter", "add", "--args", '{"n": 1}')
    assert desk.run("bank", "tx", "send", "counter", "add", "--args", '{"n": 1}')["result"] == 6

    folder = consortium.path / "clinic"
    joining = desk.run("bank", "org", "new", folder, "--genesis", consortium.genesis, "--base-port", "0")
    for step in joining["steps"][:2]:
        made = desk.run("bank", *step.split()[1:])
        desk.run("regulator", "proposal", "approve", str(made["result"]))
        desk.decide("proposal", str(made["result"]))
    nodes = {node["name"]: node for node in desk.run("bank", "validator", "list")}
    assert (nodes["clinic-node"]["role"], nodes["clinic-node"]["connected"]) == ("observer", False)
    table = desk.text("bank", "validator", "list")
    assert all(
        any({name, node["address"]} <= set(line.split()) for line in table.splitlines())
        for name, node in nodes.items()
    ), "no row is folded"
    assert desk.run("bank", "org", "show", "clinic")["org"]["status"] == "active"

    made = desk.run("bank", "params", "propose", "block_txs=500")
    assert made["readiness"]["needed"] == 4, "five members now"
    desk.run("regulator", "proposal", "approve", str(made["result"]))
    assert desk.decide("proposal", str(made["result"]))["inForceFrom"] > since
    assert desk.run("bank", "params", "show")["limits"]["block_txs"] == 500
    assert desk.run("bank", "proposal", "list") == []


def test_two_contracts_share_a_library_and_keep_it_when_it_is_withdrawn(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    """Publish, deploy twice, call, fail inside, withdraw, call again; a third contract is refused."""
    desk, library = Desk(consortium), tmp_path / "terms.py"
    library.write_text(TERMS)
    digest = desk.run("bank", "contract", "publish", library)["result"]["$bytes"]
    assert "LIBRARY_EXISTS" in desk.refusal("bureau", "contract", "publish", library)
    for name, more in (("one", "+ 1"), ("two", "+ 2"), ("three", "+ 3")):
        (tmp_path / f"{name}.py").write_text(SHARING.format(digest=digest, more=more))
    for name in ("one", "two"):
        made = desk.run("bank", "contract", "propose", name, tmp_path / f"{name}.py")
        assert made["libraries"] == {"terms": digest}
        desk.decide("contract", name, "1")
    (listed,) = desk.run("registry", "contract", "libraries")
    assert (listed["hash"], listed["by"], listed["open"], listed["withdrawn"]) == (digest, "bank", 0, False)
    assert desk.run("registry", "contract", "libraries", digest[:16])["source"] == TERMS

    assert "NOT_PUBLISHER" in desk.refusal("bureau", "contract", "withdraw-library", digest)
    desk.run("bank", "contract", "withdraw-library", digest[:16])
    assert desk.run("registry", "contract", "libraries") == []
    assert desk.run("registry", "contract", "libraries", digest)["record"] is None
    assert "begin so" in desk.refusal("registry", "contract", "libraries", digest[:16])
    assert "UNKNOWN_LIBRARY" in desk.refusal("bank", "contract", "propose", "three", tmp_path / "three.py")
    shown = desk.run("regulator", "contract", "show", "one", "--source")
    assert shown["library_sources"] == {"terms": TERMS}

    for name, more in (("one", 1), ("two", 2)):
        made = desk.run("bureau", "tx", "send", name, "take", "--args", '{"count": 2}')
        assert made["result"] == 2 + more
    words = ("tx", "send", "one", "take", "--args", '{"count": 3}')
    failed = desk.refusal("bureau", *words).split()[-1]
    (inner, outer) = desk.run("bureau", "tx", "explain", failed)["trace"]
    assert (inner["function"], inner["line"], inner["library"]) == ("few", 5, digest)
    assert (outer["function"], outer["line"], outer["library"]) == ("take", 5, "")


def _check_proofs(desk: Desk, consortium: ConsortiumFolder, proofs: Path) -> None:
    verify = ("contract", "verify", proofs, "--genesis", consortium.genesis)
    entries = [item["entry"] for item in desk.run("bank", *verify)]
    assert "lifecycle.history['counter/1']" in entries
    document = json.loads(proofs.read_text())
    changed = bytearray.fromhex(document["states"][1])
    changed[-70] ^= 1
    document["states"][1] = changed.hex()
    proofs.write_text(json.dumps(document))
    assert "certificate" in desk.refusal("bank", *verify)


def test_a_validator_that_does_not_run_is_not_added_by_accident(consortium: ConsortiumFolder) -> None:
    """Silent validators that a quorum can spare are borne; one more would stop the chain: it is refused."""
    desk = Desk(consortium)

    def add(number: int) -> list[str]:
        words = ["validator", "add", f"ghost-{number}", "--org", "bank", "--role", "validator"]
        key = prove_key(PrivateKey(bytes([number]) * 32), load_genesis(consortium.genesis).chain_id, "bank")
        return [*words, "--node-key", str(key), "--address", "127.0.0.1:9"]

    for number in (1, 2):
        desk.run("bank", *add(number))
        desk.decide("proposal", str(number))
    message = desk.refusal("bank", *add(3))
    assert "7 validators need 5 running, and this node sees 4; away: ghost-1, ghost-2, ghost-3" in message
    assert desk.run("bank", *add(3), "--force")["readiness"]["status"] == "open"
    assert "7 validators need 5" in desk.refusal("bank", "proposal", "commit", "3")


def test_a_key_that_is_not_lost_is_replaced_by_nobody(consortium: ConsortiumFolder, tmp_path: Path) -> None:
    """Members propose and approve another admin key of one that has its own: it hears of it, and objects."""
    desk = Desk(consortium)
    genesis = consortium.org("regulator").path.parent / "genesis.json"
    desk.run("bank", "key", "new", tmp_path / "new.key")
    proof = desk.run(
        "bank",
        "key",
        "prove",
        tmp_path / "new.key",
        "--org",
        "regulator",
        "--genesis",
        genesis,
        "--replacement",
    )
    given = f"{proof['public']}:{proof['proof']}"
    made = desk.run("bank", "org", "propose-key", "regulator", given, "--reason", "it lost its key")
    seq = str(made["result"])
    for org in ("bureau", "registry"):
        desk.run(org, "proposal", "approve", seq)
    assert "unless its organisation objects: assent proposal commit" in " ".join(
        desk.text("regulator", "proposal", "show", seq).split()
    )
    assert "can object for three days" in desk.refusal("bank", "proposal", "commit", seq)
    assert "only the organisation whose admin key" in desk.refusal("bank", "proposal", "object", seq)
    desk.run("regulator", "proposal", "object", seq, "--reason", "it is here")
    assert "no open or committed proposal" in desk.refusal("bank", "proposal", "show", seq)
