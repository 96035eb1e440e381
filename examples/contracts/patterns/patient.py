"""Consent of patients, by pseudonym: for a purpose, until a day; a guardian may speak; emergencies are reviewed."""


class Person(Record):
    clinic: str  # speaks for the person
    guardian: str = ""


class Consent(Record):
    until: int
    by: str


class Emergency(Record):
    person: str
    clinic: str
    reason: str
    since: int
    verdict: str = ""


HOURS_MS = 60 * 60 * 1000
EMERGENCY_MS = 48 * HOURS_MS
board = Var(str, "")
people = Map(str, Person)
consents = Map(tuple[str, str], Consent, ordered=True)  # (person, purpose)
emergencies = Map(int, Emergency, ordered=True)
count = Var(int, 0)

ConsentGiven = Event(person=subject, purpose=str, until=str, by=subject)
ConsentWithdrawn = Event(person=subject, purpose=str, by=subject)
EmergencyOpened = Event(person=subject, number=int, reason=str, by=subject)
EmergencyReviewed = Event(person=subject, number=int, verdict=str, by=subject)


@init
def setup(reviewers: str):
    board.set(reviewers)


@export
@only("steward")
def enrol(person: str, guardian: str = ""):
    require(person not in people, "ENROLLED")
    people[person] = Person(ctx.org, guardian)


@export
def consent(person: str, purpose: str, months: int):
    speaks_for(person)
    require(0 < months <= 24, "BAD_TERM")
    until = date.add_months(ctx.block_time, months)
    consents[person, purpose] = Consent(until, ctx.org)
    ConsentGiven(person=f"person:{person}", purpose=purpose, until=date.day(until), by=f"org:{ctx.org}")


@export
def withdraw(person: str, purpose: str | None = None):
    """One purpose, or all of them."""
    speaks_for(person)
    for key in [(person, purpose)] if purpose is not None else consents.page(prefix=(person,)):
        require(key in consents, "NO_CONSENT")
        del consents[key]
        ConsentWithdrawn(person=f"person:{person}", purpose=key[1], by=f"org:{ctx.org}")


@export
@only("steward")
def emergency(person: str, reason: str) -> int:
    """Without consent, for two days; the board reads every one."""
    require(person in people, "NOT_ENROLLED")
    require(0 < len(reason) <= 256, "NO_REASON")
    number = count.get()
    count.set(number + 1)
    emergencies[number] = Emergency(person, ctx.org, reason, ctx.block_time)
    EmergencyOpened(person=f"person:{person}", number=number, reason=reason, by=f"org:{ctx.org}")
    return number


@export
@only(org=board)
def review(number: int, verdict: str):
    require(verdict in ("justified", "abuse"), "BAD_VERDICT")
    require(number in emergencies and emergencies[number].verdict == "", "NOTHING_TO_REVIEW")
    case = emergencies[number]
    case.verdict = verdict
    emergencies[number] = case
    EmergencyReviewed(person=f"person:{case.person}", number=number, verdict=verdict, by=f"org:{ctx.org}")


@view
def may_use(person: str, purpose: str) -> bool:
    given = consents.get((person, purpose))
    return given is not None and ctx.block_time <= given.until


@view
def may_enter(number: int, clinic: str) -> bool:
    """Whether an emergency lets a clinic read; a verdict of abuse ends it at once."""
    case = emergencies.get(number)
    if case is None or case.clinic != clinic or case.verdict == "abuse":
        return False
    return ctx.block_time <= case.since + EMERGENCY_MS


@view
def unreviewed(after: int | None = None) -> list[int]:
    return [number for number in emergencies.page(after, 50) if emergencies[number].verdict == ""]


def speaks_for(person: str):
    who = people.get(person)
    require(who is not None, "NOT_ENROLLED")
    assert who is not None
    require(ctx.org == (who.guardian or who.clinic), "SPEAKS_FOR_ANOTHER")
