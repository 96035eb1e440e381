"""`assent dataset`: register data by a salted commitment, list, show and check them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from chain.client.calls import as_account, call
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, run, session_options
from chain.client.signing import SigningClient
from chain.client.trust import word_line
from chain.ledger.block import Receipt
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value
from chain.primitives.visible import one_line
from privcompute.cli.account_commands import account, begin_account, caps
from privcompute.cli.common import (
    GAS_LIMIT,
    UsageFault,
    agent_of_folder,
    need_state,
    send,
    sent_json,
    show_time,
)
from privcompute.cli.dataset_schema import confirmed, declared, file_options, inspect, schema_option
from privcompute.cli.declarations import SEE_LIST, declare, read_schema, version_row
from privcompute.cli.draft_commands import drafts, withdraw_draft
from privcompute.cli.opening_commands import check_opened, open_rows
from privcompute.clock import now_ms
from privcompute.config import AgentConfig, AgentFiles, configured_paths
from privcompute.data.commitments import SEED_BYTES, size_bucket
from privcompute.data.dataset_ids import check_dataset_id
from privcompute.data.datasets import (
    DatasetError,
    DatasetStore,
    LocalDataset,
    open_dataset,
    prepare,
)
from privcompute.data.declared import column_words, identifier_words
from privcompute.data.evidence import EvidenceLog
from privcompute.data.schema import Schema, declaration, schema_seal
from privcompute.data.sources import DataSource
from privcompute.data.tables import TypedTable

_file = click.argument("file", type=click.Path(path_type=Path), required=False)


@click.group()
def dataset() -> None:
    """Register, list, show and check datasets; an ID is OWNER/NAME, such as bank/customers."""


def _paths(
    config: AgentConfig, files: AgentFiles, dataset_id: str, file: Path | None, schema_file: Path | None
) -> tuple[Path, Path | None]:
    """Return where data and schema file lie: the arguments, else agent.toml."""
    if file is not None:
        return file.resolve(), schema_file
    configured = configured_paths(config, files, dataset_id)
    if configured is None:
        raise UsageFault(
            f"dataset {dataset_id!r}: give its FILE, or describe it under [[datasets]] in agent.toml"
        )
    return configured[0], schema_file or configured[1]


def _prepare(
    files: AgentFiles, dataset_id: str, version: int, source: DataSource, schema: Schema
) -> tuple[LocalDataset, TypedTable]:
    """Commit to the data and write the record down before anything is sent."""
    store = DatasetStore(files.datasets)
    try:  # an earlier attempt whose outcome was unknown keeps its salts, and so its root
        seed = store.load(dataset_id, version).seed
    except DatasetError:
        seed = secrets.token_bytes(SEED_BYTES)
    local, table = prepare(dataset_id, version, source, schema, seed)
    store.save(local)
    body = {
        "dataset": dataset_id,
        "version": version,
        "root": local.root,
        "rows": local.rows,
        "schema": schema_seal(schema),
    }
    EvidenceLog(files.evidence).append(now_ms(), "", "dataset", body)
    return local, table


def _send(session: Session, method: str, local: LocalDataset, more: dict[str, Value]) -> Receipt:
    """Have the ledger hold the schema, then the version that has it; no part is sent again."""
    owner = local.id.partition("/")[0]

    async def work(account: SigningClient) -> Receipt:
        args: dict[str, Value] = {
            "id": local.id,
            "schema": await declare(account, owner, local.schema),
            "root": local.root,
            "size_bucket": size_bucket(local.rows),
            **more,
        }
        return await call(account, "datasets", method, args, GAS_LIMIT)

    return as_account(session, work)


def _registered_json(receipt: Receipt, local: LocalDataset, table: TypedTable) -> Value:
    missing = {name: int(mask.sum()) for name, mask in table.masks.items()}
    return sent_json(
        receipt,
        root=local.root.hex(),
        rows=local.rows,
        dropped=table.dropped,
        missing=missing,
        schema=[declaration(column) for column in local.schema.columns],
        seal=schema_seal(local.schema).hex(),
    )


def _registered_text(receipt: Receipt, local: LocalDataset, table: TypedTable) -> None:
    print_text(
        f"registered {local.id} version {local.version}: {local.rows:,} rows, "
        f"{len(local.schema.columns)} columns, root {local.root.hex()[:16]}…, height {receipt.height}"
    )
    if table.dropped:
        print_text(f"  {table.dropped:,} rows with missing cells were left out, as the schema says")
    for name, mask in table.masks.items():
        rule = local.schema.column(name).missing
        print_text(f"  column {name}: {int(mask.sum()):,} missing cells, rule {rule}")


@dataset.command("register")
@click.argument("dataset_id", metavar="ID")
@_file
@schema_option
@file_options
@click.option("--yes", is_flag=True, help="Confirm the proposed types; only without doubts.")
@click.option("--approver", "approvers", multiple=True, metavar="ORG", help="Who approves requests (repeat).")
@click.option(
    "--threshold", type=click.IntRange(1, 16), default=1, show_default=True, help="How many of them."
)
@click.option("--description", default="", help="What it holds, for the other members.")
@json_option
@reports_errors
@session_options
def register(
    session: Session,
    dataset_id: str,
    file: Path | None,
    schema_file: Path | None,
    key_columns: tuple[str, ...],
    table: str | None,
    encoding: str | None,
    delimiter: str | None,
    yes: bool,
    approvers: tuple[str, ...],
    threshold: int,
    description: str,
    as_json: bool,
) -> None:
    """Register FILE as dataset ID: its schema and a salted root go on the ledger, its rows stay here."""
    check_dataset_id(dataset_id)
    config, files = agent_of_folder()
    with DatasetStore(files.datasets).one_registration(dataset_id):
        if _on_ledger(session, dataset_id) is not None:
            raise UsageFault(
                f"dataset {dataset_id!r} is registered already; add a version: assent dataset new-version"
            )
        path, schema_file = _paths(config, files, dataset_id, file, schema_file)
        if schema_file is None:
            source = DataSource(path, table, delimiter, encoding)
            schema = confirmed(source, key_columns, yes=yes, quiet=as_json)
        else:
            if key_columns or table or delimiter or encoding:
                raise UsageFault(
                    f"{schema_file} says how the file is written and keyed; leave these options out"
                )
            source, schema = declared(path, schema_file)
        local, typed = _prepare(files, dataset_id, 1, source, schema)
        more: dict[str, Value] = {
            "approvers": list(approvers) or [config.organisation],
            "threshold": threshold,
            "description": description,
        }
        receipt = _send(session, "register", local, more)
    if as_json:
        print_json(_registered_json(receipt, local, typed))
    else:
        _registered_text(receipt, local, typed)


@dataset.command("new-version")
@click.argument("dataset_id", metavar="ID")
@_file
@schema_option
@json_option
@reports_errors
@session_options
def new_version(
    session: Session,
    dataset_id: str,
    file: Path | None,
    schema_file: Path | None,
    as_json: bool,
) -> None:
    """Register changed data as the next version of ID; grants name the version they cover.

    Without --schema the version before declares the columns, without FILE the data lie where they lay.
    """
    check_dataset_id(dataset_id)
    config, files = agent_of_folder()
    with DatasetStore(files.datasets).one_registration(dataset_id):
        known = _on_ledger(session, dataset_id)
        if known is None:
            raise UsageFault(f"dataset {dataset_id!r} is not registered; first: assent dataset register")
        version = int(known["version"]) + 1
        configured = configured_paths(config, files, dataset_id)
        path, declared_by = (None, None) if configured is None or file is not None else configured
        path, declared_by = file or path, schema_file or declared_by
        if path is None or declared_by is None:
            before = DatasetStore(files.datasets).load(dataset_id, version - 1)
            path, source, schema = path or before.source.path, before.source, before.schema
            source = replace(source, path=path.resolve())
        else:
            source, schema = declared(path.resolve(), declared_by)
        local, typed = _prepare(files, dataset_id, version, source, schema)
        receipt = _send(session, "new_version", local, {})
    if as_json:
        print_json(_registered_json(receipt, local, typed))
    else:
        _registered_text(receipt, local, typed)


def _on_ledger(session: Session, dataset_id: str) -> Any:
    async def work() -> Any:
        async with session.client() as client:
            return await client.state("datasets", "datasets", dataset_id)

    return run(work())


@dataset.command("list")
@json_option
@reports_errors
@session_options
def list_datasets(session: Session, as_json: bool) -> None:
    """List every registered dataset."""

    async def work() -> tuple[list[Any], str]:
        async with session.client() as client:
            found = [value async for _, value in client.entries("datasets", "datasets")]
            return found, await word_line(client, "assent dataset show ID")

    found, word = run(work())
    if as_json:
        print_json([to_json(item) for item in found])
        return
    rows = [
        [d["id"], d["owner"], d["version"], d["status"], d["size_bucket"], d["columns"], d["description"]]
        for d in found
    ]
    print_table("datasets", ["id", "owner", "#version", "status", "rows", "#columns", "description"], rows)
    print_text(word)


@dataset.command("show")
@click.argument("dataset_id", metavar="ID")
@json_option
@reports_errors
@session_options
def show(session: Session, dataset_id: str, as_json: bool) -> None:
    """Show dataset ID: owner, schema, root, who approves; proved against the genesis if known."""

    async def work() -> Any:
        async with session.client() as client:
            record = await need_state(client, "datasets", "datasets", dataset_id, SEE_LIST)
            version = await version_row(client, dataset_id, record["version"])
            return record, version, await read_schema(client, dataset_id, version)

    found, version, schema = run(work())
    if as_json:
        columns = [declaration(column) for column in schema.columns]
        print_json(to_json({**found, "schema": columns, "key": list(schema.key), "seal": version["schema"]}))
        return
    print_text(f"{found['id']} of {found['owner']}: {found['status']}, version {found['version']}")
    print_text(f"  rows {found['size_bucket']}, registered {show_time(found['registered_at'])} UTC")
    print_text(f"  root {found['root'].hex()}")
    print_text(f"  schema {version['schema'].hex()}, {len(schema.columns):,} columns")
    if schema.key:
        said = identifier_words(version["identifier"])
        print_text(f"  joined by {', '.join(map(one_line, schema.key))}: {said}")
    print_text(f"  approvers {', '.join(found['approvers'])}, {found['threshold']} needed")
    if found["description"]:
        print_text(f"  {one_line(found['description'])}")
    print_table(
        "schema",
        ["column", "sensitivity", "declared"],
        [[column.name, column.sensitivity, column_words(column)] for column in schema.columns],
    )
    print_text(f"what figures about it gave away: assent dataset account {found['id']}")


@dataset.command("check")
@click.argument("dataset_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), help="Version; by default the current one.")
@json_option
@reports_errors
@session_options
def check(session: Session, dataset_id: str, version: int | None, as_json: bool) -> None:
    """Read the data behind ID again and compare them with the root that the ledger shows."""
    _, files = agent_of_folder()

    async def work() -> tuple[int, bytes]:
        async with session.client() as client:
            current = await need_state(client, "datasets", "datasets", dataset_id, SEE_LIST)
            wanted = version or int(current["version"])
            record = await version_row(client, dataset_id, wanted)
            return wanted, bytes(record["root"])

    wanted, root = run(work())
    opened = open_dataset(DatasetStore(files.datasets).load(dataset_id, wanted))
    if opened.commitment.root != root:
        raise DatasetError(
            f"dataset {dataset_id} version {wanted}: the ledger shows root {root.hex()[:16]}…, this agent "
            f"computes {opened.commitment.root.hex()[:16]}…; register with: assent dataset new-version"
        )
    if as_json:
        print_json({"dataset": dataset_id, "version": wanted, "rows": opened.table.rows, "root": root.hex()})
        return
    print_text(f"{dataset_id} version {wanted}: {opened.table.rows:,} rows match the registered root")


def _decide(method: str, help_text: str, said: str, *, reason: bool) -> click.Command:
    """Return a command that only its owner may give: suspend, resume or retire."""

    def act(session: Session, dataset_id: str, as_json: bool, **given: str) -> None:
        receipt = send(session, "datasets", method, {"id": dataset_id, **given})
        if as_json:
            print_json(sent_json(receipt))
        else:
            print_text(f"{dataset_id} {said} at height {receipt.height}")

    decorated: Any = json_option(reports_errors(session_options(act)))
    if reason:
        decorated = click.option("--reason", required=True, help="Why; every member can read it.")(decorated)
    decorated = click.argument("dataset_id", metavar="ID")(decorated)
    return click.command(method, help=help_text)(decorated)


dataset.add_command(
    _decide("suspend", "Suspend ID: no grant on it passes until resumed.", "suspended", reason=True)
)
dataset.add_command(_decide("resume", "Resume ID.", "resumed", reason=False))
dataset.add_command(_decide("retire", "Retire ID for good.", "retired", reason=True))
dataset.add_command(account)
dataset.add_command(caps)
dataset.add_command(begin_account)
dataset.add_command(inspect)
dataset.add_command(drafts)
dataset.add_command(withdraw_draft)
dataset.add_command(open_rows)
dataset.add_command(check_opened)
