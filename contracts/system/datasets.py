"""Registered data: who owns it, its schema, the salted Merkle root of its rows, who approves its use."""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
TYPES = ("int", "float", "str", "bool", "date")
SENSITIVITIES = ("public", "internal", "personal", "sensitive", "identifier")
COLUMNS_MAX = 256
APPROVERS_MAX = 16
TEXT_MAX = 256

datasets = Map(str, dict)
versions = Map(str, dict)

orgs = Contract("orgs")

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
    schema: list,
    root: bytes,
    size_bucket: str,
    approvers: list,
    threshold: int,
    description: str,
):
    org = steward()
    check_id(id)
    require(orgs.has_role(org, "owner"), "ORG_ROLE_MISSING")
    require(id not in datasets, "DATASET_EXISTS")
    check_version(schema, root, size_bucket)
    check_approvers(approvers, threshold)
    check_text(description)
    datasets[id] = {
        "id": id,
        "owner": org,
        "version": 1,
        "schema": schema,
        "root": root,
        "size_bucket": size_bucket,
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
def new_version(id: str, schema: list, root: bytes, size_bucket: str) -> int:
    """Register changed data; grants keep naming the version that they were given for."""
    record = owned(id)
    check_version(schema, root, size_bucket)
    number = record["version"] + 1
    record["version"] = number
    record["schema"] = schema
    record["root"] = root
    record["size_bucket"] = size_bucket
    datasets[id] = record
    put_version(id, number, schema, root, size_bucket)
    DatasetVersioned(
        dataset="dataset:" + id,
        by="org:" + ctx.org,
        version=number,
        root=root,
        schema_hash=sha256(encode(schema)),
        size_bucket=size_bucket,
    )
    return number


@export
def set_approvers(id: str, approvers: list, threshold: int):
    record = owned(id)
    check_approvers(approvers, threshold)
    record["approvers"] = approvers
    record["threshold"] = threshold
    datasets[id] = record
    ApproversSet(dataset="dataset:" + id, by="org:" + ctx.org, approvers=approvers, threshold=threshold)


@export
def suspend(id: str, reason: str):
    """Stop every use of the dataset, running jobs' results included, until resumed."""
    check_text(reason)
    set_status(owned(id), "active", "suspended")
    DatasetSuspended(dataset="dataset:" + id, by="org:" + ctx.org, reason=reason)


@export
def resume(id: str):
    set_status(owned(id), "suspended", "active")
    DatasetResumed(dataset="dataset:" + id, by="org:" + ctx.org)


@export
def retire(id: str, reason: str):
    check_text(reason)
    record = owned(id)
    set_status(record, record["status"], "retired")
    DatasetRetired(dataset="dataset:" + id, by="org:" + ctx.org, reason=reason)


@view
def dataset_of(id: str) -> dict:
    record = datasets.get(id)
    require(record is not None, "UNKNOWN_DATASET")
    return record


@view
def version_of(id: str, version: int) -> dict:
    record = versions.get(id + "/" + str(version))
    require(record is not None, "UNKNOWN_VERSION")
    return record


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


def set_status(record: dict, before: str, after: str):
    require(record["status"] == before, "WRONG_STATE")
    record["status"] = after
    datasets[record["id"]] = record


def put_version(id: str, number: int, schema: list, root: bytes, size_bucket: str):
    versions[id + "/" + str(number)] = {
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
    for column in schema:
        require(len(column) == 3, "BAD_SCHEMA")
        name = column["name"]
        require(0 < len(name) <= 64 and name not in names, "BAD_SCHEMA")
        require(column["type"] in TYPES and column["sensitivity"] in SENSITIVITIES, "BAD_SCHEMA")
        names[name] = True


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


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
