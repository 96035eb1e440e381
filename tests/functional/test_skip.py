"""Four validator processes that die of one transaction, and the commands that get the chain past it.

Every process runs with a bug that takes 3.5 GB for the transaction and a kernel limit (RLIMIT_AS) below that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from hungry_node import WORD
from live import ORGS, assent, rpc

from chain.cli import processes
from chain.cli.consortium import stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.cli.main import main
from chain.node.skipvote import VOTE_BYTES_MAX
from tests.schemas import column, declaring, seal_of

pytestmark = pytest.mark.functional
LIMIT = 2_000_000_000
ANSWERS_S = 60.0
REASON = "release 0.2 takes 3.5 GB for it; mended in 0.3"


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[ConsortiumFolder]:
    """Four organisations; whatever of them runs is stopped at the end."""
    made = create_consortium(tmp_path / "c", ORGS, ORGS[:3], 0, "stuck")
    yield made
    list(stop_consortium(made))


def start(*orgs: OrgFolder, limit: int = LIMIT) -> None:
    """Start nodes with the bug, under a memory limit."""
    launcher = Path(__file__).with_name("hungry_node.py")
    for org in orgs:
        command = [sys.executable, str(launcher), str(limit), "node", "run"]
        command += ["--config", str(org.node_config.resolve())]
        log = (os.POSIX_SPAWN_OPEN, 1, str(org.log("node")), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        streams = [log, (os.POSIX_SPAWN_DUP2, 1, 2)]
        pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=streams)
        org.pid("node").write_text(f"{pid}\n")


def height(org: OrgFolder) -> int:
    """Return a node's certified height, -1 while it does not answer."""
    try:
        answer = rpc(org, "getBlockNumber")
    except OSError:
        return -1
    return int(answer["result"])


def wait_for(org: OrgFolder, least: int) -> None:
    processes.wait_until(org, "node", lambda: height(org) >= least, ANSWERS_S)


def wait_ended(*orgs: OrgFolder) -> list[str]:
    """Wait until a quorum of four has ended by itself, stop who is left; return the dead's last words."""
    running = {org.name: found for org in orgs if (found := processes.find(org, "node")) is not None}
    for _ in range(int(ANSWERS_S)):
        alive = psutil.wait_procs(list(running.values()), timeout=1)[1]
        if len(alive) <= len(orgs) - 3:
            break
    dead = [org for org in orgs if running.get(org.name) not in alive]
    assert len(dead) >= 3
    for org in orgs:
        processes.stop(org, "node")
    return [processes.log_tail(org, "node", 3) for org in dead]


def invoke(*words: str | Path, code: int = 0) -> Any:
    """Run a command in this process; return its JSON, or (code, message) of a refusal."""
    result = CliRunner().invoke(main, [*map(str, words), "--json"], catch_exceptions=False)
    assert (result.exit_code != 0) == bool(code), result.output
    shown = json.loads(result.stdout)
    return (shown["error"]["code"], shown["error"]["message"]) if code else shown


INCOME = [column("income", "integer")]


def declare(org: OrgFolder) -> Any:
    ((method, args),) = declaring(INCOME)
    told = json.dumps(args | {"schema": {"$bytes": args["schema"].hex()}})
    return invoke("tx", "send", "datasets", method, "--args", told, "--as", org.path)


def register(org: OrgFolder, dataset: str, *, code: int = 0, seconds: int = 60) -> Any:
    args = {
        "id": f"bank/{dataset}",
        "schema": {"$bytes": seal_of(INCOME).hex()},
        "root": {"$bytes": "00" * 32},
        "size_bucket": "100-1000",
        "approvers": ["bank"],
        "threshold": 1,
        "description": "",
    }
    words = ("tx", "send", "datasets", "register", "--args", json.dumps(args), "--timeout", str(seconds))
    return invoke(*words, "--as", org.path, code=code)


def skip(org: OrgFolder, *words: str | Path, code: int = 0) -> Any:
    return invoke("node", "skip", *words, "--config", org.node_config, code=code)


