"""consent: a version of a dataset is used for a purpose only while every person in it agrees.

A person signs with a key made for this dataset alone; any member may carry the signed words here, none can
forge them. The owner enrols the people of a version and seals it. One withdrawal, or the first consent that
runs out, closes that version for that purpose, until the owner publishes one without the person.
"""

BATCH_MAX = 100
VERSIONS_MAX = 16
TERM_MAX_MS = 315576000000  # ten years

consents = Map(tuple[str, str, bytes], dict)  # (dataset, purpose, person) -> {serial, until, active, versions}
registers = Map(tuple[str, int, str], dict)  # (dataset, version, purpose) -> {people, until, gone, sealed}

datasets = Contract("datasets")

ConsentGiven = Event(dataset=subject, person=subject, by=subject, purpose=str, until=int, serial=int)
ConsentWithdrawn = Event(dataset=subject, person=subject, by=subject, purpose=str, serial=int, closed=list)
Enrolled = Event(dataset=subject, by=subject, version=int, purpose=str, added=int, people=int)
Sealed = Event(dataset=subject, by=subject, version=int, purpose=str, people=int, until=int)


@view
def words(dataset: str, purpose: str, kind: str, serial: int, until: int) -> bytes:
    """The exact bytes that a person signs: kind is "give" or "withdraw", serial one more than the last."""
    return encode(["assent/consent", ctx.contract, dataset, purpose, kind, serial, until])


@export
def give(dataset: str, purpose: str, person: bytes, until: int, signature: bytes) -> int:
    """Record a person's consent until a date; whoever carries it here cannot change a word."""
    datasets.dataset_of(dataset)
    require(ctx.block_time < until <= ctx.block_time + TERM_MAX_MS, "BAD_TERM")
    record = consent_of(dataset, purpose, person)
    serial = record["serial"] + 1
    message = words(dataset, purpose, "give", serial, until)
    require(verify_signature(person, message, signature), "BAD_SIGNATURE")
    require(not record["active"], "ALREADY_GIVEN")
    consents[dataset, purpose, person] = {"serial": serial, "until": until, "active": True, "versions": []}
    ConsentGiven(
        dataset="dataset:" + dataset,
        person=person_id(person),
        by="org:" + ctx.org,
        purpose=purpose,
        until=until,
        serial=serial,
    )
    return serial


@export
def withdraw(dataset: str, purpose: str, person: bytes, signature: bytes) -> list:
    """Record a withdrawal; returns the versions that it closes, from this block on."""
    record = consent_of(dataset, purpose, person)
    require(record["active"], "NOT_GIVEN")
    serial = record["serial"] + 1
    require(verify_signature(person, words(dataset, purpose, "withdraw", serial, 0), signature), "BAD_SIGNATURE")
    closed = record["versions"]
    for version in closed:
        register = registers[dataset, version, purpose]
        register["gone"] += 1
        registers[dataset, version, purpose] = register
    consents[dataset, purpose, person] = {"serial": serial, "until": 0, "active": False, "versions": []}
    ConsentWithdrawn(
        dataset="dataset:" + dataset,
        person=person_id(person),
        by="org:" + ctx.org,
        purpose=purpose,
        serial=serial,
        closed=closed,
    )
    return closed


@export
def enrol(dataset: str, version: int, purpose: str, people: list[bytes]) -> int:
    """The owner adds people of a version, each with a consent in force; returns how many there are."""
    owner_of(dataset)
    datasets.version_of(dataset, version)
    require(0 < len(people) <= BATCH_MAX, "BAD_BATCH")
    register = registers.get((dataset, version, purpose), {"people": 0, "until": 0, "gone": 0, "sealed": False})
    require(not register["sealed"], "ALREADY_SEALED")
    for person in people:
        record = consent_of(dataset, purpose, person)
        require(record["active"] and ctx.block_time < record["until"], "NO_CONSENT")
        require(version not in record["versions"], "ALREADY_ENROLLED")
        require(len(record["versions"]) < VERSIONS_MAX, "TOO_MANY_VERSIONS")
        record["versions"].append(version)
        consents[dataset, purpose, person] = record
        first = register["people"] == 0
        register["until"] = record["until"] if first else min(register["until"], record["until"])
        register["people"] += 1
    registers[dataset, version, purpose] = register
    Enrolled(
        dataset="dataset:" + dataset,
        by="org:" + ctx.org,
        version=version,
        purpose=purpose,
        added=len(people),
        people=register["people"],
    )
    return register["people"]


@export
def seal(dataset: str, version: int, purpose: str, people: int):
    """The owner states that these are all the people of the version: from now on it may be used."""
    owner_of(dataset)
    register = registers.get((dataset, version, purpose))
    require(register is not None, "NOT_ENROLLED")
    require(not register["sealed"], "ALREADY_SEALED")
    require(register["people"] == people, "COUNT_MISMATCH")
    register["sealed"] = True
    registers[dataset, version, purpose] = register
    Sealed(
        dataset="dataset:" + dataset,
        by="org:" + ctx.org,
        version=version,
        purpose=purpose,
        people=people,
        until=register["until"],
    )


@view
def allow(job: dict, phase: str) -> bool:
    """What grants ask at every phase; refuses with the reason as its code."""
    register = registers.get((job["dataset"], job["version"], job["purpose"]))
    require(register is not None and register["sealed"], "CONSENTS_NOT_SEALED")
    require(register["gone"] == 0, "CONSENT_WITHDRAWN")
    require(ctx.block_time < register["until"], "CONSENT_EXPIRED")
    return True


@view
def state_of(dataset: str, purpose: str, person: bytes) -> dict:
    """A person's consent, as the person can check it: serial, until, active, versions."""
    return consent_of(dataset, purpose, person)


def consent_of(dataset: str, purpose: str, person: bytes) -> dict:
    require(len(person) == 32, "BAD_KEY")
    nothing = {"serial": 0, "until": 0, "active": False, "versions": []}
    return consents.get((dataset, purpose, person), nothing)


def person_id(person: bytes) -> str:
    return "person:" + person.hex()


def owner_of(dataset: str):
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    require(datasets.dataset_of(dataset)["owner"] == ctx.org, "NOT_OWNER")
