"""The list of all attacks, in the order in which they are run."""

from __future__ import annotations

from types import ModuleType

from tests.floods import (
    agent_attacks,
    control,
    peer_consensus,
    peer_mixed,
    peer_serving,
    rpc_attacks,
    rpc_work,
    strangers,
)
from tests.floods.attack import Attack

_MODULES = (
    control,
    rpc_attacks,
    rpc_work,
    strangers,
    agent_attacks,
    peer_serving,
    peer_consensus,
    peer_mixed,
)
ALL = "all"
"""The name of the measurement under all attacks at once."""


def _in(module: ModuleType) -> list[type[Attack]]:
    """Return the attacks that a module defines, in its order; those without a name are what others share."""
    found = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Attack)]
    return [item for item in found if item.name and item.__module__ == module.__name__]


ATTACKS: dict[str, type[Attack]] = {item.name: item for module in _MODULES for item in _in(module)}
