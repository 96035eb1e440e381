"""The agent's configuration names key, value and range of every fault, and its page states them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import privcompute
from chain.primitives.errors import ConfigError
from privcompute.config import LocalPolicy, configured_paths, load_agent_config
from tests.unit.test_every_setting import AGENTS

GOOD = """
organisation = "bank"
node = "http://127.0.0.1:8545"
[files]
genesis = "../genesis.json"
[policy]
refused_purposes = ["marketing"]
[[datasets]]
id = "bank/loans"
path = "loans.csv"
schema_file = "loans.toml"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_paths_start_at_the_file_and_defaults_fill_the_rest(tmp_path: Path) -> None:
    config, files = load_agent_config(written(tmp_path, GOOD))
    assert files.key == tmp_path / "keys" / "agent.key"
    assert files.data_dir == tmp_path / "agent"
    assert config.policy.min_joined_rows == 10
    found = configured_paths(config, files, "bank/loans")
    assert found is not None
    assert found == (tmp_path / "loans.csv", tmp_path / "loans.toml")
    assert configured_paths(config, files, "bank/other") is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('node = "http://x:1"', ["organisation", "required"]),
        ('organisation = "Bank"', ["organisation = 'Bank': expected 1 to 64 of a-z"]),
        ('organisation = "bank"\ncolour = 1', ["colour", "unknown key"]),
        ('organisation = "bank"\nnode = "ftp://x"', ["node = 'ftp://x': expected http(s)://HOST:PORT"]),
        ('organisation = "bank"\n[peers]\nlisten = "x"', ["peers.listen = 'x'", "host:port"]),
        (
            'organisation = "bank"\n[policy]\njob_time_max_ms = 999',
            ["job_time_max_ms = 999", "1000..2592000000"],
        ),
        ('organisation = "bank"\n[policy]\nmax_party_rows = 0', ["max_party_rows = 0", "1..10000000"]),
        (
            'organisation = "bank"\n[files]\ndata_dir = ""',
            ["files.data_dir = ", "is the folder of this configuration"],
        ),
        (
            'organisation = "bank"\n[files]\ndata_dir = "keys"',
            ["is the folder of files.key", "holds nothing else"],
        ),
        (GOOD.replace("schema_file", "columns"), ["datasets.0.columns", "unknown key"]),
        (GOOD.replace("bank/loans", "bank loans"), ["datasets.0.id = 'bank loans': expected OWNER/NAME"]),
    ],
)
def test_a_fault_is_named_with_key_and_range(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_agent_config(written(tmp_path, text))
    for part in ["agent.toml", *parts]:
        assert part in str(caught.value)


PAGE = (Path(privcompute.__file__).parent / "AGENT.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (`.+?`) \| (.+?) \|", PAGE.partition("## Configuration")[2].partition("\n## ")[0], re.MULTILINE
)


def test_the_page_of_the_agent_has_every_setting_once() -> None:
    named = [name for names, _ in ROWS for name in re.findall(r"`([\w.]+)`", names)]
    assert sorted(named) == sorted(AGENTS)


@pytest.mark.parametrize(
    "name", [name for name, field in LocalPolicy.model_fields.items() if field.annotation is int]
)
def test_the_page_of_the_agent_states_default_and_range_of_a_number(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_agent_config(written(tmp_path, f'organisation = "bank"\n[policy]\n{name} = -1\n'))
    bounds = re.search(r"in (\d+)\.\.(\d+)", str(caught.value))
    assert bounds is not None
    low, high = map(int, bounds.groups())
    (said,) = [default for names, default in ROWS if names == f"`policy.{name}`"]
    assert said == f"{LocalPolicy.model_fields[name].default:,} ({low:,} to {high:,})"
