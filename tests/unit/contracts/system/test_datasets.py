"""Datasets: registration, versions, statuses, approvers."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chain.primitives.values import encode_value

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

COLUMN = {"name": "id", "type": "str", "sensitivity": "identifier"}


def test_registration_stores_root_schema_and_owner(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    record = bare.ask("datasets.dataset_of", id="bureau/credit")
    assert (record["owner"], record["version"], record["status"]) == ("bureau", 1, "active")
    version = bare.ask("datasets.version_of", id="bureau/credit", version=1)
    assert version["root"] == sha256(b"bureau/credit").digest()
    assert [column["name"] for column in version["schema"]] == ["id", "income", "age", "secret"]
    assert bare.trail("dataset:bureau/credit") == ["DatasetRegistered"]
    assert "DatasetRegistered" in bare.trail("org:bureau")


def test_a_new_version_is_a_new_root_and_the_old_one_stays(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    number = bare.do(
        "bureau",
        "datasets.new_version",
        id="bureau/credit",
        schema=[COLUMN],
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
        ("new_version", {"schema": [COLUMN], "root": bytes(32), "size_bucket": ""}),
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
        ({"schema": []}, "BAD_SCHEMA"),
        ({"schema": [COLUMN, COLUMN]}, "BAD_SCHEMA"),
        ({"schema": [{**COLUMN, "type": "blob"}]}, "BAD_SCHEMA"),
        ({"schema": [{**COLUMN, "sensitivity": "odd"}]}, "BAD_SCHEMA"),
        ({"schema": [{**COLUMN, "more": 1}]}, "BAD_SCHEMA"),
        ({"schema": [{**COLUMN, "name": ""}]}, "BAD_SCHEMA"),
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
        "schema": [COLUMN],
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
        "schema": [COLUMN],
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


def test_the_schema_hash_in_the_event_is_that_of_the_stored_schema(bare: World) -> None:
    bare.register("bureau", "bureau/credit")
    schema = bare.read("datasets", "versions", ("bureau/credit", 1))["schema"]
    event = next(event for event in bare.events if event.name == "DatasetRegistered")
    assert sha256(encode_value(schema)).digest() in event.fields
