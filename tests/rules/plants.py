"""Known faults, each planted into the text of one system contract: histories must show every one."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.system import sources


@dataclass(frozen=True, slots=True)
class Plant:
    """One place of one contract, and what stands there instead."""

    contract: str
    before: str
    after: str
    says: str

    def texts(self) -> dict[str, str]:
        """Return the sources with the fault; raise ValueError if its place is not there exactly once."""
        texts = sources()
        found = texts[self.contract].count(self.before)
        if found != 1:
            raise ValueError(
                f"{self.contract}.py holds {self.before!r} {found} times, not once: mend the plant"
            )
        texts[self.contract] = texts[self.contract].replace(self.before, self.after)
        return texts


def _off(line: str) -> str:
    return line.replace("require(", "require(True or ", 1)


def _without(contract: str, line: str, says: str) -> Plant:
    return Plant(contract, line, _off(line), says)


PLANTS: dict[str, Plant] = {
    # --- identity
    "revoked-key-signs": Plant(
        "orgs",
        'record["status"] = "revoked"',
        'record["status"] = "active"',
        "a key signs after its revocation",
    ),
    "suspended-keys-sign": Plant(
        "orgs",
        '        key["status"] = status\n',
        "",
        "the keys of a suspended or expelled organisation go on signing",
    ),
    "no-proof-of-possession": _without(
        "orgs", 'require(verify_signature(key, signed, proof), "BAD_PROOF")', "anyone registers another's key"
    ),
    "last-admin-key-goes": _without(
        "orgs", 'require(len(others) > 0, "LAST_ADMIN_KEY")', "an organisation ends its last admin key"
    ),
    "expelled-member-stays-listed": Plant(
        "orgs",
        "members.set([other for other in members.get() if other != id])",
        "members.set(members.get())",
        "an organisation that left still counts as a member",
    ),
    "replaced-admin-key-signs": Plant(
        "orgs",
        '        if "admin" in keys[name]["roles"]:\n            end_key(org,',
        '        if keys[name]["roles"] == ["admin", "agent"]:\n            end_key(org,',
        "an admin key that was taken for lost goes on signing beside the one in its place",
    ),
    "anyones-key-in-its-place": Plant(
        "orgs",
        '"WRONG_STATE")\n    check_key(key)\n    check_signed(REPLACEMENT_TAG, org, key, proof)\n',
        '"WRONG_STATE")\n    check_key(key)\n',
        "members put a key into an organisation's place that its holder did not prove",
    ),
    "proof-of-registration-replaces": Plant(
        "orgs",
        "    check_signed(REPLACEMENT_TAG, org, key, proof)",
        "    check_possession(org, key, proof)",
        "the old key registers the new one for something else, with the proof in the proposal",
    ),
    "one-key-too-many": Plant(
        "orgs",
        "require(len(org_keys[org]) < KEYS_MAX",
        "require(len(org_keys[org]) <= KEYS_MAX",
        "a member has one key more than it may",
    ),
    # --- datasets
    # --- acts that several keys see
    "one-key-is-two-eyes": Plant(
        "orgs",
        'others = [one for one in seen if one["key"] != key]',
        "others = seen",
        "a key that calls twice counts twice",
    ),
    "one-eye-short": Plant(
        "orgs", "len(others) + 1 >= needed", "len(others) + 2 >= needed", "an act is done one key too early"
    ),
    "lapsed-act-counts": Plant(
        "orgs",
        'if row is not None and ctx.block_time >= row["until"]:',
        "if False:",
        "what a key saw more than three days ago counts",
    ),
    "revoked-key-has-eyes": Plant(
        "orgs",
        'if record["status"] != "active" or "agent" in roles',
        'if "agent" in roles',
        "a key that ended before the act was done counts",
    ),
    "agents-have-eyes": Plant(
        "orgs",
        'if record["status"] != "active" or "agent" in roles or',
        'if record["status"] != "active" or',
        "a key that an agent uses by itself counts",
    ),
    "stewards-see-changes-of-keys": Plant(
        "orgs",
        'return "admin" in roles or ACTS[act] in roles',
        'return "admin" in roles or "steward" in roles',
        "a steward's key counts where admins are asked for",
    ),
    "other-arguments-count-together": Plant(
        "orgs",
        "    row = pending.get((org, digest))\n    if row is not None and",
        "    digest = sha256(encode(call))\n    row = pending.get((org, digest))\n    if row is not None and",
        "two keys that ask for different things do one of them",
    ),
    "stopping-is-slowed": Plant(
        "orgs",
        '    "grants.request": ("requests", "grant", "id"),\n',
        '    "grants.request": ("requests", "grant", "id"),\n'
        '    "grants.suspend": ("approvals", "grant", "id"),\n',
        "who would stop a use waits for another key",
    ),
    "one-admin-asks-for-fewer": Plant(
        "orgs",
        "needed = max(needed, eyes_to_lower(org, row, args))",
        "needed = max(needed, 1)",
        "one key alone has fewer keys asked for",
    ),
    "a-dataset-asks-for-no-more": Plant(
        "orgs",
        'if act in row["datasets"]:',
        'if act in row["datasets"] and needed > 99:',
        "more keys that are asked of one dataset are not asked",
    ),
    "replaced-admins-are-still-asked": Plant(
        "orgs",
        '    put_key(org, key, ["admin"])\n    ask_one_admin(org)\n',
        '    put_key(org, key, ["admin"])\n',
        "an organisation with one admin key waits for a second one for ever",
    ),
    "one-pending-act-too-many": Plant(
        "orgs",
        "require(len(listed) < PENDING_MAX",
        "require(len(listed) <= PENDING_MAX",
        "an organisation has one pending act more than it may",
    ),
    "unsealed-schema-used": _without(
        "datasets", 'require(s["status"] == "sealed", "SCHEMA_NOT_SEALED")', "a version has half a schema"
    ),
    "anyone-withdraws-at-once": _without(
        "datasets", 'require(own or ctx.block_time >= s["until"], "TOO_EARLY")', "another clears a draft away"
    ),
    "one-draft-too-many": Plant(
        "datasets",
        'require(count["drafts"] < DRAFTS_MAX',
        'require(count["drafts"] <= DRAFTS_MAX',
        "an owner has one incomplete schema more than it may",
    ),
    "identifiers-not-compared": Plant(
        "datasets",
        "all([identifier == found[0] for identifier in found])",
        "True",
        "numbers are joined with texts",
    ),
    "approver-threshold-of-none": Plant(
        "datasets",
        "require(0 < threshold <= len",
        "require(0 <= threshold <= len",
        "a dataset that nobody approves",
    ),
    "any-owner-changes-data": _without(
        "datasets", 'require(record["owner"] == org, "NOT_OWNER")', "another member changes a dataset"
    ),
    "retired-data-comes-back": _without(
        "datasets", 'require(record["status"] != "retired", "WRONG_STATE")', "a retired dataset is changed"
    ),
    # --- grants
    "expelled-approvers-count": Plant(
        "grants",
        'return [org for org in source["approvers"] if org in members and (sole',
        'return [org for org in source["approvers"] if (sole',
        "the approval of a member that was suspended counts",
    ),
    "approvals-of-other-terms-count": Plant(
        "grants",
        "if approvals[org] == offer and org in counting",
        "if org in counting",
        "an approval binds its giver to others' terms",
    ),
    "threshold-one-short": Plant(
        "grants",
        '    if len(valid) >= source["threshold"]:\n        activate(g, ballot, offered, valid, members)',
        '    if len(valid) >= source["threshold"] - 1:\n        activate(g, ballot, offered, valid, members)',
        "a grant becomes active one vote too early",
    ),
    "own-request-approved": _without(
        "grants", 'require(org in counting, "OWN_REQUEST")', "a requester votes on its own request"
    ),
    "taken-back-vote-stays": Plant(
        "grants",
        'offer = ballot["approvals"].pop(org)',
        'offer = ballot["approvals"][org]',
        "a vote taken back counts",
    ),
    "run-not-returned": Plant(
        "grants",
        "                standing[id] = s\n                returned.append(id)\n                note",
        "                returned.append(id)\n                note",
        "an abort keeps the run that it reserved",
    ),
    "quota-one-more": Plant(
        "grants",
        's["used"] + s["reserved"] >= g["quota_runs"]',
        's["used"] + s["reserved"] > g["quota_runs"]',
        "one run more than granted",
    ),
    "term-one-late": Plant(
        "grants",
        'require(ctx.block_time < g["expires"], "GRANT_EXPIRED")',
        'require(ctx.block_time <= g["expires"], "GRANT_EXPIRED")',
        "a grant is used at the moment of its end",
    ),
    "narrowed-below-use": _without(
        "grants",
        'require(g["quota_runs"] >= s["used"] + s["reserved"], "QUOTA_IN_USE")',
        "a quota below what is taken",
    ),
    "narrowed-past-its-end": Plant(
        "grants",
        '    require(ctx.block_time < g["expires"], "BAD_TERM")\n    require(g["quota_runs"] >=',
        '    require(g["quota_runs"] >=',
        "a grant is narrowed when its term is over",
    ),
    "frozen-policy-says-yes": _without(
        "grants", 'require(fault != "POLICY_FROZEN", "POLICY_FROZEN")', "a grant is set under a frozen policy"
    ),
    "dataset-not-asked-again": _without(
        "grants",
        'require(datasets.usable(g["dataset"]), "DATASET_NOT_ACTIVE")',
        "a suspended dataset is used",
    ),
    "constraint-not-asked": Plant(
        "grants",
        'if use["columns"][name] not in USES[g["columns"][name]]:',
        'if False and use["columns"][name] not in USES[g["columns"][name]]:',
        "a column is used otherwise",
    ),
    "narrowed-names-the-others": Plant(
        "grants",
        'if terms_fault(g, s, use, live.get((id, use["job"]), "")) != "":',
        'if False and terms_fault(g, s, use, live.get((id, use["job"]), "")) != "":',
        "who narrows its grant has the others named as missing",
    ),
    "who-never-agreed-is-missing": Plant(
        "jobs",
        'return [] if j["state"] == "proposed" else waits_for(j, spec)',
        "return waits_for(j, spec)",
        "who never agreed to a job is named at its end",
    ),
    "who-waited-is-missing": Plant(
        "jobs",
        'if j["state"] == "accepted" and len(j["bound"]) == 0:',
        'if False and j["state"] == "accepted" and len(j["bound"]) == 0:',
        "who waited in vain for the others to begin a job is named at its end",
    ),
    "puppets-by-a-majority": Plant(
        "governance",
        '    "admit_org",\n',
        "",
        "a bare majority may be let admit members",
    ),
    "a-day-has-no-end": Plant(
        "grants",
        "today = ctx.block_time // DAY_MS",
        "today = 1",
        "a requester's requests of all days count as today's",
    ),
    "one-request-too-many": Plant(
        "grants",
        "require(of_dataset < REQUESTS_OF_DATASET_MAX",
        "require(of_dataset <= REQUESTS_OF_DATASET_MAX",
        "a requester has one request more than it may",
    ),
    "one-party-too-many": Plant(
        "grants",
        'fits = profile["parties_min"] <= len(participants) <= profile["parties_max"]',
        'fits = profile["parties_min"] <= len(participants) <= profile["parties_max"] + 1',
        "a job is proposed with more parties than its profile runs with",
    ),
    "two-datasets-of-one-owner": _without(
        "grants",
        'require(owners.count(owner) <= profile["datasets_max"], "PROFILE_DATASETS")',
        "a job is proposed with more datasets of an owner than its profile takes",
    ),
    "one-free-return-too-many": Plant(
        "grants",
        "    if today >= FREE_RETURNS_A_DAY_MAX or",
        "    if today > FREE_RETURNS_A_DAY_MAX or",
        "a grant takes back four runs in a day",
    ),
    "refusals-are-free": Plant(
        "jobs",
        'refused = [org] if reached == "accepted" and org != j["initiator"] else []',
        "refused = []",
        "an owner's refusals about its data cost nothing, however many",
    ),
    "one-partner-too-many": Plant(
        "grants",
        'len(known) < g["partner_versions"], "PARTNER_VERSIONS"',
        'len(known) <= g["partner_versions"], "PARTNER_VERSIONS"',
        "a version is joined with one set of versions more than its grant allows",
    ),
    "data-move-under-a-revoked-grant": Plant(
        "grants",
        '        guard_status(g, s["status"])\n        require(live.get((id, job), "") == "reserved"',
        '        require(live.get((id, job), "") == "reserved"',
        "a join begins although a grant was revoked",
    ),
    "run-spent-twice": Plant(
        "grants",
        '            s = standing_of(id)\n            s["used"] -= 1\n',
        "            s = standing_of(id)\n",
        "what all owners disclaim stays spent",
    ),
    # --- what is counted by the day
    **{
        f"one-{act}-too-many-a-day": Plant(
            contract, f"<= {bound}, ", f"<= {bound} + 1, ", f"a member has one of the {act} more in a day"
        )
        for contract, act, bound in (
            ("orgs", "pending", "PENDING_A_DAY_MAX"),
            ("datasets", "registrations", "REGISTRATIONS_A_DAY_MAX"),
            ("datasets", "versions", "VERSIONS_A_DAY_MAX"),
            ("datasets", "parts", "PARTS_A_DAY_MAX"),
            ("datasets", "changes", "CHANGES_A_DAY_MAX"),
            ("accounts", "account-changes", "CHANGES_A_DAY_MAX"),
            ("grants", "requests", "REQUESTS_A_DAY_MAX"),
            ("grants", "grant-changes", "CHANGES_A_DAY_MAX"),
            ("governance", "proposals", "PROPOSALS_A_DAY_MAX"),
            ("governance", "retractions", "RETRACTIONS_A_DAY_MAX"),
            ("governance", "rotations", "ROTATIONS_A_DAY_MAX"),
            ("lifecycle", "contract-proposals", "PROPOSALS_A_DAY_MAX"),
            ("lifecycle", "libraries", "LIBRARIES_A_DAY_MAX"),
            ("lifecycle", "contract-retractions", "RETRACTIONS_A_DAY_MAX"),
        )
    },
    "the-day-before-counts": Plant(
        "datasets", 'if row["day"] != day:', "if False:", "what was done on another day counts as today's"
    ),
    "votes-taken-back-uncounted": Plant(
        "grants",
        "    count_change(org)\n    if has_votes",
        "    if has_votes",
        "a vote is given and taken back for ever",
    ),
    # --- accounts
    "nothing-is-reserved": Plant(
        "accounts",
        '        move(sums, booking["grantee"], "", "reserved")\n',
        '        move(sums, booking["grantee"], "", "")\n',
        "jobs at the same time share one rest of an account",
    ),
    "room-is-asked-once": Plant(
        "accounts",
        '        guard_room(sums, booking["grantee"])\n        move(',
        "        move(",
        "a job whose room other jobs took meanwhile is accepted",
    ),
    "spent-comes-back-twice": Plant(
        "accounts",
        "    for place in places:\n        del holds[job, place]",
        "    for place in places:\n        pass",
        "what came back once comes back again",
    ),
    "all-comes-back": Plant(
        "accounts",
        "        back = whole_accounts(job, booking, waiting, returned)\n",
        "        back = waiting\n",
        "a charge comes back although its run is spent",
    ),
    "grantees-share-is-not-asked": Plant(
        "accounts",
        'if not is_within(share, most["grantee_epsilon"], most["delta"]):',
        "if False:",
        "one grantee takes all that an account has",
    ),
    "share-is-the-whole": Plant(
        "accounts",
        "        share = plus(shares.get((id, first, grantee), EMPTY), sums)\n        if",
        "        share = whole\n        if",
        "what others got is held against one grantee",
    ),
    "deltas-are-not-summed": Plant(
        "accounts",
        'if whole["delta"] > most["delta"] or',
        'if sums["delta"] > most["delta"] or',
        "each job has all of delta",
    ),
    "grantees-delta-is-not-asked": Plant(
        "accounts",
        ' or share["delta"] > most["grantee_delta"]:',
        ":",
        "one grantee takes all of delta, and ends noise for everybody",
    ),
    "epsilons-are-summed-only": Plant(
        "accounts",
        'return sums["epsilon"] <= epsilon or epsilon_of(',
        'return sums["epsilon"] <= epsilon and 0 <= epsilon_of(',
        "charges that compose to less are refused",
    ),
    "new-version-begins-anew": Plant(
        "accounts",
        "    found = 1\n    for first in begun.get(id, []):",
        "    found = version\n    for first in begun.get(id, []):",
        "a new version of the same rows has an account of its own",
    ),
    "consumed-twice": Plant(
        "accounts",
        '        move(sums, booking["grantee"], "reserved", "spent")',
        '        move(sums, booking["grantee"], "", "spent")',
        "what a job spends stays reserved, too",
    ),
    "caps-only-rise-in-name": _without(
        "accounts",
        'require(name not in now or caps[name] <= now[name], "CAP_RAISED")',
        "who may lower a cap raises it past the second key",
    ),
    "caps-stay-above-what-is-spent": Plant(
        "accounts",
        '        require(name not in now or caps[name] <= now[name], "CAP_RAISED")\n',
        '        require(name not in now or caps[name] <= now[name], "CAP_RAISED")\n'
        '    spent = account_row(id, first_of(id, record["version"]))["spent"]\n'
        '    require(caps.get("epsilon", 10**12) >= spent["epsilon"], "CAP_RAISED")\n',
        "an owner cannot stop what is given away already",
    ),
    "figures-are-not-summed": Plant(
        "accounts",
        'most["figures"] - whole["spent"] - whole["reserved"],',
        'most["figures"],',
        "each job has all figures of a column",
    ),
    "grantees-figures-are-not-summed": Plant(
        "accounts",
        'most["grantee_figures"] - share["spent"] - share["reserved"],',
        'most["grantee_figures"],',
        "one grantee takes all figures of a column",
    ),
    "reserved-at-each-acceptance": Plant(
        "accounts",
        "    if not last:\n",
        "    if False:\n",
        "who does not take part yet keeps room for a job that may never be",
    ),
    "returns-are-not-counted": Plant(
        "accounts",
        '            count_return(sums, booking["grantee"])\n',
        "            pass\n",
        "a grantee holds an account with jobs that never begin, as often as it likes",
    ),
    # --- jobs
    "join-asked-again": _without(
        "jobs",
        'require(row["outcome"] != "too few", "JOIN_TOO_SMALL")',
        "what joins too little is asked again",
    ),
    "more-rows-asked-for": _without(
        "jobs",
        'require(spec["min_group"] <= row["min_group"], "JOIN_NOT_JUDGED")',
        "a minimum group is raised until the joined rows no longer reach it",
    ),
    "one-owner-judges-for-all": Plant(
        "jobs",
        'elif without(j["owners"], row["said"]) == []:',
        'elif len(row["said"]) > 0:',
        "joined rows suffice by one owner's word",
    ),
    "join-by-other-columns": Plant(
        "datasets",
        'if sorted(names) != sorted(schema_of(dataset_of(id)["owner"], v["schema"])["key"]):',
        "if len(names) == 0:",
        "a job joins by other columns than a key's",
    ),
    "one-owner-s-word-suffices": Plant(
        "jobs",
        'if without(j["owners"], j["disclaimed"] + [j["initiator"]]) == []:',
        'if len(j["disclaimed"]) > 0:',
        "a run returns although an owner has not said that it sent nothing",
    ),
    "initiator-disclaims": _without(
        "jobs", 'require(org != j["initiator"], "OWN_CASE")', "an initiator says itself that nothing was sent"
    ),
    "disclaims-after-a-stage": _without(
        "jobs",
        'require((job, org) not in stage_heads, "STAGE_COMMITTED")',
        "who computed says that it sent nothing",
    ),
    "stage-without-a-join": Plant(
        "jobs",
        'party_of(specs[job], org)\n    require(j["join_height"] > 0, "JOIN_NOT_BEGUN")',
        "party_of(specs[job], org)",
        "a job computes and its runs are not used",
    ),
    "disclaimed-while-it-runs": Plant(
        "jobs",
        'require(stopped and j["join_height"] > 0, "WRONG_STATE")',
        'require(j["join_height"] > 0, "WRONG_STATE")',
        "an owner disclaims a job that has not ended",
    ),
    "accept-after-deadline": Plant(
        "jobs",
        '    require(ctx.block_time <= j["deadline"], "DEADLINE_PASSED")\n    return j',
        "    return j",
        "a step after its deadline",
    ),
    "expire-one-early": Plant(
        "jobs",
        'require(ctx.block_time > j["deadline"], "TOO_EARLY")',
        'require(ctx.block_time >= j["deadline"], "TOO_EARLY")',
        "a job expires at its deadline",
    ),
    "last-approval-asks-own-grants": Plant(
        "jobs",
        "if final or owner == org]",
        "if owner == org]",
        "a revocation before the last approval is too late",
    ),
    "receiver-left-unasked": Plant(
        "jobs",
        '    spec = specs[job]\n    guard_job(j, spec)\n    j["reveals"].append(org)',
        '    spec = specs[job]\n    j["reveals"].append(org)',
        "results go to an organisation that is no member",
    ),
    "certificate-one-short": Plant(
        "jobs",
        'if len(j["signed"]) == len(spec["participants"]):',
        'if len(j["signed"]) >= len(spec["participants"]) - 1:',
        "a certificate without every signature",
    ),
    "gap-in-stages": _without(
        "jobs", 'require(stage == head["count"], "STAGE_NOT_CONTIGUOUS")', "a stage is left out"
    ),
    "mismatch-accuses-one": Plant(
        "jobs",
        '"TRANSCRIPT_MISMATCH", [other, org], evidence',
        '"TRANSCRIPT_MISMATCH", [other], evidence',
        "the honest end of a channel is accused",
    ),
    "equivocation-passes": Plant(
        "jobs",
        "    if encode(known) == encode(said):",
        "    if known != {}:",
        "a party says two things and nobody records it",
    ),
    "job-comes-back-late": Plant(
        "jobs",
        'require(j["state"] not in WAITING or ctx.block_time <= j["deadline"], "DEADLINE_PASSED")',
        "pass",
        "a dispute revives a job whose time is over",
    ),
    "resumes-with-a-dispute-open": Plant(
        "jobs",
        'elif j["open_disputes"] == 0 and ctx.block_time <= j["deadline"]:',
        'elif ctx.block_time <= j["deadline"]:',
        "a job goes on while a second report waits",
    ),
    "party-decides-its-case": _without(
        "jobs", 'require(neutral, "NOT_NEUTRAL")', "an auditor decides its own case"
    ),
    "late-are-named-early": Plant(
        "jobs", 'late = ctx.block_time > j["deadline"]', "late = True", "an abort names parties that had time"
    ),
    "expiry-without-the-missing": Plant(
        "jobs",
        'put_end(j, phase, "deadline", absent,',
        'put_end(j, phase, "deadline", [],',
        "who let a job expire is not named where its end is read",
    ),
    "a-party-s-word-as-found": Plant(
        "jobs",
        'stop(j, spec, absent, "party", cause',
        'stop(j, spec, absent, "contract", cause',
        "what a party says of an end stands as what the contract found",
    ),
    # --- what follows of a job's page
    "page-uses-by-word": _without(
        "jobs",
        'require(item["columns"] == found["uses"][item["name"]], "USES_DIFFER")',
        "grants are asked about uses that the plan does not make",
    ),
    "page-plan-by-word": _without(
        "jobs",
        'require(found["page"] == spec["page"] and found["plan"] == spec["plan"], "PLAN_DIFFERS")',
        "a job names another plan than the one that follows of its page",
    ),
    "page-receivers-by-word": _without(
        "jobs",
        'require(sorted(spec["receivers"]) == found["receivers"], "RECEIVERS_DIFFER")',
        "a page tells somebody of whom no grant was asked",
    ),
    "page-membership-forgotten": Plant(
        "jobs",
        '"membership": follows["membership"], "epsilon"',
        '"membership": {name: [] for name in follows["membership"]}, "epsilon"',
        "a join tells others which rows are joined, of whom no grant was asked",
    ),
    "membership-unasked": Plant(
        "grants",
        'if org not in g["membership"] and org != g["owner"]:',
        'if org not in g["membership"] and org == "":',
        "a grant without membership lets a join tell which rows are joined",
    ),
    "epsilon-unasked": Plant(
        "grants",
        'if use["epsilon"][use["name"]] > g["run_epsilon"]:',
        'if use["epsilon"][use["name"]] > RUN_EPSILON_MAX:',
        "a job takes more epsilon than whoever approved the grant had read",
    ),
    "page-epsilon-forgotten": Plant(
        "jobs",
        '"epsilon": epsilons_of(follows)}',
        '"epsilon": {name: 0 for name in follows["charges"]}}',
        "noise is as weak as the proposer likes, of which no grant was asked",
    ),
    "retired-page-runs": Plant(
        "jobs",
        'return programs.is_active(spec["program"])',
        "return True",
        "a program that members retired starts more",
    ),
    "retired-program-joins": Plant(
        "jobs",
        '        require(in_force(spec), "PROGRAM_NOT_ACTIVE")\n        joined',
        "        joined",
        "data of a retired program begin to move",
    ),
    # --- programs
    "page-without-votes": _without(
        "programs", 'require(counted["passed"], "NOT_ENOUGH_VOTES")', "one member alone makes a program"
    ),
    "second-page-of-an-id": Plant(
        "programs",
        '    require(id not in programs, "PROGRAM_EXISTS")\n    leave_open(proposal)\n',
        "    leave_open(proposal)\n",
        "an id that grants name gets another page",
    ),
    "page-voted-unread": _without(
        "programs", 'require(proposal["hash"] == hash, "HASH_MISMATCH")', "a vote for a page that nobody read"
    ),
    "page-decided-late": _without(
        "programs",
        'require(ctx.block_time <= proposal["expires"], "DEADLINE_PASSED")',
        "a page is voted on after its time",
    ),
    "anyone-withdraws-a-page": _without(
        "programs", 'require(proposal["by"] == org, "NOT_PROPOSER")', "a member takes back another's page"
    ),
    "forgotten-page-stays": Plant(
        "programs",
        '    let_go_page(proposal["page"])\n',
        "",
        "pages that nobody wanted fill the state",
    ),
    "page-of-a-program-goes": Plant(
        "programs",
        "    page_uses[page] = uses + 1\n",
        "    page_uses[page] = 1\n",
        "a withdrawal takes the page from a program",
    ),
    "one-page-too-many": Plant(
        "programs",
        "open_of.get(org, 0) < OPEN_MAX",
        "open_of.get(org, 0) <= OPEN_MAX",
        "a member has one page more open than it may",
    ),
    "retired-program-goes-on": Plant(
        "programs",
        'program["status"] = "retired"',
        'program["status"] = "active"',
        "members retire a program, and jobs begin all the same",
    ),
    "retire-vote-never-lapses": Plant(
        "programs",
        "for org, times in votes.items() if ctx.block_time <= times[1]",
        "for org, times in votes.items()",
        "votes of other years end a program",
    ),
    "replaced-keys-retire": Plant(
        "programs",
        "for org in governance.standing(said)}",
        "for org in said}",
        "a vote that a thief gave ends a program after members ended its keys",
    ),
    "retire-vote-stays": Plant(
        "programs", "    votes.pop(org)\n", "", "a vote to retire that was taken back counts"
    ),
    "page-votes-taken-back-uncounted": Plant(
        "programs",
        'require(count_today(org, "retractions") <= RETRACTIONS_A_DAY_MAX, "TOO_MANY_RETRACTIONS_TODAY")',
        "pass",
        "histories grow by votes that are taken back and given again",
    ),
    # --- governance
    "key-replaced-at-once": _without(
        "governance",
        'require(ctx.block_time >= objection_ends(proposal), "OBJECTION_TIME")',
        "members replace an admin key before its organisation could object",
    ),
    "second-replacement-at-once": Plant(
        "governance",
        'if proposal["kind"] == "replace_key":\n        whom.append(',
        'if proposal["kind"] == "nothing":\n        whom.append(',
        "a replacement proposed before the last one ends the new key without three days to object",
    ),
    "proposals-of-replaced-keys": Plant(
        "governance",
        'whom = [proposal["by"]]',
        "whom = []",
        "what a thief proposed is carried out after members ended its keys",
    ),
    "votes-of-replaced-keys": Plant(
        "governance",
        "speak = [org for org in members if moments.get(org, -1) < asked_at]",
        "speak = members",
        "a thief's vote counts after members ended its keys",
    ),
    "anyone-objects": _without(
        "governance",
        'require(proposal["kind"] == "replace_key" and proposal["payload"]["org"] == org, "NOT_CONCERNED")',
        "a member stops whatever the others decide",
    ),
    "key-replaced-by-a-majority": Plant(
        "governance",
        '    "replace_key",\n    "add_node",\n',
        '    "add_node",\n',
        "a bare majority may be let take over members by keys of its own",
    ),
    "former-members-votes-count": Plant(
        "governance",
        '"passed": len(counted) >= needed,',
        '"passed": len(votes) >= needed,',
        "votes are counted as cast, not at the decision",
    ),
    "quorum-floor-lost": Plant(
        "governance",
        'return max(floor, min(policy["votes"], n))',
        'return min(policy["votes"], n)',
        "a stated number undercuts the floor",
    ),
    "proposal-lives-on": Plant(
        "governance",
        '    require(ctx.block_time <= proposal["expires"], "DEADLINE_PASSED")\n',
        "",
        "a decision is carried out after its time",
    ),
    "retired-node-key-returns": _without(
        "governance",
        'require(known["org"] == node["org"] and known["status"] == "left", "KEY_EXISTS")',
        "a node key that was replaced serves again",
    ),
    "nodes-of-an-expelled-member": _without(
        "governance",
        'require(len([node for node in nodes.get() if node["org"] == org]) == 0, "ORG_HAS_NODES")',
        "a member with nodes is expelled",
    ),
    "withdrawn-decisions-take-room": Plant(
        "governance",
        '    del proposals[proposal["seq"]]\n    open_of[proposal["by"]] = open_of[proposal["by"]] - 1',
        '    del proposals[proposal["seq"]]',
        "what a member withdrew counts as open",
    ),
    # --- lifecycle
    "replaced-version-runs": Plant(
        "lifecycle",
        "return current is not None and has_begun(current) and not migrates(proposal)",
        "return current is not None and not migrates(proposal)",
        "a version runs that was replaced before it began",
    ),
    "votes-of-another-version": Plant(
        "lifecycle",
        'if found is None or found["seq"] != record["seq"]:\n        return {}\n    said = ',
        "if found is None:\n        return {}\n    said = ",
        "votes against one version stop the next",
    ),
    "stop-votes-never-lapse": Plant(
        "lifecycle",
        'for org, times in found["votes"].items() if ctx.block_time <= times[1]}',
        'for org, times in found["votes"].items()}',
        "votes to freeze add up over years",
    ),
    "replaced-keys-stop": Plant(
        "lifecycle",
        "for org in governance.standing(said)}",
        "for org in said}",
        "a vote that a thief gave stops a contract after members ended its keys",
    ),
    "stale-version-committed": _without(
        "lifecycle", 'require(seq > newest_seq(current), "STALE_SEQ")', "an older version follows a newer one"
    ),
    "anothers-freeze-ends": Plant(
        "lifecycle",
        "    until = max(lone_of(record).values())\n    if until > ctx.height:",
        "    until = 0\n    if until > ctx.height:",
        "a vote taken back ends others' freezes",
    ),
    "freeze-cut-short": Plant(
        "lifecycle",
        "stop(record, org, reason, max(lone_of(record).values()))",
        "stop(record, org, reason, until)",
        "a later freeze ends an earlier one",
    ),
    "library-goes-while-named": Plant(
        "lifecycle",
        'if not found["withdrawn"] or found["open"] > 0:',
        'if not found["withdrawn"]:',
        "what its publisher withdraws is gone, or off its account, while proposals name it",
    ),
    "library-of-a-version-goes": Plant(
        "lifecycle",
        "    for source_hash in named.values():\n        source_uses[source_hash] += 1\n",
        "    for source_hash in named.values():\n",
        "a withdrawal takes the library from contracts in force",
    ),
    "anyone-withdraws-a-library": _without(
        "lifecycle",
        'require(found["by"] == org, "NOT_PUBLISHER")',
        "a member takes back another's library",
    ),
    "hash-not-asked": Plant(
        "lifecycle",
        '    require(proposal["hash"] == hash, "HASH_MISMATCH")\n',
        "",
        "a vote for something else than one has read",
    ),
}
QUICK = ("threshold-one-short", "run-not-returned", "votes-of-another-version")
"""Shown by the first histories: these are tried with the tests."""
