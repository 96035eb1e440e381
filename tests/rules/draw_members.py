"""Calls about members, keys, data and decisions."""

from __future__ import annotations

from typing import Any

from chain.primitives.possession import REGISTRATION, REPLACEMENT
from tests.rules.chain import proof, public
from tests.rules.draw import Dice, Drawn
from tests.rules.draw_schemas import sealed
from tests.rules.model_lifecycle import RESERVED
from tests.rules.model_voting import KINDS
from tests.rules.policies import BROKEN, SOURCES

ROLE_SETS = (["admin"], ["steward"], ["agent"], ["admin", "agent"], ["steward", "agent"])


# --- keys


def add_key(dice: Dice) -> Drawn:
    """Register a key, now and then another's or an old one."""
    org = dice.member()
    name = dice.name(f"{org}/k") if dice.often(0.8) else dice.pick(dice.names.values())
    whose = org if dice.often(0.9) else dice.member()
    roles = dice.pick(ROLE_SETS) if dice.often(0.9) else dice.pick((["boss"], ["agent", "agent"], []))
    purpose = REGISTRATION if dice.often(0.97) else REPLACEMENT
    args = {"key": dice.learn(name), "roles": roles, "proof": proof(name, whose, purpose)}
    return dice.signer(org), "orgs.add_key", args


def rotate_key(dice: Dice) -> Drawn:
    """Replace a key."""
    org = dice.member()
    name = dice.name(f"{org}/k") if dice.often(0.9) else dice.pick(dice.names.values())
    old = dice.pick(_keys(dice, org))
    if old is None:
        return None
    args = {"old": old, "new": dice.learn(name), "proof": proof(name, org)}
    return dice.signer(org), "orgs.rotate_key", args


def revoke_key(dice: Dice) -> Drawn:
    """End a key."""
    org = dice.member()
    key = dice.pick(_keys(dice, org))
    return key and (dice.signer(org), "orgs.revoke_key", {"key": key, "reason": "lost"})


def _keys(dice: Dice, org: str) -> list[bytes]:
    keys = dice.model.keys_of(org) if dice.often(0.9) else dice.model.keys.values()
    return [key.key for key in keys]


def set_agent(dice: Dice) -> Drawn:
    """Name another agent, or another address."""
    org = dice.member()
    old = dice.model.orgs[org].agent_key
    if old and dice.often(0.4):
        return dice.signer(org), "orgs.set_agent", _agent(old, b"")
    name = dice.name(f"{org}/a") if dice.often(0.9) else dice.pick(dice.names.values())
    return dice.signer(org), "orgs.set_agent", _agent(dice.learn(name), proof(name, org))


def _agent(key: bytes, proven: bytes) -> dict[str, Any]:
    return {"agent_key": key, "agent_address": "127.0.0.1:7001", "proof": proven}


# --- data


def register(dice: Dice) -> Drawn:
    """Register a dataset."""
    org = dice.member()
    name = f"{org}/{dice.name('d')}" if dice.often(0.9) else dice.pick(dice.model.datasets)
    approvers = [org] if dice.often(0.5) else dice.some(dice.model.members())
    args = {
        "id": name,
        "schema": sealed(dice, org),
        "root": dice.bytes32(),
        "size_bucket": "100-1000",
        "approvers": approvers,
        "threshold": dice.chance.randint(1, len(approvers)),
        "description": "",
    }
    return dice.signer(org, "steward"), "datasets.register", args


def dataset_step(dice: Dice) -> Drawn:
    """Change a dataset."""
    ident = dice.pick(dice.model.datasets)
    owner = dice.model.datasets[ident].owner
    method = dice.chance.choices(
        ("new_version", "set_approvers", "suspend", "resume", "retire"), (3, 4, 2, 6, 0.3)
    )[0]
    args: dict[str, Any] = {"id": ident}
    if method == "new_version":
        args |= {"schema": sealed(dice, owner), "root": dice.bytes32(), "size_bucket": "1-10"}
    elif method == "set_approvers":
        approvers = dice.some(dice.model.members()) if dice.often(0.95) else dice.some(dice.model.orgs)
        least = 0 if dice.often(0.1) else 1
        args |= {"approvers": approvers, "threshold": dice.chance.randint(least, len(approvers))}
    elif method in ("suspend", "retire"):
        args["reason"] = "moved"
    return dice.signer(owner, "steward"), f"datasets.{method}", args


