"""A refused call says its code and what to do; the table of remedies holds nothing that nobody says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import contracts
from chain.client.calls import _REMEDIES, _REMEDIES_OF_CONTRACT, SEE_CODES, RefusedByLedger, call, remedy
from chain.client.signing import TransactionFailed
from chain.ledger.block import Receipt
from chain.primitives.runtimeport import SIGNER_REFUSALS
from contracts.system import sources


def quoted(text: str) -> set[str]:
    return set(re.findall(r'"([A-Z][A-Z0-9_]+)"', text))


def test_every_remedy_is_for_a_code_that_is_given() -> None:
    folder = Path(contracts.__file__).parent
    given = {code for path in folder.rglob("*.py") for code in quoted(path.read_text(encoding="utf-8"))}
    assert set(_REMEDIES) - given - set(SIGNER_REFUSALS) == set()
    for contract, code in _REMEDIES_OF_CONTRACT:
        assert code in quoted(sources()[contract]), f"{contract} never says {code}"


def test_a_remedy_of_its_own_is_for_a_code_that_several_contracts_give() -> None:
    for contract, code in _REMEDIES_OF_CONTRACT:
        others = {name for name, text in sources().items() if code in quoted(text)} - {contract}
        assert others, f"{contract} alone says {code}: one remedy will do"


class RefusingAccount:
    """Has every call refused with one code."""

    def __init__(self, code: str) -> None:
        self._code = code

    async def send(self, contract: str, method: str, *_: Any, **__: Any) -> Receipt:
        receipt = Receipt(bytes(32), 1, 0, "reverted", self._code, b"", 0, ())
        raise TransactionFailed(receipt, f"{contract}.{method}")


@pytest.mark.parametrize(
    ("contract", "code", "text"),
    [
        ("governance", "NOT_OWNER", "only the node's own organisation moves its seat"),
        ("datasets", "NOT_OWNER", "only the dataset's owner may do this"),
        ("jobs", "DEADLINE_PASSED", "the time for this step is over; see: assent job show"),
        ("purpose-hours", "TOO_LATE", SEE_CODES),
    ],
)
def test_a_refusal_says_code_call_and_what_to_do(contract: str, code: str, text: str) -> None:
    account: Any = RefusingAccount(code)
    with pytest.raises(RefusedByLedger) as refused:
        asyncio.run(call(account, contract, "change", {}))
    assert str(refused.value) == f"{code}: {contract}.change: {text}"
    assert remedy(contract, code) == text
