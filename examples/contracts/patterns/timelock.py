"""Acts wait two days, unless the owner pauses them."""


class Act(Record):
    by: str
    note: str


DELAY_MS = 2 * 24 * 60 * 60 * 1000
owner = Var(str, "")
paused = Var(bool, False)
waiting = Map(tuple[int, str], Act, ordered=True)  # (from when, act) -> what
Queued = Event(by=subject, act=str, ready=str)

@init
def setup(org: str):
    owner.set(org)

@export
@only(org=owner)
def pause(on: bool = True):
    paused.set(on)

@export
@only("admin")
def queue(act: str, note: str = ""):
    ready = ctx.block_time + DELAY_MS
    waiting[ready, act] = Act(ctx.org, note)
    Queued(by=f"org:{ctx.org}", act=act, ready=date.iso(ready))

@export
def run_next() -> str:
    require(not paused.get(), "PAUSED")
    ready, act = min(waiting.page(limit=1), default=(0, ""))
    require(act != "", "NOTHING_WAITS")
    require(ready <= ctx.block_time, "TOO_EARLY")
    by = waiting[ready, act].by
    del waiting[ready, act]
    return f"{act} of {by}"
