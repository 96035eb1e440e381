"""Registered data: declared schemas, the owner of a dataset, schema and salted root of each version, approvers.

A schema is declared column by column, in parts, under the hash that seals it; no version has it before it is
sealed. A dataset's id is "owner/name": nobody but the owner can take a name in its part.
"""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
NAME_MAX = 63
APPROVERS_MAX = 16
DATASETS_MAX = 1000
VERSIONS_MAX = 10000
TEXT_MAX = 256

# What a column may declare, in words and bounds that are those of privcompute/data/schema.py.
TYPES = ("text", "integer", "decimal", "boolean", "date", "timestamp", "category")
SENSITIVITIES = ("public", "internal", "personal", "sensitive", "identifier")
MISSING_RULES = ("refuse", "drop-row", "mean", "category")
KEY_TYPES = ("text", "integer", "date", "category")
STEPS = (
    "trim",
    "spaces",
    "nfc",
    "nfkc",
    "casefold",
    "digits",
    "alphanumeric",
    "leading-zeros",
    "date:ymd",
    "date:dmy",
    "date:mdy",
)
COLUMNS_MAX = 1024
NAME_CHARS_MAX = 64
UNIT_CHARS_MAX = 32
WORD_CHARS_MAX = 64
CATEGORIES_MAX = 256
CODES_MAX = 256
EDGES_MAX = 65
STEPS_MAX = 8
KEY_COLUMNS_MAX = 8
# Encoded: with the keys of 64 columns, a part is written in one transaction.
COLUMN_BYTES_MAX = 32768
PART_BYTES_MAX = 65536
PART_COLUMNS_MAX = 64
SCHEMA_BYTES_MAX = 1048576
# What one owner may have, and for how long a schema may stay incomplete before anyone clears it away.
SCHEMAS_MAX = 4096
DRAFTS_MAX = 8
DRAFT_MS = 604800000
# What one owner adds for ever in a day (UTC): its 1,000 datasets get a version each, and 16 MiB of schemas are declared.
REGISTRATIONS_A_DAY_MAX = 200
VERSIONS_A_DAY_MAX = 1000
PARTS_A_DAY_MAX = 256
# Changes of approvers and resumptions: histories of grants and open jobs are told of these.
CHANGES_A_DAY_MAX = 500
DAY_MS = 86400000


class Column(Record):
    name: str
    type: str
    sensitivity: str
    unit: str
    missing: str
    coding: list[list[str]]
    low: str | None
    high: str | None
    categories: list[str]
    edges: list[str]
    normalise: list[str]


datasets = Map(str, dict)
versions = Map(tuple[str, int], dict)
counts = Map(str, int)
schemas = Map(tuple[str, bytes], dict)  # (owner, seal) -> how far it is; from its sealing on it stays
parts = Map(tuple[str, bytes, int], list[str])  # (owner, seal, part) -> names of its columns, in order
columns = Map(tuple[str, bytes, str], Column)  # (owner, seal, name) -> what is declared
schema_counts = Map(str, dict)  # owner -> {drafts, sealed}
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

orgs = Contract("orgs")
grants = Contract("grants")

SchemaDeclared = Event(by=subject, schema=bytes, part=int, columns=list)
SchemaSealed = Event(by=subject, schema=bytes, key=list, columns=int, identifier=list)
SchemaWithdrawn = Event(by=subject, owner=subject, schema=bytes, parts=int)
DatasetRegistered = Event(
    dataset=subject,
    by=subject,
    version=int,
    root=bytes,
    schema=bytes,
    columns=int,
    size_bucket=str,
    approvers=list,
    threshold=int,
)
DatasetVersioned = Event(
    dataset=subject, by=subject, version=int, root=bytes, schema=bytes, columns=int, size_bucket=str
)
ApproversSet = Event(dataset=subject, by=subject, approvers=list, threshold=int)
DatasetSuspended = Event(dataset=subject, by=subject, reason=str)
DatasetResumed = Event(dataset=subject, by=subject)
DatasetRetired = Event(dataset=subject, by=subject, reason=str)


# --- schemas: seal_0 = SHA-256(["assent/schema", 1, key]), seal_n = SHA-256([seal_(n-1), column n]) ----------


