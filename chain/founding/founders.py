"""Genesis from its founders: the one place that says what a chain begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chain.ledger.genesis import (
    ContractSource,
    Genesis,
    Limits,
    Org,
    OrgKey,
    Validator,
    check_genesis,
    make_init_args,
)
from chain.primitives.values import Value

COMPUTING, WATCHING = ("owner", "user", "compute", "operator"), ("auditor", "operator")
"""Roles, unless others are asked for, of an organisation that runs an agent, and of one that runs none."""


@dataclass(frozen=True, slots=True)
class Founder:
    """An organisation at height 0, and its node."""

    org: str
    name: str
    roles: tuple[str, ...]
    admin_key: bytes
    node_name: str
    node_key: bytes
    node_address: str
    agent_key: bytes = b""
    """Empty when it runs no agent."""
    agent_address: str = ""


@dataclass(frozen=True, slots=True)
class SystemContracts:
    """What an Assent founds with: sources, and the arguments that do not follow from the founders."""

    sources: Mapping[str, str]
    arguments: Mapping[str, Mapping[str, Value]]


def found_genesis(
    chain_name: str,
    time: int,
    founders: Sequence[Founder],
    contracts: SystemContracts,
    limits: Limits,
) -> Genesis:
    """Return the genesis in which each founder has one validator, in this order (ConfigError)."""
    genesis = Genesis(
        chain_name=chain_name,
        time=time,
        validators=tuple(Validator(f.org, f.node_name, f.node_key, f.node_address) for f in founders),
        orgs=tuple(_org(founder) for founder in founders),
        contracts=tuple(ContractSource(name, source) for name, source in contracts.sources.items()),
        init_args=make_init_args(contracts.arguments),
        limits=limits,
    )
    return check_genesis(genesis)


def _org(founder: Founder) -> Org:
    agent = (OrgKey(founder.agent_key, ("agent",)),) if founder.agent_key else ()
    return Org(
        id=founder.org,
        name=founder.name,
        roles=founder.roles,
        keys=(OrgKey(founder.admin_key, ("admin",)), *agent),
        agent_key=founder.agent_key,
        agent_address=founder.agent_address,
    )
