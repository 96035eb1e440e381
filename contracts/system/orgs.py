"""Members of the consortium: their roles, signing keys and agents, and the acts for which several keys are asked."""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
ORG_ROLES = ("owner", "user", "compute", "auditor", "operator")
KEY_ROLES = ("admin", "steward", "agent")
KEYS_MAX = 32
# A key that was once registered stays known for ever; this leaves room to replace all of them twice on one day.
KEYS_A_DAY_MAX = 64
DAY_MS = 86400000
TEXT_MAX = 256
MEMBER_FIELDS = ["agent_address", "agent_key", "id", "keys", "name", "roles"]
# What a key that is to be registered signs: this, the chain, the key itself and its organisation.
POSSESSION_TAG = b"assent/key-possession\x00"
# And one that members are to put in the place of all admin keys: that proof stands in a proposal for three days,
# where the old key must not find what registers the new one for something else.
REPLACEMENT_TAG = b"assent/admin-replacement\x00"

# Acts for which an organisation may ask several of its keys -> the role of those that count; admins always do.
ACTS = {
    "keys": "admin",
    "votes": "admin",
    "programs": "admin",
    "approvals": "steward",
    "requests": "steward",
    "resumptions": "steward",
    "versions": "steward",
    "approvers": "steward",
    "accounts": "steward",
    "jobs": "steward",
}
# Each call of an act -> (act, kind of the history that it is about, the argument that names it). What stops or
# ends something is not here: one key does it, at once.
CALLS = {
    "orgs.add_key": ("keys", "", ""),
    "orgs.rotate_key": ("keys", "", ""),
    "orgs.set_agent": ("keys", "", ""),
    "orgs.set_eyes": ("keys", "", ""),
    "governance.rotate_node_key": ("keys", "node", "name"),
    "governance.propose": ("votes", "", ""),
    "governance.approve": ("votes", "proposal", "seq"),
    "lifecycle.propose": ("votes", "contract", "name"),
    "lifecycle.approve": ("votes", "contract", "name"),
    "lifecycle.unfreeze": ("votes", "contract", "name"),
    "programs.propose": ("programs", "program", "id"),
    "programs.approve": ("programs", "", ""),
    "programs.retract_retirement": ("programs", "program", "id"),
    "grants.approve": ("approvals", "grant", "id"),
    "grants.request": ("requests", "grant", "id"),
    "grants.resume": ("resumptions", "grant", "id"),
    "datasets.resume": ("resumptions", "dataset", "id"),
    "datasets.register": ("versions", "dataset", "id"),
    "datasets.new_version": ("versions", "dataset", "id"),
    "datasets.set_approvers": ("approvers", "dataset", "id"),
    "accounts.set_caps": ("accounts", "dataset", "id"),
    "accounts.begin": ("accounts", "dataset", "id"),
    "jobs.propose": ("jobs", "", ""),
}
# Acts about a dataset, for which its owner may ask more keys than for its other datasets.
DATASET_ACTS = ("approvals", "resumptions", "versions", "approvers", "accounts")
PENDING_MAX = 32
PENDING_MS = 259200000
# Acts that an organisation begins in a day (UTC): histories of others are told of these.
PENDING_A_DAY_MAX = 500
SUBJECT_CHARS_MAX = 128

orgs = Map(str, dict)
keys = Map(str, dict)
org_keys = Map(str, list)
registered = Map(str, dict)  # org -> {day, today: keys that it registered on that day}
members = Var(list, [])
eyes = Map(str, dict)  # org -> {acts: {act: k}, datasets: {act: how many ask more}, calls: those the runtime asks about}
dataset_eyes = Map(tuple[str, str], dict[str, int])  # (org, its dataset) -> {act: k}
pending = Map(tuple[str, bytes], dict)  # (org, digest) -> a call that not enough keys have seen
pending_of = Map(str, list[bytes])  # org -> digests of these, the oldest first
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

datasets = Contract("datasets")
grants = Contract("grants")

