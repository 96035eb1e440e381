"""What must be true whatever the model says: asked of the contracts' own rows and answers."""

from __future__ import annotations

from collections import Counter

from chain.primitives.runtimeport import OK, Outcome
from tests.rules.chain import Chain, public
from tests.rules.compare import Difference
from tests.rules.model import Step
from tests.rules.model_accounts import joint, sum_of

FINAL = frozenset({"certified", "aborted", "expired", "rejected"})
ENDED_GRANTS = frozenset({"revoked", "rejected", "withdrawn", "expired"})
LIMITS = {"open_of": 32}
OPEN_JOBS_MAX, OPEN_REQUESTS_MAX, DRAFTS_MAX = 256, 256, 8
EXIT_MS = 400 * 86_400_000


class Watch:
    """Looks on at one history."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._ended: dict[tuple[str, str], str] = {}

    def has_right(self, chain: Chain, who: str) -> bool:
        """Tell whether a key signs by the rows as they are: it and its organisation are active."""
        key = chain.rows.get(("orgs", "keys", public(who).hex()))
        if key is None or key["status"] != "active":
            return False
        return bool(chain.rows["orgs", "orgs", key["org"]]["status"] == "active")

    def step(self, made: Step, outcome: Outcome, right: bool) -> Difference | None:
        """Who has no right changes nothing, and neither does a refused call or a question."""
        changed = bool(outcome.writes or outcome.events)
        if outcome.status != OK and changed:
            return Difference("invariant", f"a refused call of {made.target} left something behind")
        if made.asks and changed:
            return Difference("invariant", f"the question {made.target} changed something")
        if outcome.status == OK and not made.asks and not right:
            return Difference("invariant", f"{made.who} acted with a key that has no right")
        return None

    def state(self, chain: Chain) -> Difference | None:
        """Quotas, ends and bounds hold in the stored rows."""
        rows = chain.rows
        holding: dict[str, list[str]] = {}
        for (contract, name, key), value in rows.items():
            if (contract, name) == ("grants", "live"):
                holding.setdefault(key[0], []).append(value)
                if rows["jobs", "jobs", key[1]]["state"] in FINAL:
                    return Difference("invariant", f"an ended job holds a run of {key[0]}")
        for (contract, name, key), value in rows.items():
            wrong = ""
            if (contract, name) == ("grants", "standing"):
                wrong = self._grant(rows, key, value, holding.get(key, []))
            elif (contract, name) == ("jobs", "jobs"):
                wrong = self._job(rows, key, value)
            elif (contract, name) == ("jobs", "disputes"):
                wrong = self._dispute(rows, value)
            elif (contract, name) == ("jobs", "initiators") and not 0 <= value["open"] <= OPEN_JOBS_MAX:
                wrong = f"{key} has {value['open']} open jobs"
            elif (contract, name) == ("accounts", "accounts"):
                wrong = self._account(rows, key, value)
            elif (contract, name) == ("datasets", "schema_counts") and value["drafts"] > DRAFTS_MAX:
                wrong = f"{key} has {value['drafts']} incomplete schemas"
            elif (contract, name) == ("grants", "asked") and sum(value.values()) > OPEN_REQUESTS_MAX:
                wrong = f"{key} has open requests {value}"
            elif name in LIMITS and isinstance(value, int):
                wrong = "" if 0 <= value <= LIMITS[name] else f"{contract}.{name} of {key} is {value}"
            if wrong:
                return Difference("invariant", wrong)
        wrong = self._sources(rows)
        return Difference("invariant", wrong) if wrong else None

    def _sources(self, rows: dict) -> str:
        """A source is there exactly as long as a version, an open proposal or an offer needs it."""
        needed: Counter[bytes] = Counter()
        for (contract, name, key), row in rows.items():
            if (contract, name) == ("lifecycle", "libraries"):
                needed[key] += 1
            elif contract == "lifecycle" and (
                name == "history" or (name == "proposals" and row["status"] == "open")
            ):
                needed.update([row["source_hash"], *row["libraries"].values()])
        counted = {key: row for (_, name, key), row in rows.items() if name == "source_uses"}
        there = {key for _, name, key in rows if name == "sources"}
        if counted != dict(needed) or there != set(needed):
            odd = [key.hex()[:8] for key in {*counted, *there, *needed} if counted.get(key) != needed[key]]
            return f"sources {odd or 'of the ledger'} are counted or kept otherwise than they are needed"
        return ""

    def _grant(self, rows: dict, ident: str, runs: dict, held: list[str]) -> str:
        quota = rows["grants", "grants", ident]["quota_runs"]
        if runs["used"] + runs["reserved"] > quota:
            return f"{ident}: {runs} of {quota} runs"
        if runs["reserved"] != held.count("reserved"):
            return f"{ident}: {runs['reserved']} runs reserved, by {held.count('reserved')} jobs"
        if not 0 <= runs["revealed"] <= runs["used"]:
            return f"{ident}: {runs}"
        return self._stays(("grant", ident), runs["status"], ENDED_GRANTS)

    def _account(self, rows: dict, place: tuple[str, int], account: dict) -> str:
        """What jobs hold of an account is what it says; nothing of it is below nothing."""
        held: dict[str, dict[str, list[dict]]] = {"reserved": {}, "spent": {}}
        for (contract, name, key), hold in rows.items():
            if (contract, name) == ("accounts", "holds"):
                charge = rows["accounts", "bookings", key[0]]["charges"][key[1]]
                if (charge["dataset"], hold["account"]) == place:
                    held[hold["state"]].setdefault(key[0], []).append(charge)
                if hold["state"] == "reserved" and rows["jobs", "jobs", key[0]]["state"] in FINAL:
                    return f"an ended job holds a part of the account {place}"
        for side, jobs in held.items():
            sums = sum_of([joint(charges) for charges in jobs.values()])
            if account[side] != sums:
                return f"account {place}: {account[side]} {side}, by jobs {sums}"
        return ""

    def _job(self, rows: dict, ident: str, job: dict) -> str:
        if job["state"] not in FINAL and not job["deadline"] > 0:
            return f"job {ident[:8]} is {job['state']} and has no deadline"
        if (("jobs", "certificates", ident) in rows) != (job["state"] == "certified"):
            return f"job {ident[:8]} is {job['state']}, its certificate says otherwise"
        return self._stays(("job", ident), job["state"], FINAL)

    def _stays(self, place: tuple[str, str], status: str, ends: frozenset[str]) -> str:
        before = self._ended.setdefault(place, status) if status in ends else self._ended.get(place, status)
        return "" if before == status else f"{' '.join(place)} went from {before} to {status}"

    def _dispute(self, rows: dict, dispute: dict) -> str:
        """Nobody is blamed, or accused by the contract, who did its part."""
        place = f"dispute {dispute['number']} of {dispute['job'][:8]}"
        if not set(dispute["blamed"]) <= set(dispute["against"]):
            return f"{place} blames {dispute['blamed']}"
        if dispute["status"] == "dismissed" and dispute["blamed"]:
            return f"{place} was dismissed and blames {dispute['blamed']}"
        if dispute["kind"] == "TRANSCRIPT_MISMATCH":
            one, other = dispute["against"]
            sides = [rows["jobs", "transcripts", (dispute["job"], org)] for org in (one, other)]
            if sides[0][other] == sides[1][one]:
                return f"{place} accuses two parties that said the same"
        return ""

    def end(self, chain: Chain) -> Difference | None:
        """Whatever is open, anyone ends it once its time is over; then nothing is held."""
        found = self.state(chain)
        who = self._anyone(chain)
        if found or who is None or self._frozen(chain):
            return found
        chain.time += EXIT_MS
        chain.height += 10**6 + 2_000
        for target, args in self._exits(chain):
            outcome = chain.perform(Step(0, 0, who, target, args))
            if outcome.status != OK:
                return Difference("invariant", f"nobody can end {target} {args}: {outcome.code}")
        if [place for place in chain.rows if place[:2] == ("grants", "live")]:
            return Difference("invariant", "runs are held although every job has ended")
        held = [
            key
            for (_, name, key), row in chain.rows.items()
            if name == "schemas" and row["status"] != "sealed"
        ]
        if held:
            return Difference("invariant", f"{held[0]} is still no whole schema although its time is over")
        return self.state(chain)

    def _exits(self, chain: Chain) -> list[tuple[str, dict[str, object]]]:
        found: list[tuple[str, dict[str, object]]] = []
        for (contract, name, key), row in chain.rows.items():
            place = f"{contract}.{name}"
            if place == "jobs.jobs" and row["state"] not in FINAL:
                found.append(("jobs.expire", {"job": key}))
            elif place == "jobs.disputes" and row["status"] == "open":
                found.append(("jobs.lapse", {"job": key[0], "number": key[1]}))
            elif place == "grants.grants" and self._waits(chain, key):
                found.append(("grants.expire", {"id": key}))
            elif place == "datasets.schemas" and row["status"] != "sealed":
                found += [("datasets.withdraw", {"owner": key[0], "schema": key[1]})] * row["parts"]
            elif place == "governance.proposals" and row["status"] == "open":
                found.append(("governance.expire", {"seq": key}))
            elif place == "lifecycle.proposals" and row["status"] == "open":
                found.append(("lifecycle.expire", {"name": row["name"], "seq": row["seq"]}))
        return found

    def _waits(self, chain: Chain, grant: str) -> bool:
        standing = chain.rows.get(("grants", "standing", grant))
        return standing is None or standing["status"] in ("active", "suspended")

    def _anyone(self, chain: Chain) -> str | None:
        """Return a name whose key signs: the founders' keys are asked."""
        for org in ("regulator", "arbiter", "rival", "bank", "bureau", "registry"):
            for name in (org, f"{org}/steward", f"{org}/agent"):
                key = chain.rows.get(("orgs", "keys", public(name).hex()))
                if key is not None and key["status"] == "active":
                    return name
        return None

    def _frozen(self, chain: Chain) -> bool:
        """Tell whether members keep a contract of genesis stopped: then its states wait, as they decided."""
        rows = chain.rows
        return any(
            rows["lifecycle", "active", name]["status"] == "frozen"
            for name in ("accounts", "grants", "jobs", "datasets")
        )
