"""Brings every module with attacks into the list, in the order in which they are run."""

from __future__ import annotations

from tests.floods import control, peer_consensus, peer_serving, rpc_attacks, rpc_work, strangers

LISTED = (control, rpc_attacks, rpc_work, strangers, peer_serving, peer_consensus)
ALL = "all"
"""The name of the measurement under all attacks at once."""
