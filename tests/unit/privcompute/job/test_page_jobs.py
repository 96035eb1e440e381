"""Jobs under pages at three agents over real TLS: what each derives, joins, releases, and refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from chain.primitives.values import Value
from contracts.pages.page import page_hash
from contracts.testing import CallFailed
from privcompute.cli.job_watch import StatusBoard
from privcompute.data.commitments import result_commitment
from privcompute.data.results import canonical
from privcompute.job import steps
from privcompute.job.holding import HeldShares
from privcompute.job.inputs import joined_versions
from privcompute.job.runner import JobRun
from privcompute.job.view import job_id_of, parse_spec
from privcompute.mpc.join_engine import JoinEngine
from privcompute.mpc.protocols import aided
from tests.unit.privcompute.job.test_task import (
    COMMON,
    HELD,
    ORGS,
    World,
    asked,
    world,
)

__all__ = ["world"]
PAGE = '''"""Two receivers, a join of all, a join of two, and figures of one owner alone."""


def run(loans, scores, people):
    everybody = join(loans, scores, people)
    two = join(loans, scores)
    again = join(people, loans, scores)
    release(count(everybody), to="bank", exact=True, name="in common")
    release(sum(everybody.loans.amount), to="bank", exact=True, name="amount")
    first = everybody.loans.kind == 1
    release(mean(everybody.scores.amount, where=first), to="bank", exact=True, name="first kind")
    release(count(two), to="bureau", exact=True, name="of two")
    release(sum(people.amount), to="bureau", exact=True, name="of people")
    release(count(again), to="bureau", exact=True, name="again")
    keep(everybody.loans.amount * everybody.scores.amount * 2, name="products")
'''
OWN = '''"""Figures of single owners: nothing is joined."""


def run(loans, people):
    release(mean(loans.amount), to="bank", exact=True, name="loans")
    release(sum(people.amount), to="bank", exact=True, name="people")
'''


def amounts(org: str, rows: Any) -> np.ndarray[Any, Any]:
    return np.array([number * 3 + len(org) for number in rows])


def install(world: World, source: str, ident: str = "figures") -> None:
    """Make a page a program, by the votes of all."""
    seq = world.ledger.chain.as_("bank").call(
        "programs", "propose", id=ident, source=source, reason="", gas=20_000_000
    )
    proposal = world.ledger.chain.entry("programs", "proposals", seq)
    for org in ORGS[1:]:
        world.ledger.chain.as_(org).call("programs", "approve", seq=seq, hash=proposal["hash"])
    world.ledger.chain.as_("bank").call("programs", "commit", seq=seq)


def retire(world: World, ident: str = "figures") -> None:
    for org in ORGS:
        if world.ledger.chain.entry("programs", "programs", ident)["status"] == "active":
            world.ledger.chain.as_(org).call("programs", "retire", id=ident, reason="")


def proposed(world: World, source: str, orgs: tuple[str, ...] = ORGS, **changes: Any) -> str:
    install(world, source)
    world.grant_all("figures")
    spec = world.spec("figures", {}, orgs, **changes)
    return str(world.ledger.do("bank", "jobs", "propose", spec=spec))


async def test_each_receiver_gets_the_releases_that_are_for_it_and_no_others(world: World) -> None:
    job = proposed(world, PAGE)
    assert await world.run(job) == "certified"
    common = range(20, 80)
    kinds = np.array([number % 3 for number in common])
    scores = amounts("bureau", common)
    bank, bureau = world.figures("bank", job), world.figures("bureau", job)
    assert bank.keys() == {"in common", "amount", "first kind"}
    assert (bank["in common"], bank["amount"]) == (COMMON, int(amounts("bank", common).sum()))
    assert float(bank["first kind"]) == pytest.approx(scores[kinds == 1].mean(), abs=2**-14)
    assert bureau == {
        "of two": len(range(20, 80)),
        "of people": int(amounts("registry", HELD["registry"]).sum()),
        "again": COMMON,
    }
    assert world.agents["registry"].stores.results.load(job) is None

    for org in ("bank", "bureau"):
        result = world.agents[org].stores.results.load(job)
        assert result is not None
        assert (result.schema, result.values["plan"]) == (
            "page/1",
            world.ledger.record("specs", job)["plan"].hex(),
        )
        committed = world.ledger.record("results", (job, org))
        assert committed["hash"] == result_commitment(result.salt, result.shares, canonical(result.values))
    certificate = world.ledger.record("certificates", job)["body"]
    assert certificate["page"] == page_hash(PAGE)
    assert certificate["plan"] == world.ledger.record("specs", job)["plan"]


NOISY = '''"""Two receivers: figures with noise, and one without."""


def run(loans, scores, people):
    rows = join(loans, scores, people)
    bounded = clip(rows.loans.amount, 0, 300)
    release(mean(bounded), to="bank", noise=laplace(epsilon=1), name="mean")
    release(mean(bounded), to="bureau", noise=gaussian(epsilon=1, delta=0.000001), name="the same")
    release(count(rows), to="bank", exact=True, name="in common")
'''


async def test_figures_with_noise_reach_their_receivers_with_what_was_drawn_for_them(world: World) -> None:
    job = proposed(world, NOISY)
    assert await world.run(job) == "certified"
    found: dict[str, dict[str, Any]] = {}
    for org in ("bank", "bureau"):
        result = world.agents[org].stores.results.load(job)
        assert result is not None
        found |= {one["name"]: one for one in result.values["figures"]}
    assert {name: one["kind"] for name, one in found.items()} == {
        "mean": "dp",
        "the same": "dp",
        "in common": "exact",
    }
    assert found["mean"]["mechanism"] == "laplace"
    assert (found["the same"]["epsilon"], found["the same"]["delta"]) == ("1", "0.000001")
    assert found["mean"]["value"] != found["the same"]["value"]
    for name in ("mean", "the same"):
        low, high = (float(found[name]["interval"][end]) for end in ("low", "high"))
        assert low <= float(found[name]["value"]) <= high


@pytest.mark.parametrize(("more", "ends"), [(0, "certified"), (1, "aborted")])
async def test_a_delta_above_one_over_an_owner_s_rows_ends_a_job_before_anything_is_bound(
    world: World, monkeypatch: pytest.MonkeyPatch, more: int, ends: str
) -> None:
    """The bank has 80 rows; figures of earlier and of open jobs count, and this one's are among them."""
    job, state = proposed(world, NOISY), world.ledger.state
    allowed = 10**18 // 80

    async def elsewhere(contract: str, map_name: str, key: Value) -> Any:
        row: Any = await state(contract, map_name, key)
        if (contract, map_name, key) == ("accounts", "accounts", ("bank/data", 1)):
            row["spent"]["delta"] = allowed - row["reserved"]["delta"] + more
        return row

    monkeypatch.setattr(world.ledger, "state", elsewhere)
    assert await world.run(job) == ends
    if more:
        end = world.ledger.record("ends", job)
        assert (end["by"], end["cause"], end["phase"]) == ("bank", "DELTA_ABOVE_ROWS", "accepted")
        assert end["detail"] == {"dataset": "bank/data", "version": 1, "stage": "data"}


