"""A registered dataset opens while its data are those that were registered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privcompute.data.datasets import DatasetError, DatasetStore, open_dataset, prepare
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource
from tests.unit.privcompute.data.tables import ID

SEED = bytes(range(32))
SCHEMA = check_schema(
    Schema(
        (ID, Column("x", "decimal", missing="mean", format="1234,5", missing_spellings=("", "NA"), low="0")),
        ("id",),
    )
)
SOURCE = "id;x\na;1,5\nb;NA\n"


def test_changed_data_no_longer_open_the_registered_root(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(SOURCE)
    local, table = prepare("bank/credit", 1, DataSource(path, delimiter="semicolon"), SCHEMA, SEED)
    assert table.masks["x"].tolist() == [False, True]
    store = DatasetStore(tmp_path / "datasets")
    store.save(local)
    assert store.load("bank/credit", 1) == local
    assert (tmp_path / "datasets" / "bank+credit@1.json").stat().st_mode & 0o777 == 0o600
    assert open_dataset(local).commitment.root == local.root
    path.write_text(SOURCE.replace("1,5", "1,6"))
    with pytest.raises(DatasetError, match="assent dataset new-version bank/credit"):
        open_dataset(local)
    with pytest.raises(DatasetError, match="holds no record"):
        store.load("bank/credit", 2)


@pytest.mark.parametrize(("key", "value"), [
    ("schema", {"columns": []}), ("schema", 3), ("seed", "00"), ("root", "zz"), ("rows", "many"), ("path", 1),
])  # fmt: skip
def test_a_damaged_record_is_named(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "t.csv"
    path.write_text(SOURCE)
    store = DatasetStore(tmp_path / "datasets")
    store.save(prepare("bank/credit", 1, DataSource(path, delimiter="semicolon"), SCHEMA, SEED)[0])
    record = tmp_path / "datasets" / "bank+credit@1.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    with pytest.raises(DatasetError, match="damaged"):
        store.load("bank/credit", 1)
