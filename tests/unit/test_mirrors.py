"""Numbers and words of system contracts that stand in other code, too, are the same there.

A contract imports nothing and nothing imports a contract, so what a command or an agent has to know of one
is written twice. Whoever changes one of both sees here where the other is. The model in `tests/rules` is
written apart on purpose, and campaigns compare it; bounds of schemas are compared in
`tests/unit/privcompute/data/test_schema.py`.
"""

from __future__ import annotations

import ast
import operator
from typing import Any, get_type_hints

import pytest

from chain.cli import org, params, validator
from chain.ledger import genesis
from chain.primitives import certificate
from chain.primitives.codec import Bound
from contracts import programs
from contracts.pages import releases
from contracts.system import sources
from privcompute import causes, config
from privcompute.job import actions, enforcement, proposal, view

OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
}


def folded(node: ast.expr, known: dict[str, Any]) -> Any:
    """Return the value of a constant's expression; raises KeyError or ValueError for what is none."""
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](folded(node.left, known), folded(node.right, known))
    if isinstance(node, ast.Dict):
        keys = [folded(key, known) for key in node.keys if key is not None]
        return dict(zip(keys, [folded(value, known) for value in node.values], strict=True))
    return ast.literal_eval(node)


def constants(name: str) -> dict[str, Any]:
    """Return the constants of a system contract by name."""
    found: dict[str, Any] = {}
    for node in ast.parse(sources()[name]).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = folded(node.value, found)
            except (KeyError, ValueError):
                assert isinstance(node.value, ast.Call), f"{name}.{node.targets[0].id}: no test can read it"
    return found


CONTRACTS = {name: constants(name) for name in sources()}


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("jobs.OPEN_JOBS_MAX", proposal.OPEN_JOBS_MAX),
        ("jobs.PROPOSALS_A_DAY_MAX", proposal.PROPOSALS_A_DAY_MAX),
        ("jobs.SPEC_BYTES_MAX", proposal.SPEC_BYTES_MAX),
        ("jobs.PARAMETERS_BYTES_MAX", proposal.PARAMETERS_BYTES_MAX),
        ("jobs.COLUMNS_MAX", proposal.COLUMNS_MAX),
        ("jobs.PARTICIPANTS_MAX", proposal.PARTICIPANTS_MAX),
        ("jobs.MIN_GROUP_MAX", proposal.MIN_GROUP_MAX),
        ("jobs.DEADLINE_MIN_MS", proposal.DEADLINE_MIN_MS),
        ("jobs.DEADLINE_MAX_MS", proposal.DEADLINE_MAX_MS),
        ("jobs.DAY_MS", proposal.DAY_MS),
        ("grants.OPEN_JOBS_MAX", proposal.OPEN_JOBS_OF_GRANT_MAX),
        ("grants.FREE_RETURNS_A_DAY_MAX", proposal.FREE_RETURNS_A_DAY_MAX),
        ("grants.FREE_RETURNS_MAX", proposal.FREE_RETURNS_MAX),
        ("jobs.STAGES_MAX", actions.STAGES_MAX),
        ("jobs.FIGURE_MAX", causes.FIGURE_MAX + 1),
        ("jobs.DETAIL_TEXT_MAX", causes.NOTE_CHARS_MAX),
        ("jobs.CERTIFICATE_DOMAIN", view.CERTIFICATE_DOMAIN),
        ("datasets.DATASETS_MAX", config.DATASETS_MAX),
        ("orgs.ORG_ROLES", genesis.ROLES),
        ("orgs.KEY_ROLES", org.KEY_ROLES),
        ("lifecycle.KEY_ROLES", org.KEY_ROLES),
        ("lifecycle.CODE_BYTES_MAX", programs.CODE_BYTES_MAX),
        ("governance.VALIDATORS_MAX", certificate.VALIDATORS_MAX),
        ("governance.EVIDENCE_BYTES_MAX", validator.EVIDENCE_BYTES_MAX),
    ],
)
def test_a_constant_of_a_system_contract_has_its_value_wherever_it_stands_again(
    constant: str, value: object
) -> None:
    contract, _, name = constant.partition(".")
    assert CONTRACTS[contract][name] == value


def test_a_policy_can_be_set_and_is_shown_for_whatever_members_decide_about() -> None:
    governance = CONTRACTS["governance"]
    assert sorted(params.KINDS) == sorted((*governance["DECISIONS"], *governance["ELSEWHERE"]))
    assert set(params.TERMS) == set(governance["TERM_RANGES"])


def test_no_vote_sets_a_limit_that_genesis_could_not_have() -> None:
    """Low ends are higher there, to leave room for the calls that raise them again."""
    hints = get_type_hints(genesis.Limits, include_extras=True)
    for name, (least, most) in CONTRACTS["governance"]["LIMIT_RANGES"].items():
        (bound,) = [item for item in hints[name].__metadata__ if isinstance(item, Bound)]
        assert bound.low <= least
        assert most == bound.high, name


def test_agents_and_pages_know_the_uses_that_grants_allow() -> None:
    uses = CONTRACTS["grants"]["USES"]
    assert {name: frozenset(allowed) for name, allowed in uses.items()} == enforcement.ALLOWED_USES
    assert set(releases.USES) == set(uses["plain"])


def test_whatever_the_ledger_takes_as_a_cause_is_a_code_to_agents_and_nothing_else_is() -> None:
    most = CONTRACTS["jobs"]["CAUSE_MAX"]
    assert causes.CODE.fullmatch("A" * most)
    assert not causes.CODE.fullmatch("A" * (most + 1))
    letters = {chr(n) for n in range(128) if causes.CODE.fullmatch("A" + chr(n))}
    assert letters == set(CONTRACTS["jobs"]["CAUSE_LETTERS"])
