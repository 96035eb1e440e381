"""The consortium's own rules: members, nodes, limits and voting policy, changed by proposals of its members."""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
TEXT_MAX = 256
PAYLOAD_BYTES_MAX = 32768
OPEN_MAX = 32
# What an organisation does in a day (UTC) that histories of others are told of, or that leaves a row for ever.
PROPOSALS_A_DAY_MAX = 200
RETRACTIONS_A_DAY_MAX = 200
ROTATIONS_A_DAY_MAX = 256
DAY_MS = 86400000
AHEAD_MAX = 1000000
VALIDATORS_MAX = 128
NODES_MAX = 256
ADDRESS_MAX = 255
NODE_FIELDS = ["address", "name", "org", "proof", "public_key", "role"]
NODE_ROLES = ("validator", "observer")
# Heights or block time between two keys of one node, whichever passes first. Every change of a validator's key
# is a new validator set and a row for ever, and needs nobody's vote. Time counts too: an idle chain makes no
# heights, and a validator that loses its votes twice would be missing for as long.
ROTATION_BLOCKS = 100
ROTATION_MS = 600000

# How long an organisation can object to another admin key: whoever signs with the one it has, has not lost it.
OBJECTION_MS = 259200000

ORG_KINDS = ("expel_org", "suspend_org", "reinstate_org")
NODE_KINDS = ("add_node", "remove_node", "change_role", "change_address")
PARAMETER_KINDS = ("set_limits", "set_policy", "set_terms")
DECISIONS = ("admit_org",) + ORG_KINDS + NODE_KINDS + PARAMETER_KINDS + ("set_access", "replace_key")
# What `lifecycle` decides: everything about a member's contract, and about a system contract; and `programs`.
ELSEWHERE = ("contract", "system_contract", "program")

RULES = ("majority", "quorum", "votes")
# Kinds that no policy makes easier than a quorum: by them a bare majority could take over the rest. Admitted
# puppets, or friends reinstated, make a quorum of it; who adds, removes or promotes nodes has the blocks.
QUORUM_AT_LEAST = (
    "system_contract",
    "admit_org",
    "expel_org",
    "suspend_org",
    "reinstate_org",
    "replace_key",
    "add_node",
    "remove_node",
    "change_role",
    "set_policy",
)

# As in genesis, but for low ends that leave room for the calls that raise them again.
LIMIT_RANGES = {
    "block_txs": (1, 10000),
    "block_bytes": (32768, 33554432),
    "tx_bytes": (32768, 132224),
    "tx_gas_default": (100000, 1000000000000),
    "tx_gas_max": (10000000, 1000000000000),
    "block_gas": (10000000, 1000000000000000),
    "validity_window": (500, 600),
    "max_clock_skew_ms": (100, 600000),
}
TERM_RANGES = {"proposal_ms": (3600000, 31536000000), "freeze_blocks": (1, 1000000)}

EVIDENCE_BYTES_MAX = 60000
SIGNATURE_BYTES = 64
SLOT_TAGS = ("pre-prepare", "prepare", "commit")
VIEW_TAGS = ("view-change", "new-view")

nodes = Var(list, [])
limits = Var(dict, {})
policies = Map(str, dict)
terms = Var(dict, {"proposal_ms": 604800000, "freeze_blocks": 1000})
proposals = Map(int, dict)
latest = Var(int, 0)
open_of = Map(str, int)
seats = Map(str, dict)
rotations = Map(str, dict)
evidence = Map(str, dict)
replaced = Var(dict, {})  # org -> block time at which members last replaced its admin keys: its word before is void
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

orgs = Contract("orgs")
lifecycle = Contract("lifecycle")

Proposed = Event(about=list[subject], by=subject, seq=int, kind=str, payload=dict, hash=bytes, reason=str)
Approved = Event(about=list[subject], by=subject, seq=int, kind=str, hash=bytes, votes=list, needed=int)
Retracted = Event(about=list[subject], by=subject, seq=int, kind=str, votes=list)
Withdrawn = Event(about=list[subject], by=subject, seq=int, kind=str)
Committed = Event(about=list[subject], by=subject, seq=int, kind=str, payload=dict, votes=list)
Objected = Event(about=list[subject], by=subject, seq=int, kind=str, reason=str, votes=list)
Expired = Event(about=list[subject], by=subject, seq=int, kind=str)
NodeKeyRotated = Event(node=subject, by=subject, old_key=bytes, new_key=bytes)
EvidenceReported = Event(node=subject, org=subject, by=subject, key=bytes, kind=str, view=int, height=int)


