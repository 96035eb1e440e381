"""Disclosure accounts: what jobs are charged, the caps of owners, and how charges compose.

In the place of contract `jobs` stands one that hands on what a test tells it, so that every order of calls
and every charge can be tried; `jobs` itself is tested beside its own rules.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.system import sources

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

ROOT = Path(__file__).parents[4]
OPENDP = json.loads((ROOT / "tests/vectors/opendp_accounts.json").read_text(encoding="utf-8"))
JOBS = '''"""Hands on what a test tells it."""
accounts = Contract("accounts")


@export
def admit(job: str, grantee: str, charges: list):
    accounts.admit(job=job, grantee=grantee, charges=charges)


@export
def reserve(job: str, org: str, last: bool):
    accounts.reserve(job=job, org=org, last=last, by="org:" + org)


@export
def consume(job: str):
    accounts.consume(job=job, by="org:bank")


@export
def finish(job: str, returned: list[str]):
    accounts.finish(job=job, returned=returned, by="org:bank")


@export
def give_back(job: str, returned: list[str]):
    accounts.give_back(job=job, returned=returned, by="org:bank")
'''
GIGA = 10**9
CAPS = {
    "epsilon": 8 * GIGA,
    "grantee_epsilon": 3 * GIGA,
    "delta": 10**13,
    "grantee_delta": 375 * 10**10,
    "figures": 200,
    "grantee_figures": 75,
}
NOTHING = {"epsilon": 0, "delta": 0, "rho": 0}
DATA = "bureau/data"
CLOSE = 10**-6


@pytest.fixture(scope="module")
def _desk(new_world: type[World]) -> World:
    made = new_world(texts={**sources(), "jobs": JOBS})
    for owner in ("bureau", "registry"):
        made.register(owner, f"{owner}/data")
    return made


@pytest.fixture
def desk(_desk: World) -> World:
    """Two datasets, and nothing given away."""
    return _desk.fork()


def charge(epsilon: float = 0, dataset: str = DATA, version: int = 1, **over: Any) -> dict[str, Any]:
    """Return a charge: Laplace noise of this epsilon, which has no delta here."""
    whole = round(epsilon * GIGA)
    owner = dataset.partition("/")[0]
    noise = {"epsilon": whole, "delta": 0, "rho": (whole**2 + 1) // 2}
    named = {"input": dataset, "grant": f"bank/g-{owner}", "dataset": dataset, "version": version}
    return {**named, "owner": owner, **noise, "figures": {}, **over}


def admit(world: World, job: str, *charges: dict[str, Any], grantee: str = "bank") -> str:
    return world.outcome("bank", "jobs.admit", job=job, grantee=grantee, charges=list(charges))


def reserve(world: World, job: str, org: str = "bureau", last: bool = True) -> str:
    """Return the outcome of an acceptance of one owner, the last of all unless told otherwise."""
    return world.outcome("bank", "jobs.reserve", job=job, org=org, last=last)


def given_away(world: World, *charges: dict[str, Any], job: str = "j", grantee: str = "bank") -> None:
    """Let a job run that is charged so."""
    assert admit(world, job, *charges, grantee=grantee) == ""
    assert reserve(world, job) == ""
    world.do("bank", "jobs.consume", job=job)


def account(world: World, dataset: str = DATA, version: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = world.ask("accounts.account_of", id=dataset, version=version)
    return found


def left(world: World, grantee: str = "bank", *columns: str, version: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = world.ask(
        "accounts.left", id=DATA, version=version, grantee=grantee, columns=list(columns)
    )
    return found


def epsilons(world: World) -> tuple[int, int]:
    found = account(world)
    return found["reserved"]["epsilon"], found["spent"]["epsilon"]


def new_version(world: World, dataset: str = DATA) -> int:
    owner = dataset.partition("/")[0]
    args = {"schema": world.declare(owner), "root": bytes([2]) * 32, "size_bucket": ""}
    number: int = world.do(owner, "datasets.new_version", id=dataset, **args)
    return number


# --- what is reserved, spent and returned


def test_a_dataset_that_gave_nothing_away_has_an_account_with_the_default_caps(desk: World) -> None:
    nothing = {"spent": NOTHING, "reserved": NOTHING, "through": 0, "account": 1, "epsilon": 0}
    assert account(desk) == {**nothing, "caps": CAPS}
    assert left(desk, "bank", "income") == {
        "epsilon": 3 * GIGA,
        "delta": 375 * 10**10,
        "figures": {"income": 75},
    }


def test_nothing_is_reserved_before_everybody_takes_part(desk: World) -> None:
    assert admit(desk, "j", charge(1), charge(1, "registry/data")) == ""
    assert reserve(desk, "j", "bureau", last=False) == ""
    assert [epsilons(desk), account(desk, "registry/data")["reserved"]] == [(0, 0), NOTHING]
    assert reserve(desk, "j", "registry") == ""
    assert account(desk, "registry/data")["reserved"]["epsilon"] == GIGA
    assert epsilons(desk) == (GIGA, 0)
    desk.do("bank", "jobs.consume", job="j")
    assert epsilons(desk) == (0, GIGA)
    assert account(desk)["epsilon"] == GIGA


def test_an_acceptance_before_the_last_asks_for_room_in_the_owner_s_accounts_alone(desk: World) -> None:
    admit(desk, "j", charge(2), charge(2, "registry/data"))
    given_away(desk, charge(2), job="other")
    assert reserve(desk, "j", "bureau", last=False) == "ACCOUNT_EPSILON"
    assert reserve(desk, "j", "registry", last=False) == ""
    assert reserve(desk, "j", "registry") == "ACCOUNT_EPSILON", "the last asks for all"


def test_what_is_reserved_comes_back_with_the_run_of_its_grant(desk: World) -> None:
    admit(desk, "j", charge(1, figures={"income": 3}))
    reserve(desk, "j")
    desk.do("bank", "jobs.finish", job="j", returned=["bank/g-bureau"])
    assert account(desk)["reserved"] == account(desk)["spent"] == NOTHING
    assert left(desk, "bank", "income")["figures"] == {"income": 75}
    assert desk.read("accounts", "holds", ("j", 0)) is None


def test_what_is_reserved_is_spent_where_the_run_of_its_grant_is(desk: World) -> None:
    admit(desk, "j", charge(1, figures={"income": 3}))
    reserve(desk, "j")
    desk.do("bank", "jobs.finish", job="j", returned=["bank/other"])
    assert epsilons(desk) == (0, GIGA)
    assert left(desk, "bank", "income")["figures"] == {"income": 72}


def test_what_was_spent_comes_back_with_a_run_that_was_used(desk: World) -> None:
    given_away(desk, charge(1, figures={"income": 3}))
    desk.do("bank", "jobs.give_back", job="j", returned=[])
    assert epsilons(desk) == (0, GIGA)
    desk.do("bank", "jobs.give_back", job="j", returned=["bank/g-bureau"])
    assert epsilons(desk) == (0, 0)
    desk.do("bank", "jobs.give_back", job="j", returned=["bank/g-bureau"])
    assert epsilons(desk) == (0, 0), "once"


def test_a_dataset_that_is_in_a_job_twice_is_charged_twice(desk: World) -> None:
    new_version(desk)
    more = charge(1, grant="bank/g-other", figures={"income": 2})
    given_away(desk, charge(1, version=2, figures={"income": 1, "age": 1}), more)
    assert epsilons(desk) == (0, 2 * GIGA)
    assert left(desk, "bank", "income", "age")["figures"] == {"income": 72, "age": 74}
    assert account(desk)["through"] == 2


@pytest.mark.parametrize(("inputs", "delta"), [(1, 10**6), (2, 5_436_564), (3, 22_167_169)])
def test_what_one_row_changes_in_several_inputs_is_charged_as_a_group(
    desk: World, inputs: int, delta: int
) -> None:
    """Two inputs: twice the epsilon, four times the rho, and each delta grows by e^epsilon of the other."""
    some = [charge(1, delta=10**6, grant=f"bank/g{n}", input=f"d{n}") for n in range(inputs)]
    given_away(desk, *some)
    assert account(desk)["spent"] == {
        "epsilon": inputs * GIGA,
        "rho": inputs**2 * GIGA**2 // 2,
        "delta": delta,
    }
    assert desk.fields("AccountCharged")["rho"] == inputs**2 * GIGA**2 // 2


def test_a_delta_that_grows_beyond_every_cap_is_refused(desk: World) -> None:
    desk.do("bureau", "accounts.set_caps", id=DATA, caps={"epsilon": 10**12, "grantee_epsilon": 10**12})
    some = [charge(400, delta=1, grant=f"bank/g{n}", input=f"d{n}") for n in range(2)]
    assert admit(desk, "j", *some) == "ACCOUNT_DELTA"


def test_an_input_without_noise_makes_no_group(desk: World) -> None:
    given_away(desk, charge(1), charge(0, grant="bank/g-other", figures={"income": 2}))
    assert account(desk)["spent"] == {"epsilon": GIGA, "rho": GIGA**2 // 2, "delta": 0}


@pytest.mark.parametrize("ends", ["finish", "give_back"])
def test_an_account_takes_all_back_of_a_dataset_that_is_in_a_job_twice_or_nothing(
    desk: World, ends: str
) -> None:
    grants = ["bank/g-bureau", "bank/g-other"]
    admit(desk, "j", charge(1), charge(1, grant=grants[1]), charge(1, "registry/data"))
    reserve(desk, "j")
    if ends == "give_back":
        desk.do("bank", "jobs.consume", job="j")
    desk.do("bank", f"jobs.{ends}", job="j", returned=[grants[0], "bank/g-registry"])
    assert epsilons(desk) == (0, 2 * GIGA)
    assert account(desk, "registry/data")["spent"] == account(desk, "registry/data")["reserved"] == NOTHING
    desk.do("bank", "jobs.give_back", job="j", returned=grants)
    assert epsilons(desk) == (0, 0)


def test_a_job_whose_plan_charges_nobody_has_no_booking(desk: World) -> None:
    assert admit(desk, "j", charge(0)) == ""
    assert desk.read("accounts", "bookings", "j") is None
    assert reserve(desk, "j") == ""
    assert desk.ask("accounts.booking_of", job="j") == {"grantee": "", "charges": []}


def test_a_booking_says_what_each_input_is_charged(desk: World) -> None:
    admit(desk, "j", charge(1), charge(0, "registry/data"))
    assert desk.ask("accounts.booking_of", job="j") == {"grantee": "bank", "charges": [charge(1)]}


def test_only_jobs_books(bare: World) -> None:
    for method, args in (
        ("admit", {"grantee": "bank", "charges": []}),
        ("reserve", {"org": "bank", "last": True, "by": "org:bank"}),
        ("consume", {"by": "org:bank"}),
        ("finish", {"returned": [], "by": "org:bank"}),
        ("give_back", {"returned": [], "by": "org:bank"}),
    ):
        assert bare.refusal("bank", f"accounts.{method}", job="j", **args) == "JOBS_ONLY"


def test_events_tell_the_dataset_the_job_and_both_organisations(desk: World) -> None:
    admit(desk, "j", charge(1, figures={"income": 2}))
    reserve(desk, "j")
    desk.do("bank", "jobs.finish", job="j", returned=["bank/g-bureau"])
    names = {"dataset:bureau/data", "job:j", "org:bank", "org:bureau"}
    told = [event for event in desk.events if event.contract == "accounts"]
    assert [event.name for event in told] == ["AccountReserved", "AccountReturned"]
    assert set(told[0].subjects) == names
    said = {"account": 1, "epsilon": GIGA, "delta": 0, "rho": GIGA**2 // 2, "figures": {"income": 2}}
    found = desk.fields("AccountReturned")
    assert {name: found[name] for name in said} == said


# --- what is refused


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (charge(3), ""),
        (charge(3.000_000_001), "ACCOUNT_EPSILON"),
        (charge(1, delta=375 * 10**10), ""),
        (charge(1, delta=375 * 10**10 + 1), "ACCOUNT_DELTA"),
        (charge(0, figures={"income": 75}), ""),
        (charge(0, figures={"age": 1, "income": 76}), "ACCOUNT_FIGURES"),
    ],
)
def test_a_job_beyond_the_caps_is_refused_when_it_is_proposed(
    desk: World, asked: dict[str, Any], code: str
) -> None:
    assert admit(desk, "j", asked) == code


def test_a_job_that_fitted_when_it_was_proposed_is_refused_when_it_is_accepted_too_late(desk: World) -> None:
    for job in ("one", "other"):
        assert admit(desk, job, charge(2)) == ""
    assert reserve(desk, "one") == ""
    assert reserve(desk, "other") == "ACCOUNT_EPSILON"
    assert desk.ask("accounts.stands", job="one")
    assert not desk.ask("accounts.stands", job="other")
    desk.do("bank", "jobs.finish", job="one", returned=["bank/g-bureau"])
    assert reserve(desk, "other") == ""


def test_one_grantee_s_share_is_capped_and_all_together_are(desk: World) -> None:
    for number, grantee in enumerate(("bank", "rival", "registry")):
        code = admit(desk, f"{number}", charge(2.9), grantee=grantee)
        assert code == ("" if number < 2 else "ACCOUNT_EPSILON")
        if not code:
            reserve(desk, f"{number}")
    assert left(desk, "registry")["epsilon"] == round(2.2 * GIGA)
    assert left(desk, "bank")["epsilon"] == GIGA // 10


def test_one_grantee_s_figures_of_a_column_are_capped_and_all_together_are(desk: World) -> None:
    for number, grantee in enumerate(("bank", "rival", "registry")):
        code = admit(desk, f"{number}", charge(0, figures={"income": 70}), grantee=grantee)
        assert code == ("" if number < 2 else "ACCOUNT_FIGURES")
        if not code:
            reserve(desk, f"{number}")
    assert left(desk, "registry", "income", "age")["figures"] == {"income": 60, "age": 75}
    assert left(desk, "bank", "income")["figures"] == {"income": 5}


def test_one_grantee_does_not_end_noise_for_all_by_its_deltas(desk: World) -> None:
    given_away(desk, charge(1, delta=375 * 10**10))
    assert left(desk)["delta"] == 0
    assert left(desk, "rival")["delta"] == 375 * 10**10
    given_away(desk, charge(1, delta=375 * 10**10), grantee="rival", job="k")
    assert left(desk, "registry")["delta"] == 25 * 10**11


def test_a_grantee_whose_jobs_hold_an_account_for_nothing_reserves_no_more_that_day(desk: World) -> None:
    for number in range(24):
        admit(desk, f"{number}", charge(1))
        assert reserve(desk, f"{number}") == ""
        desk.do("bank", "jobs.finish", job=f"{number}", returned=["bank/g-bureau"])
    assert admit(desk, "more", charge(1)) == "TOO_MANY_RETURNS_TODAY"
    assert desk.ask("accounts.fault_of", grantee="bank", charges=[charge(1)]) == "TOO_MANY_RETURNS_TODAY"
    assert admit(desk, "others", charge(1), grantee="rival") == ""
    assert admit(desk, "elsewhere", charge(1, "registry/data")) == ""
    desk.advance(86_400_000)
    assert admit(desk, "more", charge(1)) == ""


def test_what_a_join_had_begun_for_is_no_reservation_that_came_back(desk: World) -> None:
    given_away(desk, charge(1))
    desk.do("bank", "jobs.give_back", job="j", returned=["bank/g-bureau"])
    assert desk.read("accounts", "returns", (DATA, 1, "bank")) is None


def test_two_inputs_of_one_dataset_are_refused_together(desk: World) -> None:
    assert admit(desk, "j", charge(2), charge(2, grant="bank/g-other")) == "ACCOUNT_EPSILON"
    assert desk.read("accounts", "bookings", "j") is None


def test_figures_without_noise_need_no_epsilon_that_is_gone(desk: World) -> None:
    given_away(desk, charge(3))
    desk.do("bureau", "accounts.lower_caps", id=DATA, caps={"epsilon": 0, "delta": 0})
    assert admit(desk, "more", charge(0, figures={"income": 1})) == ""
    assert admit(desk, "noisy", charge(0.001)) == "ACCOUNT_EPSILON"


def test_what_is_left_is_what_one_more_figure_may_have(desk: World) -> None:
    many = charge(2.9, rho=3 * 10**16)  # as of 145 figures of epsilon 0.02
    given_away(desk, many)
    assert account(desk)["epsilon"] < 1.2 * GIGA, "zCDP says less than the sum of epsilons"
    found = left(desk)["epsilon"]
    assert found > 0.5 * GIGA
    assert admit(desk, "fits", charge(found / GIGA)) == ""
    assert admit(desk, "no", charge((found + 1) / GIGA)) == "ACCOUNT_EPSILON"


def test_who_would_propose_may_ask_with_what_code_it_is_refused(desk: World) -> None:
    for charges, code in (
        ([charge(1), charge(1, "registry/data")], ""),
        ([charge(2), charge(2)], "ACCOUNT_EPSILON"),
        ([charge(1, delta=10**14)], "ACCOUNT_DELTA"),
        ([charge(0, figures={"age": 76})], "ACCOUNT_FIGURES"),
    ):
        assert desk.ask("accounts.fault_of", grantee="bank", charges=charges) == code
    given_away(desk, charge(2.5))
    assert desk.ask("accounts.fault_of", grantee="bank", charges=[charge(1)]) == "ACCOUNT_EPSILON"
    assert desk.ask("accounts.fault_of", grantee="rival", charges=[charge(1)]) == ""


# --- caps


def test_an_owner_sets_its_caps_and_everybody_sees_what_they_were(desk: World) -> None:
    assert desk.do("bureau", "accounts.set_caps", id=DATA, caps={"epsilon": GIGA}) == {
        **CAPS,
        "epsilon": GIGA,
    }
    assert account(desk)["caps"]["epsilon"] == GIGA
    assert desk.fields("CapsSet")["before"] == CAPS
    assert admit(desk, "j", charge(1.5)) == "ACCOUNT_EPSILON"


@pytest.mark.parametrize(
    ("caps", "code"),
    [
        ({}, "BAD_CAPS"),
        ({"rows": 1}, "BAD_CAPS"),
        ({"epsilon": -1}, "BAD_CAPS"),
        ({"epsilon": 1_000 * GIGA + 1}, "BAD_CAPS"),
        ({"delta": 10**15 + 1}, "BAD_CAPS"),
        ({"figures": 10**6 + 1}, "BAD_CAPS"),
        ({"figures": True}, "TYPE_ERROR"),
    ],
)
def test_caps_out_of_range_are_refused(desk: World, caps: dict[str, Any], code: str) -> None:
    for method in ("set_caps", "lower_caps"):
        assert desk.refusal("bureau", f"accounts.{method}", id=DATA, caps=caps) in (code, "CAP_RAISED")
    assert desk.refusal("bureau", "accounts.set_caps", id=DATA, caps=caps) == code


def test_caps_are_the_owner_s(desk: World) -> None:
    for method in ("set_caps", "lower_caps"):
        caps = {"figures": 1}
        assert desk.refusal("bank", f"accounts.{method}", id=DATA, caps=caps) == "NOT_OWNER"
        assert desk.refusal("bureau/agent", f"accounts.{method}", id=DATA, caps=caps) == "KEY_ROLE_MISSING"
        assert desk.refusal("bureau", f"accounts.{method}", id="bureau/x", caps=caps) == "UNKNOWN_DATASET"


def test_who_lowers_raises_nothing(desk: World) -> None:
    caps = {"epsilon": GIGA, "figures": 201}
    assert desk.refusal("bureau", "accounts.lower_caps", id=DATA, caps=caps) == "CAP_RAISED"


def test_caps_below_what_is_given_away_leave_nothing_and_take_nothing_back(desk: World) -> None:
    given_away(desk, charge(2, figures={"income": 9}))
    admit(desk, "held", charge(0.5))
    reserve(desk, "held")
    desk.do("bureau", "accounts.lower_caps", id=DATA, caps={"epsilon": GIGA, "figures": 3})
    assert left(desk, "rival", "income") == {"epsilon": 0, "delta": 375 * 10**10, "figures": {"income": 0}}
    desk.do("bank", "jobs.consume", job="held")
    assert epsilons(desk) == (0, GIGA * 5 // 2), "what was reserved stays promised"


def test_raising_a_cap_is_an_act_that_several_keys_may_see_and_lowering_is_none(desk: World) -> None:
    desk.do("bureau", "orgs.set_eyes", act="accounts", dataset=DATA, k=2)
    raised = desk.do("bureau", "accounts.set_caps", id=DATA, caps={"epsilon": 9 * GIGA})
    assert raised["now"] is False
    assert account(desk)["caps"] == CAPS
    desk.do("bureau/steward", "accounts.set_caps", id=DATA, caps={"epsilon": 9 * GIGA})
    assert account(desk)["caps"]["epsilon"] == 9 * GIGA
    desk.do("bureau", "accounts.lower_caps", id=DATA, caps={"epsilon": GIGA})
    assert account(desk)["caps"]["epsilon"] == GIGA


# --- versions


def test_a_new_version_continues_the_account(desk: World) -> None:
    given_away(desk, charge(2))
    assert new_version(desk) == 2
    assert account(desk, version=2) == account(desk, version=1)
    assert admit(desk, "j", charge(2, version=2)) == "ACCOUNT_EPSILON"


def test_an_owner_begins_an_account_with_a_version_and_a_reason(desk: World) -> None:
    given_away(desk, charge(2))
    assert new_version(desk) == 2
    desk.do("bureau", "accounts.begin", id=DATA, version=2, reason="other people")
    assert account(desk, version=2)["account"] == 2
    assert left(desk, version=2)["epsilon"] == 3 * GIGA
    assert left(desk, version=1)["epsilon"] == GIGA
    given_away(desk, charge(2, version=2), job="new")
    assert (account(desk, version=1)["spent"], account(desk, version=2)["spent"]) == (
        account(desk, version=2)["spent"],
    ) * 2


@pytest.mark.parametrize(
    ("version", "reason", "code"),
    [
        (0, "other people", "UNKNOWN_VERSION"),
        (4, "other people", "UNKNOWN_VERSION"),
        (1, "other people", "ACCOUNT_EXISTS"),
        (2, "other people", "VERSION_CHARGED"),
        (3, " ", "NO_REASON"),
        (3, "x" * 257, "TEXT_TOO_LONG"),
        (3, "other people", ""),
    ],
)
def test_an_account_begins_with_a_version_of_which_nothing_is_charged(
    desk: World, version: int, reason: str, code: str
) -> None:
    new_version(desk)
    new_version(desk)
    given_away(desk, charge(1, version=2))
    args = {"id": DATA, "version": version, "reason": reason}
    assert desk.outcome("bureau", "accounts.begin", **args) == code
    if not code:
        assert desk.refusal("bureau", "accounts.begin", **args) == "ACCOUNT_EXISTS"


def test_what_was_reserved_before_an_account_began_comes_back_where_it_was_reserved(desk: World) -> None:
    new_version(desk)
    admit(desk, "j", charge(2))
    reserve(desk, "j")
    desk.do("bureau", "accounts.begin", id=DATA, version=2, reason="other people")
    desk.do("bank", "jobs.finish", job="j", returned=["bank/g-bureau"])
    assert account(desk, version=1)["reserved"] == account(desk, version=2)["reserved"] == NOTHING


def test_accounts_of_what_is_not_registered_are_unknown(desk: World) -> None:
    for version in (0, 2):
        for method, more in (
            ("account_of", {}),
            ("share_of", {"grantee": "bank"}),
            ("left", {"grantee": "bank", "columns": []}),
        ):
            with pytest.raises(Exception, match="UNKNOWN_VERSION"):
                desk.ask(f"accounts.{method}", id=DATA, version=version, **more)
            with pytest.raises(Exception, match="UNKNOWN_DATASET"):
                desk.ask(f"accounts.{method}", id="bureau/none", version=1, **more)


def test_a_dataset_has_a_bounded_number_of_accounts(desk: World) -> None:
    new_version(desk)
    desk.put("accounts", "begun", DATA, [1] * 256)
    args = {"id": DATA, "version": 2, "reason": "other people"}
    assert desk.refusal("bureau", "accounts.begin", **args) == "TOO_MANY_ACCOUNTS"


# --- composition


def composed(world: World, sums: dict[str, int], delta: int) -> int:
    """Return what contract `accounts` says that a sum of charges comes to at a delta."""
    world.put("accounts", "owner_caps", DATA, {**CAPS, "delta": delta})
    world.put("accounts", "accounts", (DATA, 1), {"spent": sums, "reserved": NOTHING, "through": 1})
    found: int = account(world)["epsilon"]
    return found


@pytest.mark.parametrize("sequence", OPENDP["sequences"])
def test_charges_compose_as_opendp_s_accountant_says(desk: World, sequence: dict[str, Any]) -> None:
    sums = dict(sum((Counter(one) for one in sequence["charges"]), Counter()))
    wanted = min(sequence["basic"], sequence["zcdp"])
    found = composed(desk, sums, sequence["delta"]) / GIGA
    # OpenDP rounds every operation on floats upwards, so it may lie a hair above what is true.
    assert wanted * (1 - 10**-12) <= found <= wanted + CLOSE


def zcdp_epsilon(rho: int, delta: int) -> Decimal:
    """Return the least epsilon of proposition 12 of Canonne, Kamath, Steinke (2020), to 40 digits."""
    with localcontext(prec=60):
        rate, budget = Decimal(rho) / 10**18, -(Decimal(delta) / 10**18).ln()
        low, high = Decimal(0), (budget / rate).sqrt() + 1
        for _ in range(180):
            middle = (low + high) / 2
            below = rate * middle**2 + (1 + middle).ln() < budget
            low, high = (middle, high) if below else (low, middle)
        a = high
        return max(Decimal(0), rate * (1 + a) + (budget - (1 + a).ln()) / a - ((1 + a) / a).ln())


@given(
    rho=st.floats(0, 22).map(lambda power: int(10**power)),
    delta=st.floats(0, 15).map(lambda power: int(10**power)),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rho_at_a_delta_is_never_below_the_true_epsilon_and_less_than_one_unit_above(
    desk: World, rho: int, delta: int
) -> None:
    found = composed(desk.fork(), {"epsilon": 10**30, "delta": 0, "rho": rho}, delta)
    assert 0 <= found - zcdp_epsilon(rho, delta) * GIGA < 1


def test_without_a_delta_that_is_left_only_the_sum_of_epsilons_counts(desk: World) -> None:
    sums = {"epsilon": 5 * GIGA, "delta": 10, "rho": 10**14}
    assert composed(desk, sums, 11) < 5 * GIGA
    assert composed(desk, sums, 10) == 5 * GIGA


# --- jobs that run at the same time


class Book:
    """What accounts must hold, counted from what each job did."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[int, str, str]] = {}

    def sums(self, state: str, grantee: str = "") -> int:
        """Return the epsilon of all jobs in a state, or of those of one grantee."""
        return sum(
            epsilon for epsilon, held, by in self.jobs.values() if held == state and grantee in ("", by)
        )


