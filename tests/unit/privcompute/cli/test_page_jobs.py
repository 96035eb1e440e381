"""A person names a page and grants; uses, receivers and plan follow, and what is missing is said by name."""

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives.errors import AssentError
from privcompute.cli.common import UsageFault
from privcompute.cli.job_results import cells, print_figures
from privcompute.cli.job_spec import (
    DEADLINES_MS,
    JobRequest,
    build_spec,
    check_before_proposing,
    read_request,
)
from tests.unit.privcompute.job.test_page_jobs import PAGE, install, retire
from tests.unit.privcompute.job.test_task import NAMES, ORGS, World, agent_key, world

__all__ = ["world"]
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("program", "purpose", "profile", "min_group", "parameters")),
    **dict.fromkeys(("inputs", "receivers", "compute", "deadlines"), ()),
}
INPUTS = tuple(f"{NAMES[org]}=bank/g-{org}" for org in ORGS)
SHARE = '''"""With a parameter."""


def run(loans, scores, people, *, share=0.5, to="bank"):
    rows = join(loans, scores, people)
    release(mean(rows.loans.amount) * share, to=to, exact=True, name="part")
    release(sum(rows.scores.amount * rows.people.amount), to="bank", exact=True, name="product")
'''


def request(**given: Any) -> JobRequest:
    return read_request(
        None, NOTHING | {"program": "figures", "purpose": "research", "inputs": INPUTS} | given
    )


async def spec(world: World, asked: JobRequest) -> dict[str, Any]:
    client: Any = world.ledger
    made = await build_spec(client, asked)
    await check_before_proposing(client, made)
    return made


@pytest.mark.parametrize("inputs", [INPUTS, tuple(f"bank/g-{org}" for org in ORGS)])
async def test_what_is_proposed_is_what_the_ledger_derives(world: World, inputs: tuple[str, ...]) -> None:
    """Inputs without names stand in the order of the page."""
    install(world, PAGE)
    world.grant_all("figures")
    made = await spec(world, request(inputs=inputs))
    assert made["receivers"] == ["bank", "bureau"]
    assert [one["name"] for one in made["inputs"]] == list(NAMES.values())
    assert world.ledger.do("bank", "jobs", "propose", spec=made)


async def test_a_spec_takes_versions_owners_and_keys_from_the_ledger(world: World) -> None:
    install(world, PAGE)
    world.grant_all("figures")
    made = await spec(world, request(deadlines=("run=5m",)))
    assert [(one["dataset"], one["version"]) for one in made["inputs"]] == [(f"{o}/data", 1) for o in ORGS]
    assert [(one["org"], one["role"]) for one in made["participants"]] == [(org, "owner") for org in ORGS]
    assert made["participants"][0]["agent_key"] == agent_key("bank").public
    assert made["min_group"] == 5, "the strictest grant's"
    assert made["deadlines"] == DEADLINES_MS | {"run": 300_000}
    assert (made["profile"], len(made["nonce"])) == ("rep3", 16)


@pytest.mark.parametrize(
    ("given", "roles", "profile"),
    [
        ({}, ["bank owner", "bureau owner"], "dh-psi"),
        ({"compute": ("registry",)}, ["bank owner", "bureau owner", "registry compute"], "dh-psi"),
        ({"profile": "rep3", "parameters": '{"receivers": ["registry"]}'},
         ["bank owner", "bureau owner", "registry receiver"], "rep3"),
    ],
)  # fmt: skip
async def test_receivers_and_helpers_become_participants_under_the_strongest_profile(
    world: World, given: dict[str, Any], roles: list[str], profile: str
) -> None:
    world.grant_all("private-join")
    plain = {"program": "private-join", "inputs": INPUTS[:2], "parameters": '{"receivers": ["bank"]}'}
    made = await spec(world, request(**plain | given))
    assert [f"{one['org']} {one['role']}" for one in made["participants"]] == roles
    assert made["profile"] == profile