@init
def setup(nodes: list, limits: dict):
    """Take over what genesis was agreed to say; genesis itself has been checked."""
    for node in nodes:
        seat(node)
    take_over(nodes, limits)


def take_over(founding: list, agreed: dict):
    nodes.set(founding)
    limits.set(agreed)


# --- proposals -------------------------------------------------------------------------------------------


@export
def propose(kind: str, payload: dict, reason: str, not_before: int) -> int:
    """Ask the members for a decision; the proposal is the proposer's vote. Returns its number."""
    org = admin()
    require(kind in DECISIONS, "UNKNOWN_KIND")
    require(len(encode(payload)) <= PAYLOAD_BYTES_MAX, "PAYLOAD_TOO_LONG")
    require(len(reason) <= TEXT_MAX, "TEXT_TOO_LONG")
    require(0 <= not_before <= ctx.height + AHEAD_MAX, "BAD_HEIGHT")
    require(open_of.get(org, 0) < OPEN_MAX, "TOO_MANY_PROPOSALS")
    require(count_today(org, "proposals") <= PROPOSALS_A_DAY_MAX, "TOO_MANY_PROPOSALS_TODAY")
    decide(kind, payload, False)
    seq = latest.get() + 1
    latest.set(seq)
    open_of[org] = open_of.get(org, 0) + 1
    content = {"seq": seq, "kind": kind, "payload": payload, "not_before": not_before}
    proposal = {
        "seq": seq,
        "kind": kind,
        "payload": payload,
        "reason": reason,
        "not_before": not_before,
        "hash": sha256(encode(content)),
        "by": org,
        "votes": [org],
        "proposed_at": ctx.block_time,
        "expires": ctx.block_time + (OBJECTION_MS if kind == "replace_key" else 0) + terms.get()["proposal_ms"],
        "status": "open",
        "committed_at": 0,
    }
    require(not is_overtaken(proposal), "KEYS_REPLACED")  # in the block of the replacement itself
    proposals[seq] = proposal
    Proposed(
        about=about(proposal),
        by="org:" + org,
        seq=seq,
        kind=kind,
        payload=payload,
        hash=proposal["hash"],
        reason=reason,
    )
    return seq


@export
def approve(seq: int, hash: bytes):
    org = admin()
    proposal = open_proposal(seq)
    require(proposal["hash"] == hash, "HASH_MISMATCH")
    require(stands(org, proposal["proposed_at"]), "KEYS_REPLACED")
    require(org not in proposal["votes"], "ALREADY_VOTED")
    proposal["votes"] = proposal["votes"] + [org]
    proposals[seq] = proposal
    Approved(
        about=about(proposal),
        by="org:" + org,
        seq=seq,
        kind=proposal["kind"],
        hash=hash,
        votes=proposal["votes"],
        needed=votes_needed(proposal["kind"]),
    )


@export
def retract(seq: int):
    """Take back one's vote for an open proposal; it may be given again."""
    org = admin()
    proposal = open_proposal(seq)
    require(org in proposal["votes"], "NOT_VOTED")
    require(count_today(org, "retractions") <= RETRACTIONS_A_DAY_MAX, "TOO_MANY_RETRACTIONS_TODAY")
    proposal["votes"] = [voter for voter in proposal["votes"] if voter != org]
    proposals[seq] = proposal
    Retracted(
        about=about(proposal),
        by="org:" + org,
        seq=seq,
        kind=proposal["kind"],
        votes=proposal["votes"],
    )


@export
def withdraw(seq: int):
    """Take back one's own proposal; what it said stays in the events alone."""
    org = admin()
    proposal = open_proposal(seq)
    require(proposal["by"] == org, "NOT_PROPOSER")
    forget(proposal)
    Withdrawn(about=about(proposal), by="org:" + org, seq=seq, kind=proposal["kind"])