OrgJoined = Event(org=subject, by=subject, name=str, roles=list)
KeyAdded = Event(org=subject, by=subject, key=bytes, roles=list)
KeyRevoked = Event(org=subject, by=subject, key=bytes, reason=str)
OrgExpelled = Event(org=subject, by=subject)
OrgSuspended = Event(org=subject, by=subject)
OrgReinstated = Event(org=subject, by=subject)
AgentSet = Event(org=subject, by=subject, agent_key=bytes, agent_address=str)
EyesSet = Event(org=subject, by=subject, about=list[subject], act=str, k=int, before=int)
ActPending = Event(
    org=subject,
    by=subject,
    about=list[subject],
    act=str,
    call=str,
    digest=bytes,
    needed=int,
    seen=list,
    until=int,
)
ActSeen = Event(
    org=subject,
    by=subject,
    about=list[subject],
    act=str,
    call=str,
    digest=bytes,
    needed=int,
    seen=list,
    until=int,
    done=bool,
)
ActDropped = Event(
    org=subject, by=subject, about=list[subject], act=str, call=str, digest=bytes, seen=list, reason=str
)
ActLapsed = Event(org=subject, by=subject, about=list[subject], act=str, call=str, digest=bytes, seen=list)


@init
def setup(orgs: list):
    # A founder's keys come without proof: the chain id that one would cover is the hash of this very list.
    for member in orgs:
        check_fields(member, MEMBER_FIELDS)
        for entry in member["keys"]:
            check_fields(entry, ["key", "roles"])
        join(member, "org:" + member["id"])


@export(nested=True)
def admit(member: dict):
    """Make an organisation a member, as governance decided."""
    governance_only()
    check_member(member)
    join(member, ctx.origin)


@export(nested=True)
def expel(id: str):
    """End a membership: its keys sign nothing from the next transaction on; what they signed stays valid."""
    governance_only()
    record = org_of(id)
    require(record["status"] != "expelled", "WRONG_STATE")
    stand_down(record, "expelled")
    OrgExpelled(org="org:" + id, by=ctx.origin)


@export(nested=True)
def suspend(id: str):
    """Keep a member from calling anything and from voting until it is reinstated, from the next call on."""
    governance_only()
    record = org_of(id)
    require(record["status"] == "active", "WRONG_STATE")
    stand_down(record, "suspended")
    OrgSuspended(org="org:" + id, by=ctx.origin)


@export(nested=True)
def reinstate(id: str):
    governance_only()
    record = org_of(id)
    require(record["status"] == "suspended", "WRONG_STATE")
    for name in org_keys[id]:
        key = keys[name]
        key["status"] = "active"
        key["until"] = 0
        keys[name] = key
    record["status"] = "active"
    orgs[id] = record
    members.set(members.get() + [id])
    OrgReinstated(org="org:" + id, by=ctx.origin)


@view
def check_replacement(org: str, key: bytes, proof: bytes):
    """Revert unless this key could become the admin key of this organisation by the members' decision.

    `proof` is its holder's signature for this alone, and registers the key for nothing else.
    """
    require(org_of(org)["status"] != "expelled", "WRONG_STATE")
    check_key(key)
    check_signed(REPLACEMENT_TAG, org, key, proof)


@export(nested=True)
def replace_admin(org: str, key: bytes, proof: bytes):
    """Give an organisation whose last admin key was lost another: all that it had end, as governance decided."""
    governance_only()
    check_replacement(org, key, proof)
    for name in org_keys[org]:
        if "admin" in keys[name]["roles"]:
            end_key(org, keys[name]["key"], "replaced by the members")
    put_key(org, key, ["admin"])
    ask_one_admin(org)
    KeyAdded(org="org:" + org, by=ctx.origin, key=key, roles=["admin"])


def stand_down(record: dict, status: str):
    id = record["id"]
    for name in org_keys[id]:
        key = keys[name]
        if key["status"] == "active":
            key["until"] = ctx.height
        key["status"] = status
        keys[name] = key
    record["status"] = status
    orgs[id] = record
    members.set([other for other in members.get() if other != id])