@export
def declare(schema: bytes, key: list[str], columns: list[Column]) -> str:
    """Begin the schema that this hash will seal, with its first part; returns its status."""
    org = steward()
    require(orgs.has_role(org, "owner"), "ORG_ROLE_MISSING")
    require(len(schema) == 32, "BAD_HASH")
    require((org, schema) not in schemas, "SCHEMA_EXISTS")
    check_key(key)
    count = schema_counts.get(org, {"drafts": 0, "sealed": 0})
    require(count["drafts"] < DRAFTS_MAX, "TOO_MANY_DRAFTS")
    require(count["drafts"] + count["sealed"] < SCHEMAS_MAX, "TOO_MANY_SCHEMAS")
    count["drafts"] += 1
    schema_counts[org] = count
    s: dict = {
        "owner": org,
        "schema": schema,
        "status": "draft",
        "key": key,
        "identifier": [[] for _ in key],
        "parts": 0,
        "columns": 0,
        "bytes": 0,
        "chain": sha256(encode(["assent/schema", 1, key])),
        "begun_at": ctx.block_time,
        "until": ctx.block_time + DRAFT_MS,
        "height": ctx.height,
    }
    return add_part(s, columns)


@export
def extend(schema: bytes, part: int, columns: list[Column]) -> str:
    """Add the next part to a schema that is not sealed yet; the one that completes it seals it."""
    s = schema_of(steward(), schema)
    require(s["status"] == "draft", "WRONG_STATE")
    require(ctx.block_time < s["until"], "DEADLINE_PASSED")
    require(part == s["parts"], "PART_NOT_NEXT")
    return add_part(s, columns)


@export
def withdraw(owner: str, schema: bytes) -> int:
    """Clear the last part of a schema away that is not sealed; returns how many parts are left.

    Its owner may do so at any time, anyone once its time is over.
    """
    s = schema_of(owner, schema)
    require(s["status"] != "sealed", "WRONG_STATE")
    own = ctx.org == owner and ("admin" in ctx.roles or "steward" in ctx.roles)
    require(own or ctx.block_time >= s["until"], "TOO_EARLY")
    last = s["parts"] - 1
    for name in parts[owner, schema, last]:
        del columns[owner, schema, name]
    del parts[owner, schema, last]
    if last == 0:
        del schemas[owner, schema]
        count = schema_counts[owner]
        count["drafts"] -= 1
        schema_counts[owner] = count
    else:
        s["status"] = "withdrawn"
        s["parts"] = last
        schemas[owner, schema] = s
    SchemaWithdrawn(by="org:" + ctx.org, owner="org:" + owner, schema=schema, parts=last)
    return last


def add_part(s: dict, added: list[Column]) -> str:
    owner, seal, chain, taken = s["owner"], s["schema"], s["chain"], 0
    require(0 < len(added) <= PART_COLUMNS_MAX, "BAD_PART")
    require(count_today(owner, "parts") <= PARTS_A_DAY_MAX, "TOO_MANY_PARTS_TODAY")
    require(s["columns"] + len(added) <= COLUMNS_MAX, "TOO_MANY_COLUMNS")
    for column in added:
        check_column(column)
        require((owner, seal, column.name) not in columns, "COLUMN_EXISTS")
        note_identifier(s, column)
        declared = encode(column)
        require(len(declared) <= COLUMN_BYTES_MAX, "SCHEMA_TOO_LONG")
        taken += len(declared)
        chain = sha256(encode([chain, declared]))
        columns[owner, seal, column.name] = column
    s["bytes"] += taken
    require(taken <= PART_BYTES_MAX and s["bytes"] <= SCHEMA_BYTES_MAX, "SCHEMA_TOO_LONG")
    names = [column.name for column in added]
    parts[owner, seal, s["parts"]] = names
    SchemaDeclared(by="org:" + owner, schema=seal, part=s["parts"], columns=names)
    s["parts"] += 1
    s["columns"] += len(added)
    s["chain"] = chain
    if chain == seal:
        set_sealed(s)
    schemas[owner, seal] = s
    return s["status"]


def set_sealed(s: dict):
    require([] not in s["identifier"], "BAD_KEY")
    s["status"] = "sealed"
    count = schema_counts[s["owner"]]
    count["drafts"] -= 1
    count["sealed"] += 1
    schema_counts[s["owner"]] = count
    SchemaSealed(
        by="org:" + s["owner"],
        schema=s["schema"],
        key=s["key"],
        columns=s["columns"],
        identifier=s["identifier"],
    )