@export
def object_to(seq: int, reason: str):
    """Stop the replacement of one's own admin key: it is not lost, for it signs this."""
    org = admin()
    proposal = open_proposal(seq)
    require(proposal["kind"] == "replace_key" and proposal["payload"]["org"] == org, "NOT_CONCERNED")
    require(len(reason) <= TEXT_MAX, "TEXT_TOO_LONG")
    forget(proposal)
    Objected(
        about=about(proposal),
        by="org:" + org,
        seq=seq,
        kind=proposal["kind"],
        reason=reason,
        votes=proposal["votes"],
    )


@export
def commit(seq: int) -> int:
    """Carry out a proposal that has its votes; returns this height. Any member may, whoever proposed."""
    org = admin()
    proposal = open_proposal(seq)
    counted = tally(proposal["kind"], proposal["votes"], proposal["proposed_at"])
    require(counted["passed"], "NOT_ENOUGH_VOTES")
    require(ctx.height >= proposal["not_before"], "TOO_EARLY")
    require(ctx.block_time >= objection_ends(proposal), "OBJECTION_TIME")
    decide(proposal["kind"], proposal["payload"], True)
    proposal["votes"] = counted["counted"]
    proposal["status"] = "committed"
    proposal["committed_at"] = ctx.height
    proposals[seq] = proposal
    open_of[proposal["by"]] = open_of[proposal["by"]] - 1
    Committed(
        about=about(proposal),
        by="org:" + org,
        seq=seq,
        kind=proposal["kind"],
        payload=proposal["payload"],
        votes=proposal["votes"],
    )
    return ctx.height


@export
def expire(seq: int):
    proposal = proposal_of(seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time > proposal["expires"] or is_overtaken(proposal), "TOO_EARLY")
    forget(proposal)
    Expired(about=about(proposal), by="org:" + ctx.org, seq=seq, kind=proposal["kind"])


@view
def proposal_of(seq: int) -> dict:
    """An open or a committed proposal; one that was withdrawn or has expired is in the events alone."""
    proposal = proposals.get(seq)
    require(proposal is not None, "UNKNOWN_PROPOSAL")
    return proposal


@view
def readiness(seq: int) -> dict:
    """Who has approved, who is missing, and whether votes, time and height let it be committed (`due`).

    Whether its guards hold is what `check_proposal` asks.
    """
    proposal = proposal_of(seq)
    found = tally(proposal["kind"], proposal["votes"], proposal["proposed_at"])
    found["status"] = proposal["status"]
    if proposal["status"] == "open" and ctx.block_time > proposal["expires"]:
        found["status"] = "expired"
    elif proposal["status"] == "open" and is_overtaken(proposal):
        found["status"] = "void"
    found["expires"] = proposal["expires"]
    found["from_height"] = proposal["not_before"]
    found["from_time"] = objection_ends(proposal)
    found["due"] = (
        found["status"] == "open"
        and found["passed"]
        and ctx.height + 1 >= proposal["not_before"]
        and ctx.block_time >= found["from_time"]
    )
    return found


@view
def check_proposal(seq: int):
    """Revert, as a commit would, unless what an open proposal asks for could be carried out now."""
    proposal = open_proposal(seq)
    decide(proposal["kind"], proposal["payload"], False)


def open_proposal(seq: int) -> dict:
    proposal = proposal_of(seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time <= proposal["expires"], "DEADLINE_PASSED")
    require(not is_overtaken(proposal), "KEYS_REPLACED")
    return proposal


def is_overtaken(proposal: dict) -> bool:
    """Tell whether members replaced the keys that made this proposal, or that it was to replace, meanwhile."""
    moments = replaced.get()
    if len(moments) == 0:
        return False
    whom = [proposal["by"]]
    if proposal["kind"] == "replace_key":
        whom.append(proposal["payload"]["org"])
    return any(moments.get(org, -1) >= proposal["proposed_at"] for org in whom)


def forget(proposal: dict):
    # Else one member alone could fill the state with proposals that nobody voted for.
    del proposals[proposal["seq"]]
    open_of[proposal["by"]] = open_of[proposal["by"]] - 1


