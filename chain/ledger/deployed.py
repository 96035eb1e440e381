"""Reads the records that the contract `lifecycle` keeps: which version of a contract runs at a height."""

from __future__ import annotations

from collections.abc import Mapping

from chain.primitives.values import Value


def running(record: Mapping[str, Value], height: int) -> dict[str, Value]:
    """Return an entry of the Map `active` as it reads at a height: the version of that height."""
    following = record["next"]
    if not following or height < following["active_at"]:
        return dict(record)
    return {**record, **following, "status": "active", "frozen_until": 0, "next": {}}
