"""Datasets: registration, versions, statuses, approvers."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chain.primitives.values import encode_value

if TYPE_CHECKING:
    from conftest import World

COLUMN = {"name": "id", "type": "str", "sensitivity": "identifier"}


def test_registration_stores_root_schema_and_owner(bare: World) -> None:
    bare.register("bureau", "credit")
    record = bare.ask("datasets.dataset_of", id="credit")
    assert (record["owner"], record["version"], record["status"]) == ("bureau", 1, "active")
    assert bare.read("datasets", "versions", "credit/1")["root"] == record["root"]
    assert bare.trail("dataset:credit") == ["DatasetRegistered"]
    assert "DatasetRegistered" in bare.trail("org:bureau")


def test_a_new_version_is_a_new_root_and_the_old_one_stays(bare: World) -> None:
    bare.register("bureau", "credit")
    number = bare.do(
        "bureau", "datasets.new_version", id="credit", schema=[COLUMN], root=bytes(32), size_bucket="1k"
    )
    assert number == 2
    assert bare.read("datasets", "datasets", "credit")["root"] == bytes(32)
    assert bare.read("datasets", "versions", "credit/1")["root"] == sha256(b"credit").digest()
    assert bare.trail("dataset:credit") == ["DatasetRegistered", "DatasetVersioned"]


def test_suspended_resumed_retired(bare: World) -> None:
    bare.register("bureau", "credit")
    bare.do("bureau", "datasets.suspend", id="credit", reason="quality")
    assert bare.refusal("bureau", "datasets.suspend", id="credit", reason="") == "WRONG_STATE"
    bare.do("bureau", "datasets.resume", id="credit")
    assert bare.refusal("bureau", "datasets.resume", id="credit") == "WRONG_STATE"
    bare.do("bureau", "datasets.retire", id="credit", reason="replaced")
    assert bare.refusal("bureau", "datasets.resume", id="credit") == "WRONG_STATE"
    assert bare.trail("dataset:credit")[1:] == ["DatasetSuspended", "DatasetResumed", "DatasetRetired"]


def test_only_the_owner_changes_a_dataset(bare: World) -> None:
    bare.register("bureau", "credit")
    changes: list[tuple[str, dict[str, object]]] = [
        ("new_version", {"schema": [COLUMN], "root": bytes(32), "size_bucket": ""}),
        ("set_approvers", {"approvers": ["bank"], "threshold": 1}),
        ("suspend", {"reason": ""}),
        ("resume", {}),
        ("retire", {"reason": ""}),
    ]
    for method, args in changes:
        assert bare.refusal("bank", f"datasets.{method}", id="credit", **args) == "NOT_OWNER"


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"id": "Credit"}, "BAD_ID"),
        ({"id": "-credit"}, "BAD_ID"),
        ({"id": ""}, "BAD_ID"),
        ({"id": "c" * 65}, "BAD_ID"),
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
        "id": "credit",
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
        "id": "credit",
        "schema": [COLUMN],
        "root": bytes(32),
        "size_bucket": "",
        "approvers": ["bureau"],
        "threshold": 1,
        "description": "",
    }
    assert bare.refusal("bureau/agent", "datasets.register", **args) == "KEY_ROLE_MISSING"
    assert bare.refusal("regulator", "datasets.register", **args) == "ORG_ROLE_MISSING"
    bare.do("bureau/steward", "datasets.register", **args)
    assert bare.refusal("registry", "datasets.register", **args) == "DATASET_EXISTS"


def test_the_schema_hash_in_the_event_is_that_of_the_stored_schema(bare: World) -> None:
    bare.register("bureau", "credit")
    schema = bare.read("datasets", "datasets", "credit")["schema"]
    event = next(event for event in bare.events if event.name == "DatasetRegistered")
    assert sha256(encode_value(schema)).digest() in event.fields
