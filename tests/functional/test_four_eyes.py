"""Two keys of one organisation vote for it on a running chain, and an auditor counts them again offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from live import assent_here

from chain.cli.layout import ConsortiumFolder
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit
from chain.primitives.keyfile import save_key

pytestmark = pytest.mark.functional


def test_two_admins_vote_for_their_organisation_and_the_package_names_both(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    """Register, ask, note, see, drop; lower again with both; export, verify."""
    bank, second = consortium.org("bank"), tmp_path / "second.key"
    key = PrivateKey.generate()
    save_key(second, key)
    seen_by = {key.public.hex()}

    def typed(*words: str | Path, by: Path | None = None, ends: int = 0) -> Any:
        signing = [] if by is None else ["--key", by]
        told = assent_here(*words, "--as", bank.path, *signing, "--json")
        assert told.returncode == ends, told.stdout + told.stderr
        return json.loads(told.stdout)

    typed("org", "add-key", second, "--roles", "admin")
    for act in ("votes", "keys"):
        typed("org", "eyes", act, "2")
    noted = typed("params", "propose", "block_txs=500", ends=Exit.NOTED)["noted"]
    assert (noted["call"], noted["needed"], len(noted["seen"])) == ("governance.propose", 2, 1)
    assert typed("proposal", "list") == []
    seen_by.add(noted["seen"][0]["key"])

    (waiting,) = typed("org", "pending", by=second)
    assert '"block_txs": 500' in waiting["asks"]
    assert typed("org", "see", noted["digest"][:16], by=second)["status"] == "ok"
    assert len(typed("proposal", "list")) == 1

    wrong = typed("org", "eyes", "votes", "1", ends=Exit.NOTED)["noted"]["digest"]
    typed("org", "drop", wrong, "--reason", "not yet", by=second)
    assert typed("org", "pending") == []
    assert ["asks several keys", "votes: 2"] in typed("org", "show", "bank")["acts"]

    package = tmp_path / "bank.audit"
    told = assent_here("audit", "export", "org:bank", "-o", package, "--as", bank.path)
    assert told.returncode == 0, told.stdout + told.stderr
    told = assent_here("audit", "show", package, "--genesis", consortium.genesis)
    assert told.returncode == 0, told.stdout + told.stderr
    section = told.stdout.split("Acts that several keys saw")[1].split("\n\n")[1]
    assert "governance.propose of bank" in section
    assert all(public in section for public in seen_by)