def count_today(org: str, act: str) -> int:
    """Count an act that stays for ever at nobody's vote; returns how many an organisation did today."""
    day = ctx.block_time // DAY_MS
    row = daily.get(org, {"day": day})
    if row["day"] != day:
        row = {"day": day}
    row[act] = row.get(act, 0) + 1
    daily[org] = row
    return row[act]


def objection_ends(proposal: dict) -> int:
    """The block time from which on a decision may be committed: whom it concerns can object before. 0 for any."""
    return proposal["proposed_at"] + OBJECTION_MS if proposal["kind"] == "replace_key" else 0


def about(proposal: dict) -> list:
    """The histories that a proposal belongs to, beside its own."""
    kind = proposal["kind"]
    payload = proposal["payload"]
    found = ["proposal:" + str(proposal["seq"])]
    if kind == "admit_org":
        found.append("org:" + payload["org"]["id"])
    elif kind in ORG_KINDS:
        found.append("org:" + payload["org"])
    elif kind in NODE_KINDS:
        found.append("node:" + payload["name"])
        if kind == "add_node":
            found.append("org:" + payload["org"])
    elif kind in PARAMETER_KINDS:
        found.append("params:" + kind.removeprefix("set_"))
    elif kind == "replace_key":
        found.append("org:" + payload["org"])
    else:
        found.append("contract:" + payload["contract"])
    return found


# --- votes and policy, for `lifecycle` too ---------------------------------------------------------------


@view
def tally(kind: str, votes: list, asked_at: int) -> dict:
    """Count votes on what was asked at this block time: one for each organisation that is a member now.

    One whose admin keys members replaced since has no vote: who had the old keys may have given it.
    """
    require(kind in DECISIONS or kind in ELSEWHERE, "UNKNOWN_KIND")
    voted = {org: True for org in votes}
    members = orgs.active_members()
    moments = replaced.get()
    speak = [org for org in members if moments.get(org, -1) < asked_at]
    counted = [org for org in speak if org in voted]
    needed = threshold(kind, len(members))
    return {
        "counted": counted,
        "missing": [org for org in speak if org not in voted],
        "needed": needed,
        "passed": len(counted) >= needed,
    }


@view
def votes_needed(kind: str) -> int:
    require(kind in DECISIONS or kind in ELSEWHERE, "UNKNOWN_KIND")
    return threshold(kind, len(orgs.active_members()))


@view
def stands(org: str, at: int) -> bool:
    """Tell whether what an organisation said at a block time is its word: members replaced no key of it since."""
    return replaced.get().get(org, -1) < at


@view
def standing(said: dict[str, int]) -> list:
    """Whose words, {org: block time at which it was said}, stand: the others' keys members replaced since."""
    moments = replaced.get()
    return [org for org, at in said.items() if moments.get(org, -1) < at]


@view
def policy_of(kind: str) -> dict:
    """The rule of a kind: {rule: "majority" | "quorum" | "votes", votes: the stated number or 0}."""
    require(kind in DECISIONS or kind in ELSEWHERE, "UNKNOWN_KIND")
    return policies.get(kind, {"rule": "majority" if kind in ("contract", "program") else "quorum", "votes": 0})


@view
def terms_of() -> dict:
    return terms.get()


