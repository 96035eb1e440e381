"""Whatever a path names, reading it ends: pipes, devices, folders, huge files are refused in plain words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from chain.audit.verify import verify
from chain.cli import contract_files, processes, proofs, validator
from chain.cli.key import public_key
from chain.cli.layout import MARKER, OrgFolder, open_consortium
from chain.ledger.files.chainfile import ChainFile
from chain.ledger.genesis import load_genesis, save_genesis
from chain.ledger.testing import toy_genesis
from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from chain.primitives.keyfile import load_key
from chain.primitives.lastrun import read_run
from contracts import cli as contract_kit
from privcompute.cli import opening_commands
from privcompute.config import load_agent_config
from privcompute.data.dataset_ids import DatasetIdInvalid
from privcompute.data.datasets import DatasetStore, LocalDataset
from privcompute.data.private_files import JobIdInvalid, job_file
from privcompute.data.results import ResultStore
from privcompute.data.schema import Column, Schema
from privcompute.data.schema_files import load_schema
from privcompute.data.sources import DataSource
from privcompute.data.tables import read_table
from privcompute.job.store import JobStore

JOB = "ab" * 32
pytestmark = pytest.mark.timeout(120)  # a reader that blocks fails its test


def verify_package(path: Path) -> object:
    trusted = path.with_name("genesis.json")
    save_genesis(trusted, toy_genesis())
    verify(path, trusted).require()
    return None


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "key": ("a.key", load_key),
    "public key": ("a.key", lambda path: public_key(str(path), "--key")),
    "configuration": ("agent.toml", load_agent_config),
    "genesis": ("genesis.json", load_genesis),
    "package": ("a.package", verify_package),
    "contract to propose": ("c.py", contract_files.read_text),
    "contract to try": ("c.py", contract_kit._read),
    "proofs": ("p.json", proofs._read),
    "evidence": ("m.bin", validator._message),
    "chain file": ("b.blocks", ChainFile),
    "consortium": (MARKER, lambda path: open_consortium(path.parent)),
    "opened rows": ("rows.json", opening_commands._read),
    "data": ("d.csv", lambda path: read_table(DataSource(path), Schema((Column("id", "text"),)))),
    "data in gzip": ("d.csv.gz", lambda path: read_table(DataSource(path), Schema((Column("id", "text"),)))),
    "columnar data": (
        "d.parquet",
        lambda path: read_table(DataSource(path), Schema((Column("id", "text"),))),
    ),
    "batches of data": (
        "d.arrow",
        lambda path: read_table(DataSource(path), Schema((Column("id", "text"),))),
    ),
    "database": ("d.duckdb", lambda path: read_table(DataSource(path, "t"), Schema((Column("id", "text"),)))),
    "schema": ("s.toml", load_schema),
    "dataset record": ("bank+d@1.json", lambda path: DatasetStore(path.parent).load("bank/d", 1)),
    "result": (f"{JOB}.json", lambda path: ResultStore(path.parent).load(JOB)),
    "record of a run": ("node.run", read_run),
    "job file": (f"{JOB}.json", lambda path: JobStore(path.parent).load(JOB)),
}
"""What is read -> (a name that its file may have, the reader)."""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.touch(mode=0o600)
    os.truncate(path, 2**42)


IN_PIECES = {"data", "data in gzip", "columnar data", "batches of data", "database", "chain file"}
"""What is read piece by piece, whatever its size."""
CASES = [(what, make) for what in READERS for make in (fifo, device, Path.mkdir)]
CASES += [(what, sparse) for what in READERS if what not in IN_PIECES]


@pytest.mark.parametrize(("what", "make"), CASES, ids=[f"{what}, {make.__name__}" for what, make in CASES])
def test_a_path_that_is_no_file_of_a_fair_size_is_refused(
    tmp_path: Path, what: str, make: Callable[[Path], None]
) -> None:
    name, read = READERS[what]
    make(tmp_path / name)
    with pytest.raises((AssentError, click.ClickException, OSError)):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "text"),
    [(fifo, "a named pipe, not a regular file"), (device, "a device, not"), (Path.mkdir, "a folder, not"),
     (sparse, "more than 10 bytes")],
)  # fmt: skip
def test_the_refusal_says_what_the_path_is(tmp_path: Path, make: Callable[[Path], None], text: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(OSError, match=text):
        read_bounded(tmp_path / "x", 10)
    with pytest.raises(AssentError, match=r"cannot be read|mode 0777|not an assent-key"):
        load_key(tmp_path / "x")


def test_a_file_of_exactly_the_bound_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert read_bounded(tmp_path / "x", 10) == b"0123456789"


def test_the_end_of_a_log_is_read_without_all_that_is_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "TAIL_BYTES_MAX", 20)
    org = OrgFolder(tmp_path)
    org.log("node").write_text("x" * 1_000 + "\nbefore\nlast\n")
    assert processes.log_tail(org, "node", 1) == "last"
    assert len(processes.log_tail(org, "node", 100)) < 20


# --- ids that become paths -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "../x",
        "b/x@1",
        "a",
        "a/b/c",
        "",
        ".",
        "b/..",
        "b/A",
        "b/" + "x" * 64,
        "b/a\n",
        "b/é",
        "a+b",
    ],
)
def test_no_dataset_id_leads_out_of_the_agents_folder(tmp_path: Path, name: str) -> None:
    store = DatasetStore(tmp_path / "agent" / "datasets")
    record = LocalDataset(name, 1, DataSource(tmp_path / "d.csv"), Schema(()), 1, bytes(32), bytes(32))
    attempts: list[Callable[[], Any]] = [lambda: store.load(name, 1), lambda: store.save(record)]
    for attempt in attempts:
        with pytest.raises(DatasetIdInvalid, match="not an id; write OWNER/NAME"):
            attempt()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../x", "ab", JOB.upper(), JOB + "\n", f"../{JOB}"])
def test_no_job_id_leads_out_of_the_agents_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobIdInvalid, match="64 hex digits"):
        job_file(tmp_path, name)
    with pytest.raises(JobIdInvalid):
        ResultStore(tmp_path).load(name)


def test_a_file_that_is_no_jobs_is_not_taken_for_one(tmp_path: Path) -> None:
    for name in (JOB, "notes", "ab"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert JobStore(tmp_path).unfinished() == [JOB]
