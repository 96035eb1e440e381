"""regulator_access: a supervisor uses a dataset in a window of time that its owner was told of beforehand.

A supervisor gives notice: which grant, under which case, from when to when. The owner learns of it from its own
history, may wave it through at once or put it off once; afterwards every use and the end leave an event there.
"""

NOTICE_MS = 86400000  # a day between the notice and the first use
WINDOW_MAX_MS = 1209600000  # two weeks
POSTPONE_MAX_MS = 259200000  # three days
AHEAD_MAX_MS = 7776000000  # 90 days
TEXT_MAX = 256

windows = Map(str, dict)  # grant -> {regulator, owner, dataset, case, opens, closes, postponed, uses, status}

orgs = Contract("orgs")
grants = Contract("grants")

NoticeGiven = Event(
    grant=subject, dataset=subject, owner=subject, regulator=subject, case=str, opens=int, closes=int
)
NoticeAcknowledged = Event(grant=subject, dataset=subject, owner=subject, regulator=subject, opens=int)
NoticePostponed = Event(
    grant=subject, dataset=subject, owner=subject, regulator=subject, opens=int, closes=int, reason=str
)
AccessUsed = Event(
    grant=subject, dataset=subject, owner=subject, regulator=subject, job=subject, case=str, uses=int
)
AccessEnded = Event(grant=subject, dataset=subject, owner=subject, regulator=subject, uses=int)


@export
def notify(grant: str, case: str, opens: int, closes: int):
    """A supervisor announces the use of a grant that it holds, at least a day ahead."""
    org = steward()
    require(orgs.has_role(org, "auditor"), "NOT_A_REGULATOR")
    g = grants.grant_of(grant)
    require(g["grantee"] == org, "NOT_GRANTEE")
    require(0 < len(case) <= TEXT_MAX, "BAD_CASE")
    require(opens >= ctx.block_time + NOTICE_MS, "NOTICE_TOO_SHORT")
    require(opens <= ctx.block_time + AHEAD_MAX_MS, "TOO_FAR_AHEAD")
    require(opens < closes <= opens + WINDOW_MAX_MS, "BAD_WINDOW")
    old = windows.get(grant)
    require(old is None or old["status"] == "ended" or ctx.block_time >= old["closes"], "WINDOW_EXISTS")
    window = {
        "regulator": org,
        "owner": g["owner"],
        "dataset": g["dataset"],
        "case": case,
        "opens": opens,
        "closes": closes,
        "postponed": False,
        "uses": 0,
        "status": "announced",
    }
    windows[grant] = window
    NoticeGiven(
        grant="grant:" + grant,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        regulator="org:" + org,
        case=case,
        opens=opens,
        closes=closes,
    )


@export
def acknowledge(grant: str):
    """The owner waives what is left of the notice: the window opens now."""
    window = owned(grant)
    require(ctx.block_time < window["opens"], "ALREADY_OPEN")
    window["opens"] = ctx.block_time
    windows[grant] = window
    NoticeAcknowledged(
        grant="grant:" + grant,
        dataset="dataset:" + window["dataset"],
        owner="org:" + window["owner"],
        regulator="org:" + window["regulator"],
        opens=window["opens"],
    )


@export
def postpone(grant: str, by_ms: int, reason: str):
    """The owner puts a window off, once and by three days at most; its length stays."""
    window = owned(grant)
    require(ctx.block_time < window["opens"], "ALREADY_OPEN")
    require(not window["postponed"], "ALREADY_POSTPONED")
    require(0 < by_ms <= POSTPONE_MAX_MS, "BAD_TERM")
    require(0 < len(reason) <= TEXT_MAX, "BAD_REASON")
    window["postponed"] = True
    window["opens"] += by_ms
    window["closes"] += by_ms
    windows[grant] = window
    NoticePostponed(
        grant="grant:" + grant,
        dataset="dataset:" + window["dataset"],
        owner="org:" + window["owner"],
        regulator="org:" + window["regulator"],
        opens=window["opens"],
        closes=window["closes"],
        reason=reason,
    )


@export
def end(grant: str):
    """Close a window: the supervisor at any time, anyone once it is over."""
    window = window_of(grant)
    require(window["status"] == "announced", "ALREADY_ENDED")
    if ctx.block_time < window["closes"]:
        require(steward() == window["regulator"], "NOT_YOURS")
    window["status"] = "ended"
    windows[grant] = window
    AccessEnded(
        grant="grant:" + grant,
        dataset="dataset:" + window["dataset"],
        owner="org:" + window["owner"],
        regulator="org:" + window["regulator"],
        uses=window["uses"],
    )


@export(nested=True)
def allow(job: dict, phase: str) -> bool:
    """What grants ask at every phase: inside the window, for the supervisor alone; every run is told to the owner."""
    window = window_of(job["grant"])
    require(window["regulator"] == job["initiator"], "NOT_A_REGULATOR")
    require(orgs.has_role(job["initiator"], "auditor"), "NOT_A_REGULATOR")
    require(job["receivers"] == [job["initiator"]], "RECEIVER_NOT_ALLOWED")
    require(window["status"] == "announced", "WINDOW_ENDED")
    require(ctx.block_time >= window["opens"], "WINDOW_NOT_OPEN")
    require(ctx.block_time < window["closes"], "WINDOW_OVER")
    if phase == "running" and ctx.caller == "contract:grants":
        window["uses"] += 1
        windows[job["grant"]] = window
        AccessUsed(
            grant="grant:" + job["grant"],
            dataset="dataset:" + window["dataset"],
            owner="org:" + window["owner"],
            regulator="org:" + window["regulator"],
            job="job:" + job["job"],
            case=window["case"],
            uses=window["uses"],
        )
    return True


@view
def window_of(grant: str) -> dict:
    window = windows.get(grant)
    require(window is not None, "NO_NOTICE")
    return window


def owned(grant: str) -> dict:
    org = steward()
    window = window_of(grant)
    require(window["owner"] == org, "NOT_OWNER")
    require(window["status"] == "announced", "ALREADY_ENDED")
    return window


def steward() -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org
