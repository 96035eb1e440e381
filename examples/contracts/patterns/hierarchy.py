"""Authority that is handed down: an office decides up to its limit, and asks the one above beyond it."""


class Office(Record):
    holder: str
    above: str = ""  # the office that it answers to; none for the head
    limit: int = 0


class Request(Record):
    office: str  # whose turn it is
    by: str
    amount: int
    purpose: str


DEPTH_MAX = 8
HEAD = "head"
offices = Map(str, Office, ordered=True)
requests = Map(str, Request, ordered=True)
spent = Map(tuple[str, int], int)  # (office, month) -> amount that it decided

Appointed = Event(office=str, holder=subject, limit=int, by=subject)
Escalated = Event(request=str, office=str, by=subject)
Decided = Event(request=str, office=str, by=subject, approved=bool)


@init
def setup(holder: str, limit: int):
    offices[HEAD] = Office(holder, limit=limit)


@export
def appoint(office: str, holder: str, above: str, limit: int):
    """By the office above, which gives no more than it has."""
    held_by_sender(above)
    require(office != HEAD and 0 <= limit <= offices[above].limit, "BEYOND_LIMIT")
    require(office not in offices or offices[office].above == above, "ANOTHERS_OFFICE")
    require(depth(above) < DEPTH_MAX, "TOO_DEEP")
    offices[office] = Office(holder, above, limit)
    Appointed(office=office, holder=f"org:{holder}", limit=limit, by=f"org:{ctx.org}")


@export
def ask(request: str, office: str, amount: int, purpose: str):
    require(request not in requests and amount > 0, "BAD_REQUEST")
    require(office in offices, "NO_SUCH_OFFICE")
    requests[request] = Request(office, ctx.org, amount, purpose)


@export
def decide(request: str, approved: bool) -> str:
    """Returns the office that has it now, "" when it is decided; nobody decides what it asked for itself."""
    require(request in requests, "NO_SUCH_REQUEST")
    asked = requests[request]
    held_by_sender(asked.office)
    office = offices[asked.office]
    used = spent.get((asked.office, month()), 0)
    if approved and (used + asked.amount > office.limit or asked.by == office.holder):
        require(office.above != "", "BEYOND_EVERY_LIMIT")
        asked.office = office.above
        requests[request] = asked
        Escalated(request=request, office=asked.office, by=f"org:{ctx.org}")
        return asked.office
    if approved:
        spent[asked.office, month()] = used + asked.amount
    del requests[request]
    Decided(request=request, office=asked.office, by=f"org:{ctx.org}", approved=approved)
    return ""


@view
def chain_of(office: str) -> list[str]:
    """The offices from one up to the head."""
    require(office in offices, "NO_SUCH_OFFICE")
    found = [office]
    while offices[found[-1]].above != "":
        found.append(offices[found[-1]].above)
    return found


def depth(office: str) -> int:
    return len(chain_of(office))


def month() -> int:
    year, number, _ = date.parts(ctx.block_time)
    return year * 12 + number


def held_by_sender(office: str):
    require(office in offices and offices[office].holder == ctx.org, "NOT_HOLDER")