def stuck(consortium: ConsortiumFolder, large: tuple[OrgFolder, ...] = ()) -> tuple[int, str]:
    """Bring the four to a block that kills those without memory at every start; return its height and batch.

    Nodes that are `large` have no limit, so they execute it.
    """
    bank, small = consortium.org("bank"), [org for org in consortium.orgs if org not in large]

    def start_all() -> None:
        start(*small)
        start(*large, limit=0)

    start_all()
    for org in consortium.orgs:
        wait_for(org, 1)
    assert declare(bank)["status"] == "ok"
    assert register(bank, "credit")["status"] == "ok"
    refusal = register(bank, WORD.decode(), code=1, seconds=2)
    assert refusal[0] in ("outcome_unknown", "node_unreachable"), refusal
    for words in wait_ended(*consortium.orgs):
        assert "error [execution_failed]" in words
        assert "MemoryError" in words
        assert "assent node skip show" in words
    for _ in range(2):
        start_all()
        wait_ended(*consortium.orgs)
    shown = [skip(org, "show") for org in small]
    (at,) = {item["height"] for item in shown}
    assert sum(item["begun"] > 0 for item in shown) >= 3
    for item in shown:
        assert (item["validators"], item["quorum"], item["decision"]) == (4, 3, None)
        (batch,) = item["batches"]
        assert batch["standing"] == ("decided" if item["begun"] else "prepared")
        (tx,) = batch["transactions"]
        assert (tx["contract"], tx["method"], tx["org"]) == ("datasets", "register", "bank")
    return at, shown[0]["batches"][0]["batch"]


def sign(org: OrgFolder, at: int, batch: str, out: Path, **over: str) -> Any:
    said = {"height": str(at), "batch": batch, "ids": "all", "reason": REASON, **over}
    words = [word for name, value in said.items() for word in (f"--{name}", value)]
    return skip(org, "sign", *words, "-o", out)


def page_commands(at: int, batch: str, shown: Any) -> list[str]:
    """Return the commands that docs/skip.md says to type, with what stands in place of its examples."""
    page = (Path(__file__).parents[2] / "docs" / "skip.md").read_text(encoding="utf-8")
    steps = page[page.index("## Step by step") : page.index("## Take the cause away")]
    lines = [line.strip() for line in steps.splitlines() if line.strip().startswith("assent node skip ")]
    (tx,) = shown["batches"][0]["transactions"]
    for example, real in (
        ("--height 7", f"--height {at}"), ("76c0…", batch), ("bf79…", tx["id"]),
        ("bomb.digest takes 9 GB", REASON),
    ):  # fmt: skip
        assert any(example in line for line in lines), example
        lines = [line.replace(example, real) for line in lines]
    return lines


def typed(line: str, org: OrgFolder, folder: Path) -> str:
    """Type a command in a folder, with an organisation's configuration; return what it prints, unfolded."""
    words = [str(org.node_config) if word == "node.toml" else word for word in shlex.split(line)[1:]]
    done = assent(*words, cwd=folder)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return " ".join(done.stdout.split())


