"""Two organisations intersect their ids by the standard page, over TLS, with no third that computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from live import assent

from chain.cli.consortium import start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder

pytestmark = pytest.mark.functional
ORGS = ("bank", "bureau")
PEOPLE = {"bank": range(60), "bureau": range(25, 90)}
COMMON = range(25, 60)
SCHEMA = 'key = ["person"]\n\n[[columns]]\nname = "person"\ntype = "text"\nsensitivity = "identifier"\n'


def say(consortium: ConsortiumFolder, org: str, *words: str | Path, fails: bool = False) -> str:
    done = assent(*words, "--as", consortium.org(org).path, seconds=200)
    assert (done.returncode != 0) == fails, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def register(consortium: ConsortiumFolder, org: str, folder: Path) -> None:
    """Register an owner's list of people."""
    data, schema = folder / f"{org}.csv", folder / f"{org}.toml"
    data.write_text("\n".join(["person", *[f"p{number:03d}" for number in PEOPLE[org]]]) + "\n")
    schema.write_text(SCHEMA)
    say(consortium, org, "dataset", "register", f"{org}/people", data, "--schema", schema)


def share(consortium: ConsortiumFolder, org: str) -> None:
    """Grant an owner's list to the bank: what the standard join needs of it."""
    words = ["--for", "private-join", "--dataset", f"{org}/people", "--set", 'receivers=["bank"]']
    words += ["--input", "people=bank/people", "--input", "others=bureau/people", "--profile", "dh-psi"]
    words += ["--min-group", "10", "--purpose", "overlap", "--legal-basis", "contract", "--expires", "30d"]
    say(consortium, "bank", "grant", "request", f"bank/g-{org}", *words)
    say(consortium, org, "grant", "approve", f"bank/g-{org}")


def test_two_organisations_learn_what_they_have_in_common_and_which_of_their_own_it_is(
    tmp_path: Path,
) -> None:
    consortium = create_consortium(tmp_path / "c", list(ORGS), list(ORGS), 0, "two")
    words: list[str] = ["--program", "private-join", "--purpose", "overlap"]
    words += ["--input", "people=bank/g-bank", "--input", "others=bank/g-bureau"]
    words += ["--parameters", '{"receivers": ["bank"]}']
    try:
        list(start_consortium(consortium))
        for org in ORGS:
            register(consortium, org, tmp_path)
        for org in ORGS:
            share(consortium, org)
        refused = say(consortium, "bank", "job", "preflight", *words, "--profile", "rep3", fails=True)
        assert "rep3" in refused
        assert "nothing is in its way" in say(consortium, "bank", "job", "preflight", *words)
        job = json.loads(say(consortium, "bank", "job", "propose", *words, "--json"))["job"]
        say(consortium, "bank", "job", "watch", job, "--timeout", "120")
        assert "dh-psi" in say(consortium, "bureau", "job", "show", job)
        names = {"bank": "people", "bureau": "others"}
        for org in ORGS:
            shown = json.loads(say(consortium, org, "job", "result", job, "--json"))
            found = {one["name"]: one["value"] for one in shown["values"]["figures"]}
            assert found.pop(f"which rows of {names[org]}") == [1] * len(COMMON)
            assert found == ({"rows in common": len(COMMON)} if org == "bank" else {})
            kept = json.loads((consortium.org(org).path / "agent/joins" / f"{job}.json").read_text())
            ((_, ids),) = kept["joins"].items()
            assert sorted(ids) == [f"p{number:03d}" for number in COMMON]
    finally:
        list(stop_consortium(consortium))