@view
def check_member(member: dict):
    """Revert unless this organisation could be admitted now."""
    check_fields(member, MEMBER_FIELDS + ["agent_proof"])
    id = member["id"]
    check_joining(member)
    for entry in member["keys"]:
        check_fields(entry, ["key", "proof", "roles"])
        check_possession(id, entry["key"], entry["proof"])
    if member["agent_key"] == b"":
        require(member["agent_proof"] == b"", "BAD_PROOF")
    else:
        check_possession(id, member["agent_key"], member["agent_proof"])


@view
def check_possession(org: str, key: bytes, proof: bytes):
    """Revert unless the holder of this key signed that it is this organisation's, on this chain."""
    check_signed(POSSESSION_TAG, org, key, proof)


def check_signed(tag: bytes, org: str, key: bytes, proof: bytes):
    signed = sha256(tag + bytes.fromhex(ctx.chain_id) + key + org.encode())
    require(verify_signature(key, signed, proof), "BAD_PROOF")


def check_joining(member: dict):
    check_id(member["id"])
    check_text(member["name"])
    require(member["id"] not in orgs, "ORG_EXISTS")
    check_roles(member["roles"], ORG_ROLES)
    seen = []
    admins = 0
    for entry in member["keys"]:
        check_key(entry["key"])
        require(entry["key"] not in seen, "KEY_EXISTS")
        check_roles(entry["roles"], KEY_ROLES)
        seen.append(entry["key"])
        if "admin" in entry["roles"]:
            admins += 1
    require(admins > 0, "NO_ADMIN_KEY")
    agent_key = member["agent_key"]
    check_text(member["agent_address"])
    if agent_key == b"":
        require(member["agent_address"] == "", "BAD_KEY")  # an organisation without an agent
    elif agent_key not in seen:
        check_key(agent_key)
        seen.append(agent_key)
    require(len(seen) <= KEYS_MAX, "TOO_MANY_KEYS")


def join(member: dict, by: str):
    check_joining(member)
    id = member["id"]
    orgs[id] = {
        "id": id,
        "name": member["name"],
        "roles": member["roles"],
        "agent_key": member["agent_key"],
        "agent_address": member["agent_address"],
        "status": "active",
        "joined": ctx.height,
    }
    org_keys[id] = []
    for entry in member["keys"]:
        put_key(id, entry["key"], entry["roles"])
    if member["agent_key"] != b"" and member["agent_key"].hex() not in keys:
        put_key(id, member["agent_key"], ["agent"])
    members.set(members.get() + [id])
    OrgJoined(org="org:" + id, by=by, name=member["name"], roles=member["roles"])


@export
def add_key(key: bytes, roles: list, proof: bytes):
    """Let a key sign for one's own organisation; `proof` is its holder's signature (`check_possession`)."""
    org = admin()
    check_possession(org, key, proof)
    count_key(org)
    put_key(org, key, roles)
    KeyAdded(org="org:" + org, by="org:" + org, key=key, roles=roles)


@export
def rotate_key(old: bytes, new: bytes, proof: bytes):
    """Replace a key by another with the same roles, in one step."""
    org = admin()
    check_possession(org, new, proof)
    roles = own_key(org, old)["roles"]
    check_key(new)
    count_key(org)
    end_key(org, old, "rotated")
    put_key(org, new, roles)
    KeyAdded(org="org:" + org, by="org:" + org, key=new, roles=roles)


@export
def revoke_key(key: bytes, reason: str):
    """End a key: what it signed stays valid, and it signs nothing from the next transaction on."""
    org = admin()
    check_text(reason)
    record = own_key(org, key)
    if "admin" in record["roles"]:
        others = [other for other in org_keys[org] if other != key.hex() and "admin" in keys[other]["roles"]]
        require(len(others) > 0, "LAST_ADMIN_KEY")
    end_key(org, key, reason)


@export
def set_agent(agent_key: bytes, agent_address: str, proof: bytes):
    """Name the agent's key and address; a new key, with its proof, takes the place of the old one."""
    org = admin()
    check_text(agent_address)
    record = orgs[org]
    old = record["agent_key"]
    if agent_key != old:
        check_possession(org, agent_key, proof)
        check_key(agent_key)
        count_key(org)
        if old != b"" and keys[old.hex()]["roles"] == ["agent"]:
            end_key(org, old, "agent key replaced")
        put_key(org, agent_key, ["agent"])
        record["agent_key"] = agent_key
    record["agent_address"] = agent_address
    orgs[org] = record
    AgentSet(org="org:" + org, by="org:" + org, agent_key=agent_key, agent_address=agent_address)


