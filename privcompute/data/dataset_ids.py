"""Ids of datasets: an owner and a name, safe to become part of a path."""

from __future__ import annotations

import re

from chain.primitives.errors import AssentError

ID_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
"""What the system contracts take as an id."""
DATASET_PATTERN = rf"{ID_PATTERN}/[a-z0-9][a-z0-9._-]{{0,62}}"
"""A dataset's id: its owner and a name; a grant's is its requester and a name."""


class DatasetIdInvalid(AssentError):
    """A dataset id that the ledger would refuse, and that must never become part of a path."""

    code = "dataset_id"


def check_dataset_id(dataset: str) -> str:
    """Return the id of a dataset unchanged; raise DatasetIdInvalid saying what is allowed."""
    if re.fullmatch(DATASET_PATTERN, dataset) is None:
        raise DatasetIdInvalid(
            f"dataset {dataset[:80]!r}: not an id; write OWNER/NAME, such as bank/customers, with a name of 1"
            " to 63 of a-z, 0-9, '.', '_' and '-', the first of them a letter or a digit"
        )
    return dataset