# --- decisions


def decide(dice: Dice) -> Drawn:
    """Propose a decision."""
    kinds = (_admit, _admit, _org, _org, _replacement, _node, _limits, _policy, _policy, _terms, _access)
    return _proposed(dice, *dice.pick(kinds)(dice))


def replace_key(dice: Dice) -> Drawn:
    """Propose another admin key for an organisation."""
    return _proposed(dice, *_replacement(dice))


def decide_rules(dice: Dice) -> Drawn:
    """Propose how members vote, or who they are."""
    return _proposed(dice, *dice.pick((_policy, _policy, _terms, _terms, _org, _admit))(dice))


def _proposed(dice: Dice, kind: str, payload: dict[str, Any]) -> Drawn:
    later = dice.model.height + dice.chance.randint(1, 200) if dice.often(0.1) else 0
    args = {"kind": kind, "payload": payload, "reason": "", "not_before": later}
    return dice.signer(dice.member()), "governance.propose", args


def _admit(dice: Dice) -> tuple[str, dict[str, Any]]:
    org = dice.name("org") if dice.often(0.9) else dice.pick(dice.model.orgs)
    key = f"{org}/admin"
    dice.learn(key)
    agent = dice.often(0.6)
    agent_name = f"{org}/agent"
    dice.learn(agent_name)
    member = {
        "id": org,
        "name": org,
        "roles": dice.some(("owner", "user", "compute", "auditor")),
        "keys": [{"key": public(key), "roles": ["admin"], "proof": proof(key, org)}],
        "agent_key": public(agent_name) if agent else b"",
        "agent_address": "127.0.0.1:7002" if agent else "",
        "agent_proof": proof(agent_name, org) if agent else b"",
    }
    if dice.often(0.1):
        member |= dice.pick(({"agent_proof": bytes(64)}, {"keys": []}, {"roles": ["king"]}, {"id": "No"}))
    return "admit_org", {"org": member}


def _org(dice: Dice) -> tuple[str, dict[str, Any]]:
    down = [org.id for org in dice.model.orgs.values() if org.status == "suspended"]
    if down and dice.often(0.7):
        return "reinstate_org", {"org": dice.pick(down)}
    kind = "suspend_org" if dice.often(0.7) else "expel_org"
    many = len(dice.model.members()) > 4
    return kind, {"org": dice.org() if many or dice.often(0.2) else dice.pick(dice.model.orgs)}


def _replacement(dice: Dice) -> tuple[str, dict[str, Any]]:
    org = dice.org()
    name = dice.name(f"{org}/k") if dice.often(0.9) else dice.pick(dice.names.values())
    whose = org if dice.often(0.95) else dice.member()
    purpose = REPLACEMENT if dice.often(0.95) else REGISTRATION
    return "replace_key", {"org": org, "key": dice.learn(name), "proof": proof(name, whose, purpose)}


def _node(dice: Dice) -> tuple[str, dict[str, Any]]:
    nodes = dice.model.nodes
    name = dice.pick([node.name for node in nodes]) if dice.often(0.95) else "nowhere"
    kind = dice.pick(("add_node", "remove_node", "change_role", "change_address"))
    if kind == "remove_node":
        return kind, {"name": name}
    if kind == "change_role":
        return kind, {"name": name, "role": dice.pick(("validator", "observer"))}
    if kind == "change_address":
        return kind, {"name": name, "address": dice.pick(("10.0.0.1:30300", "no-port", "h:0", "h:65535"))}
    org = dice.org()
    old = [key for key, seat in dice.model.seats.items() if seat.status != "seated"]
    key_name = dice.name(f"{org}/node")
    key = public(key_name)
    proven = proof(key_name, org if dice.often(0.95) else "rival")
    known = dice.pick(old)
    if known in dice.names and dice.often(0.4):
        key, proven = known, proof(dice.names[known], org)
    dice.learn(key_name)
    return "add_node", {
        "org": org,
        "name": dice.name("node") if dice.often(0.9) else name,
        "public_key": key,
        "proof": proven,
        "address": "10.0.0.2:30300",
        "role": dice.pick(("validator", "observer")),
    }


