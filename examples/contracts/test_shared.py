"""Two contracts share a library on the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.check import check_library, check_source
from contracts.testing import LocalChain

SHARED = Path(__file__).parent / "shared"
LIBRARY = SHARED / "terms.py"
USERS = ("leases", "committee")
DAY = 24 * 60 * 60 * 1000


def chain_with_both() -> LocalChain:
    chain = LocalChain.consortium("bank", "bureau", "registry")
    chain.library(LIBRARY)
    chain.adopt(SHARED / "leases.py", "leases", {"by": "bank"})
    chain.adopt(SHARED / "committee.py", "committee")
    return chain


def test_the_library_is_one_and_both_contracts_pass_the_check_without_a_warning() -> None:
    library = LIBRARY.read_text(encoding="utf-8")
    assert check_library(library, LIBRARY.name).diagnostics == ()
    for name in USERS:
        report = check_source((SHARED / f"{name}.py").read_text(encoding="utf-8"), name, [library])
        assert report.diagnostics == ()
        assert report.warnings == ()


def test_a_lease_ends_by_itself() -> None:
    chain = chain_with_both()
    chain.as_("bank").call("leases", "lease", room="loans", org="bureau", days=2)
    assert chain.view("leases", "may_use", room="loans", org="bureau") is True
    assert chain.view("leases", "may_use", room="loans", org="registry") is False
    chain.advance(time=3 * DAY)
    assert chain.view("leases", "may_use", room="loans", org="bureau") is False


def test_two_of_three_decide_for_thirty_days() -> None:
    chain = chain_with_both()
    chain.as_("bank").call("committee", "vote", question="q")
    chain.as_("bureau").call("committee", "vote", question="q", yes=False)
    assert chain.view("committee", "holds", question="q") is False
    chain.as_("registry").call("committee", "vote", question="q")
    assert chain.view("committee", "holds", question="q") is True
    chain.advance(time=31 * DAY)
    assert chain.view("committee", "holds", question="q") is False


@pytest.mark.parametrize("days", [0, -1, 3_661])
def test_a_failure_in_the_library_names_its_file_line_and_code(days: int) -> None:
    chain = chain_with_both()
    with pytest.raises(
        Exception, match=r"(?s)leases, library [0-9a-f]{16}: for_days, .*terms\.py:10"
    ) as failed:
        chain.as_("bank").call("leases", "lease", room="loans", org="bureau", days=days)
    assert str(failed.value).endswith("BAD_DAYS")
