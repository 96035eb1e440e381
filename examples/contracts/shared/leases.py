"""Who may use a room of data, and how long; the owner gives it, and it ends by itself."""

terms = Library("cccf5728841e8a6464395f815af5972979e9e8b3747f69ff7ddde48f3820e690")
leases = Map(tuple[str, str], terms.Term, ordered=True)  # (room, org)
owner = Var(str, "")
Leased = Event(org=subject, room=str, until=str)

@init
def setup(by: str):
    owner.set(by)

@export
@only(org=owner)
def lease(room: str, org: str, days: int | None = None):
    made = terms.for_days(ctx.org, ctx.block_time, days)
    leases[room, org] = made
    Leased(org=f"org:{org}", room=room, until="" if made.until is None else date.day(made.until))

@view
def may_use(room: str, org: str) -> bool:
    return terms.runs(leases.get((room, org)), ctx.block_time)
