"""`assent node token list` fits a terminal of 80 columns, and no time in it goes over two lines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.api.tokens import SCOPE_NAMES, Token, save_tokens
from chain.cli.init import create_consortium
from chain.cli.main import main

DAY_MS = 86_400_000


def test_the_list_of_tokens_has_a_line_a_token_with_whole_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_consortium(tmp_path / "c", ["bank"], [], 0, "alone").path / "bank"
    now = time.time_ns() // 1_000_000
    tokens = [
        Token(name=name, secret_sha256=f"{number:064x}", scopes=scopes, created=1_770_000_000_000,
              expires=ends, requests_per_second=rate)
        for number, (name, scopes, ends, rate) in enumerate([
            ("dashboard-of-the-bank-01", SCOPE_NAMES, now + DAY_MS, 1_000_000),
            ("old", ("read",), 1_780_000_000_000, None),
        ])
    ]  # fmt: skip
    save_tokens(folder / "rpc-tokens.json", tuple(tokens))
    monkeypatch.setenv("COLUMNS", "80")
    told = CliRunner().invoke(main, ["node", "token", "list", "--config", str(folder / "node.toml")])
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    (first,) = [line.split() for line in lines if "dashboard" in line]
    assert (first[0], first[3:]) == ("dashboard-of-the-bank-01", ["good", "1000000", "read", "2026-02-02"])
    (old,) = [line for line in lines if line.split()[:1] == ["old"]]
    assert old.split() == ["old", "2026-05-28", "20:26", "over", "read", "2026-02-02"]