async def test_what_stays_shares_is_sealed_with_the_rest_and_handed_to_nobody(world: World) -> None:
    job = proposed(world, PAGE)
    assert await world.run(job) == "certified"
    store = world.agents["registry"].stores.held
    held = HeldShares.decode(store.load(job))
    assert sorted(held.components) == [f"component-{n}-{who}" for n in (0, 2) for who in ("0", "1", "kept")]
    async with world.desks():
        for me in ("bank", "bureau"):
            given = await asyncio.to_thread(asked, world, job, me, "registry")
            assert sorted(given) == [f"component-{number}-{ORGS.index(me)}" for number in (0, 2)]


async def test_each_set_of_datasets_is_joined_once_and_every_owner_knows_its_own_rows(world: World) -> None:
    job = proposed(world, PAGE)
    assert await world.run(job) == "certified"
    kinds = [stage["kind"] for stage in world.evidence("bank", "stage")]
    assert kinds == ["join", "aided-join-2", "rows", "setup", "compute", "seal"]
    spec = parse_spec(job, world.ledger.record("specs", job))
    for org in ORGS:
        rows = world.agents[org].stores.joins.rows_of(joined_versions(spec))
        assert sorted(rows or []) == sorted(f"p{number}" for number in range(20, 80))
    assert world.ledger.record("joins", joined_versions(spec))["outcome"] == "suffices"


async def test_a_page_that_joins_nothing_runs_on_rows_that_all_are_told(world: World) -> None:
    job = proposed(world, OWN, ("bank", "registry"))
    assert await world.run(job) == "certified"
    found = world.figures("bank", job)
    assert float(found["loans"]) == pytest.approx(amounts("bank", HELD["bank"]).mean(), abs=2**-15)
    assert found["people"] == int(amounts("registry", HELD["registry"]).sum())
    assert [stage["kind"] for stage in world.evidence("bureau", "stage")] == [
        "rows",
        "setup",
        "compute",
        "seal",
    ]
    assert world.ledger.record("joins", b"") is None


