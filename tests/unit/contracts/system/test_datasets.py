"""Datasets: registration, versions, statuses, approvers."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chain.primitives.runtimeport import map_key
from chain.primitives.schema_seal import sealed_by
from chain.primitives.values import decode_value, encode_value
from privcompute.data.declared import put_together
from privcompute.data.schema import schema_seal
from tests.schemas import column, declaring, key_of, seal_of

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

COLUMN = column("id", "text", "identifier")
WIDE = [COLUMN, *[column(f"c{number}", "decimal", unit="EUR", low="0", high="1e6") for number in range(999)]]


def test_registration_stores_root_schema_and_owner(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    record = bare.ask("datasets.dataset_of", id="bureau/credit")
    assert (record["owner"], record["version"], record["status"]) == ("bureau", 1, "active")
    version = bare.ask("datasets.version_of", id="bureau/credit", version=1)
    assert version["root"] == sha256(b"bureau/credit").digest()
    schema = bare.ask("datasets.schema_of", owner="bureau", schema=version["schema"])
    assert (schema["status"], schema["key"], schema["columns"]) == ("sealed", ["id"], 4)
    assert bare.read("datasets", "parts", ("bureau", version["schema"], 0)) == [
        "id",
        "income",
        "age",
        "secret",
    ]
    declared = bare.ask("datasets.columns_of", id="bureau/credit", version=1, names=["age", "id"])
    assert declared == [column("age", "integer"), COLUMN]
    assert bare.trail("dataset:bureau/credit") == ["DatasetRegistered"]
    assert "DatasetRegistered" in bare.trail("org:bureau")


def test_a_new_version_is_a_new_root_and_the_old_one_stays(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    number = bare.do(
        "bureau",
        "datasets.new_version",
        id="bureau/credit",
        schema=bare.declare("bureau", [COLUMN]),
        root=bytes(32),
        size_bucket="1k",
    )
    assert number == 2
    assert bare.read("datasets", "versions", ("bureau/credit", 2))["root"] == bytes(32)
    assert (
        bare.read("datasets", "versions", ("bureau/credit", 1))["root"] == sha256(b"bureau/credit").digest()
    )
    assert bare.trail("dataset:bureau/credit") == ["DatasetRegistered", "DatasetVersioned"]


def test_suspended_resumed_retired(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    bare.do("bureau", "datasets.suspend", id="bureau/credit", reason="quality")
    assert bare.refusal("bureau", "datasets.suspend", id="bureau/credit", reason="") == "WRONG_STATE"
    bare.do("bureau", "datasets.resume", id="bureau/credit")
    assert bare.refusal("bureau", "datasets.resume", id="bureau/credit") == "WRONG_STATE"
    bare.do("bureau", "datasets.retire", id="bureau/credit", reason="replaced")
    assert bare.refusal("bureau", "datasets.resume", id="bureau/credit") == "WRONG_STATE"
    assert bare.trail("dataset:bureau/credit")[1:] == ["DatasetSuspended", "DatasetResumed", "DatasetRetired"]


def test_only_the_owner_changes_a_dataset(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    changes: list[tuple[str, dict[str, object]]] = [
        ("new_version", {"schema": seal_of([COLUMN]), "root": bytes(32), "size_bucket": ""}),
        ("set_approvers", {"approvers": ["bank"], "threshold": 1}),
        ("suspend", {"reason": ""}),
        ("resume", {}),
        ("retire", {"reason": ""}),
    ]
    for method, args in changes:
        assert bare.refusal("bank", f"datasets.{method}", id="bureau/credit", **args) == "NOT_OWNER"


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"id": "bureau/Credit"}, "BAD_ID"),
        ({"id": "bureau/-credit"}, "BAD_ID"),
        ({"id": ""}, "BAD_ID"),
        ({"id": "credit"}, "BAD_ID"),
        ({"id": "bureau/"}, "BAD_ID"),
        ({"id": "bureau/a/b"}, "BAD_ID"),
        ({"id": "bureau/" + "c" * 64}, "BAD_ID"),
        ({"id": "bank/credit"}, "ID_NOT_OWN"),
        ({"root": bytes(31)}, "BAD_HASH"),
        ({"schema": bytes(32)}, "UNKNOWN_SCHEMA"),
        ({"approvers": []}, "BAD_APPROVERS"),
        ({"approvers": ["bank", "bank"]}, "BAD_APPROVERS"),
        ({"approvers": ["nobody"]}, "UNKNOWN_ORG"),
        ({"threshold": 0}, "BAD_THRESHOLD"),
        ({"threshold": 2}, "BAD_THRESHOLD"),
        ({"description": "x" * 257}, "TEXT_TOO_LONG"),
        ({"schema": "id"}, "TYPE_ERROR"),
    ],
)
def test_a_bad_registration_is_refused(bare: World, over: dict[str, object], code: str) -> None:
    args: dict[str, object] = {
        "id": "bureau/credit",
        "schema": bare.declare("bureau", [COLUMN]),
        "root": bytes(32),
        "size_bucket": "",
        "approvers": ["bureau"],
        "threshold": 1,
        "description": "",
    }
    assert bare.refusal("bureau", "datasets.register", **{**args, **over}) == code


def test_roles_are_needed_to_register(bare: World) -> None:
    args: dict[str, object] = {
        "id": "bureau/credit",
        "schema": bare.declare("bureau", [COLUMN]),
        "root": bytes(32),
        "size_bucket": "",
        "approvers": ["bureau"],
        "threshold": 1,
        "description": "",
    }
    assert bare.refusal("bureau/agent", "datasets.register", **args) == "KEY_ROLE_MISSING"
    other = {**args, "id": "regulator/credit"}
    assert bare.refusal("regulator", "datasets.register", **other) == "ORG_ROLE_MISSING"
    bare.do("bureau/steward", "datasets.register", **args)
    assert bare.refusal("registry", "datasets.register", **args) == "ID_NOT_OWN"
    assert bare.refusal("bureau", "datasets.register", **args) == "DATASET_EXISTS"


@pytest.mark.parametrize(
    "over",
    [
        {"type": "money"}, {"sensitivity": "odd"}, {"name": ""}, {"name": " x"}, {"name": "x" * 65},
        {"unit": "kg", "type": "text"}, {"unit": "k" * 33}, {"missing": "zero"}, {"missing": "category"},
        {"missing": "mean", "type": "integer"}, {"low": "0", "type": "boolean"},
        {"high": "x", "type": "text"},
        {"low": "1" * 65}, {"categories": ["a"]}, {"categories": ["a", "a"], "type": "text"},
        {"categories": [""], "type": "category"}, {"categories": ["(missing)"], "type": "category"},
        {"edges": ["1"]}, {"edges": ["1", "1"]}, {"edges": ["2024-01-01", "2024-01-02"], "type": "date"},
        {"coding": [["1", "a"], ["1", "b"]]}, {"coding": [["1"]]}, {"coding": [["1", "v" * 65]]},
        {"normalise": ["upper"]}, {"normalise": ["trim"] * 9}, {"normalise": ["phone:"]},
        {"normalise": ["phone:049"]}, {"normalise": ["phone:4901"]}, {"normalise": ["phone"]},
    ],
)  # fmt: skip
def test_a_column_declares_only_what_a_column_can(bare: World, over: dict[str, object]) -> None:
    odd = column("x", "decimal") | over
    args = next(args for _, args in declaring([COLUMN, odd]))
    assert bare.refusal("bureau", "datasets.declare", **args) == "BAD_COLUMN"


@pytest.mark.parametrize("broken", [{"more": 1}, {"low": 1}, {"normalise": "trim"}])
def test_a_column_has_exactly_its_fields_with_their_types(bare: World, broken: dict[str, object]) -> None:
    args = next(args for _, args in declaring([COLUMN, column("x", "decimal") | broken]))
    assert bare.refusal("bureau", "datasets.declare", **args) == "TYPE_ERROR"


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ([column("id", "decimal", "identifier")], ["id"]),
        ([column("id", "text", "identifier", missing="category")], ["id"]),
        ([column("id")], ["id"]),
        ([COLUMN], []),
        ([COLUMN], ["id", "id"]),
        ([COLUMN], ["id", "more"]),
        ([column(f"k{number}", "text", "identifier") for number in range(9)], None),
    ],
)
def test_a_key_is_exactly_the_identifiers(
    bare: World, columns: list[dict[str, object]], key: list[str] | None
) -> None:
    named = key_of(columns) if key is None else key
    seal = sealed_by(named, [encode_value(one) for one in columns])
    args = {"schema": seal, "key": named, "columns": columns}
    assert bare.refusal("bureau", "datasets.declare", **args) == "BAD_KEY"


def test_a_thousand_columns_are_declared_in_parts_and_sealed_by_the_last(bare: World) -> None:
    calls, seal = list(declaring(WIDE)), seal_of(WIDE)
    said = [bare.do("bureau", f"datasets.{method}", **args) for method, args in calls]
    assert said == ["draft"] * 15 + ["sealed"]
    assert max(bare.gas["datasets.declare"], bare.gas["datasets.extend"]) < 250_000
    names = [bare.read("datasets", "parts", ("bureau", seal, part)) for part in range(16)]
    rows = [bare.state["datasets", map_key("columns", ("bureau", seal, one["name"]))] for one in WIDE]
    schema = put_together(seal, ["id"], [decode_value(row, max_bytes=1 << 20) for row in rows])
    assert schema_seal(schema) == seal
    assert [name for part in names for name in part] == schema.names
    bare.register("bureau", "bureau/wide", WIDE)
    assert bare.ask("datasets.dataset_of", id="bureau/wide")["columns"] == 1_000
    columns = {f"c{number}": "aggregate-only" for number in range(256)}
    bare.granted("bank/wide", "bureau/wide", "bureau", columns=columns)


def test_nothing_uses_a_schema_before_its_last_column_is_there(bare: World) -> None:
    *calls, (_, last) = declaring(WIDE)
    for method, args in calls:
        bare.do("bureau", f"datasets.{method}", **args)
    plain = {"root": bytes(32), "size_bucket": "", "approvers": ["bureau"], "threshold": 1, "description": ""}
    wide = {"id": "bureau/wide", "schema": seal_of(WIDE), **plain}
    assert bare.refusal("bureau", "datasets.register", **wide) == "SCHEMA_NOT_SEALED"
    asked = bare.terms("bank/wide", "bureau/wide")
    assert bare.refusal("bank", "grants.request", **asked) == "UNKNOWN_DATASET"
    bare.do("bureau", "datasets.extend", **last)
    bare.do("bureau", "datasets.register", **wide)
    assert bare.do("bureau", "datasets.new_version", **{name: wide[name] for name in (
        "id", "schema", "root", "size_bucket")}) == 2  # fmt: skip


def test_a_part_that_is_sent_twice_changes_nothing(bare: World) -> None:
    (first, begun), (second, more), *_ = declaring(WIDE)
    bare.do("bureau", f"datasets.{first}", **begun)
    assert bare.refusal("bureau", f"datasets.{first}", **begun) == "SCHEMA_EXISTS"
    bare.do("bureau", f"datasets.{second}", **more)
    assert bare.refusal("bureau", f"datasets.{second}", **more) == "PART_NOT_NEXT"


def test_a_schema_belongs_to_its_owner_and_columns_in_another_order_are_another(bare: World) -> None:
    seal = bare.declare("bureau")
    plain = {"root": bytes(32), "size_bucket": "", "approvers": ["bank"], "threshold": 1, "description": ""}
    wrong = {"id": "bank/x", "schema": seal, **plain}
    assert bare.refusal("bank", "datasets.register", **wrong) == "UNKNOWN_SCHEMA"
    bare.declare("bank")
    bare.do("bank", "datasets.register", **wrong)
    columns = [column("a"), column("b")]
    assert bare.declare("bureau", columns) != bare.declare("bureau", columns[::-1])


@pytest.mark.parametrize(
    ("bank", "bureau", "fault"),
    [
        ([COLUMN], [column("person", "text", "identifier")], ""),
        ([COLUMN], [column("id", "category", "identifier")], ""),
        ([COLUMN], [column("id", "integer", "identifier")], "IDENTIFIERS_DIFFER"),
        ([COLUMN], [column("id", "text", "identifier", normalise=["trim"])], "IDENTIFIERS_DIFFER"),
        ([COLUMN], [column("id")], "JOIN_NOT_BY_KEY"),
        ([COLUMN, column("b", "text", "identifier")], [COLUMN], "IDENTIFIERS_DIFFER"),
    ],
)
def test_a_job_joins_identifiers_that_are_declared_alike(
    bare: World, bank: list[dict[str, object]], bureau: list[dict[str, object]], fault: str
) -> None:
    inputs = []
    for owner, columns in (("bank", bank), ("bureau", bureau)):
        bare.register(owner, f"{owner}/people", columns)
        granted = {str(one["name"]): "join-only" for one in columns}
        bare.granted(f"bank/g-{owner}", f"{owner}/people", owner, columns=granted)
        inputs.append(bare.use(f"bank/g-{owner}", f"{owner}/people", dict.fromkeys(granted, "join")))
    *owners, third = bare.spec()["participants"]
    spec = bare.spec(inputs=inputs, participants=[*owners, third | {"role": "compute"}])
    joins = len(bank) == len(bureau)  # else the page is refused already
    assert bare.outcome("bank", "jobs.propose", spec=spec) == (fault if joins else "REJECTED_PAGE")
    asked = [[one["dataset"], 1, list(one["columns"])] for one in inputs]
    assert bare.ask("datasets.join_fault", inputs=asked) == fault


def test_the_history_of_an_owner_tells_of_its_schemas(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    told = bare.fields("SchemaSealed")
    assert told["identifier"] == [["text"]]
    assert told["schema"] == bare.fields("DatasetRegistered")["schema"]
    assert bare.trail("org:bureau")[-3:] == ["SchemaDeclared", "SchemaSealed", "DatasetRegistered"]
