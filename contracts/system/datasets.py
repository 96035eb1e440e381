"""Registered data: who owns it, the schema and salted Merkle root of each version, who approves its use.

A dataset's id is "owner/name": nobody but the owner can take a name in its part.
"""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
NAME_MAX = 63
TYPES = ("int", "float", "str", "bool", "date")
SENSITIVITIES = ("public", "internal", "personal", "sensitive", "identifier")
COLUMNS_MAX = 256
# All names of a schema together: whatever names its columns, a grant or a job, then fits in one transaction.
NAMES_BYTES_MAX = 16384
APPROVERS_MAX = 16
DATASETS_MAX = 1000
VERSIONS_MAX = 10000
TEXT_MAX = 256

datasets = Map(str, dict)
versions = Map(tuple[str, int], dict)
counts = Map(str, int)

orgs = Contract("orgs")
grants = Contract("grants")

DatasetRegistered = Event(
    dataset=subject,
    by=subject,
    version=int,
    root=bytes,
    schema_hash=bytes,
    size_bucket=str,
    approvers=list,
    threshold=int,
)
DatasetVersioned = Event(
    dataset=subject, by=subject, version=int, root=bytes, schema_hash=bytes, size_bucket=str
)
ApproversSet = Event(dataset=subject, by=subject, approvers=list, threshold=int)
DatasetSuspended = Event(dataset=subject, by=subject, reason=str)
DatasetResumed = Event(dataset=subject, by=subject)
DatasetRetired = Event(dataset=subject, by=subject, reason=str)


@export
def register(
    id: str,
    schema: list[dict],
    root: bytes,
    size_bucket: str,
    approvers: list[str],
    threshold: int,
    description: str,
):
    org = steward()
    check_own_id(id, org)
    require(orgs.has_role(org, "owner"), "ORG_ROLE_MISSING")
    require(id not in datasets, "DATASET_EXISTS")
    count = counts.get(org, 0)
    require(count < DATASETS_MAX, "TOO_MANY_DATASETS")
    check_version(schema, root, size_bucket)
    check_approvers(approvers, threshold)
    check_text(description)
    counts[org] = count + 1
    datasets[id] = {
        "id": id,
        "owner": org,
        "version": 1,
        "root": root,
        "size_bucket": size_bucket,
        "columns": len(schema),
        "status": "active",
        "approvers": approvers,
        "threshold": threshold,
        "description": description,
        "registered_at": ctx.block_time,
        "height": ctx.height,
    }
    put_version(id, 1, schema, root, size_bucket)
    DatasetRegistered(
        dataset="dataset:" + id,
        by="org:" + org,
        version=1,
        root=root,
        schema_hash=sha256(encode(schema)),
        size_bucket=size_bucket,
        approvers=approvers,
        threshold=threshold,
    )


@export
def new_version(id: str, schema: list[dict], root: bytes, size_bucket: str) -> int:
    """Register changed data; grants keep naming the version that they were given for."""
    record = owned(id)
    check_version(schema, root, size_bucket)
    number = record["version"] + 1
    require(number <= VERSIONS_MAX, "TOO_MANY_VERSIONS")
    record.update({"version": number, "root": root, "size_bucket": size_bucket, "columns": len(schema)})
    datasets[id] = record
    put_version(id, number, schema, root, size_bucket)
    DatasetVersioned(
        dataset="dataset:" + id,
        by="org:" + record["owner"],
        version=number,
        root=root,
        schema_hash=sha256(encode(schema)),
        size_bucket=size_bucket,
    )
    return number


@export
def set_approvers(id: str, approvers: list[str], threshold: int):
    record = owned(id)
    check_approvers(approvers, threshold)
    record["approvers"] = approvers
    record["threshold"] = threshold
    datasets[id] = record
    ApproversSet(
        dataset="dataset:" + id,
        by="org:" + record["owner"],
        approvers=approvers,
        threshold=threshold,
    )


# --- a change of status is told in the histories of the grants and open jobs that it concerns -------------


@export
def suspend(id: str, reason: str):
    """Stop every use of the dataset, running jobs' results included, until resumed."""
    check_text(reason)
    record = owned(id)
    require(record["status"] == "active", "WRONG_STATE")
    by = set_status(record, "suspended")
    DatasetSuspended(dataset="dataset:" + id, by=by, reason=reason)
    grants.dataset_changed(dataset=id, cause="DatasetSuspended", reason=reason, by=by)


