"""Members of the consortium: their roles, signing keys and agents."""

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

orgs = Map(str, dict)
keys = Map(str, dict)
org_keys = Map(str, list)
registered = Map(str, dict)  # org -> {day, today: keys that it registered on that day}
members = Var(list, [])

OrgJoined = Event(org=subject, by=subject, name=str, roles=list)
KeyAdded = Event(org=subject, by=subject, key=bytes, roles=list)
KeyRevoked = Event(org=subject, by=subject, key=bytes, reason=str)
OrgExpelled = Event(org=subject, by=subject)
OrgSuspended = Event(org=subject, by=subject)
OrgReinstated = Event(org=subject, by=subject)
AgentSet = Event(org=subject, by=subject, agent_key=bytes, agent_address=str)


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
    """Revert unless this key could become the admin key of this organisation by the members' decision."""
    require(org_of(org)["status"] != "expelled", "WRONG_STATE")
    check_key(key)
    check_possession(org, key, proof)


@export(nested=True)
def replace_admin(org: str, key: bytes, proof: bytes):
    """Give an organisation whose last admin key was lost another: all that it had end, as governance decided."""
    governance_only()
    check_replacement(org, key, proof)
    for name in org_keys[org]:
        if "admin" in keys[name]["roles"]:
            end_key(org, keys[name]["key"], "replaced by the members")
    put_key(org, key, ["admin"])
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
    signed = sha256(POSSESSION_TAG + bytes.fromhex(ctx.chain_id) + key + org.encode())
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