def check_refusals(
    consortium: ConsortiumFolder, at: int, batch: str, files: list[Path], folder: Path
) -> None:
    """Nothing but the files of a quorum is taken, and each refusal names the file."""
    bank = consortium.org("bank")
    wrong = ["sign", "--ids", "all", "--reason", REASON, "-o", folder / "no"]
    code, text = skip(bank, *wrong, "--height", str(at), "--batch", "00" * 32, code=1)
    assert (code, "decided at height" in text) == ("skip_refused", True)
    assert "executed that height" in skip(bank, *wrong, "--height", "1", "--batch", batch, code=1)[1]
    other = ["sign", "--reason", "another", "-o", folder / "no", "--height", str(at), "--batch", batch]
    assert "this key signed another skip" in skip(bank, *other, "--ids", "all", code=1)[1]
    assert "not in batch" in skip(bank, *other, "--ids", "11" * 32, code=1)[1]
    assert not (folder / "no").exists()
    damaged, huge, empty = folder / "damaged", folder / "huge", folder / "empty"
    raw = bytearray(files[0].read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    huge.write_bytes(bytes(VOTE_BYTES_MAX + 1))
    empty.write_bytes(b"")
    for given, said in (
        (files[:1], "1 of 3 signatures"),
        (files[:2], "2 of 3 signatures"),
        ([*files[:2], files[0]], "of the same validator as"),
        ([*files[1:], damaged], f"{damaged}: the signature of"),
        ([*files[:2], huge], f"{huge}: no file of"),
        ([*files[:2], empty], f"{empty}: no file of"),
        ([*files[:2], folder / "none"], "none: cannot be read"),
    ):
        assert said in skip(bank, "apply", *given, code=1)[1]
    assert skip(bank, "show")["decision"] is None


def test_a_block_that_kills_every_validator_is_skipped_by_commands_and_proved(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    bank, bureau, registry, regulator = consortium.orgs
    at, batch = stuck(consortium)
    files = [tmp_path / f"{org.name}.skip" for org in (bank, bureau, registry)]
    look, sign_first, read, sign_like, apply = page_commands(at, batch, skip(bank, "show"))
    assert f"batch {batch}, decided, 1 transaction:" in typed(look, bank, tmp_path)
    assert f"written to {files[0].name}; next, with 3 such files" in typed(sign_first, bank, tmp_path)
    assert REASON in typed(read, bureau, tmp_path)
    typed(sign_like, bureau, tmp_path)
    typed(sign_like.replace("bureau.skip", "registry.skip"), registry, tmp_path)
    check_refusals(consortium, at, batch, files, tmp_path)
    assert [item["reason"] for item in invoke("node", "skip", "read", *files)] == [REASON] * 3
    for org in (bank, bureau, registry):
        assert "stored; next: assent node run" in typed(apply, org, tmp_path)
    assert "a decision waits" in typed(look, bank, tmp_path)
    start(bank, bureau, registry)
    for org in (bank, bureau, registry):
        wait_for(org, at)
    assert register(bank, "another")["status"] == "ok"
    for _ in range(3):  # nobody told it: having died of the height twice, it leaves it to catch-up first
        start(regulator)
        with contextlib.suppress(processes.ProcessError):
            wait_for(regulator, at + 1)
            break
    blocks = [rpc(org, "getBlockByNumber", height=at)["result"] for org in consortium.orgs]
    assert len({block["hash"] for block in blocks}) == 1
    for block in blocks:
        assert block["skip"]["reason"] == REASON
        assert len(block["skip"]["signers"]) == 3
        (tx_id,) = block["skip"]["transactions"]
    receipt = rpc(regulator, "getTransactionReceipt", id=tx_id)["result"]
    assert (receipt["status"], receipt["code"]) == ("skipped", "SKIPPED_BY_DECISION")
    assert receipt["skip"]["reason"] == REASON
    package = tmp_path / "bank.audit"
    exported = invoke("audit", "export", "org:bank", "-o", package, "--as", bank.path)
    assert exported["proofs"]["skips"] == 1
    list(stop_consortium(consortium))
    verified = invoke("audit", "verify", package, "--genesis", consortium.genesis)
    assert verified["ok"]
    shown = CliRunner().invoke(main, ["audit", "show", str(package), "--genesis", str(consortium.genesis)])
    assert REASON in shown.output


def test_a_validator_that_could_execute_it_says_so_and_comes_back_from_the_others_blocks(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    """One host has memory enough: it signed another header than the quorum that skips."""
    bank, bureau, registry, regulator = consortium.orgs
    at, batch = stuck(consortium, large=(regulator,))
    out = tmp_path / "no"
    said = ("--height", str(at), "--batch", batch, "--ids", "all", "--reason", REASON)
    refusal = skip(regulator, "sign", *said, "-o", out, code=1)
    assert "this node has executed that height" in refusal[1]
    assert not out.exists()
    files = [tmp_path / f"{org.name}.skip" for org in (bank, bureau, registry)]
    for org, file in zip((bank, bureau, registry), files, strict=True):
        sign(org, at, batch, file)
    for org in (bank, bureau, registry):
        skip(org, "apply", *files)
    assert "this node has executed that height" in skip(regulator, "apply", *files, code=1)[1]
    start(bank, bureau, registry)
    for org in (bank, bureau, registry):
        wait_for(org, at)
    start(regulator, limit=0)
    found = processes.find(regulator, "node")
    if found is not None:
        found.wait(ANSWERS_S)
    words = processes.log_tail(regulator, "node", 5)
    assert f"height {at}" in words
    assert "docs/skip.md" in words
    processes.stop(bank, "node")
    blocks = tmp_path / "blocks"
    invoke("node", "export", "--config", bank.node_config, "-o", blocks)
    start(bank)
    shutil.rmtree(regulator.path / "data")
    assert invoke("node", "import", blocks, "--config", regulator.node_config)["height"] >= at
    start(regulator, limit=0)
    wait_for(bank, at)
    top = register(bank, "another")["height"]
    wait_for(regulator, top)
    hashes = {rpc(org, "getBlockByNumber", height=top)["result"]["hash"] for org in consortium.orgs}
    assert len(hashes) == 1