async def test_parameters_are_exact_fractions(world: World) -> None:
    install(world, SHARE)
    world.grant_all("figures")
    made = await spec(world, request(parameters='{"share": 0.1, "to": "bureau"}'))
    assert made["parameters"] == {"share": {"number": "1/10"}, "to": "bureau"}
    assert made["receivers"] == ["bank", "bureau"]
    assert world.ledger.do("bank", "jobs", "propose", spec=made)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inputs": INPUTS[:2]}, "no dataset is given for people"),
        ({"inputs": (*INPUTS[:2], "other=bank/g-registry")}, "no dataset is given for people"),
        ({"inputs": (*INPUTS, "bank/g-bank")}, "input 4 has no name"),
        ({"inputs": (INPUTS[0], "loans=bank/g-bureau", INPUTS[2])}, "loans is named twice"),
        ({"inputs": (INPUTS[0] + ":amount=plain", *INPUTS[1:])}, "leave :COLUMN=USE out"),
        ({"receivers": ("registry",)}, "releases to bank, bureau"),
        ({"parameters": '{"strange": 1}'}, "no parameter 'strange'"),
        ({"program": "no-such"}, "assent program list"),
        ({"inputs": ("loans=g9", *INPUTS[1:])}, "'g9'"),
        ({"inputs": ("=bank/g-bank", *INPUTS[1:])}, "a name of the page stands before ="),
        ({"inputs": ()}, "inputs"),
        ({"deadlines": ("lunch=1h",)}, "'lunch'"),
        ({"parameters": "[1]"}, "--parameters"),
    ],
)
async def test_what_a_request_lacks_is_named_with_what_to_do(
    world: World, given: dict[str, Any], says: str
) -> None:
    install(world, PAGE)
    world.grant_all("figures")
    with pytest.raises(AssentError, match=says):
        await spec(world, request(**given))


async def test_every_column_that_grants_do_not_cover_is_named_with_its_reason(world: World) -> None:
    install(world, PAGE)
    world.grant_all("figures", amount="join-only")
    with pytest.raises(UsageFault) as refused:
        await spec(world, request())
    for org in ORGS:
        assert f"bank/g-{org}: {org}/data, column 'amount'" in str(refused.value)
    assert "it is summed without weights" in str(refused.value)
    assert "assent grant request" in str(refused.value)


async def test_a_retired_page_starts_nothing(world: World) -> None:
    install(world, PAGE)
    world.grant_all("figures")
    retire(world)
    with pytest.raises(UsageFault, match="the members retired it"):
        await spec(world, request())


NOISY = {
    "kind": "dp",
    "mechanism": "laplace",
    "epsilon": "0.5",
    "delta": "9.10e-13",
    "interval": {"level": "0.95", "low": 1234560, "high": 1234574, "cut": False},
}
FIGURES = {
    "min_group": 12,
    "figures": [
        {"name": "rows", "kind": "exact", "axes": [], "value": 1831},
        {
            "name": "mean",
            "kind": "exact",
            "axes": [{"categories": ["own", "rent"], "of": "history.housing"}],
            "value": ["12.500000", None],
        },
        {"name": "bins", "kind": "exact", "axes": [{"edges": ["1", "2", "3"], "of": "a.b"}], "value": [4, 5]},
        {"name": "bits", "kind": "bits", "axes": [{"rows": "join1"}], "value": [1] * 50},
        {"name": "pairs", "kind": "exact", "axes": [{"size": 2}, {"size": 2}], "value": [[1, 2], [3, 4]]},
        {
            "name": "people who own what they live in, by their own word",
            **NOISY,
            "axes": [],
            "value": 1234567,
        },
        {
            "name": "rates",
            **NOISY,
            "axes": [{"categories": ["own", "rent"], "of": "history.housing"}],
            "value": ["12.500000", "1.250000"],
            "interval": {
                "level": "0.95",
                "low": ["11.500000", None],
                "high": ["13.500000", "8.000000"],
                "cut": False,
            },
        },
        {
            "name": "turns",
            **NOISY,
            "axes": [{"size": 2}],
            "value": [1, 2],
            "interval": {"level": "0.95", "low": None, "high": None, "cut": False},
        },
    ],
}


def test_results_of_pages_are_printed_as_figures_and_tables_of_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_figures(FIGURES)
    said = capsys.readouterr().out
    for words in ("1,831", "history.housing", "rent", "hidden", "1 … 2", "row 40", "10 more", "2, 1"):
        assert words in said
    assert "row 41" not in said
    assert "fewer than 12 rows" in said


def test_figures_with_noise_are_printed_with_their_intervals_on_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_figures(FIGURES)
    said = capsys.readouterr().out
    for words in (
        "1,234,567",
        "1,234,560 … 1,234,574",
        "11.500000 … 13.500000",
        "any … 8.000000",
        "not known",
    ):
        assert words in said
    assert "intervals end at what is possible" not in said
    cut = {
        **FIGURES["figures"][-1],
        "interval": {**NOISY["interval"], "low": [0, 0], "high": [2, 2], "cut": True},
    }  # type: ignore[index,dict-item]
    print_figures({**FIGURES, "figures": [cut]})
    assert "intervals end at what is possible: a count is from 0" in capsys.readouterr().out
    assert said.count("laplace noise, epsilon 0.5, delta 9.10e-13") >= 2
    assert max(map(len, said.splitlines())) <= 80


def test_a_figure_that_is_hidden_as_a_whole_is_one_cell() -> None:
    assert list(cells([], None)) == [("", None)]
    assert list(cells([{"size": 2}], None)) == [("all", None)]