def note_identifier(s: dict, column: Column):
    """Keep what a column of the key means: texts of both kinds are one, and steps count in their order."""
    if column.sensitivity != "identifier":
        require(column.name not in s["key"], "BAD_KEY")
        return
    require(column.name in s["key"] and column.type in KEY_TYPES, "BAD_KEY")
    require(column.missing == "refuse" or column.missing == "drop-row", "BAD_KEY")
    kind = "text" if column.type == "category" else column.type
    s["identifier"][s["key"].index(column.name)] = [kind] + column.normalise


def check_key(key: list):
    require(len(key) <= KEY_COLUMNS_MAX, "BAD_KEY")
    for place, name in enumerate(key):
        require(0 < len(name) <= NAME_CHARS_MAX and name not in key[:place], "BAD_KEY")


# A reader of data holds a column against more than this: what its texts say, such as which numbers bound it.


def check_column(c: Column):
    require(0 < len(c.name) <= NAME_CHARS_MAX and c.name == c.name.strip(), "BAD_COLUMN")
    require(c.type in TYPES and c.sensitivity in SENSITIVITIES, "BAD_COLUMN")
    numeric = c.type == "integer" or c.type == "decimal"
    words = c.type == "text" or c.type == "category"
    require(len(c.unit) <= UNIT_CHARS_MAX and (numeric or c.unit == ""), "BAD_COLUMN")
    require(c.missing in MISSING_RULES, "BAD_COLUMN")
    require(c.missing != "mean" or c.type == "decimal", "BAD_COLUMN")
    require(c.missing != "category" or words, "BAD_COLUMN")
    check_coding(c.coding)
    require(words or c.categories == [], "BAD_COLUMN")
    check_words(c.categories, CATEGORIES_MAX)
    require("" not in c.categories and "(missing)" not in c.categories, "BAD_COLUMN")
    bounds = [bound for bound in (c.low, c.high) if bound is not None]
    require(bounds == [] or not (words or c.type == "boolean"), "BAD_COLUMN")
    for bound in bounds:
        require(len(bound) <= WORD_CHARS_MAX, "BAD_COLUMN")
    require(c.edges == [] or (numeric and len(c.edges) >= 2), "BAD_COLUMN")
    check_words(c.edges, EDGES_MAX)
    require(len(c.normalise) <= STEPS_MAX, "BAD_COLUMN")
    for step in c.normalise:
        require(step in STEPS or is_phone(step), "BAD_COLUMN")


def check_coding(coding: list):
    check_words([pair[0] for pair in coding], CODES_MAX)
    for pair in coding:
        require(len(pair) == 2 and len(pair[1]) <= WORD_CHARS_MAX, "BAD_COLUMN")


def check_words(words: list, most: int):
    require(len(words) <= most, "BAD_COLUMN")
    seen = {}
    for word in words:
        require(len(word) <= WORD_CHARS_MAX and word not in seen, "BAD_COLUMN")
        seen[word] = True


def is_phone(step: str) -> bool:
    """Tell whether a step is `phone:CC`, a country code of one to three digits."""
    code = step.removeprefix("phone:")
    return step == "phone:" + code and 0 < len(code) <= 3 and code.isdigit() and code[0] != "0"


# --- datasets ---------------------------------------------------------------------------------------------