def threshold(kind: str, n: int) -> int:
    """Votes that decide among n organisations: what the policy says, never below what is safe."""
    majority = n // 2 + 1
    quorum = (n + (n - 1) // 3) // 2 + 1
    floor = quorum if kind in QUORUM_AT_LEAST else majority
    policy = policy_of(kind)
    if policy["rule"] == "quorum":
        return quorum
    if policy["rule"] == "votes":
        return max(floor, min(policy["votes"], n))
    return floor


# --- decisions -------------------------------------------------------------------------------------------


def decide(kind: str, payload: dict, final: bool):
    """Revert unless the decision could be carried out now; when it is final, carry it out."""
    if kind == "admit_org":
        fields(payload, ["org"])
        if final:
            orgs.admit(payload["org"])
        else:
            orgs.check_member(payload["org"])
    elif kind in ORG_KINDS:
        decide_org(kind, payload, final)
    elif kind in NODE_KINDS:
        changed = changed_nodes(kind, payload)
        if final:
            keep_nodes(changed)
    elif kind == "set_limits":
        changed_limits = merged(limits.get(), payload, LIMIT_RANGES)
        check_limits(changed_limits)
        if final:
            limits.set(changed_limits)
    elif kind == "set_terms":
        changed_terms = merged(terms.get(), payload, TERM_RANGES)
        if final:
            terms.set(changed_terms)
    elif kind == "set_policy":
        decide_policy(payload, final)
    elif kind == "replace_key":
        fields(payload, ["key", "org", "proof"])
        if final:
            orgs.replace_admin(payload["org"], payload["key"], payload["proof"])
            moments = replaced.get()
            moments[payload["org"]] = ctx.block_time
            replaced.set(moments)
        else:
            orgs.check_replacement(payload["org"], payload["key"], payload["proof"])
    else:
        fields(payload, ["access", "contract"])
        if final:
            lifecycle.set_access(payload["contract"], payload["access"])
        else:
            lifecycle.check_access(payload["contract"], payload["access"])


def decide_org(kind: str, payload: dict, final: bool):
    fields(payload, ["org"])
    org: str = payload["org"]
    status = orgs.org_of(org)["status"]
    if kind == "reinstate_org":
        require(status == "suspended", "WRONG_STATE")
        if final:
            orgs.reinstate(org)
        return
    require(status == "active" or (kind == "expel_org" and status == "suspended"), "WRONG_STATE")
    require([org] != orgs.active_members(), "LAST_ORG")
    if kind == "expel_org":
        require(len([node for node in nodes.get() if node["org"] == org]) == 0, "ORG_HAS_NODES")
        if final:
            orgs.expel(org)
    elif final:
        orgs.suspend(org)


def decide_policy(payload: dict, final: bool):
    fields(payload, ["kind", "rule", "votes"])
    kind: str = payload["kind"]
    votes: int = payload["votes"]
    require(kind in DECISIONS or kind in ELSEWHERE, "UNKNOWN_KIND")
    require(payload["rule"] in RULES, "BAD_RULE")
    if payload["rule"] == "votes":
        require(threshold_floor(kind) <= votes <= len(orgs.active_members()), "BAD_VOTES")
    else:
        require(votes == 0, "BAD_VOTES")
        require(payload["rule"] == "quorum" or kind not in QUORUM_AT_LEAST, "BAD_RULE")
    if final:
        policies[kind] = {"rule": payload["rule"], "votes": votes}


def threshold_floor(kind: str) -> int:
    n = len(orgs.active_members())
    return (n + (n - 1) // 3) // 2 + 1 if kind in QUORUM_AT_LEAST else n // 2 + 1


def merged(current: dict, changes: dict, ranges: dict) -> dict:
    """The current numbers with some of them changed, each inside its range."""
    require(len(changes) > 0, "BAD_PAYLOAD")
    for name, value in changes.items():
        require(name in ranges, "UNKNOWN_LIMIT")
        number: int = value
        low, high = ranges[name]
        require(low <= number <= high, "OUT_OF_RANGE")
        current[name] = number
    return current


def check_limits(changed: dict):
    require(changed["tx_bytes"] <= changed["block_bytes"], "TX_BYTES_OVER_BLOCK")
    require(changed["tx_gas_default"] <= changed["tx_gas_max"], "TX_GAS_OVER_MAX")
    require(changed["tx_gas_max"] <= changed["block_gas"], "TX_GAS_OVER_BLOCK")


# --- nodes -----------------------------------------------------------------------------------------------


@export
def rotate_node_key(name: str, public_key: bytes, proof: bytes):
    """Move a node's seat to a new key: its organisation's own act, no vote, every 100 heights or ten minutes."""
    org = admin()
    listed = nodes.get()
    place = place_of(listed, name)
    node = listed[place]
    require(node["org"] == org, "NOT_OWNER")
    free = rotation_free(name)
    require(ctx.height >= free["height"] or ctx.block_time >= free["time"], "TOO_SOON")
    require(count_today(org, "rotations") <= ROTATIONS_A_DAY_MAX, "TOO_MANY_ROTATIONS_TODAY")
    check_key(public_key)
    orgs.check_possession(org, public_key, proof)
    require(public_key.hex() not in seats, "KEY_EXISTS")
    old = node["public_key"]
    seats[old.hex()] = {"org": org, "name": name, "status": "retired"}
    node["public_key"] = public_key
    seat(node)
    listed[place] = node
    nodes.set(listed)
    rotations[name] = {"height": ctx.height, "time": ctx.block_time}
    NodeKeyRotated(node="node:" + name, by="org:" + org, old_key=old, new_key=public_key)


@view
def rotation_free(name: str) -> dict:
    """The height, and the block time, from either of which on a node's key may move again."""
    if name not in rotations:
        return {"height": 0, "time": 0}
    last = rotations[name]
    return {"height": last["height"] + ROTATION_BLOCKS, "time": last["time"] + ROTATION_MS}


@view
def all_nodes() -> list:
    return nodes.get()


def changed_nodes(kind: str, payload: dict) -> list:
    """The list of nodes after a decision; validators keep their order, new nodes come last."""
    listed = nodes.get()
    if kind == "add_node":
        check_new_node(listed, payload)
        listed.append({field: value for field, value in payload.items() if field != "proof"})
    else:
        place = place_of(listed, payload["name"])
        if kind == "remove_node":
            fields(payload, ["name"])
            listed.pop(place)
        elif kind == "change_role":
            fields(payload, ["name", "role"])
            require(payload["role"] in NODE_ROLES, "BAD_ROLE")
            require(payload["role"] != listed[place]["role"], "WRONG_STATE")
            listed[place] = with_field(listed[place], "role", payload["role"])
        else:
            fields(payload, ["address", "name"])
            check_address(payload["address"])
            listed[place] = with_field(listed[place], "address", payload["address"])
    voting = len([node for node in listed if node["role"] == "validator"])
    require(voting > 0, "LAST_VALIDATOR")
    require(voting <= VALIDATORS_MAX, "TOO_MANY_VALIDATORS")
    require(len(listed) <= NODES_MAX, "TOO_MANY_NODES")
    return listed


def keep_nodes(changed: list):
    before = {node["public_key"].hex(): node for node in nodes.get()}
    for node in changed:
        if before.pop(node["public_key"].hex(), None) is None:
            seat(node)
    for key, node in before.items():
        seats[key] = {"org": node["org"], "name": node["name"], "status": "left"}
    nodes.set(changed)


def check_new_node(listed: list, node: dict):
    fields(node, NODE_FIELDS)
    check_id(node["name"])
    check_key(node["public_key"])
    check_address(node["address"])
    require(node["role"] in NODE_ROLES, "BAD_ROLE")
    require(node["org"] in orgs.active_members(), "UNKNOWN_ORG")
    require(len([other for other in listed if other["name"] == node["name"]]) == 0, "NODE_EXISTS")
    orgs.check_possession(node["org"], node["public_key"], node["proof"])
    known = seats.get(node["public_key"].hex())
    if known is not None:
        # A node that left may come back with its key; a key once replaced, or another's, never serves again.
        require(known["org"] == node["org"] and known["status"] == "left", "KEY_EXISTS")


def seat(node: dict):
    seats[node["public_key"].hex()] = {"org": node["org"], "name": node["name"], "status": "seated"}


def place_of(listed: list, name: str) -> int:
    for place, node in enumerate(listed):
        if node["name"] == name:
            return place
    require(False, "UNKNOWN_NODE")


def with_field(node: dict, name: str, value: str) -> dict:
    node[name] = value
    return node


# --- evidence --------------------------------------------------------------------------------------------


@export
def report_evidence(first: bytes, second: bytes):
    """Record two consensus messages that no correct node signs both of (consensus/README.md)."""
    org = admin()
    require(first != second, "NOT_CONFLICTING")
    one = signed_message(first)
    other = signed_message(second)
    require(one["tag"] == other["tag"] and one["sender"] == other["sender"], "NOT_CONFLICTING")
    require(one["view"] == other["view"] and one["height"] == other["height"], "NOT_CONFLICTING")
    require(one["content"] != other["content"], "NOT_CONFLICTING")
    sender = one["sender"].hex()
    node = seats.get(sender)
    require(node is not None, "UNKNOWN_NODE")
    key = sender + "/" + one["tag"]
    require(key not in evidence, "ALREADY_REPORTED")
    evidence[key] = {
        "org": node["org"],
        "node": node["name"],
        "key": one["sender"],
        "kind": one["tag"],
        "view": one["view"],
        "height": one["height"],
        "by": org,
        "reported_at": ctx.height,
        "hashes": [sha256(first), sha256(second)],
    }
    EvidenceReported(
        node="node:" + node["name"],
        org="org:" + node["org"],
        by="org:" + org,
        key=one["sender"],
        kind=one["tag"],
        view=one["view"],
        height=one["height"],
    )


def signed_message(raw: bytes) -> dict:
    """Read the parts of an encoded consensus message that evidence is about, once its signature holds."""
    require(SIGNATURE_BYTES + 40 < len(raw) <= EVIDENCE_BYTES_MAX, "BAD_MESSAGE")
    tail = len(raw) - SIGNATURE_BYTES - 2
    require(raw[tail : tail + 2] == b"\xc4\x40" and raw[tail - 34 : tail - 32] == b"\xc4\x20", "BAD_MESSAGE")
    require(0x90 <= raw[0] <= 0x9F and 0xA0 <= raw[1] <= 0xBF, "BAD_MESSAGE")
    start = 2 + raw[1] - 0xA0
    require(all(letter < 0x80 for letter in raw[2:start]), "BAD_MESSAGE")
    tag = raw[2:start].decode()
    view, height = 0, 0
    if tag in VIEW_TAGS:
        height, start = read_number(raw, start)  # the first height of its epoch
    if tag != "checkpoint":
        view, start = read_number(raw, start)
    if tag not in VIEW_TAGS:
        height, start = read_number(raw, start)
    sender = raw[tail - 32 : tail]
    content = raw[start : tail - 34]
    signed = digest_of(tag, height, content, raw[: tail + 2])
    require(verify_signature(sender, signed, raw[tail + 2 :]), "BAD_SIGNATURE")
    return {"tag": tag, "sender": sender, "view": view, "height": height, "content": content}


def digest_of(tag: str, height: int, content: bytes, unsigned: bytes) -> bytes:
    chain = bytes.fromhex(ctx.chain_id)
    if tag == "checkpoint":
        # the head of the header hash is the one part that is not signed: any other would make a second message
        require(len(content) == 34 and content[:2] == b"\xc4\x20", "BAD_MESSAGE")
        return sha256(b"assent/checkpoint\x00" + chain + height.to_bytes(8, "big") + content[2:])
    require(tag in SLOT_TAGS or tag in VIEW_TAGS, "BAD_MESSAGE")
    blank = b"\x00" * SIGNATURE_BYTES
    return sha256(b"assent/consensus/" + tag.encode() + b"\x00" + chain + unsigned + blank)


def read_number(raw: bytes, at: int) -> tuple[int, int]:
    """A msgpack unsigned integer and where it ends."""
    head = raw[at]
    if head < 0x80:
        return head, at + 1
    require(0xCC <= head <= 0xCF, "BAD_MESSAGE")
    end = at + 1 + 2 ** (head - 0xCC)
    require(end < len(raw), "BAD_MESSAGE")
    return int.from_bytes(raw[at + 1 : end], "big"), end


# --- checks ----------------------------------------------------------------------------------------------


def admin() -> str:
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def fields(payload: dict, names: list):
    # A key that is no text is none of the names.
    require(len(payload) == len(names) and all(name in payload for name in names), "BAD_PAYLOAD")


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_key(key: bytes):
    require(len(key) == 32, "BAD_KEY")


def check_address(address: str):
    """host:port, as other nodes dial it."""
    require(0 < len(address) <= ADDRESS_MAX and address.isascii(), "BAD_ADDRESS")
    colon = address.rfind(":")
    port = address[colon + 1 :]
    require(colon > 0 and 0 < len(port) <= 5 and port.isdigit(), "BAD_ADDRESS")
    require(0 < int(port) < 65536 and " " not in address, "BAD_ADDRESS")
