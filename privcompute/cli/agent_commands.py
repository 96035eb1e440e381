"""`assent agent`: run an organisation's agent."""

from __future__ import annotations

from pathlib import Path

import click

from chain.client.console import reports_errors
from chain.primitives.lastrun import recorded
from privcompute.agent.process import run_agent


@click.group()
def agent() -> None:
    """Run an organisation's privacy-computing agent."""


@agent.command("run")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("agent.toml"),
    show_default=True,
    help="Configuration of the agent.",
)
@reports_errors
def run_command(config: Path) -> None:
    """Follow the node of CONFIG and run this organisation's part of every job, until SIGTERM."""
    with recorded(config.with_suffix(".run")):
        run_agent(config)