@export
def register(
    id: str,
    schema: bytes,
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
    require(count_today(org, "registrations") <= REGISTRATIONS_A_DAY_MAX, "TOO_MANY_DATASETS_TODAY")
    s = sealed(org, schema)
    check_version(root, size_bucket)
    check_approvers(approvers, threshold)
    check_text(description)
    counts[org] = count + 1
    datasets[id] = {
        "id": id,
        "owner": org,
        "version": 1,
        "root": root,
        "size_bucket": size_bucket,
        "columns": s["columns"],
        "status": "active",
        "approvers": approvers,
        "threshold": threshold,
        "description": description,
        "registered_at": ctx.block_time,
        "height": ctx.height,
    }
    put_version(id, 1, s, root, size_bucket)
    DatasetRegistered(
        dataset="dataset:" + id,
        by="org:" + org,
        version=1,
        root=root,
        schema=schema,
        columns=s["columns"],
        size_bucket=size_bucket,
        approvers=approvers,
        threshold=threshold,
    )


@export
def new_version(id: str, schema: bytes, root: bytes, size_bucket: str) -> int:
    """Register changed data; grants keep naming the version that they were given for."""
    record = owned(id)
    s = sealed(record["owner"], schema)
    check_version(root, size_bucket)
    number = record["version"] + 1
    require(number <= VERSIONS_MAX, "TOO_MANY_VERSIONS")
    require(count_today(record["owner"], "versions") <= VERSIONS_A_DAY_MAX, "TOO_MANY_VERSIONS_TODAY")
    record.update({"version": number, "root": root, "size_bucket": size_bucket, "columns": s["columns"]})
    datasets[id] = record
    put_version(id, number, s, root, size_bucket)
    DatasetVersioned(
        dataset="dataset:" + id,
        by="org:" + record["owner"],
        version=number,
        root=root,
        schema=schema,
        columns=s["columns"],
        size_bucket=size_bucket,
    )
    return number


@export
def set_approvers(id: str, approvers: list[str], threshold: int):
    record = owned(id)
    check_approvers(approvers, threshold)
    count_change(record)
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
    count_change(record)
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
def schema_of(owner: str, schema: bytes) -> dict:
    """How far a schema is: {status, key, identifier, parts, columns, …}."""
    s = schemas.get((owner, schema))
    require(s is not None, "UNKNOWN_SCHEMA")
    return s


@view
def columns_of(id: str, version: int, names: list[str]) -> list:
    """What a version declares of these columns."""
    owner, schema, found = dataset_of(id)["owner"], version_of(id, version)["schema"], []
    for name in names:
        column = columns.get((owner, schema, name))
        require(column is not None, "UNKNOWN_COLUMN")
        found.append(column)
    return found


@view
def declared_of(id: str, version: int, names: list[str]) -> dict:
    """What pages need of a version: {owner, key, columns: {name: [type, categories, bins, low, high, missing]}}.

    Categories and bins are counted as registered; a rule `category` for missing cells makes one more category.
    """
    owner, schema, found = dataset_of(id)["owner"], version_of(id, version)["schema"], {}
    for name in names:
        column = columns.get((owner, schema, name))
        require(column is not None, "UNKNOWN_COLUMN")
        categories = len(column.categories)
        if categories > 0 and column.missing == "category":
            categories += 1
        bins = max(len(column.edges) - 1, 0)
        found[name] = [column.type, categories, bins, column.low, column.high, column.missing]
    return {"owner": owner, "key": schema_of(owner, schema)["key"], "columns": found}


@view
def offer_of(id: str, version: int, names: list[str]) -> dict:
    """What a request for these columns of a version builds on: {owner, approvers, threshold, root}."""
    record = dataset_of(id)
    require(record["status"] == "active", "DATASET_NOT_ACTIVE")
    data = version_of(id, version)
    for name in names:
        require((record["owner"], data["schema"], name) in columns, "UNKNOWN_COLUMN")
    return {
        "owner": record["owner"],
        "approvers": record["approvers"],
        "threshold": record["threshold"],
        "root": data["root"],
    }


@view
def join_fault(inputs: list) -> str:
    """Say why these versions, [dataset, version, columns joined by] each, cannot be joined; "" when they can."""
    found = []
    for id, version, names in inputs:
        v = version_of(id, version)
        if sorted(names) != sorted(schema_of(dataset_of(id)["owner"], v["schema"])["key"]):
            return "JOIN_NOT_BY_KEY"
        found.append(v["identifier"])
    return "" if all([identifier == found[0] for identifier in found]) else "IDENTIFIERS_DIFFER"


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


def sealed(owner: str, schema: bytes) -> dict:
    s = schema_of(owner, schema)
    require(s["status"] == "sealed", "SCHEMA_NOT_SEALED")
    return s


def put_version(id: str, number: int, s: dict, root: bytes, size_bucket: str):
    versions[id, number] = {
        "dataset": id,
        "version": number,
        "schema": s["schema"],
        "columns": s["columns"],
        "identifier": s["identifier"],
        "root": root,
        "size_bucket": size_bucket,
        "registered_at": ctx.block_time,
        "height": ctx.height,
    }


def check_version(root: bytes, size_bucket: str):
    require(len(root) == 32, "BAD_HASH")
    check_text(size_bucket)


def count_change(record: dict):
    """Stopping uses is never counted, so what is suspended again and again is bounded by its resumptions."""
    require(count_today(record["owner"], "changes") <= CHANGES_A_DAY_MAX, "TOO_MANY_CHANGES_TODAY")


def count_today(org: str, act: str) -> int:
    """Count an act that stays for ever at nobody's vote; returns how many an organisation did today."""
    day = ctx.block_time // DAY_MS
    row = daily.get(org, {"day": day})
    if row["day"] != day:
        row = {"day": day}
    row[act] = row.get(act, 0) + 1
    daily[org] = row
    return row[act]


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
