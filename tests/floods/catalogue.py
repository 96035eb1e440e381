"""Brings every module with attacks into the list, in the order in which they are run."""

from __future__ import annotations

from tests.floods import rpc_attacks, rpc_work

LISTED = (rpc_attacks, rpc_work)
ALL = "all"
"""The name of the measurement under all attacks at once."""
