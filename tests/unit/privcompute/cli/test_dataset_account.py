"""An account is shown with what was given away and is left, and caps are set as people write them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from chain.client.client import Client
from chain.primitives.errors import Exit
from privcompute.cli import account_commands
from privcompute.cli.account_commands import DEFAULT_CAPS
from privcompute.cli.account_room import what_is_left
from privcompute.cli.amounts import parse_amount, show_amount
from privcompute.cli.common import UsageFault

GIGA = 10**9
NOTHING = {"epsilon": 0, "delta": 0, "rho": 0}


def noise(epsilon: float) -> dict[str, int]:
    whole = round(epsilon * GIGA)
    return {"epsilon": whole, "delta": 909_495, "rho": whole**2 // 2}


class Ledger:
    """Rows of contracts `datasets` and `accounts`, and what the views would say."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, Any], Any] = {
            ("datasets", "bureau/data"): {"version": 3},
            ("accounts", ("bureau/data", 1)): {"spent": noise(1.5), "reserved": noise(0.5), "through": 2},
            ("shares", ("bureau/data", 1, "bank")): {"spent": noise(1.5), "reserved": NOTHING},
            ("shares", ("bureau/data", 1, "rival")): {"spent": NOTHING, "reserved": noise(0.5)},
            ("shares", ("bureau/other", 1, "bank")): {"spent": noise(2), "reserved": NOTHING},
            ("figures", ("bureau/data", 1, "income")): {"spent": 12, "reserved": 3},
        }
        self.sent: list[tuple[str, dict[str, Any]]] = []


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    held = Ledger()

    async def state(_: Client, __: str, name: str, key: Any, **___: Any) -> Any:
        return held.rows.get((name, key))

    async def entries(_: Client, __: str, name: str) -> AsyncIterator[tuple[Any, Any]]:
        for (kind, key), row in held.rows.items():
            if kind == name:
                yield key, row

    async def view(_: Client, __: str, method: str, args: Any) -> Any:
        figures = dict.fromkeys(args.get("columns", []), 1)
        left = {"epsilon": 2_500_000_000, "delta": 10**6, "figures": figures}
        return left if method == "left" else {"epsilon": 1_900_000_000}

    for name, answer in {"state": state, "entries": entries, "view": view}.items():
        monkeypatch.setattr(Client, name, answer)
    monkeypatch.setenv("COLUMNS", "80")
    return held


def account(*words: str) -> Result:
    return CliRunner().invoke(
        main, ["dataset", "account", "bureau/data", *words, "--node", "http://127.0.0.1:1"]
    )


def found(*words: str) -> Any:
    done = account(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.usefixtures("ledger")
def test_an_account_is_shown_by_grantee_and_by_column() -> None:
    said = account().output
    assert "bureau/data: account of versions 1 to 3, with the default caps" in said
    assert "epsilon, added up" in said
    assert [
        line.split() for line in said.splitlines() if line.strip().startswith(("bank", "rival", "income"))
    ] == [
        ["bank", "1.5", "0", "1.9", "2.5"],
        ["rival", "0", "0.5", "1.9", "2.5"],
        ["income", "12", "3", "185"],
    ]
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.usefixtures("ledger")
def test_programs_read_an_account_in_the_ledger_s_units() -> None:
    said = found("--grantee", "bank")
    assert said["versions"] == [1, 3]
    assert said["caps"] == dict(DEFAULT_CAPS)
    assert said["spent"] == noise(1.5)
    assert said["delta_left"] == 10**13 - 2 * 909_495
    assert [one["org"] for one in said["grantees"]] == ["bank"]
    assert said["columns"] == [{"name": "income", "spent": 12, "reserved": 3, "left": 185}]


@pytest.mark.usefixtures("ledger")
def test_a_grantee_that_has_nothing_yet_reads_what_is_left_for_it() -> None:
    (one,) = found("--grantee", "registry")["grantees"]
    assert one == {
        "org": "registry",
        "spent": NOTHING,
        "reserved": NOTHING,
        "epsilon": 0,
        "left": 2_500_000_000,
    }


def test_an_account_that_began_later_has_its_own_versions(ledger: Ledger) -> None:
    ledger.rows["begun", "bureau/data"] = [3]
    assert found("--version", "2")["versions"] == [1, 2]
    later = found()
    assert (later["versions"], later["spent"], later["grantees"]) == ([3, 3], NOTHING, [])


def test_a_list_that_leaves_a_grantee_out_is_no_answer(ledger: Ledger) -> None:
    del ledger.rows["shares", ("bureau/data", 1, "rival")]
    told = account()
    assert told.exit_code != 0
    assert "have epsilon 0 reserved, the account proves 500000000" in told.output.replace("\n", " ")


@pytest.mark.usefixtures("ledger")
def test_a_version_that_is_not_registered_is_refused_by_name() -> None:
    told = account("--version", "4")
    assert (told.exit_code, "--version 4: bureau/data has versions 1 to 3" in told.output) == (
        Exit.REFUSED,
        True,
    )


@pytest.mark.parametrize(
    ("text", "digits", "amount"),
    [("0.5", 9, 5 * 10**8), ("8", 9, 8 * GIGA), ("1e-5", 18, 10**13), ("0", 9, 0), (" 2.50 ", 9, 25 * 10**8)],
)
def test_amounts_are_read_exactly(text: str, digits: int, amount: int) -> None:
    assert parse_amount(text, "--x", digits, 10**30) == amount


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "nan", "inf", "1e-10", "1001", "0.0000000001", "1,5", "1e999999"]
)
def test_what_is_no_amount_is_refused_with_its_range(text: str) -> None:
    with pytest.raises(
        UsageFault, match=r"--epsilon .*: give a number from 0 to 1000, with at most 9 decimal"
    ):
        parse_amount(text, "--epsilon", 9, 1_000 * GIGA)


@pytest.mark.parametrize("name", sorted(DEFAULT_CAPS))
def test_the_example_that_a_refused_cap_is_told_would_be_taken(name: str) -> None:
    with pytest.raises(UsageFault) as caught:
        account_commands._cap(name, "much")
    assert account_commands._cap(name, str(caught.value).rpartition("such as ")[2]) > 0


def test_amounts_are_shown_as_people_write_them() -> None:
    shown = [
        show_amount(amount, digits)
        for amount, digits in ((8 * GIGA, 9), (5 * 10**8, 9), (10**13, 18), (0, 9))
    ]
    assert shown == ["8", "0.5", "1e-5", "0"]


async def test_a_refusal_says_what_is_left_beside_what_was_asked(ledger: Ledger) -> None:
    del ledger
    charge = {"dataset": "bureau/data", "version": 1, **noise(3), "figures": {"income": 2, "age": 1}}
    client: Any = object.__new__(Client)
    assert await what_is_left(client, "bank", [charge]) == [
        "bureau/data: epsilon 2.5 left, asked 3",
        "bureau/data: column income: 1 figures left, asked 2",
    ]


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (["--epsilon", "9"], "set_caps"),
        (["--epsilon", "4", "--figures", "300"], "set_caps"),
        (["--epsilon", "4", "--delta", "1e-6"], "lower_caps"),
        (["--figures", "200"], "lower_caps"),
    ],
)
def test_what_lowers_caps_alone_is_no_act_that_other_keys_must_see(words: list[str], method: str) -> None:
    given = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    asked = {name: account_commands._cap(name, text) for name, text in given.items()}
    assert account_commands.method_for(asked, DEFAULT_CAPS) == method
