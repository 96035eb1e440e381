"""Roles of organisations: the holders of one role give and take another; a holding may end by itself."""


class Holding(Record):
    by: str
    until: int | None = None  # block time; None: until it is taken


OWNER = "owner"
given_by = Map(str, str, ordered=True)  # role -> the role whose holders give it
holdings = Map(tuple[str, str], Holding, ordered=True)  # (role, org)

RoleDefined = Event(role=str, given_by=str, by=subject)
RoleGiven = Event(org=subject, role=str, by=subject, until=str)
RoleTaken = Event(org=subject, role=str, by=subject)


@init
def setup(owner: str):
    given_by[OWNER] = OWNER
    give(OWNER, owner, ctx.caller, None)


@export
def define(role: str, by: str):
    """The owners say which role gives which."""
    require(holds(OWNER, ctx.org), "NOT_OWNER")
    require(role != OWNER and by in given_by, "NO_SUCH_ROLE")
    given_by[role] = by
    RoleDefined(role=role, given_by=by, by=f"org:{ctx.org}")


@export
def grant(role: str, org: str, days: int | None = None):
    require(role in given_by, "NO_SUCH_ROLE")
    require(holds(given_by[role], ctx.org), "NOT_GIVER")
    give(role, org, f"org:{ctx.org}", None if days is None else date.add_days(ctx.block_time, days))


@export
def take(role: str, org: str):
    """Whoever gives a role takes it, and anyone gives up its own; the last owner stays."""
    require((role, org) in holdings, "NOT_HELD")
    require(org == ctx.org or holds(given_by[role], ctx.org), "NOT_GIVER")
    require(role != OWNER or len(holdings.page(limit=2, prefix=(OWNER,))) > 1, "LAST_OWNER")
    del holdings[role, org]
    RoleTaken(org=f"org:{org}", role=role, by=f"org:{ctx.org}")


@view
def holds(role: str, org: str) -> bool:
    held = holdings.get((role, org))
    return held is not None and (held.until is None or ctx.block_time <= held.until)


@view
def holders(role: str, after: str | None = None, limit: int = 50) -> list[str]:
    """Who holds a role, a page at a time; `after` is the last one of the page before."""
    page = holdings.page(None if after is None else (role, after), limit, prefix=(role,))
    return [org for _, org in page if holds(role, org)]


def give(role: str, org: str, by: str, until: int | None):
    require(role != OWNER or until is None, "OWNER_HAS_NO_END")
    holdings[role, org] = Holding(by, until)
    RoleGiven(org=f"org:{org}", role=role, by=by, until="" if until is None else date.day(until))
