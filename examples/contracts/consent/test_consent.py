"""What `consent` allows, with real grants and jobs; people sign with keys of their own."""

from hashlib import sha256
from pathlib import Path

import pytest

from chain.primitives.crypto import PrivateKey

SOURCE = Path(__file__).with_name("contract.py")
DAY_MS = 24 * 3_600_000
PEOPLE = [PrivateKey(sha256(f"person {number}".encode()).digest()) for number in range(3)]


@pytest.fixture
def use(data_use):
    use = data_use("hospital", "insurer", "registry")
    use.chain.adopt(SOURCE, "consent")
    use.grant("hospital", to="insurer", policy="consent")
    return use


def signed(use, person, kind, serial, until, purpose="research"):
    asked = {"dataset": "hospital/data", "purpose": purpose, "kind": kind, "serial": serial, "until": until}
    return person.sign(use.chain.view("consent", "words", **asked))


def give(use, person, days=30, serial=1, purpose="research"):
    until = use.chain.time + days * DAY_MS
    signature = signed(use, person, "give", serial, until, purpose)
    words = {"dataset": "hospital/data", "purpose": purpose, "person": person.public, "until": until}
    return use.admin("registry").call("consent", "give", signature=signature, **words)


def withdraw(use, person, serial=2):
    signature = signed(use, person, "withdraw", serial, 0)
    words = {"dataset": "hospital/data", "purpose": "research", "person": person.public}
    return use.admin("insurer").call("consent", "withdraw", signature=signature, **words)


def publish(use, people, version=1, org="hospital"):
    named = {"dataset": "hospital/data", "version": version, "purpose": "research"}
    use.admin(org).call("consent", "enrol", people=[person.public for person in people], **named)
    use.admin(org).call("consent", "seal", people=len(people), **named)


def test_a_job_runs_while_everyone_consents(use):
    for person in PEOPLE:
        give(use, person)
    with use.chain.expect_revert("CONSENTS_NOT_SEALED"):
        use.propose("insurer", ["hospital"])
    publish(use, PEOPLE)
    job = use.started("insurer", ["hospital"])
    use.reveal(job)
    assert use.state_of(job) == "revealed"


def test_one_withdrawal_closes_the_version_even_for_a_running_job(use):
    for person in PEOPLE:
        give(use, person)
    publish(use, PEOPLE)
    job = use.started("insurer", ["hospital"])
    assert withdraw(use, PEOPLE[1]) == [1]
    with use.chain.expect_revert("CONSENT_WITHDRAWN"):
        use.reveal(job)
    with use.chain.expect_revert("CONSENT_WITHDRAWN"):
        use.propose("insurer", ["hospital"])


def test_a_version_without_the_person_may_be_used_again(use):
    for person in PEOPLE:
        give(use, person)
    publish(use, PEOPLE)
    withdraw(use, PEOPLE[1])
    version = use.version("hospital")
    with use.chain.expect_revert("NO_CONSENT"):
        publish(use, PEOPLE, version)
    publish(use, [PEOPLE[0], PEOPLE[2]], version)
    use.grant("hospital", to="insurer", policy="consent", name="second", version=version)
    use.propose("insurer", ["hospital"], inputs=[use.input("insurer/second", "hospital", version)])


def test_the_first_consent_that_runs_out_closes_the_version(use):
    give(use, PEOPLE[0], days=30)
    give(use, PEOPLE[1], days=2)
    publish(use, PEOPLE[:2])
    use.propose("insurer", ["hospital"])
    use.chain.advance(time=2 * DAY_MS)
    with use.chain.expect_revert("CONSENT_EXPIRED"):
        use.propose("insurer", ["hospital"])


def test_nobody_speaks_for_a_person_and_words_are_used_once(use):
    person, other = PEOPLE[:2]
    until = use.chain.time + DAY_MS
    signature = signed(use, other, "give", 1, until)
    words = {"dataset": "hospital/data", "purpose": "research", "person": person.public, "until": until}
    with use.chain.expect_revert("BAD_SIGNATURE"):
        use.admin("hospital").call("consent", "give", signature=signature, **words)
    signature = signed(use, person, "give", 1, until)
    with use.chain.expect_revert("BAD_SIGNATURE"):
        use.admin("hospital").call("consent", "give", signature=signature, **{**words, "until": until + 1})
    use.admin("hospital").call("consent", "give", signature=signature, **words)
    withdraw(use, person)
    with use.chain.expect_revert("BAD_SIGNATURE"):  # the old words, again
        use.admin("hospital").call("consent", "give", signature=signature, **words)
    with use.chain.expect_revert("NOT_GIVEN"):
        withdraw(use, person, serial=3)
    give(use, person, serial=3)
    with use.chain.expect_revert("ALREADY_GIVEN"):
        give(use, person, serial=4)


def test_consent_for_one_purpose_is_none_for_another(use):
    give(use, PEOPLE[0], purpose="marketing")
    with use.chain.expect_revert("NO_CONSENT"):
        publish(use, PEOPLE[:1])


def test_only_the_owner_enrols_and_only_once(use):
    give(use, PEOPLE[0])
    give(use, PEOPLE[1])
    with use.chain.expect_revert("NOT_OWNER"):
        publish(use, PEOPLE[:1], org="registry")
    named = {"dataset": "hospital/data", "version": 1, "purpose": "research"}
    hospital = use.admin("hospital")
    with use.chain.expect_revert("NOT_ENROLLED"):
        hospital.call("consent", "seal", people=0, **named)
    hospital.call("consent", "enrol", people=[PEOPLE[0].public], **named)
    with use.chain.expect_revert("ALREADY_ENROLLED"):
        hospital.call("consent", "enrol", people=[PEOPLE[0].public], **named)
    with use.chain.expect_revert("COUNT_MISMATCH"):
        hospital.call("consent", "seal", people=2, **named)
    hospital.call("consent", "seal", people=1, **named)
    with use.chain.expect_revert("ALREADY_SEALED"):
        hospital.call("consent", "enrol", people=[PEOPLE[1].public], **named)


def test_a_full_batch_fits_in_one_transaction(use):
    crowd = [PrivateKey(sha256(f"crowd {number}".encode()).digest()) for number in range(100)]
    for person in crowd:
        give(use, person)
    named = {"dataset": "hospital/data", "version": 1, "purpose": "research"}
    people = [person.public for person in crowd]
    assert use.admin("hospital").call("consent", "enrol", people=people, **named) == 100
    assert use.chain.gas_of() < 1_000_000


def test_a_person_finds_their_own_history_and_sees_their_state(use):
    give(use, PEOPLE[0])
    publish(use, PEOPLE[:1])
    withdraw(use, PEOPLE[0])
    me = f"person:{PEOPLE[0].public.hex()}"
    assert [event.name for event in use.chain.trail(me)] == [
        "ConsentGiven",
        "ConsentWithdrawn",
    ]
    asked = {"dataset": "hospital/data", "purpose": "research", "person": PEOPLE[0].public}
    assert use.chain.view("consent", "state_of", **asked) == {
        "serial": 2,
        "until": 0,
        "active": False,
        "versions": [],
    }
