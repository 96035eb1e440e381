"""Generated programs: a few here, a campaign by `scripts/fuzz-contracts`. Each test prints its seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from campaign import Campaign, Finding, declared, seeds
from grammar import COMMON, FULL, Grammar, Writer
from oracle import Oracle

from chain.primitives.runtimeport import LIMIT, OK, REVERTED, Outcome
from contracts.language.run.builtins import FUNCTIONS

SEED = os.environ.get("ASSENT_SEED", "tests")


def test_generated_programs_keep_every_promise() -> None:
    print(f"seed {SEED}; another with ASSENT_SEED")
    with Campaign() as campaign:
        for kind, seed in seeds(SEED, 240):
            campaign.run(kind, seed)
        tally = campaign.tally
    assert tally.programs == 240
    assert tally.compared >= 60
    assert tally.linked >= 150
    assert len(tally.verdicts) >= 10


def test_a_seed_makes_the_same_program_in_every_process() -> None:
    code = "from grammar import Writer; print(Writer('full', 'x/7').program(), end='')"
    for hash_seed in ("0", "77"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == Writer("full", "x/7").program()


def test_a_wrong_builtin_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that cannot fail would prove nothing: break one builtin and see it reported."""
    right = FUNCTIONS["max"]
    monkeypatch.setitem(
        FUNCTIONS, "max", lambda m, *values: right(m, *values) if len(values) < 2 else values[0]
    )

    def judge_many(campaign: Campaign) -> None:
        for number in range(600):
            campaign.run("common", f"wrong builtin/{number}")

    with Campaign(host=None) as campaign, pytest.raises(Finding, match="CPython: "):
        judge_many(campaign)


@pytest.mark.parametrize("grammar", [COMMON, FULL], ids=["common", "full"])
def test_every_kind_of_a_grammar_has_a_leaf_and_names_only_kinds_that_exist(grammar: Grammar) -> None:
    for kind, texts in grammar.items():
        assert kind == "compound" or any(not re.search(r"<[a-z]+>", text) for text in texts), kind
        holes = {hole for text in texts for hole in re.findall(r"<([a-z]+)>", text)}
        assert holes <= {*grammar, "block"}


def test_the_oracle_is_cpython_and_survives_programs_that_do_not_end() -> None:
    with Oracle() as oracle:
        assert oracle.ask("def main():\n    return [(1, b'a'), {'k': 7 // 2}]\n") == [
            "ok",
            [[1, {"$bytes": "61"}], {"k": 3}],
        ]
        assert oracle.ask("def main():\n    return {}['x']\n") == ["raised", "KeyError"]
        assert oracle.ask("def main():\n    while True:\n        pass\n") == ["raised", "TimeoutError"]
        assert oracle.ask("def main():\n    return 1\n") == ["ok", 1]


@pytest.mark.parametrize(
    ("outcome", "fine"),
    [
        (Outcome(OK), True),
        (Outcome(REVERTED, "KEY_ERROR", why="no key"), True),
        (Outcome(REVERTED, "ANY_OWN_CODE"), True),
        (Outcome(REVERTED, "SURPRISE", why="an exception of the host"), False),
        (Outcome(REVERTED, "ünusual"), False),
        (Outcome(LIMIT, "UNHEARD_OF"), False),
        (Outcome("crashed"), False),
    ],
)
def test_only_declared_verdicts_pass(outcome: Outcome, fine: bool) -> None:
    assert declared(outcome) is fine
