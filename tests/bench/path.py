"""The whole path of a data use, and the gas of each of its calls: a policy contract put into force, datasets
registered, grants requested and approved, a job from its proposal to its certificate, decisions of members.

`scripts/bench calls --against DIRECTORY` runs this file with another version on the import path too, and
compares. Calls are therefore given every argument that some version takes, and leave out those that the
method at hand does not declare.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from chain.primitives.crypto import PrivateKey
from chain.primitives.runtimeport import OK, Call, StateKey, map_key
from chain.primitives.values import Value, decode_value, encode_value
from contracts.runtime import ContractRuntime
from contracts.system import default_init, sources, standard_pages

Args = dict[str, Any]
CHAIN_ID = bytes(range(32))
START_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
TERM_MS = 30 * 24 * HOUR_MS
BYTES_MAX = 1 << 20
GAS = 10_000_000
OWNERS = ("bank", "bureau", "registry")
ORGS: dict[str, list[str]] = {
    "bank": ["owner", "user", "compute"],
    "bureau": ["owner", "compute"],
    "registry": ["owner", "compute"],
    "regulator": ["auditor"],
}
A_HASH = bytes([7]) * 32
PAGE = '''"""How many people all know, for the bank; their incomes stay shares."""


def run(*tables, figures=("mean",)):
    rows = join(tables)
    release(count(rows), to="bank", exact=True, name="people")
    for table in tables:
        keep(rows[name_of(table)].income, name=name_of(table))
'''
LIMITS: dict[str, Value] = {
    "block_txs": 1_000,
    "block_bytes": 4_194_304,
    "tx_bytes": 132_224,
    "tx_gas_default": 1_000_000,
    "tx_gas_max": 10_000_000,
    "block_gas": 50_000_000,
    "validity_window": 600,
    "max_clock_skew_ms": 5_000,
}
POLICY = '''"""Allows one purpose, with enough rows behind each figure, until the owner's patience ends."""

PURPOSE = "credit-risk"
GROUP_MIN = 10

ends_at = Var(int, 2000000000000)


@init
def setup(until: int):
    require(until > ctx.block_time, "OVER_ALREADY")
    ends_at.set(until)


@EXPORT
def allow(job: dict, phase: str) -> bool:
    """Asked by the grant's guard at each phase of a job."""
    if job["purpose"] != PURPOSE or job["min_group"] < GROUP_MIN:
        return False
    return phase == "reveal" or ctx.block_time < ends_at.get()


@view
def open_until() -> int:
    return ends_at.get()