@export
def resume(id: str):
    record = owned(id)
    require(record["status"] == "suspended", "WRONG_STATE")
    by = set_status(record, "active")
    DatasetResumed(dataset="dataset:" + id, by=by)
    grants.dataset_changed(dataset=id, cause="DatasetResumed", reason="", by=by)


@export
def retire(id: str, reason: str):
    """End every use of the dataset for good."""
    check_text(reason)
    by = set_status(owned(id), "retired")
    DatasetRetired(dataset="dataset:" + id, by=by, reason=reason)
    grants.dataset_changed(dataset=id, cause="DatasetRetired", reason=reason, by=by)


@view
def dataset_of(id: str) -> dict:
    record = datasets.get(id)
    require(record is not None, "UNKNOWN_DATASET")
    return record


@view
def version_of(id: str, version: int) -> dict:
    record = versions.get((id, version))
    require(record is not None, "UNKNOWN_VERSION")
    return record


@view
def offer_of(id: str, version: int) -> dict:
    """What a request for a version builds on: {owner, approvers, threshold, root, columns: [name]}."""
    record = dataset_of(id)
    require(record["status"] == "active", "DATASET_NOT_ACTIVE")
    data = version_of(id, version)
    return {
        "owner": record["owner"],
        "approvers": record["approvers"],
        "threshold": record["threshold"],
        "root": data["root"],
        "columns": [column["name"] for column in data["schema"]],
    }


@view
def approvers_of(id: str) -> dict:
    """Whose word decides about requests: {status, approvers, threshold}."""
    record = dataset_of(id)
    return {"status": record["status"], "approvers": record["approvers"], "threshold": record["threshold"]}


@view
def usable(id: str) -> bool:
    record = datasets.get(id)
    return record is not None and record["status"] == "active"


def owned(id: str) -> dict:
    org = steward()
    record = dataset_of(id)
    require(record["owner"] == org, "NOT_OWNER")
    require(record["status"] != "retired", "WRONG_STATE")
    return record


def set_status(record: dict, status: str) -> str:
    record["status"] = status
    datasets[record["id"]] = record
    return "org:" + record["owner"]


def put_version(id: str, number: int, schema: list, root: bytes, size_bucket: str):
    versions[id, number] = {
        "dataset": id,
        "version": number,
        "schema": schema,
        "root": root,
        "size_bucket": size_bucket,
        "registered_at": ctx.block_time,
        "height": ctx.height,
    }


def check_version(schema: list, root: bytes, size_bucket: str):
    require(len(root) == 32, "BAD_HASH")
    check_text(size_bucket)
    require(0 < len(schema) <= COLUMNS_MAX, "BAD_SCHEMA")
    names = {}
    taken = 0
    for column in schema:
        known = [name in column for name in ("name", "sensitivity", "type")]
        require(len(column) == 3 and all(known), "BAD_SCHEMA")
        name: str = column["name"]
        require(0 < len(name) <= 64 and name not in names, "BAD_SCHEMA")
        require(column["type"] in TYPES and column["sensitivity"] in SENSITIVITIES, "BAD_SCHEMA")
        names[name] = True
        taken += len(name.encode())
    require(taken <= NAMES_BYTES_MAX, "SCHEMA_TOO_LONG")


def check_approvers(approvers: list, threshold: int):
    require(0 < len(approvers) <= APPROVERS_MAX, "BAD_APPROVERS")
    members = orgs.active_members()
    seen = {}
    for org in approvers:
        require(org in members, "UNKNOWN_ORG")
        require(org not in seen, "BAD_APPROVERS")
        seen[org] = True
    require(0 < threshold <= len(approvers), "BAD_THRESHOLD")


def steward() -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def check_own_id(id: str, org: str):
    """An id is "org/name", and only that organisation creates it."""
    owner, slash, name = id.partition("/")
    require(slash == "/" and 0 < len(name) <= NAME_MAX, "BAD_ID")
    require(name[0].isalnum() and name.strip(ID_LETTERS) == "", "BAD_ID")
    require(owner == org, "ID_NOT_OWN")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
