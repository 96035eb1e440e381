"""A sample of the campaign `rules`: contracts and model agree, and faults are seen."""

from __future__ import annotations

import inspect
import json
from collections import Counter

import pytest
from click.testing import CliRunner

from contracts.system import NAMES, sources
from tests.rules import __main__ as campaign
from tests.rules import (
    draw_accounts,
    draw_eyes,
    draw_grants,
    draw_jobs,
    draw_libraries,
    draw_members,
    draw_pages,
    draw_schemas,
    planted,
)
from tests.rules.base import ANY, Refused
from tests.rules.chain import World, genesis_arguments, public
from tests.rules.compare import same
from tests.rules.drive import BUSY, KINDS, Pair, play, replay, shorten
from tests.rules.model import Model, Step
from tests.rules.plants import PLANTS, QUICK
from tests.rules.terms import USES, stricter, too_wide

SEEDS = range(9_001, 9_008)
PLANTS_MIN = 25


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_every_call_that_can_be_drawn_has_its_place_in_histories() -> None:
    """A draw that nobody lists is never made, and then no difference shows that a rule of it is missing."""
    listed = {draw.__name__ for draws in (KINDS, *[draws for _, draws in BUSY]) for draw in draws}
    files = (
        draw_accounts,
        draw_eyes,
        draw_grants,
        draw_jobs,
        draw_libraries,
        draw_members,
        draw_pages,
        draw_schemas,
    )
    there = {
        name
        for file in files
        for name, draw in vars(file).items()
        if inspect.isfunction(draw) and draw.__module__ == file.__name__ and not name.startswith("_")
        if draw.__annotations__ == {"dice": "Dice", "return": "Drawn"}
    }
    assert len(there) > 30
    assert there <= listed


def test_contracts_and_model_never_differ_in_a_sample_of_histories(world: World) -> None:
    accepted: Counter[str] = Counter()
    for seed in SEEDS:
        print(f"seed {seed}: python -m tests.rules --seed {seed} --calls 1 --plant none")
        run = play(world, seed)
        assert run.difference is None, f"seed {seed}, call {len(run.steps)}: {run.difference}"
        accepted += Counter(run.accepted)
    reached = {target.partition(".")[0] for target in accepted}
    assert reached >= set(NAMES)
    assert accepted["jobs.certify"] > 0
    assert accepted["governance.commit"] > 0


def test_a_history_is_the_same_for_the_same_seed(world: World) -> None:
    one, other = play(world, SEEDS.start, 120), play(world, SEEDS.start, 120)
    assert one.steps == other.steps


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_seen_by_the_first_histories(name: str) -> None:
    found = planted.catch(name, range(1, 25))
    assert found is not None, f"seeds 1..24 do not show: {PLANTS[name].says}"


def test_a_difference_is_shortened_to_calls_that_still_show_it() -> None:
    world = World(PLANTS["threshold-one-short"].texts())
    run = next(run for run in (play(world, seed) for seed in range(1, 4)) if run.difference)
    difference, steps = shorten(world, run)
    again, needed = replay(world, steps)
    assert again == difference
    assert needed == len(steps) < len(run.steps)


def test_every_planted_fault_has_one_place_and_there_are_enough() -> None:
    assert len(PLANTS) >= PLANTS_MIN
    assert {plant.contract for plant in PLANTS.values()} == set(NAMES)
    for plant in PLANTS.values():
        assert plant.texts() != sources()


def test_a_plant_whose_place_is_gone_is_said_to_be_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = PLANTS["run-not-returned"].__class__("grants", "no such text", "", "nothing")
    monkeypatch.setitem(PLANTS, "gone", gone)
    with pytest.raises(planted.Unfit, match="0 times, not once"):
        planted.catch("gone", range(1))


def test_the_command_tells_its_result_on_the_last_line() -> None:
    told = CliRunner().invoke(campaign.rules, ["--calls", "1", "--seed", "9001", "--plant", QUICK[0]])
    result = json.loads(told.output.splitlines()[-1])
    assert told.exit_code == 0, told.output
    assert result["failures"] == []
    assert result["figures"]["histories"] == 1
    assert result["figures"]["caught"] == 1


def test_the_command_names_what_it_does_not_know() -> None:
    told = CliRunner().invoke(campaign.rules, ["--plant", "gremlin"])
    assert told.exit_code == 2
    assert "gremlin" in told.output


# --- the model itself


def test_the_model_refuses_before_it_changes_anything(world: World) -> None:
    model = world.model()
    before = model.rows()
    answer = model.answer(
        public("bank/agent"),
        Step(1, 1, "bank/agent", "orgs.revoke_key", {"key": public("bank"), "reason": ""}),
    )
    assert answer.codes == {"KEY_ROLE_MISSING", "LAST_ADMIN_KEY"}
    assert model.rows() == before


def test_no_part_of_the_model_hides_a_rule_of_another() -> None:
    """The parts are one object: a name that two of them define would silently replace a rule."""
    seen: dict[str, type] = {}
    for part in Model.__mro__[:-1]:
        for name, member in vars(part).items():
            if not callable(member) or name.startswith("__"):
                continue
            if name in seen:
                assert "raise NotImplementedError" in _text(member), f"{name} of {part} is hidden"
            seen.setdefault(name, part)


def _text(member: object) -> str:
    return inspect.getsource(member)  # type: ignore[arg-type]


def test_a_constraint_becomes_only_one_that_allows_no_further_use() -> None:
    chain = ("exact-aggregate", "aggregate-only", "compare-only", "encrypted-only")
    for place, one in enumerate(chain):
        assert {other for other in USES if stricter(one, other)} == set(chain[place:])
    assert {other for other in USES if stricter("plain", other)} == set(USES)
    assert too_wide({"quota_runs": 2}, {"price": 1}, {}) == {"BAD_TERMS"}


def test_what_the_readme_leaves_open_equals_everything_and_nothing_else_does() -> None:
    assert same({"reason": "x"}, {"reason": ANY})
    assert not same({"reason": "x"}, {"reason": "y"})
    assert same({"votes": ["b", "a"]}, {"votes": ["a", "b"]})
    assert not same({"receivers": ["b", "a"]}, {"receivers": ["a", "b"]})


def test_genesis_is_the_same_on_both_sides(world: World) -> None:
    pair = Pair(world)
    found, code = pair.play(Step(1, 1, "bank", "orgs.active_members", {}, asks=True), 1)
    assert (found, code) == (None, "")
    assert len(genesis_arguments()["orgs"]["orgs"]) == len(pair.model.members())
    with pytest.raises(Refused):
        pair.model.signer_of(bytes(32))