async def test_too_few_rows_without_a_join_end_the_job_before_anything_is_bound(world: World) -> None:
    job = proposed(world, OWN, ("bank", "registry"), min_group=62)
    assert await world.run(job) == "aborted"
    (said,) = world.evidence("registry", "abort")
    assert said["cause"] == "DATA_TOO_FEW_ROWS"


@pytest.mark.parametrize("phase", ["accept", "bind", "begin_join", "approve_reveal"])
async def test_a_page_that_was_retired_starts_nothing_more(world: World, phase: str) -> None:
    job = proposed(world, PAGE)

    async def end(_: str) -> None:
        retire(world)

    world.ledger.before[phase] = end
    assert await world.run(job) in ("rejected", "aborted")
    said = [body for org in ORGS for kind in ("abort", "reject") for body in world.evidence(org, kind)]
    assert "PROGRAM_NOT_ACTIVE" in {body["detail"].get("code", body["cause"]) for body in said}
    assert all(agent.stores.results.load(job) is None for agent in world.agents.values())
    assert world.ledger.record("jobs", job)["join_height"] == 0 or phase == "approve_reveal"


FORGED = {
    "PAGE_DIFFERS": {"page": bytes(32)},
    "PLAN_DIFFERS": {"plan": bytes(32)},
    "RECEIVERS_DIFFER": {"receivers": ["bank"]},
    "PAGE_REFUSED": {"parameters": {"strange": 1}},
}


@pytest.mark.parametrize("code", [*FORGED, "USES_DIFFER"])
async def test_an_agent_refuses_a_job_whose_facts_do_not_follow_though_its_ledger_shows_it(
    world: World, code: str
) -> None:
    """The contract refuses such a job too; this ledger is made to show it."""
    spec = spec_of_installed(world)
    spec |= FORGED.get(code, {})
    if code == "USES_DIFFER":
        spec["inputs"][0]["columns"] = {**spec["inputs"][0]["columns"], "amount": "encrypted"}
    job = show(world, spec)
    view = await world.agents["bank"].node.reader.job(job)
    assert view is not None
    agent = world.agents["bureau"]
    with pytest.raises(Exception) as refused:
        await steps.check(agent.identity, agent.node.reader, agent.stores.datasets, view, "accepted", 0)
    assert getattr(refused.value, "reason", getattr(refused.value, "code", "").upper()) == code


def spec_of_installed(world: World) -> dict[str, Any]:
    install(world, PAGE)
    world.grant_all("figures")
    return world.spec("figures", {})


def show(world: World, spec: dict[str, Any]) -> str:
    """Have the ledger show a job that contract `jobs` would not take."""
    honest = world.ledger.do("bank", "jobs", "propose", spec=world.spec("figures", {}, nonce=b"\x01" * 16))
    record, job = dict(world.ledger.record("jobs", honest)), job_id_of(spec)
    answer = world.ledger.state

    async def state(contract: str, map_name: str, key: Value) -> Value | None:
        if (contract, map_name, key) == ("jobs", "jobs", job):
            return record | {"id": job}
        if (contract, map_name, key) == ("jobs", "specs", job):
            return spec
        return await answer(contract, map_name, key)

    world.ledger.state = state  # type: ignore[method-assign]
    return job


