"""Holdings that end by themselves, and votes that suffice: a library, which leases.py and committee.py share."""

class Term(Record):
    by: str
    until: int | None = None  # block time; None: until it is taken

DAYS_MAX = 3_660

def for_days(by: str, now: int, days: int | None) -> Term:
    require(days is None or 0 < days <= DAYS_MAX, "BAD_DAYS")
    return Term(by, None if days is None else date.add_days(now, days))

def runs(term: Term | None, now: int) -> bool:
    return term is not None and (term.until is None or now <= term.until)

def behind(votes: dict[str, bool], members: list[str]) -> list[str]:
    """Those members who are for it; votes of others do not count."""
    return [org for org in members if votes.get(org, False)]

def passed(votes: dict[str, bool], members: list[str], needed: int) -> bool:
    require(0 < needed <= len(members), "BAD_NEEDED")
    return len(behind(votes, members)) >= needed
