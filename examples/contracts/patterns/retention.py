"""How long records may be kept: months from the day of collection, by kind."""

MONTHS = {"scan": 6, "letter": 18}
records = Map(tuple[str, str], int, ordered=True)  # (last day, record) -> collected at
Kept = Event(by=subject, record=str, until=str)

@export
@only("admin", "steward")
def keep(record: str, kind: str, collected: str) -> str:
    require(kind in MONTHS, "NO_SUCH_KIND")
    start = date.parse(collected)
    until = date.day(date.add_months(start, MONTHS[kind]))
    records[until, record] = start
    Kept(by=f"org:{ctx.org}", record=record, until=until)
    return until

@view
def due(limit: int = 10) -> list[str]:
    """Records whose last day lies before today, the oldest first."""
    today = date.day(ctx.block_time)
    return [f"{record} ({until})" for until, record in records.page(limit=limit) if until < today]

@export
@only("steward")
def erase(until: str, record: str):
    require(until < date.day(ctx.block_time), "TOO_EARLY")
    del records[until, record]