async def test_an_agent_that_evaluates_another_plan_is_named_before_the_reveal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages are as long as they should be; what it holds is not what the two others hold."""
    job = proposed(world, PAGE)
    compute = JobRun.compute

    def other(run: JobRun) -> HeldShares:
        if run.plan.me == ORGS.index("bureau"):
            work: Any = run.plan.work
            graph = work.plan.graph
            (two,) = [
                at for at in range(len(graph)) if graph.name(at) == "number" and graph.attrs[at] == ("2",)
            ]
            graph.attrs[two] = ("3",)
        return compute(run)

    monkeypatch.setattr(JobRun, "compute", other)
    assert await world.run(job) == "aborted"
    end = world.ledger.record("ends", job)
    assert end["phase"] == "running"
    assert (end["cause"], end["detail"]["stage"]) in {
        ("MPC_PEER_MISBEHAVED", "seal"),
        ("MPC_HOLDERS_DIFFER", "seal"),
    }
    assert all(agent.stores.results.load(job) is None for agent in world.agents.values())


async def test_progress_of_a_page_is_shown_by_what_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    post = StatusBoard.post

    def note(board: StatusBoard, progress: Any, now_ms: int) -> None:
        seen.append((progress.step, progress.total))
        world.ledger.chain.time += 1_000
        post(board, progress, now_ms)

    monkeypatch.setattr(StatusBoard, "post", note)
    job = proposed(world, PAGE)
    assert await world.run(job) == "certified"
    steps_of_page = {step for step, total in seen if step.startswith("page: ") and total > 20}
    assert {"page: sum", "page: share"} <= steps_of_page


JOINED = ("bank", "bureau")


def join_of_two(world: World, profile: str = "dh-psi") -> str:
    """Propose the standard join between two owners, with no third party."""
    world.grant_all("private-join")
    spec: Any = world.spec("private-join", {"receivers": ["bank"]}, JOINED, profile=profile)
    spec["participants"] = [one for one in spec["participants"] if one["role"] == "owner"]
    return str(world.ledger.do("bank", "jobs", "propose", spec=spec))


async def test_two_owners_join_without_a_third(world: World) -> None:
    job = join_of_two(world)
    assert await world.run(job, JOINED) == "certified"
    common = len(range(20, 80))
    bank, bureau = world.figures("bank", job), world.figures("bureau", job)
    assert bank == {"rows in common": common, "which rows of loans": [1] * common}
    assert bureau == {"which rows of scores": [1] * common}
    spec = parse_spec(job, world.ledger.record("specs", job))
    for org in JOINED:
        rows = world.agents[org].stores.joins.rows_of(joined_versions(spec))
        assert sorted(rows or []) == sorted(f"p{number}" for number in range(20, 80))
    assert world.ledger.record("joins", joined_versions(spec))["outcome"] == "suffices"
    kinds = [stage["kind"] for stage in world.evidence("bank", "stage")]
    assert kinds == ["join", "setup", "compute", "seal"]


def join_beside(world: World, reads: str, **changes: Any) -> str:
    """Propose the standard join of two owners' data under rep3, with a third party that has none."""
    world.grant_all("private-join")
    spec = world.spec("private-join", {"receivers": [reads]}, JOINED, **changes)
    return str(world.ledger.do("bank", "jobs", "propose", spec=spec))


@pytest.mark.parametrize(("reads", "kind"), [("bank", "aided-join"), ("registry", "join")])
async def test_a_third_party_without_joined_data_aids_a_join_unless_it_receives_of_the_job(
    world: World, reads: str, kind: str
) -> None:
    """What stands on the ledger is the stage's protocol, and what was joined is the same by both."""
    job = join_beside(world, reads)
    assert await world.run(job) == "certified"
    common = [f"p{number}" for number in range(20, 80)]
    spec = parse_spec(job, world.ledger.record("specs", job))
    rows = {org: world.agents[org].stores.joins.rows_of(joined_versions(spec)) for org in ORGS}
    assert rows["bank"] == rows["bureau"]
    assert sorted(rows["bank"] or []) == sorted(common)
    assert rows["registry"] is None
    assert world.figures(reads, job)["rows in common"] == len(common)
    for org in ORGS:
        assert [stage["kind"] for stage in world.evidence(org, "stage")] == [kind, "setup", "compute", "seal"]
    assert world.ledger.record("joins", joined_versions(spec))["outcome"] == "suffices"


async def test_an_aided_join_that_is_too_small_ends_before_anybody_learns_a_row(world: World) -> None:
    job = join_beside(world, "bank", min_group=COMMON + 1)
    assert await world.run(job) == "aborted"
    assert world.ledger.record("ends", job)["cause"] == "ROWS_BELOW_MIN_GROUP"
    spec = parse_spec(job, world.ledger.record("specs", job))
    assert all(world.agents[org].stores.joins.rows_of(joined_versions(spec)) is None for org in ORGS)


