"""A registered dataset opens while its data are those that were registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from privcompute.data.datasets import DatasetError, DatasetStore, open_dataset, prepare
from privcompute.data.sources import DataSource

SEED = bytes(range(32))


def test_changed_data_no_longer_open_the_registered_root(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,x\na,1\nb,2\n")
    local, _ = prepare("bank/credit", 1, DataSource(path, ()), "id", SEED)
    store = DatasetStore(tmp_path / "datasets")
    store.save(local)
    assert store.load("bank/credit", 1) == local
    assert (tmp_path / "datasets" / "bank+credit@1.json").stat().st_mode & 0o777 == 0o600
    assert open_dataset(local).commitment.root == local.root
    path.write_text("id,x\na,1\nb,3\n")
    with pytest.raises(DatasetError, match="assent dataset new-version bank/credit"):
        open_dataset(local)
    with pytest.raises(DatasetError, match="holds no record"):
        store.load("bank/credit", 2)