def _limits(dice: Dice) -> tuple[str, dict[str, Any]]:
    return "set_limits", dice.pick(
        (
            {"block_txs": dice.chance.randint(0, 10_001)},
            {"tx_bytes": 32_768, "block_bytes": 65_536},
            {"tx_bytes": 132_224, "block_bytes": 4_194_304},
            {"block_bytes": 65_536},
            {"tx_gas_default": 10**8, "tx_gas_max": 10**7},
            {"tx_gas_max": 10**9, "block_gas": 10**8},
            {"rotation": 2},
            {},
        )
    )


def _policy(dice: Dice) -> tuple[str, dict[str, Any]]:
    rule = dice.pick(("majority", "quorum", "votes", "votes"))
    kind = dice.pick(KINDS) if dice.often(0.5) else "contract" if dice.often(0.97) else "tax"
    least = len(dice.model.members()) // 2 + dice.pick((0, 1, 1, 1, 2))
    votes = least if rule == "votes" else int(dice.often(0.05))
    return "set_policy", {"kind": kind, "rule": rule, "votes": votes}


def _terms(dice: Dice) -> tuple[str, dict[str, Any]]:
    return "set_terms", dice.pick(
        (
            {"proposal_ms": dice.pick((3_599_999, 3_600_000, 86_400_000, 604_800_000))},
            {"freeze_blocks": dice.pick((1, 10, 1_000, 1_000, 0))},
        )
    )


def _access(dice: Dice) -> tuple[str, dict[str, Any]]:
    name = dice.pick([name for name, known in dice.model.deployed.items() if not known.system]) or "grants"
    return "set_access", {"contract": name, "access": access_lists(dice)}


def access_lists(dice: Dice) -> dict[str, Any]:
    """Return who may call `act`, or `allow`."""
    orgs = dice.some(dice.model.members()) if dice.often(0.5) else []
    lists = {"orgs": orgs, "roles": dice.pick(([], ["admin"], ["steward", "agent"]))}
    if dice.often(0.1):
        lists = dice.pick(({"orgs": []}, {"orgs": ["nobody"], "roles": []}, {"orgs": [], "roles": ["boss"]}))
    return dice.pick(({}, {"act": lists}, {"allow": lists}, {"act": lists}))


def decision_step(dice: Dice) -> Drawn:
    """Vote on a decision, or carry it out; others are withdrawn or expire."""
    places = [place for place in dice.model.proposals if isinstance(place, int)]
    found = _youngest(dice, places)
    if found is None:
        return None
    content = dice.model.proposals[found].content
    if content["kind"] == "replace_key" and dice.often(0.1):
        whose = content["payload"]["org"] if dice.often(0.8) else dice.member()
        return dice.signer(whose), "governance.object_to", {"seq": found, "reason": "here it is"}
    who, method = _voting_step(dice, found, content["kind"])
    args = {"seq": found, "hash": dice.model.proposals[found].hash} if method == "approve" else {"seq": found}
    return who, f"governance.{method}", args


def _youngest(dice: Dice, places: list[Any]) -> Any:
    waiting = [place for place in places if dice.model.proposals[place].committed_at is None]
    return dice.pick(places if dice.often(0.05) else waiting[-4:])


def _voting_step(dice: Dice, place: Any, kind: str) -> tuple[str, str]:
    found = dice.model.proposals[place]
    if dice.model.time > found.expires or (dice.model.void(found) and dice.often(0.5)):
        return dice.signer(dice.member()), "expire" if dice.often(0.8) else "commit"
    if dice.often(dice.fickle):
        return dice.signer(dice.pick(found.votes) or "bank"), "retract"
    lot = dice.chance.random()
    if lot < 0.07:
        return dice.signer(found.by), "withdraw"
    if lot < 0.10:
        return dice.signer(dice.member()), "expire"
    if dice.model.passed(kind, found.votes, found.proposed_at) or lot < 0.15:
        return dice.signer(dice.member()), "commit"
    left = [org for org in dice.model.members() if org not in found.votes]
    return dice.signer(dice.pick(left) or dice.member()), "approve"