@pytest.mark.parametrize("who", ["registry", "bureau"])
async def test_a_party_that_deviates_in_an_aided_join_is_named_on_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """The helper shows other rows than it found; an owner sends its digests in the order of its rows."""
    if who == "registry":
        monkeypatch.setattr(aided, "_bitmap", lambda records, _: b"\xff" * (-(-len(records) // 8)))
    else:
        monkeypatch.setattr(
            aided,
            "_blocks",
            lambda records, _: iter(
                [bytes(16 * len(records))] if len(records) == 70 else [records.astype(">u8").tobytes()]
            ),
        )
    job = join_beside(world, "bank")
    assert await world.run(job) == "aborted"
    end = world.ledger.record("ends", job)
    assert (end["phase"], end["cause"], end["detail"]["org"]) == ("running", "MPC_PEER_MISBEHAVED", who)


async def test_what_two_owners_joined_is_committed_to_by_both_and_told_to_receivers_alone(
    world: World,
) -> None:
    job = join_of_two(world)
    assert await world.run(job, JOINED) == "certified"
    held = {org: HeldShares.decode(world.agents[org].stores.held.load(job)).components for org in JOINED}
    assert held["bank"] == held["bureau"]
    assert sorted(held["bank"]) == ["component-0-0", "component-0-1"]
    async with world.desks():
        given = await asyncio.to_thread(asked, world, job, "bank", "bureau")
    assert given == {"component-0-0": held["bank"]["component-0-0"]}


async def test_a_party_that_seals_another_outcome_of_a_join_ends_the_job_before_the_reveal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = join_of_two(world)
    honest = JoinEngine.components

    def lie(engine: JoinEngine, job_id: bytes, shared: Any, public: Any) -> dict[int, bytes]:
        made = {name: one + one for name, one in shared.items()} if engine.me else shared
        return honest(engine, job_id, made, public)

    monkeypatch.setattr(JoinEngine, "components", lie)
    assert await world.run(job, JOINED) == "aborted"
    end = world.ledger.record("ends", job)
    assert (end["phase"], end["cause"]) == ("running", "MPC_PEER_MISBEHAVED")
    assert all(world.agents[org].stores.results.load(job) is None for org in JOINED)


async def test_a_page_with_arithmetic_is_offered_to_no_two_owners(world: World) -> None:
    install(world, PAGE)
    world.grant_all("figures")
    spec = world.spec("figures", {}, profile="dh-psi")
    with pytest.raises(CallFailed, match="PROFILE_NOT_OFFERED"):
        world.ledger.do("bank", "jobs", "propose", spec=spec)


# --- what accounts are charged


def account_of(world: World, dataset: str, column: str) -> tuple[int, int]:
    """Return the figures of a column that were released, and those that open jobs hold."""
    row = world.ledger.chain.entry("accounts", "figures", (dataset, 1, column))
    return (row["spent"], row["reserved"]) if row else (0, 0)


def booked(world: World, job: str, dataset: str) -> dict[str, int]:
    charges = world.ledger.chain.entry("accounts", "bookings", job)["charges"]
    return next(dict(one["figures"]) for one in charges if one["dataset"] == dataset)


async def test_a_job_spends_what_every_agent_derives_of_its_page(world: World) -> None:
    job = proposed(world, PAGE)
    figures = booked(world, job, "bank/data")
    assert figures["amount"] > 0
    assert account_of(world, "bank/data", "amount") == (0, 0)
    assert await world.run(job) == "certified"
    assert account_of(world, "bank/data", "amount") == (figures["amount"], 0)


async def test_an_agent_refuses_a_job_that_is_charged_otherwise_than_follows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a ledger would charge less, an owner's figures would be given away uncounted."""
    job, state = proposed(world, PAGE), world.ledger.state

    async def charged_less(contract: str, map_name: str, key: Value) -> Any:
        row: Any = await state(contract, map_name, key)
        if (contract, map_name) == ("accounts", "bookings"):
            row["charges"][0]["figures"] = {}
        return row

    monkeypatch.setattr(world.ledger, "state", charged_less)
    assert await world.run(job) == "rejected"
    assert world.ledger.record("ends", job)["cause"] == "CHARGES_DIFFER"
    assert world.ledger.record("ends", job)["detail"]["dataset"] == "bank/data"


async def test_of_two_jobs_that_race_for_the_last_figures_of_an_account_one_runs(world: World) -> None:
    first = proposed(world, PAGE)
    second = str(
        world.ledger.do("bank", "jobs", "propose", spec=world.spec("figures", {}, nonce=bytes([1]) * 16))
    )
    needed = booked(world, first, "bureau/data")["amount"]
    world.ledger.do("bureau", "accounts", "lower_caps", id="bureau/data", caps={"figures": needed})
    world.ledger.tasks = {f"{org} {job}": world.task(org, job) for job in (first, second) for org in ORGS}
    async with asyncio.timeout(60), world.desks():
        await asyncio.gather(*[task.run() for task in world.ledger.tasks.values()])
    ends = {job: world.ledger.record("jobs", job)["state"] for job in (first, second)}
    assert sorted(ends.values()) == ["certified", "rejected"]
    (lost,) = [job for job, state in ends.items() if state == "rejected"]
    detail = world.ledger.record("ends", lost)["detail"]
    assert (detail["step"], detail["code"]) == ("accept", "ACCOUNT_FIGURES")
    assert account_of(world, "bureau/data", "amount") == (needed, 0)
