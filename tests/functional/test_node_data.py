"""A stopped node's data, to files and back by commands; and a wiped node that comes back by a state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from live import ORGS, assent

from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.primitives.errors import Exit
from tests.bench.catchup import measure
from tests.bench.forge import Forge

pytestmark = pytest.mark.functional
HEIGHTS, LAST = 620, 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ConsortiumFolder, str]:
    """Return a consortium whose first member holds a chain, and the id of a transaction at height 5."""
    consortium = create_consortium(tmp_path_factory.mktemp("data") / "c", ORGS, [], 0, "test")
    forge = Forge(consortium, consortium.org("bank").path / "data")
    forge.deploy()
    forge.fill(HEIGHTS - forge.ledger.head.height, 50, 1, lambda _done, _all: None)
    batch = forge.ledger.read.batch(5)
    forge.close()
    assert batch is not None
    return consortium, batch.tx_ids[0].hex()


def run(*words: str | Path) -> dict[str, Any]:
    """Run a node command that succeeds."""
    done = assent("node", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def refused(*words: str | Path) -> tuple[str, str]:
    """Run a node command that is refused; return (code, text)."""
    done = assent("node", *words, "--json")
    assert done.returncode in (Exit.REFUSED, Exit.CONFIG, Exit.DAMAGED), done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    return error["code"], error["message"]


def test_blocks_and_states_go_to_files_and_make_the_same_ledger_elsewhere(
    made: tuple[ConsortiumFolder, str], tmp_path: Path
) -> None:
    consortium, _ = made
    bank, bureau, registry = [consortium.org(name).node_config for name in ORGS[:3]]
    exported = run("export", "--config", bank, "--last", str(LAST), "-o", tmp_path / "blocks")
    assert (exported["first"], exported["last"]) == (1, LAST)
    head = run("import", tmp_path / "blocks", "--config", bureau)
    again = run("rebuild", "--config", bureau)
    assert (again["height"], again["header"], again["from"]) == (LAST, head["header"], 0)
    written = run("snapshot", "--config", bureau, "--height", str(LAST - 7), "-o", tmp_path / "state")
    assert written["height"] == LAST - 7
    assert run("import", tmp_path / "state", "--config", registry)["blocksFrom"] == LAST - 6
    assert run("import", tmp_path / "blocks", "--config", registry)["header"] == head["header"]
    partly = run("rebuild", "--config", registry)
    assert {**partly, "from": 0, "seconds": 0} == {**again, "seconds": 0}
    assert partly["from"] == LAST - 7
    data = bytearray((tmp_path / "state").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "state").write_bytes(data)
    shutil.rmtree(consortium.org("registry").path / "data")
    code, text = refused("import", tmp_path / "state", "--config", registry)
    assert code == "file_damaged"
    assert "checksum does not hold" in text


def test_pruned_blocks_are_in_the_archive_and_proved_by_the_genesis_alone(
    made: tuple[ConsortiumFolder, str], tmp_path: Path
) -> None:
    consortium, tx_id = made
    config = tmp_path / "node.toml"
    shutil.copytree(consortium.org("bank").path / "data", tmp_path / "data")
    config.write_text(f'[files]\ngenesis = "{consortium.genesis.resolve()}"\n')
    code, text = refused("prune", "--config", config, "--before", "100", "--archive", tmp_path / "old")
    assert (code, "at most 21 here" in text) == ("limit", True)
    assert not (tmp_path / "old").exists()
    held = run("prune", "--config", config, "--before", "20", "--archive", tmp_path / "old")
    assert (held["blocksFrom"], held["stateFrom"]) == (20, 19)
    code, text = refused("export", "--config", config, "--first", "3", "-o", tmp_path / "blocks")
    assert code == "not_held"
    assert str(tmp_path / "old") in text
    assert run("rebuild", "--config", config)["height"] == HEIGHTS
    found = run("archive", "read", tmp_path / "old", "--tx", tx_id, "--config", config)
    assert (found["height"], found["receipt"]["status"]) == (5, "ok")
    assert run("archive", "read", tmp_path / "old", "--config", config)["blocks"] == 19


def test_a_new_and_a_wiped_validator_come_back_by_a_state_though_a_peer_serves_rubbish() -> None:
    """Real processes; one of three peers flips a bit in everything that it serves."""
    figures = measure(300, 300, 10, ["snapshot"], lambda _what: None)
    assert [item["node"] for item in figures["joins"]] == ["new", "wiped"]
    for item in figures["joins"]:
        assert item["blocks_from"] > figures["height"] - 1, item
        assert item["height"] >= item["blocks_from"] - 1
        assert item["trouble"] == ""
