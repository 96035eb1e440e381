"""What one member can create alone is bounded, and arguments are held to their types and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.schemas import column, declaring, seal_of

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
DAY_MS = 24 * 3_600_000
ONE = bytes([1]) * 32
COLUMN = column("id", "text", "identifier")
WIDE = "\U0001f600"
"""A character of four bytes."""


# --- bounds


def test_a_requester_has_sixteen_open_requests_on_a_dataset(world: World) -> None:
    for number in range(16):
        world.request(f"bank/r-{number}", "bureau/data")
    args = world.terms("bank/r-16", "bureau/data")
    assert world.refusal("bank", "grants.request", **args) == "TOO_MANY_REQUESTS_OF_DATASET"
    world.request("rival/r-1", "bureau/data", by="rival")
    world.do("bank", "grants.withdraw", id="bank/r-3")
    world.do("bureau", "grants.approve", id="bank/r-4", terms={})
    world.do("bureau", "grants.reject", id="bank/r-5", reason="")
    for number in range(16, 19):
        world.request(f"bank/r-{number}", "bureau/data")
    args = world.terms("bank/r-19", "bureau/data")
    assert world.refusal("bank", "grants.request", **args) == "TOO_MANY_REQUESTS_OF_DATASET"
    world.advance(31 * DAY_MS)
    world.do("rival", "grants.expire", id="bank/r-7")
    world.request("bank/r-19", "bureau/data", expires=world.time + DAY_MS)


def test_a_requester_asks_of_a_dataset_thirty_two_times_a_day(world: World) -> None:
    for number in range(31):  # one was made on this day to set the consortium up
        world.request(f"bank/r-{number}", "bureau/data")
        world.do("bank", "grants.withdraw", id=f"bank/r-{number}")
    args = world.terms("bank/r-31", "bureau/data")
    assert world.refusal("bank", "grants.request", **args) == "TOO_MANY_REQUESTS_OF_DATASET_TODAY"
    world.advance(DAY_MS)
    world.do("bank", "grants.request", **args)


def test_a_requester_has_a_bounded_number_of_open_requests_in_all(world: World) -> None:
    world.put("grants", "asked", "bank", {f"bureau/{number}": 15 for number in range(17)})
    world.request("bank/r-1", "bureau/data")
    args = world.terms("bank/r-2", "registry/data")
    assert world.refusal("bank", "grants.request", **args) == "TOO_MANY_REQUESTS"


def test_a_dataset_has_a_bounded_number_of_active_grants(world: World) -> None:
    listed = world.read("grants", "active_grants", "bureau/data")
    world.put("grants", "active_grants", "bureau/data", [*listed, *[f"bank/x-{n}" for n in range(254)]])
    world.granted("bank/g-2", "bureau/data", "bureau")
    world.request("bank/g-3", "bureau/data")
    assert world.refusal("bureau", "grants.approve", id="bank/g-3", terms={}) == "TOO_MANY_GRANTS"
    world.do("bureau", "grants.revoke", id="bank/g-2", reason="")
    assert world.do("bureau", "grants.approve", id="bank/g-3", terms={}) == "active"


def test_the_largest_number_of_grants_and_jobs_is_told_of_a_suspension(world: World) -> None:
    """256 grants of 64 open jobs each: every grant is named, 256 jobs, and how many more there are."""
    grants = [f"bank/{number:03}".ljust(68, "x") for number in range(256)]
    world.put("grants", "active_grants", "bureau/data", grants)
    for number, grant in enumerate(grants):
        world.put("grants", "open_jobs", grant, [f"{number:04}{job:060}" for job in range(64)])
    world.do("bureau", "datasets.suspend", id="bureau/data", reason="\U0001f600" * 256)
    assert world.fields("UsesConcerned")["unnamed"] == 256 * 64 - 256
    assert all("UsesConcerned" in world.trail(f"grant:{grant}") for grant in grants)
    assert "UsesConcerned" in world.trail(f"job:0003{63:060}")


def test_a_grant_has_sixty_four_open_jobs_and_proposed_ones_count(world: World) -> None:
    jobs = [world.propose() for _ in range(64)]
    assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "TOO_MANY_JOBS"
    world.do("bank", "jobs.abort", job=jobs[7], cause="STOPPED", detail={}, evidence=b"")
    world.propose()


def test_an_initiator_has_a_bounded_number_of_open_jobs(world: World) -> None:
    world.put("jobs", "initiators", "bank", {"open": 255, "day": 0, "today": 0})
    job = world.propose()
    assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "TOO_MANY_JOBS_OF_ORG"
    world.do("registry", "jobs.reject", job=job, cause="STOPPED", detail={})
    world.propose()


def test_an_owner_has_a_bounded_number_of_datasets_and_versions(world: World) -> None:
    world.put("datasets", "counts", "bureau", 999)
    world.register("bureau", "bureau/last")
    with pytest.raises(Exception, match="TOO_MANY_DATASETS"):
        world.register("bureau", "bureau/more")
    record = world.read("datasets", "datasets", "bureau/data")
    world.put("datasets", "datasets", "bureau/data", {**record, "version": 10_000})
    args = {"id": "bureau/data", "schema": record_of(world)["schema"], "root": ONE, "size_bucket": ""}
    assert world.refusal("bureau", "datasets.new_version", **args) == "TOO_MANY_VERSIONS"


# --- names have owners


def test_nobody_takes_a_name_in_another_s_part(world: World) -> None:
    args = world.terms("rival/g1", "bureau/data")
    assert world.refusal("bank", "grants.request", **args) == "ID_NOT_OWN"
    world.request("rival/g1", "bureau/data", by="rival")
    world.request("bank/g1", "bureau/data")
    with pytest.raises(Exception, match="ID_NOT_OWN"):
        world.register("rival", "bureau/history")
    world.register("rival", "rival/history")
    world.register("bureau", "bureau/history")


@pytest.mark.parametrize(
    "name", ["", "/", "bank/", "bank//g", "bank/g/h", "bank/G", "bank/-g", "bank/g h", "bank/é"]
)
def test_an_id_is_an_organisation_and_a_name(world: World, name: str) -> None:
    asked = world.refusal("bank", "grants.request", **world.terms(name, "bureau/data"))
    assert asked == ("ID_NOT_OWN" if name == "/g" else "BAD_ID")
    plain = {"root": ONE, "size_bucket": "", "approvers": ["bureau"], "threshold": 1, "description": ""}
    given = {"id": name.replace("bank", "bureau"), "schema": record_of(world)["schema"], **plain}
    assert world.outcome("bureau", "datasets.register", **given) == "BAD_ID"


def record_of(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.read("datasets", "versions", ("bureau/data", 1))
    return found


# --- types and ranges


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"min_group": True}, "TYPE_ERROR"),
        ({"min_group": 10**9 + 1}, "BAD_MIN_GROUP"),
        ({"min_group": 2**4000}, "BAD_MIN_GROUP"),
        ({"parameters": []}, "TYPE_ERROR"),
        ({"receivers": "bank"}, "TYPE_ERROR"),
        ({"receivers": [1]}, "TYPE_ERROR"),
        ({"inputs": {}}, "TYPE_ERROR"),
        ({"participants": "bank"}, "TYPE_ERROR"),
        (
            {"deadlines": dict.fromkeys(("accept", "bind", "run", "reveal", "commit", "certify"), True)},
            "TYPE_ERROR",
        ),
        ({"nonce": "0" * 16}, "TYPE_ERROR"),
        ({"program": 1}, "TYPE_ERROR"),
        ({"purpose": b"credit-risk"}, "TYPE_ERROR"),
    ],
)
def test_a_spec_is_typed(world: World, change: dict[str, Any], code: str) -> None:
    assert world.refusal("bank", "jobs.propose", spec=world.spec() | change) == code


@pytest.mark.parametrize(
    "change",
    [
        {"version": True},
        {"grant": 1},
        {"dataset": b"bureau/data"},
        {"columns": ["id"]},
        {"columns": {1: "join"}},
    ],
)
def test_an_input_is_typed(world: World, change: dict[str, Any]) -> None:
    spec = world.spec()
    spec["inputs"][1] |= change
    assert world.refusal("bank", "jobs.propose", spec=spec) == "TYPE_ERROR"


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("request", {"version": True}),
        ("request", {"receivers": "bank"}),
        ("request", {"programs": {"statistics": 1}}),
        ("request", {"columns": {"id": 1}}),
        ("request", {"min_group": True}),
        ("request", {"quota_runs": True}),
        ("request", {"run_epsilon": True}),
        ("narrow", {"terms": {"quota_runs": True}}),
        ("narrow", {"terms": {"run_epsilon": True}}),
        ("narrow", {"terms": {"receivers": "bank"}}),
        ("narrow", {"terms": {"columns": []}}),
        ("narrow", {"terms": {"policy": 1}}),
        ("narrow", {"terms": {"profile": 1}}),
        ("narrow", {"terms": {"not_before": "0"}}),
    ],
)
def test_terms_are_typed(world: World, method: str, change: dict[str, Any]) -> None:
    if method == "request":
        code = world.refusal("bank", "grants.request", **{**world.terms("bank/g1", "bureau/data"), **change})
    else:
        code = world.refusal("bureau", "grants.narrow", id="bank/g-bureau", **change)
    assert code == "TYPE_ERROR"


def test_figures_of_a_stage_are_bounded(world: World) -> None:
    job = world.job_at("running")
    for change in ({"bytes_sent": 2**63}, {"rounds": -1}, {"cpu_ms": 2**4000}):
        with pytest.raises(Exception, match="BAD_STAGE"):
            world.stage(job, "bank", **change)
    for number in (-1, 256):
        with pytest.raises(Exception, match="TOO_MANY_STAGES"):
            world.stage(job, "bank", number)


def test_names_of_a_grants_columns_are_bounded_together(world: World) -> None:
    wide = [f"{number:04}" + "\U0001f600" * 60 for number in range(68)]
    world.register("bureau", "bureau/x", [COLUMN, *[column(name) for name in wide]])
    args = world.terms("bank/x", "bureau/x")
    asked = args | {"columns": dict.fromkeys(wide, "plain")}
    assert world.refusal("bank", "grants.request", **asked) == "BAD_COLUMNS"
    world.do("bank", "grants.request", **args | {"columns": dict.fromkeys(wide[:67], "plain")})


def test_inputs_have_a_bounded_number_of_columns_together(world: World) -> None:
    for name in PARTIES:
        schema = [COLUMN, *[column(f"c{number}") for number in range(256)]]
        for number in range(2):
            dataset, grant = f"{name}/wide-{number}", f"bank/w-{name}-{number}"
            world.register(name, dataset, schema)
            columns = {f"c{n}": "plain" for n in range(256)}
            world.granted(grant, dataset, name, columns=columns)
    inputs = [
        world.use(f"bank/w-{name}-{number}", f"{name}/wide-{number}", {f"c{n}": "join" for n in range(171)})
        for name in PARTIES
        for number in range(2)
    ]
    spec = world.spec(inputs=inputs, parameters={"receivers": ["bank"]})
    assert world.refusal("bank", "jobs.propose", spec=spec) == "TOO_MANY_COLUMNS"


def test_an_owner_has_eight_incomplete_schemas_until_it_withdraws_one(world: World) -> None:
    drafts = [[COLUMN, column(f"x{number}")] for number in range(9)]
    for columns in drafts[:8]:
        begin(world, columns)
    (_, args), *_ = declaring(drafts[8])
    assert world.refusal("bureau", "datasets.declare", **args) == "TOO_MANY_DRAFTS"
    world.do("bureau", "datasets.withdraw", owner="bureau", schema=seal_of(drafts[3]))
    world.do("bureau", "datasets.declare", **args)
    assert world.read("datasets", "schema_counts", "bureau") == {"drafts": 7, "sealed": 2}


def begin(world: World, columns: list[dict[str, Any]]) -> bytes:
    """Declare all columns but the last."""
    (_, args), *_ = declaring(columns)
    world.do("bureau", "datasets.declare", **args | {"columns": args["columns"][:-1]})
    return seal_of(columns)


def test_whoever_comes_after_a_week_clears_an_incomplete_schema_away_part_by_part(world: World) -> None:
    columns = [COLUMN, *[column(f"c{number}") for number in range(140)]]
    before = {key for key in world.state if key[0] == "datasets"}
    seal = seal_of(columns)
    for method, args in list(declaring(columns))[:2]:
        world.do("bureau", f"datasets.{method}", **args)
    clear = {"owner": "bureau", "schema": seal}
    assert world.refusal("rival", "datasets.withdraw", **clear) == "TOO_EARLY"
    assert world.refusal("bureau/agent", "datasets.withdraw", **clear) == "TOO_EARLY"
    world.advance(7 * DAY_MS)
    assert world.do("rival/agent", "datasets.withdraw", **clear) == 1
    *_, (_, last) = declaring(columns)
    assert world.refusal("bureau", "datasets.extend", **last | {"part": 1}) == "WRONG_STATE"
    assert world.do("rival/agent", "datasets.withdraw", **clear) == 0
    assert {key for key in world.state if key[0] == "datasets"} == before
    assert world.refusal("bureau", "datasets.extend", **last) == "UNKNOWN_SCHEMA"
    assert world.trail("org:bureau")[-2:] == ["SchemaWithdrawn", "SchemaWithdrawn"]


def largest_texts() -> list[tuple[str, dict[str, Any]]]:
    """Parts of two columns of 32 KiB each, up to 1 MiB, and the one that is too many."""
    words = [f"{number:03}".ljust(48, "w") for number in range(256)]
    coding = [[word, "v" * 64] for word in words[:160]]
    columns = [column(f"{n:04}" + WIDE * 60, categories=words, coding=coding) for n in range(34)]
    seal = seal_of(columns)
    parts = [columns[at : at + 2] for at in range(0, 34, 2)]
    begun = ("declare", {"schema": seal, "key": [], "columns": parts[0]})
    added = [("extend", {"schema": seal, "part": n, "columns": part}) for n, part in enumerate(parts)]
    return [begun, *added[1:]]


def longest_names() -> list[tuple[str, dict[str, Any]]]:
    """As many columns as there may be, with the longest names and steps, and the one that is too many."""
    columns = [column(f"{n:04}" + WIDE * 60, normalise=["alphanumeric"] * 8) for n in range(1_025)]
    return list(declaring(columns))


@pytest.mark.parametrize(
    ("calls", "code"), [(largest_texts, "SCHEMA_TOO_LONG"), (longest_names, "TOO_MANY_COLUMNS")]
)
def test_the_largest_parts_of_a_schema_are_declared_and_withdrawn(bare: World, calls: Any, code: str) -> None:
    *fitting, (method, too_many) = calls()
    for name, args in fitting:
        assert bare.do("bureau", f"datasets.{name}", **args) == "draft"
    assert max(bare.gas["datasets.declare"], bare.gas["datasets.extend"]) < 1_000_000
    assert bare.refusal("bureau", f"datasets.{method}", **too_many) == code
    bare.advance(8 * DAY_MS)
    for left in range(len(fitting) - 1, -1, -1):
        assert bare.do("rival", "datasets.withdraw", owner="bureau", schema=too_many["schema"]) == left
    print({name: gas for name, gas in bare.gas.items() if name.startswith("datasets.")})


def test_what_no_contract_can_measure_ends_with_a_code_of_its_own(world: World) -> None:
    fits, long = {"x": ["y" * 20_000] * 2}, {"x": ["y" * 30_000] * 3}
    asked = {"kind": "set_limits", "reason": "", "not_before": 0}
    assert world.refusal("bank", "governance.propose", **asked, payload=fits) == "PAYLOAD_TOO_LONG"
    assert world.refusal("bank", "governance.propose", **asked, payload=long) == "ENCODED_BYTES"
    assert world.refusal("bank", "jobs.propose", spec=world.spec(parameters=long)) == "ENCODED_BYTES"


def test_proposals_that_are_aborted_at_once_end_for_the_day(world: World) -> None:
    """Each of them, and each abort, stands in the histories of all owners."""
    world.put("jobs", "initiators", "bank", {"open": 0, "day": world.time // DAY_MS, "today": 998})
    for _ in range(2):
        world.do("bank", "jobs.abort", job=world.propose(), cause="STOPPED", detail={}, evidence=b"")
    assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "TOO_MANY_JOBS_TODAY"
    world.advance(DAY_MS)
    world.do("bank", "jobs.abort", job=world.propose(), cause="STOPPED", detail={}, evidence=b"")
    assert world.read("jobs", "initiators", "bank") == {"open": 0, "day": world.time // DAY_MS, "today": 1}