# --- acts that several keys see --------------------------------------------------------------------------


@export
def set_eyes(act: str, dataset: str, k: int):
    """Ask k of one's own keys for an act, of one dataset alone if it is named; 1 asks for no second key."""
    org = admin()
    require(act in ACTS, "UNKNOWN_ACT")
    require(0 < k <= KEYS_MAX, "BAD_EYES")
    require(k == 1 or k <= len([name for name in org_keys[org] if counts(org, act, name)]), "TOO_FEW_KEYS")
    if dataset != "":
        require(act in DATASET_ACTS, "NOT_OF_A_DATASET")
        require(datasets.dataset_of(dataset)["owner"] == org, "NOT_OWNER")
    before = keep_eyes(org, act, dataset, k)
    about = [] if dataset == "" else ["dataset:" + dataset]
    EyesSet(org="org:" + org, by="org:" + org, about=about, act=act, k=k, before=before)


def keep_eyes(org: str, act: str, dataset: str, k: int) -> int:
    """Keep how many keys are asked for, and which calls the runtime has to ask about; returns the number before."""
    row = eyes_row(org)
    before = asked_for(org, row, act, dataset)
    if dataset == "":
        put_more(row["acts"], act, k, 1)
    else:
        of_dataset = dataset_eyes.get((org, dataset), {})
        put_more(of_dataset, act, k, 1)
        if len(of_dataset) > 0:
            dataset_eyes[org, dataset] = of_dataset
        elif (org, dataset) in dataset_eyes:
            del dataset_eyes[org, dataset]
        more = (1 if k > 1 else 0) - (1 if before > 1 else 0)
        put_more(row["datasets"], act, row["datasets"].get(act, 0) + more, 0)
    asked = [one for one in ACTS if one in row["acts"] or one in row["datasets"]]
    row["calls"] = [call for call in CALLS if CALLS[call][0] in asked or call == "orgs.set_eyes"]
    if len(asked) > 0:
        eyes[org] = row
    elif org in eyes:
        del eyes[org]
    return before


def put_more(row: dict, name: str, number: int, usual: int):
    """Keep a number that is more than the usual one, and no other."""
    if number > usual:
        row[name] = number
    elif name in row:
        del row[name]


def ask_one_admin(org: str):
    """An organisation whose admin keys members replaced by one has no second admin key to ask for."""
    for act in ACTS:
        if ACTS[act] == "admin" and act in eyes_row(org)["acts"]:
            before = keep_eyes(org, act, "", 1)
            EyesSet(org="org:" + org, by=ctx.origin, about=[], act=act, k=1, before=before)


@export
def oversee(call: str, digest: bytes, args: dict) -> dict:
    """Note that the signer's key sees this call of its organisation; `now` tells whether it is to be done.

    The runtime asks this, and nobody else can, before a call that is in `eyes[org]["calls"]`.
    """
    require(ctx.caller == "runtime", "RUNTIME_ONLY")
    org = ctx.org
    act = CALLS[call][0]
    needed = eyes_needed(org, call, args)
    row = pending.get((org, digest))
    if row is not None and ctx.block_time >= row["until"]:
        row = None
    answer = {"now": True, "act": act, "call": call, "digest": digest, "needed": needed, "seen": 1, "until": 0}
    if row is None and needed == 1:
        return answer
    require(needed == 1 or counts(org, act, ctx.signer), "KEY_NOT_COUNTED")
    key = bytes.fromhex(ctx.signer)
    seen = [] if row is None else [one for one in row["seen"] if counts(org, act, one["key"].hex())]
    others = [one for one in seen if one["key"] != key]
    answer["now"] = len(others) + 1 >= needed
    require(answer["now"] or len(others) == len(seen), "ALREADY_SEEN")
    seen = others + [{"key": key, "tx": bytes.fromhex(ctx.tx_id), "at": ctx.block_time}]
    answer["seen"] = len(seen)
    if row is None:
        answer["until"] = begin_act(org, call, digest, subjects_of(call, args), needed, seen)
        return answer
    answer["until"] = row["until"]
    row["seen"] = seen
    row["needed"] = needed
    if answer["now"]:
        forget_act(org, digest)
    else:
        pending[org, digest] = row
    ActSeen(
        org="org:" + org,
        by="org:" + org,
        about=row["about"],
        act=act,
        call=call,
        digest=digest,
        needed=needed,
        seen=seen,
        until=row["until"],
        done=answer["now"],
    )
    return answer


