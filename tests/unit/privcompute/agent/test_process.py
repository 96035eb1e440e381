"""What an agent's process needs before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.primitives.descriptors import TooFewDescriptors, limit_for
from privcompute.agent.process import descriptor_parts
from privcompute.config import load_agent_config


def test_an_agent_that_may_not_open_enough_files_says_so_before_it_starts(tmp_path: Path) -> None:
    """Its jobs take most of them: the setting to lower is named."""
    path = tmp_path / "agent.toml"
    path.write_text('organisation = "bank"\n')
    config, _ = load_agent_config(path)
    parts = descriptor_parts(config)
    assert sum(parts.values()) == 256 + 384 + 256 + 11 * config.policy.max_waiting_jobs
    with pytest.raises(TooFewDescriptors, match=r"hard limit .* is 1000.* lower policy\.max_wait"):
        limit_for(parts, 256, 1_000, "policy.max_waiting_jobs", 11 * (config.policy.max_waiting_jobs - 1))