'''


def key_of(name: str) -> PrivateKey:
    """Return the key that belongs to a name."""
    return PrivateKey(sha256(name.encode()).digest())


def proof_of(key: PrivateKey, org: str) -> bytes:
    """Return what a contract asks of a new key's holder (`orgs.check_possession`)."""
    signed = b"assent/key-possession\x00" + CHAIN_ID + key.public + org.encode()
    return key.sign(sha256(signed).digest())


class Path:
    """A consortium in memory that goes the path once; `gas` holds what each call cost, by its name."""

    def __init__(self) -> None:
        """Found the consortium."""
        self.runtime = ContractRuntime()
        self.state: dict[StateKey, bytes] = {}
        self.gas: dict[str, int] = {}
        self.height, self.time, self._sent = 0, START_MS, 0
        self._declared = {
            name: {
                method: function.names for method, function in self.runtime.program(text).functions.items()
            }
            for name, text in sources().items()
        }
        self.separator = "/" if "check_own_id" in self._declared["datasets"] else "-"
        init: dict[str, dict[str, Value]] = {
            **default_init(),
            "orgs": {"orgs": [_founder(name, roles) for name, roles in ORGS.items()]},
            "governance": {"nodes": [_node(name) for name in ORGS], "limits": dict(LIMITS)},
            "programs": {"pages": {**standard_pages(), "statistics": PAGE}},
        }
        self._apply(self.runtime.bootstrap(sources(), init, time=self.time, state=self).writes)

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Answer the runtime's reads."""
        return self.state.get((namespace, key))

    def _apply(self, writes: Any) -> None:
        for key, data in writes.items():
            if data is None:
                self.state.pop(key, None)
            else:
                self.state[key] = data

    def read(self, contract: str, name: str, key: Value) -> Any:
        """Return a row of the state."""
        return decode_value(self.state[contract, map_key(name, key)], max_bytes=BYTES_MAX)

    def do(self, who: str, target: str, note: str = "", /, **args: Value) -> Any:
        """Send one call in a block of its own, and record its gas under its name and the note."""
        contract, method = target.split(".")
        declared = self._declared[contract][method]
        call = self._call(who, contract, method, {name: args[name] for name in args if name in declared})
        outcome = self.runtime.execute(call, self)
        if outcome.status != OK:
            raise AssertionError(f"{target}: {outcome.detail}")
        self._apply(outcome.writes)
        self.gas[f"{target} ({note})" if note else target] = outcome.gas_used
        return decode_value(outcome.result, max_bytes=BYTES_MAX)

    def ask(self, target: str, /, **args: Value) -> Any:
        """Ask a view."""
        contract, method = target.split(".")
        outcome = self.runtime.view(self._call("bank", contract, method, args), self)
        return decode_value(outcome.result, max_bytes=BYTES_MAX)

    def _call(self, who: str, contract: str, method: str, args: Args) -> Call:
        self.height, self.time, self._sent = self.height + 1, self.time + 100, self._sent + 1
        tx_id = sha256(self._sent.to_bytes(8, "big")).digest()
        data, sender = encode_value(args), key_of(who).public
        return Call(contract, method, data, sender, tx_id, GAS, self.height, self.time, CHAIN_ID)

    # --- members and code ---------------------------------------------------------------------------------

    def keys(self) -> None:
        """Let an organisation add, rotate and end a key, and move its agent."""
        old, new, agent = key_of("bank/second"), key_of("bank/third"), key_of("bank/agent")
        self.do("bank", "orgs.add_key", key=old.public, roles=["steward"], proof=proof_of(old, "bank"))
        self.do("bank", "orgs.rotate_key", old=old.public, new=new.public, proof=proof_of(new, "bank"))
        self.do("bank", "orgs.revoke_key", key=new.public, reason="left")
        where = {"agent_key": agent.public, "agent_address": "127.0.0.1:7001"}
        self.do("bank", "orgs.set_agent", "address", **where, proof=b"")

    def policy(self) -> None:
        """Put the policy contract into force."""
        nested = any("nested=True" in text for text in sources().values())
        source = POLICY.replace("EXPORT", "export(nested=True)" if nested else "export")
        proposal: Args = {"source": source, "arguments": {"until": START_MS + TERM_MS}, "terms": {}}
        seq = self.do("bank", "lifecycle.propose", name="policy", **proposal)
        voted = self.read("lifecycle", "proposals", f"policy/{seq}")["hash"]
        for who in ("bureau", "registry"):
            self.do(who, "lifecycle.approve", name="policy", seq=seq, hash=voted)
        self.do("bank", "lifecycle.commit", name="policy", seq=seq)

    def decide(self, note: str, kind: str, **payload: Value) -> None:
        """Have the members decide something by governance."""
        proposal: Args = {"kind": kind, "payload": payload, "reason": "", "not_before": 0}
        seq = self.do("bank", "governance.propose", note, **proposal)
        voted = self.read("governance", "proposals", seq)["hash"]
        for who in ("bureau", "registry"):
            self.do(who, "governance.approve", note, seq=seq, hash=voted)
        self.do("bank", "governance.commit", note, seq=seq)

    def seats(self) -> None:
        """Add a node, move it to another key, and admit an organisation."""
        proven = "proof" in self._declared["governance"]["rotate_node_key"]
        first, second, agent = key_of("bank/spare"), key_of("bank/spare again"), key_of("rival/agent")
        node = {**_node("bank", "spare"), "role": "observer"}
        self.decide("a node", "add_node", **node, **({"proof": proof_of(first, "bank")} if proven else {}))
        moved = {"name": node["name"], "public_key": second.public, "proof": proof_of(second, "bank")}
        self.do("bank", "governance.rotate_node_key", **moved)
        rival = _founder("rival", ["user"])
        if proven:
            rival["keys"][0]["proof"] = proof_of(key_of("rival"), "rival")
            rival["agent_proof"] = proof_of(agent, "rival")
        self.decide("an organisation", "admit_org", org=rival)

    # --- data and grants ----------------------------------------------------------------------------------

    def id_of(self, org: str, name: str) -> str:
        """Return an id in an organisation's part of the names."""
        return org + self.separator + name

    def data(self) -> None:
        """Register each owner's dataset."""
        kinds = (("id", "str", "identifier"), ("income", "float", "personal"), ("age", "int", "personal"))
        schema: Any = [{"name": name, "type": kind, "sensitivity": level} for name, kind, level in kinds]
        if "declare" in self._declared["datasets"]:
            schema = self.declared()
        for org in OWNERS:
            args: Args = {"id": self.id_of(org, "data"), "schema": schema, "root": A_HASH}
            args |= {"size_bucket": "100-1000", "approvers": [org], "threshold": 1, "description": ""}
            self.do(org, "datasets.register", **args)

    def declared(self) -> bytes:
        """Have every owner declare the same three columns; return their seal."""
        kinds = (
            ("id", "text", "identifier"),
            ("income", "decimal", "personal"),
            ("age", "integer", "personal"),
        )
        empty: dict[str, Any] = {name: [] for name in ("coding", "categories", "edges", "normalise")}
        empty |= {"unit": "", "missing": "refuse", "low": None, "high": None}
        columns = [{**empty, "name": name, "type": kind, "sensitivity": level} for name, kind, level in kinds]
        seal = sha256(encode_value(["assent/schema", 1, ["id"]])).digest()
        for column in columns:
            seal = sha256(encode_value([seal, encode_value(column)])).digest()
        for org in OWNERS:
            self.do(org, "datasets.declare", schema=seal, key=["id"], columns=columns)
        return seal

    def granted(self, name: str, owner: str, policy: str) -> str:
        """Request a grant on an owner's dataset, have the owner approve it; return its id."""
        note, grant = "a policy" if policy else "", self.id_of("bank", name)
        request: Args = {
            "id": grant,
            "dataset": self.id_of(owner, "data"),
            "version": 1,
            "columns": {"id": "join-only", "income": "aggregate-only", "age": "plain"},
            "purpose": "credit-risk",
            "legal_basis": "consent 2026-1",
            "asked_because": "",
            "programs": ["statistics"],
            "receivers": ["bank"],
            "co_parties": list(OWNERS),
            "membership": list(OWNERS),
            "profile": "rep3",
            "not_before": 0,
            "expires": START_MS + TERM_MS,
            "quota_runs": 20,
            "run_epsilon": 10**9,
            "min_group": 10,
            "policy": policy,
        }
        self.do("bank", "grants.request", note, **request)
        self.do(owner, "grants.approve", note, id=grant, terms={})
        return grant

    def owners_hand(self, grant: str, owner: str) -> None:
        """Narrow, suspend, resume and revoke a grant."""
        self.do(owner, "grants.narrow", id=grant, terms={"quota_runs": 10})
        self.do(owner, "grants.suspend", id=grant, reason="a question")
        self.do(owner, "grants.resume", id=grant)
        self.do(owner, "grants.revoke", id=grant, reason="the purpose is gone")

    # --- a job --------------------------------------------------------------------------------------------

    def propose(self, policy: str) -> str:
        """Propose a job on the owners' grants with this policy; return its id."""
        spec: Args = {
            "program": "statistics",
            "parameters": {"figures": ["mean"]},
            "purpose": "credit-risk",
            "profile": "rep3",
            "min_group": 10,
            "inputs": [
                {
                    "name": name,
                    "grant": self.id_of("bank", name + policy),
                    "dataset": self.id_of(name, "data"),
                    "version": 1,
                    "columns": {"id": "join", "income": "encrypted"},
                }
                for name in OWNERS
            ],
            "participants": [
                {"org": name, "role": "owner", "agent_key": key_of(f"{name}/agent").public} for name in OWNERS
            ],
            "receivers": ["bank"],
            "deadlines": dict.fromkeys(("accept", "bind", "run", "reveal", "commit", "certify"), HOUR_MS),
            "nonce": self._sent.to_bytes(16, "big"),
        }
        spec |= self.followed(spec)
        return str(self.do("bank", "jobs.propose", "a policy" if policy else "", spec=spec))

    def followed(self, spec: Args) -> Args:
        """Return the page of a job and the plan that follows of it."""
        inputs = [
            {name: one[name] for name in ("name", "dataset", "version")} | {"columns": list(one["columns"])}
            for one in spec["inputs"]
        ]
        named = {"id": spec["program"], "inputs": inputs, "parameters": spec["parameters"]}
        named["initiator"] = "bank"
        found = self.ask("programs.derive", **named)
        return {name: found[name] for name in ("page", "plan")}

    def each(self, step: str, note: str, args: Callable[[str], Args], orgs: tuple[str, ...] = OWNERS) -> None:
        """Have every party take a step; the last one is told apart."""
        for org in orgs:
            last = ["the last"] if org == orgs[-1] else []
            self.do(
                f"{org}/agent", f"jobs.{step}", ", ".join([*last, *([note] if note else [])]), **args(org)
            )

    def job(self, policy: str) -> None:
        """Take a job from its proposal to its certificate."""
        job, note = self.propose(policy), "a policy" if policy else ""
        plan = self.read("jobs", "specs", job)["plan"]
        self.each("accept", note, lambda _: {"job": job, "plan": plan})
        self.each("bind", note, lambda org: {"job": job, "commitment": key_of(org).public})
        if "begin_join" in self._declared["jobs"]:
            self.do("bank/agent", "jobs.begin_join", note, job=job)
        figures = {"bytes_sent": 1_000, "rounds": 1, "cpu_ms": 5}
        stage = {"stage": 0, "kind": "share", "hash": A_HASH, "previous": bytes(32), **figures}
        self.each("commit_stage", note, lambda _: {"job": job, **stage})
        self.each("commit_transcript", note, lambda org: {"job": job, "profile": "rep3", **_channels(org)})
        self.each("approve_reveal", note, lambda _: {"job": job})
        result = {"job": job, "hash": A_HASH, "schema": "figures", "metrics": {"rounds": 3}}
        self.each("commit_result", note, lambda _: result, ("bank",))
        digest = sha256(encode_value(self.ask("jobs.certificate_body", job=job))).digest()

        def signed(org: str) -> Args:
            return {"job": job, "digest": digest, "signature": key_of(f"{org}/agent").sign(digest)}

        self.each("certify", note, signed)

    def other_ends(self) -> None:
        """End jobs before their time, and a grant with a job under it."""
        self.do("bureau/agent", "jobs.reject", job=self.propose(""), cause="STOPPED", detail={})
        self.do("bank", "jobs.abort", job=self.propose(""), cause="STOPPED", detail={}, evidence=b"")
        job = self.propose("")
        self.time += HOUR_MS
        self.do("regulator", "jobs.expire", job=job)
        self.propose("")
        self.do(
            "bureau",
            "grants.revoke",
            "a job open",
            id=self.id_of("bank", "bureau"),
            reason="the purpose is gone",
        )


def _channels(org: str) -> Args:
    ends = {other: "/".join(sorted((org, other))) for other in OWNERS if other != org}
    return {"channels": {other: sha256(both.encode()).digest() for other, both in ends.items()}}


def _founder(name: str, roles: list[str]) -> Args:
    agent = b"" if roles == ["auditor"] else key_of(f"{name}/agent").public
    keys = [{"key": key_of(name).public, "roles": ["admin"]}]
    address = "127.0.0.1:7000" if agent else ""
    return {
        "id": name,
        "name": name,
        "roles": roles,
        "keys": keys,
        "agent_key": agent,
        "agent_address": address,
    }


def _node(org: str, name: str = "") -> Args:
    key = key_of(f"{org}/{name or 'node'}").public
    node = {"org": org, "name": f"{org}-{name or 'node'}", "public_key": key, "role": "validator"}
    return {**node, "address": "127.0.0.1:30300"}


def measure() -> dict[str, int]:
    """Go the path; return {call: gas} in the order of the first calls."""
    path = Path()
    path.keys()
    path.policy()
    path.decide("limits", "set_limits", block_txs=900)
    path.seats()
    path.data()
    for policy in ("", "policy"):
        for owner in OWNERS:
            path.granted(owner + policy, owner, policy)
        path.job(policy)
    path.owners_hand(path.granted("other", "bureau", ""), "bureau")
    path.other_ends()
    return path.gas


if __name__ == "__main__":
    print(json.dumps(measure()))
