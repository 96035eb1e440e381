"""Two packages are compared: the same content, one history, or two that validators certified."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.audit import cli
from chain.audit.compare import compare
from chain.audit.package import build_package
from chain.audit.records import Contents
from chain.audit.verify import verify_bytes
from chain.ledger.genesis import save_genesis
from chain.primitives.errors import Exit
from tests.unit.chain.audit.conftest import Story

SUBJECT = "org:bank"


def told(*actions: str) -> Story:
    """A chain on which the bank did so; chains of other actions are forks, of one genesis."""
    story = Story()
    for name in actions:
        story.send("bank", "orgs.add_key", roles=["steward"], **story.proved(name))
    return story


def packed(story: Story, *heights: int, subject: str = SUBJECT) -> bytes:
    return asyncio.run(build_package(story.source, story.genesis, subject, *heights))


def contents_of(data: bytes, story: Story) -> Contents:
    found = verify_bytes(data, story.genesis).contents
    assert found is not None
    return found


@pytest.fixture(scope="module")
def chains() -> tuple[Story, Story]:
    """Two histories that all validators certified."""
    return told("a", "b", "c"), told("a", "x", "c")


def test_packages_of_one_history_agree(chains: tuple[Story, Story]) -> None:
    story = chains[0]
    whole, part = contents_of(packed(story), story), contents_of(packed(story, 0, 2), story)
    assert compare(whole, whole).same
    found = compare(whole, part)
    assert (found.agree, found.same, found.shared) == (True, False, 2)
    assert found.lines() == ["nothing contradicts: 2 headers of both are the same"]
    other = contents_of(packed(story, subject="org:bureau"), story)
    assert compare(whole, other).agree


def test_two_certified_headers_of_one_height_are_a_fork(chains: tuple[Story, Story]) -> None:
    one, other = [contents_of(packed(story), story) for story in chains]
    found = compare(one, other)
    assert [height for height, _, _ in found.forks] == [2, 3]
    assert found.contradictions == (2,)
    assert not found.agree
    assert "keep both files" in found.lines()[-1]


def test_the_command_says_it_and_ends_so(
    chains: tuple[Story, Story], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_genesis(Path("genesis.json"), chains[0].genesis)
    for name, story in zip("ab", chains, strict=True):
        Path(name).write_bytes(packed(story))
    Path("part").write_bytes(packed(chains[0], 0, 2))

    def invoke(*words: str, code: int = 0) -> Any:
        more = ("--genesis", "genesis.json", "--json")
        done = CliRunner().invoke(cli.audit, ["compare", *words, *more], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return json.loads(done.output) if code in (0, Exit.DAMAGED) else done.output

    assert invoke("a", "a")["same"]
    assert invoke("a", "part")["agree"]
    assert [fork["height"] for fork in invoke("a", "b", code=Exit.DAMAGED)["forks"]] == [2, 3]
    Path("cut").write_bytes(packed(chains[0])[:-1])
    assert "UNREADABLE" in invoke("a", "cut", code=Exit.IO)