def rotate_node_key(dice: Dice) -> Drawn:
    """Move a node's seat."""
    node = dice.pick(dice.model.nodes)
    name = dice.name(f"{node.org}/node") if dice.often(0.9) else dice.pick(dice.names.values())
    org = node.org if dice.often(0.95) else dice.member()
    args = {"name": node.name, "public_key": dice.learn(name), "proof": proof(name, org)}
    return dice.signer(org), "governance.rotate_node_key", args


# --- contracts


def propose_contract(dice: Dice) -> Drawn:
    """Propose a contract, or its next version."""
    mine = [name for name, known in dice.model.deployed.items() if not known.system]
    name = dice.pick(mine) if mine and dice.often(0.6) else dice.name("policy")
    if (changing := _changing(dice)) and dice.often(0.5):
        name = dice.pick(changing)
    if dice.often(0.03):
        name = dice.pick((*RESERVED, "Bad"))
    kind = dice.pick(SOURCES)
    source, trait = SOURCES[kind]
    wanted = trait.migrate if name in mine else trait.init
    arguments = dict.fromkeys(wanted or (), 3)
    if dice.often(0.05):
        arguments = {"odd": 1}
    terms: dict[str, Any] = {}
    if dice.often(0.3):
        terms["active_at"] = max(0, dice.model.height + dice.chance.randint(-5, 800))
    if dice.often(0.2):
        terms["access"] = access_lists(dice)
    if dice.often(0.02):
        terms = {"fee": 1}
    if dice.often(0.01):
        # Never with terms that could be committed: the rules themselves stay what they are.
        name, terms = "datasets", {"access": {"act": {"orgs": [], "roles": []}}}
    args = {
        "name": name,
        "source": BROKEN if dice.often(0.02) else source,
        "arguments": arguments,
        "terms": terms,
    }
    return dice.signer(dice.member()), "lifecycle.propose", args


def _changing(dice: Dice) -> list[str]:
    """Return contracts whose next version has not begun."""
    return [name for name, ran in dice.model.ran.items() if ran and ran[-1][1] > dice.model.height]


def contract_step(dice: Dice) -> Drawn:
    """Vote on a version, or put it in force."""
    places = [place for place in dice.model.proposals if isinstance(place, tuple)]
    found = _youngest(dice, places)
    if found is None:
        return None
    name, seq = found
    who, method = _voting_step(dice, found, dice.model.kind_of(name))
    args = {"name": name, "seq": seq}
    if method == "approve":
        args["hash"] = dice.model.proposals[found].hash
    return who, f"lifecycle.{method}", args


def stop_contract(dice: Dice) -> Drawn:
    """Freeze, unfreeze, revoke, or take such a vote back."""
    mine = [name for name, known in dice.model.deployed.items() if not known.system]
    name = dice.pick(mine) if mine and dice.often(0.9) else dice.pick(dice.model.deployed)
    seq = dice.model.running(name).seq + (0 if dice.often(0.95) else 1)
    lifted = 6 if dice.model.frozen(name) else 0.2
    methods = ("freeze", "unfreeze", "revoke", "retract_vote")
    method = dice.chance.choices(methods, (3, lifted, 0.4, 2))[0]
    args: dict[str, Any] = {"name": name, "seq": seq}
    if method in ("freeze", "revoke"):
        args["reason"] = "wrong"
    who = dice.member()
    if method == "retract_vote":
        cast = [(b, org) for b, voted, version, org in dice.model.said if (voted, version) == (name, seq)]
        args["ballot"], who = dice.pick(cast) or ("freeze", who)
        if dice.often(0.03):
            args["ballot"] = "love"
    return dice.signer(who), f"lifecycle.{method}", args


def act(dice: Dice) -> Drawn:
    """Call a member's contract."""
    mine = [name for name, known in dice.model.deployed.items() if not known.system]
    name = dice.pick(mine) if mine and dice.often(0.97) else "nothing"
    if (changing := _changing(dice)) and dice.often(0.5):
        name = dice.pick(changing)
    return dice.signer(dice.member(), "steward"), f"{name}.{'act' if dice.often(0.97) else 'sing'}", {}
