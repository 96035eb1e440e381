"""Changes of the validator set while everything else goes wrong: one proposal at a time, by governance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chain.ledger.block import DecodedTransaction
from chain.ledger.schedule import OBSERVER, VALIDATOR, Listed
from chain.primitives.certificate import fault_bound
from chain.primitives.crypto import Signer
from chain.primitives.possession import prove_possession
from chain.primitives.runtimeport import var_key
from chain.primitives.values import Value, decode_value
from tests.simulation.chain_under_test import CLIENTS, ORG, address, transaction

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine

CONTRACT = "governance"
VALID_FOR = 30
ROTATING = 0.2
"""How often a seat moves to another key, of the changes that are sent."""


class Governance:
    """The admin who proposes changes, and carries out what was proposed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._validators = {cluster.shape.validators}
        """Sizes of the sets that are in force, or may come into force through what was sent."""
        self._sent: list[DecodedTransaction] = []
        self._done = 0
        """Proposals seen on the ledger."""

    @property
    def tolerated(self) -> int:
        """How many faulty validators every set tolerates that may be in force."""
        return min(fault_bound(n) for n in self._validators)

    def act(self) -> None:
        """Propose a change, or carry out the one that was proposed."""
        machine = self._cluster.leader
        if machine is None or self._cluster.shape.spares == 0:
            return
        height, read = machine.settled_height, machine.ledger.read
        if any(item.tx.body.valid_until >= height and not read.is_final(item.id) for item in self._sent):
            return  # one step at a time, so that the set that may follow is known
        raw = read.state(CONTRACT, var_key("latest"))
        latest = 0 if raw is None else decode_value(raw, max_bytes=64)
        listed = {item.node.public_key: item for item in machine.ledger.schedule.nodes()}
        voting = sum(item.role == VALIDATOR for item in listed.values())
        if latest > self._done:
            self._done = latest
            self._send(machine, "commit", {"seq": latest})
            return
        coming = machine.ledger.schedule.coming(machine.ledger.certified_height + 1)
        self._validators = {voting, *[len(item.validators) for item in coming]}
        if self._cluster.random.random() < ROTATING and (moved := self._rotation(listed)) is not None:
            self._send(machine, "rotate_node_key", moved)
            return
        change = self._choose(listed, voting)
        if change is not None:
            kind, payload, voting = change
            self._validators.add(voting)
            args: dict[str, Value] = {"kind": kind, "payload": payload, "reason": "", "not_before": 0}
            self._send(machine, "propose", args)

    def _rotation(self, listed: Mapping[bytes, Listed]) -> dict[str, Value] | None:
        """Return the arguments that move a seat to a machine with a key of its own, or None."""
        cluster, chance = self._cluster, self._cluster.random
        free = [key for key in cluster.keys if key.public not in listed]
        seats = [item for key, item in listed.items() if self._may_go(key, listed)]
        if not free or not seats:
            return None
        mute = [item for item in seats if cluster.has_forgotten(item.node.public_key)]
        key = chance.choice(free)
        return {"name": chance.choice(mute or seats).node.name, **self._proved(key)}

    def _proved(self, key: Signer) -> dict[str, Value]:
        return {"public_key": key.public, "proof": prove_possession(key, self._cluster.genesis.chain_id, ORG)}

    def _may_go(self, public: bytes, listed: Mapping[bytes, Listed]) -> bool:
        """Tell whether a node may leave: most founders stay, who are all that a node without blocks knows."""
        cluster = self._cluster
        founders = {key.public for key in cluster.keys[: cluster.shape.validators]}
        staying = sum(key in listed for key in founders - {public})
        return public not in founders or staying >= len(founders) - fault_bound(len(founders))

    def _choose(
        self, listed: Mapping[bytes, Listed], voting: int
    ) -> tuple[str, dict[str, Value], int] | None:
        """Return (kind, payload, validators afterwards) of a change that keeps enough honest validators."""
        cluster, chance = self._cluster, self._cluster.random
        index = chance.randrange(len(cluster.processes))
        public = cluster.keys[index].public
        known = listed.get(public)
        if known is None:
            role = chance.choice([VALIDATOR, VALIDATOR, OBSERVER])
            node: dict[str, Value] = {
                "name": f"node{index}x{len(cluster.sent)}", "org": ORG, "role": role,
                "address": address(index), **self._proved(cluster.keys[index]),
            }  # fmt: skip
            kind, payload, after = "add_node", node, voting + (role == VALIDATOR)
        elif self._may_go(public, listed) and chance.random() < 0.5:
            kind, payload = "remove_node", {"name": known.node.name}
            after = voting - (known.role == VALIDATOR)
        else:
            other = OBSERVER if known.role == VALIDATOR else VALIDATOR
            kind, payload = "change_role", {"name": known.node.name, "role": other}
            after = voting + (1 if other == VALIDATOR else -1)
        return (kind, payload, after) if after > 0 and fault_bound(after) >= cluster.faulty else None

    def _send(self, machine: Machine, method: str, args: dict[str, Value]) -> None:
        cluster = self._cluster
        until = max(machine.ledger.head.height, machine.settled_height) + VALID_FOR
        client, number = cluster.random.choice(CLIENTS), len(cluster.sent)
        chain_id = cluster.genesis.chain_id
        made = transaction(chain_id, number, client, CONTRACT, method, args, until)
        cluster.sent.append(made)
        self._sent = [made]
        for target in cluster.honest:
            if cluster.random.random() < 0.5 or target is machine:
                cluster.give(target, [made])