STEP = st.tuples(
    st.integers(0, 11), st.sampled_from(("admit", "reserve", "reserve", "consume", "finish", "give_back"))
)


@given(
    epsilons=st.lists(st.integers(1, 2_500), min_size=12, max_size=12),
    steps=st.lists(STEP, min_size=20, max_size=60),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_order_of_jobs_at_the_same_time_goes_beyond_the_caps_and_nothing_stays_reserved(
    desk: World, epsilons: list[int], steps: list[tuple[int, str]]
) -> None:
    world, book = desk.fork(), Book()
    grantees = ("bank", "rival", "registry", "regulator")
    for number, act in steps:
        job, grantee = f"{number}", grantees[number % 4]
        held = book.jobs.get(job, (0, "", grantee))[1]
        one = charge(epsilons[number] / 1_000, rho=10**24, figures={"income": number})
        if act == "admit" and held == "" and admit(world, job, one, grantee=grantee) == "":
            book.jobs[job] = one["epsilon"], "proposed", grantee
        elif act == "reserve" and held == "proposed" and reserve(world, job) == "":
            book.jobs[job] = one["epsilon"], "reserved", grantee
        elif act == "consume" and held == "reserved":
            world.do("bank", "jobs.consume", job=job)
            book.jobs[job] = one["epsilon"], "spent", grantee
        elif (act, held) in (("finish", "reserved"), ("give_back", "spent")):
            world.do("bank", f"jobs.{act}", job=job, returned=["bank/g-bureau"])
            book.jobs[job] = one["epsilon"], "returned", grantee
        held_now = book.sums("reserved"), book.sums("spent")
        found = account(world)
        assert (found["reserved"]["epsilon"], found["spent"]["epsilon"]) == held_now
        assert sum(held_now) <= CAPS["epsilon"]
        assert all(
            book.sums("reserved", name) + book.sums("spent", name) <= CAPS["grantee_epsilon"]
            for name in grantees
        )
    for job, (_, held, _) in book.jobs.items():
        if held == "reserved":
            world.do("bank", "jobs.finish", job=job, returned=["bank/g-bureau"])
    assert account(world)["reserved"] == NOTHING
    assert account(world)["spent"]["epsilon"] == book.sums("spent")
    spent = {job: by for job, (_, held, by) in book.jobs.items() if held == "spent"}
    for name in grantees:
        own = sum(int(job) for job, by in spent.items() if by == name)
        assert left(world, name, "income")["figures"] == {"income": min(75 - own, 200 - sum(map(int, spent)))}


def test_raised_caps_and_new_accounts_are_counted_by_the_day(desk: World) -> None:
    day = desk.time // 86_400_000
    desk.put("accounts", "daily", "bureau", {"day": day, "changes": 200})
    new_version(desk)
    calls: tuple[Callable[[], str], ...] = (
        lambda: desk.outcome("bureau", "accounts.set_caps", id=DATA, caps={"figures": 201}),
        lambda: desk.outcome("bureau", "accounts.begin", id=DATA, version=2, reason="other people"),
    )
    assert [call() for call in calls] == ["TOO_MANY_CHANGES_TODAY"] * 2
    assert desk.outcome("bureau", "accounts.lower_caps", id=DATA, caps={"figures": 1}) == ""


def test_the_largest_charge_is_booked_within_a_transaction_of_the_default_gas(desk: World) -> None:
    """A plan reads at most 256 columns, of as long names as there are."""
    names = [f"{number:03}" + "c" * 61 for number in range(256)]
    charges = [
        charge(0.1, grant=f"bank/{part}", input=f"d{part}", figures=dict.fromkeys(names[part * 32 :][:32], 1))
        for part in range(8)
    ]
    assert admit(desk, "j", *charges) == ""
    assert reserve(desk, "j") == ""
    desk.do("bank", "jobs.consume", job="j")
    desk.do("bank", "jobs.give_back", job="j", returned=[one["grant"] for one in charges])
    assert account(desk)["spent"] == NOTHING
    most = {name: gas for name, gas in desk.gas.items() if name.startswith("jobs.")}
    assert max(most.values()) < 550_000, most
