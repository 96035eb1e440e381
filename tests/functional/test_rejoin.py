"""A validator that loses its disk again and again comes back each time, and says what it needs meanwhile."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from live import assent, rpc

from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.cli.rejoin import NotYet
from chain.primitives.keyfile import load_key

ANSWERS_S = 60.0


def info(org: OrgFolder) -> dict[str, Any]:
    try:
        return dict(rpc(org, "getNodeInfo")["result"])
    except OSError:  # it begins anew under another key
        return {"key": "", "lostVotes": None, "spareKey": "", "role": "", "stall": ""}


def wait(org: OrgFolder, fits: Any) -> dict[str, Any]:
    processes.wait_until(org, "node", lambda: bool(fits(info(org))), ANSWERS_S)
    return info(org)


def wipe(org: OrgFolder) -> None:
    processes.stop(org, "node")
    shutil.rmtree(org.path / "data")


def started_unseated(consortium: ConsortiumFolder) -> str:
    """Start, where the seat cannot move since it moved a moment ago; return what is told of that."""
    lines: list[str] = []
    with pytest.raises(NotYet, match="bureau: started"):
        lines.extend(start_consortium(consortium, agents=False))
    return "\n".join(lines)


def status_of(consortium: ConsortiumFolder) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(assent("status", consortium.path, "--json").stdout)["nodes"]
    return shown


def key_files(org: OrgFolder) -> list[str]:
    folder = org.path / "keys"
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("node."))


def lines_of(org: OrgFolder) -> list[str]:
    return org.log("node").read_text().splitlines()


def test_a_validator_wiped_three_times_in_a_row_comes_back_under_a_key_of_its_own(
    consortium: ConsortiumFolder,
) -> None:
    """The second wipe finds a founder's key that no peer takes, and must not lose the one that they do."""
    org, others = consortium.org("bureau"), consortium.path
    first = load_key(org.key("node")).public.hex()
    wipe(org)
    list(start_consortium(consortium, agents=False))
    seated = wait(org, lambda it: it["key"] != first and it["role"] == "validator")["key"]
    assert load_key(org.path / "keys/node.2.key").public.hex() == seated
    assert not (org.path / "next.key").exists(), "the live key stands with the others"
    for _ in range(2):
        wipe(org)
        told = started_unseated(consortium)
        assert "its votes are lost again" in told
        assert "moves again from height" in told
        shown = wait(org, lambda it: it["lostVotes"] and it["spareKey"])
        assert (shown["key"], shown["spareFile"]) == (seated, "node.3.key")
        assert "rejoin" in shown["stall"]
        assert "gives none until its seat has moved" in shown["stall"]
        assert not any("lost its votes" in note for note in shown["notes"]), "said once"
        said = next(node for node in status_of(consortium) if node["org"] == "bureau")["stall"]
        assert "it moves again from height" in said
        assert f"assent validator rejoin --as {org.path}" in said
        processes.wait_until(org, "node", lambda: "assent_votes_lost 1.0" in metrics(org), ANSWERS_S)
        assert load_key(org.path / "keys/node.2.key").public.hex() == seated, (
            "the live key stays where it was"
        )
    assert [name for name in key_files(org) if name.endswith(".key")] == [
        "node.2.key",
        "node.3.key",
        "node.key",
    ]
    assert not list(Path(others).rglob("*.key.*")), "no key is put aside"


def test_a_rejoin_is_told_once_in_the_log_and_counted_and_floods_nothing(
    consortium: ConsortiumFolder,
) -> None:
    org, other = consortium.org("bureau"), consortium.org("bank")
    wipe(org)
    before = len(lines_of(other))
    list(start_consortium(consortium, agents=False))
    wait(org, lambda it: it["lostVotes"] is False and it["role"] == "validator")
    log = lines_of(org)
    assert sum("votes of this key were lost" in line for line in log) == 1
    assert sum("made the spare key" in line for line in log) == 1
    links = [line for line in lines_of(other)[before:] if "connected " in line]
    assert len(links) <= 8, links
    processes.wait_until(org, "node", lambda: "assent_votes_lost 0.0" in metrics(org), ANSWERS_S)


def metrics(org: OrgFolder) -> str:
    with urllib.request.urlopen(f"{node_url(org)}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