def begin_act(org: str, call: str, digest: bytes, about: list, needed: int, seen: list) -> int:
    """Note a call as pending, after what has lapsed is cleared away; returns until when."""
    for old in pending_of.get(org, []):
        if ctx.block_time >= pending[org, old]["until"]:
            lapse_act(org, old)
    listed = pending_of.get(org, [])
    require(len(listed) < PENDING_MAX, "TOO_MANY_PENDING")
    require(count_today(org, "pending") <= PENDING_A_DAY_MAX, "TOO_MANY_PENDING_TODAY")
    pending_of[org] = listed + [digest]
    act = CALLS[call][0]
    until = ctx.block_time + PENDING_MS
    pending[org, digest] = {
        "act": act,
        "call": call,
        "about": about,
        "needed": needed,
        "seen": seen,
        "until": until,
    }
    ActPending(
        org="org:" + org,
        by="org:" + org,
        about=about,
        act=act,
        call=call,
        digest=digest,
        needed=needed,
        seen=seen,
        until=until,
    )
    return until


@export
def drop(digest: bytes, reason: str):
    """Take back a pending act of one's own organisation: one key is enough."""
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    check_text(reason)
    org = ctx.org
    row = pending.get((org, digest))
    require(row is not None, "UNKNOWN_PENDING")
    forget_act(org, digest)
    ActDropped(
        org="org:" + org,
        by="org:" + org,
        about=row["about"],
        act=row["act"],
        call=row["call"],
        digest=digest,
        seen=row["seen"],
        reason=reason,
    )


def lapse_act(org: str, digest: bytes):
    row = pending[org, digest]
    forget_act(org, digest)
    ActLapsed(
        org="org:" + org,
        by="org:" + org,
        about=row["about"],
        act=row["act"],
        call=row["call"],
        digest=digest,
        seen=row["seen"],
    )


def forget_act(org: str, digest: bytes):
    del pending[org, digest]
    pending_of[org] = [other for other in pending_of[org] if other != digest]


def eyes_row(org: str) -> dict:
    return eyes.get(org, {"acts": {}, "datasets": {}, "calls": []})


def asked_for(org: str, row: dict, act: str, dataset: str) -> int:
    """How many keys are asked for an act, or for that of this dataset alone."""
    if dataset == "":
        return row["acts"].get(act, 1)
    return dataset_eyes.get((org, dataset), {}).get(act, 1)


def eyes_needed(org: str, call: str, args: dict) -> int:
    """How many keys must see this call: what the organisation asks for the act, or its dataset if that is more."""
    row = eyes_row(org)
    act = CALLS[call][0]
    needed = asked_for(org, row, act, "")
    if act in row["datasets"]:
        id = args.get("id", "")
        dataset = grants.grant_of(id)["dataset"] if CALLS[call][1] == "grant" else id
        needed = max(needed, asked_for(org, row, act, dataset))
    if call == "orgs.set_eyes":
        needed = max(needed, eyes_to_lower(org, row, args))
    return needed


def eyes_to_lower(org: str, row: dict, args: dict) -> int:
    """As many admins as the act asks for so far, or all where there are fewer; 1 if it is not to ask for fewer."""
    before = asked_for(org, row, args.get("act", ""), args.get("dataset", ""))
    if before <= args.get("k", 0):
        return 1
    return min(before, len([name for name in org_keys[org] if counts(org, "keys", name)]))


