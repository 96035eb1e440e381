"""The lock says which packages run Assent here, and a bundle takes those and no others."""

from __future__ import annotations

import pytest

from deploy.bundle import runtime_pins
from deploy.lock import LockError, needed, read_lock

ONE, TWO = "a" * 64, "b" * 64
LOCK = f"""\
first-thing==1.2 \\
    --hash=sha256:{ONE} \\
    --hash=sha256:{TWO}
second==3.0 ; python_full_version < '3.0' \\
    --hash=sha256:{ONE}
second==4.0 ; python_full_version >= '3.0' \\
    --hash=sha256:{TWO}
unused==9 \\
    --hash=sha256:{ONE}
"""
REQUIRES = {"first-thing": ["Second>=4", "unused>=1; extra == 'more'", "unused; python_version < '3'"]}


def requires(name: str) -> list[str]:
    return REQUIRES.get(name, [])


def test_what_is_needed_is_what_requirements_lead_to_here_at_the_versions_and_hashes_of_the_lock() -> None:
    found = needed(["First_Thing>=1"], read_lock(LOCK), requires)
    assert [pin.line() for pin in found] == [
        f"first-thing==1.2 --hash=sha256:{ONE} --hash=sha256:{TWO}",
        f"second==4.0 --hash=sha256:{TWO}",
    ]


def test_an_extra_brings_what_it_asks_for() -> None:
    found = needed(["first-thing[more]"], read_lock(LOCK), requires)
    assert [pin.name for pin in found] == ["first-thing", "second", "unused"]


@pytest.mark.parametrize(
    ("roots", "words"),
    [
        (["third"], "pyproject.toml needs third , and the lock has nothing of it"),
        (["unused>9"], "pyproject.toml needs unused >9, and the lock has version 9"),
    ],
)
def test_a_lock_that_does_not_hold_what_is_needed_is_refused_by_the_name_of_the_package(
    roots: list[str], words: str
) -> None:
    with pytest.raises(LockError, match=words):
        needed(roots, read_lock(LOCK), requires)


@pytest.mark.parametrize("line", ["loose>=1 --hash=sha256:" + ONE, "unhashed==1"])
def test_a_line_of_the_lock_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(LockError, match="states no version or no hash"):
        read_lock(line)


def test_tools_of_developers_are_in_no_bundle() -> None:
    names = {pin.name for pin in runtime_pins()}
    assert {"plyvel", "duckdb", "pydantic-core", "cffi"} <= names
    assert not names & {"pytest", "ruff", "mypy", "scipy", "scikit-learn", "packaging"}
