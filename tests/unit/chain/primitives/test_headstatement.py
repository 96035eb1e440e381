"""A head statement is one node's word of one chain at one time: nothing of it can be altered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain.cli.doctor_checks import DOUBTFUL, FINE, HEAD_AGE_MS, WRONG, judge_head
from chain.primitives.crypto import PrivateKey
from chain.primitives.headstatement import head_from_json, head_to_json, sign_head

KEY, CHAIN, HEADER = PrivateKey(bytes(32)), b"\1" * 32, b"\2" * 32
STATED = sign_head(KEY, CHAIN, 7, HEADER, 1_000)


def test_a_statement_comes_back_from_its_json_and_holds() -> None:
    assert head_from_json(head_to_json(STATED)) == STATED
    assert STATED.holds()


@pytest.mark.parametrize(
    "change",
    [{"chain_id": HEADER}, {"height": 8}, {"header_hash": CHAIN}, {"time": 1_001}, {"node": HEADER}],
)
def test_what_is_altered_does_not_hold(change: dict[str, Any]) -> None:
    assert not replace(STATED, **change).holds()


@pytest.mark.parametrize(
    "change",
    [{"height": -1}, {"height": 2**64}, {"height": True}, {"time": "1"}, {"node": 5}, {"signature": "zz"}],
)
def test_what_is_no_statement_is_refused_when_it_is_read(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        head_from_json(head_to_json(STATED) | change)


def test_the_doctor_judges_the_statement_of_the_own_node() -> None:
    page, key = head_to_json(STATED), KEY.public.hex()
    assert judge_head(page, CHAIN, key, 1_000).verdict == FINE
    assert judge_head(page, CHAIN, key, 1_001 + HEAD_AGE_MS).verdict == DOUBTFUL
    for shown, chain, of in (
        ({}, CHAIN, key),
        (page, HEADER, key),
        (page, CHAIN, HEADER.hex()),
        (page | {"height": 8}, CHAIN, key),
    ):
        assert judge_head(shown, chain, of, 1_000).verdict == WRONG