def counts(org: str, act: str, name: str) -> bool:
    """Tell whether a key is one that an act asks for: a person's, of the act's role, that has not ended."""
    record = keys[name]
    roles = record["roles"]
    if record["status"] != "active" or "agent" in roles or record["key"] == orgs[org]["agent_key"]:
        return False
    return "admin" in roles or ACTS[act] in roles


def subjects_of(call: str, args: dict) -> list:
    """The histories that a call is about, beside its organisation's."""
    act, kind, name = CALLS[call]
    id = str(args.get(name, ""))
    fits = 0 < len(id) <= SUBJECT_CHARS_MAX and id.strip(ID_LETTERS + "/") == ""
    return [kind + ":" + id] if kind != "" and fits else []


def count_today(org: str, act: str) -> int:
    """Count an act that stays for ever at nobody's vote; returns how many an organisation did today."""
    day = ctx.block_time // DAY_MS
    row = daily.get(org, {"day": day})
    if row["day"] != day:
        row = {"day": day}
    row[act] = row.get(act, 0) + 1
    daily[org] = row
    return row[act]


# --- questions -------------------------------------------------------------------------------------------


@view
def org_of(id: str) -> dict:
    record = orgs.get(id)
    require(record is not None, "UNKNOWN_ORG")
    return record


@view
def agents_of(ids: list) -> list:
    """The agent keys of these organisations, b"" of one without an agent, None of one that is no active member."""
    agents: list = []
    for id in ids:
        record = orgs.get(id)
        require(record is not None, "UNKNOWN_ORG")
        agents.append(record["agent_key"] if record["status"] == "active" else None)
    return agents


@view
def active_members() -> list:
    return members.get()


@view
def has_role(id: str, role: str) -> bool:
    """Tell whether this is an active member with this role."""
    record = orgs.get(id)
    return record is not None and record["status"] == "active" and role in record["roles"]


def admin() -> str:
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def governance_only():
    require(ctx.caller == "contract:governance", "GOVERNANCE_ONLY")


def check_key(key: bytes):
    require(len(key) == 32, "BAD_KEY")
    require(key.hex() not in keys, "KEY_EXISTS")


def count_key(org: str):
    """Count a key that a member registers by its own word: no vote is asked, and its row never goes."""
    count = registered.get(org, {"day": 0, "today": 0})
    day = ctx.block_time // DAY_MS
    if count["day"] != day:
        count["day"] = day
        count["today"] = 0
    require(count["today"] < KEYS_A_DAY_MAX, "TOO_MANY_KEYS_TODAY")
    count["today"] += 1
    registered[org] = count


def put_key(org: str, key: bytes, roles: list):
    name = key.hex()
    check_key(key)
    check_roles(roles, KEY_ROLES)
    status = orgs[org]["status"]  # of a suspended one no key signs, this one neither
    require(len(org_keys[org]) < KEYS_MAX, "TOO_MANY_KEYS")
    keys[name] = {
        "org": org,
        "key": key,
        "roles": roles,
        "status": status,
        "since": ctx.height,
        "until": 0 if status == "active" else ctx.height,
    }
    org_keys[org] = org_keys[org] + [name]


def own_key(org: str, key: bytes) -> dict:
    record = keys.get(key.hex())
    require(record is not None, "UNKNOWN_KEY")
    require(record["org"] == org and record["status"] == "active", "UNKNOWN_KEY")
    require(key != orgs[org]["agent_key"], "USE_SET_AGENT")
    return record


def end_key(org: str, key: bytes, reason: str):
    name = key.hex()
    record = keys[name]
    if record["status"] == "active":
        record["until"] = ctx.height
    record["status"] = "revoked"
    keys[name] = record
    org_keys[org] = [other for other in org_keys[org] if other != name]
    KeyRevoked(org="org:" + org, by=ctx.origin, key=key, reason=reason)


def check_roles(roles: list, allowed: tuple):
    """Some of the allowed roles, each once."""
    require(0 < len(roles) <= len(allowed), "BAD_ROLE")
    for role in roles:
        require(role in allowed and roles.count(role) == 1, "BAD_ROLE")


def check_fields(record: dict, names: list):
    require(len(record) == len(names) and all(name in record for name in names), "BAD_MEMBER")


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
