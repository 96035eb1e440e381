"""`assent node`: run one node in the foreground, and look after its data while it is stopped."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click
import uvloop

from chain.cli import nodedata
from chain.cli.evidence import evidence
from chain.cli.skip import skip
from chain.cli.token import token
from chain.client.console import reports_errors
from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.node.budget import memory_warning
from chain.node.keys import KeyRing
from chain.node.node import Node
from chain.node.slices import ask_for_short_turns
from chain.primitives.errors import ConfigError
from chain.primitives.keyfile import ask_no_more
from chain.primitives.lastrun import recorded
from chain.primitives.quietlog import Quiet

log = logging.getLogger("assent.node")

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("node.toml"),
    show_default=True,
    help="The node's configuration.",
)


def check_hash_seed(seed: str) -> None:
    """Refuse a fixed seed of the hashes of texts: who knows it chooses keys that collide in every table."""
    if seed not in ("", "random"):
        raise ConfigError(
            f"PYTHONHASHSEED={seed}: a node draws its seed by lot, or keys that others choose slow it down; "
            "unset the variable"
        )


def set_up_logging(level: str) -> None:
    """Log one line an event to standard error, with the time in UTC; many of one kind are summed up."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Quiet())


@click.group()
def node() -> None:
    """Run a node, ask it what it keeps, look after a stopped one's data, skip what no node can execute."""


for command in (evidence, skip, token, *nodedata.COMMANDS):
    node.add_command(command)


@node.command("run")
@config_option
@reports_errors
def run_node(path: Path) -> None:
    """Run a node until it is told to stop (SIGINT or SIGTERM)."""
    with recorded(path.with_suffix(".run")):
        _run(path)


def _run(path: Path) -> None:
    check_hash_seed(os.environ.get("PYTHONHASHSEED", ""))
    config, files = load_node_config(path)
    set_up_logging(config.log.level)
    if config.solo is not None and not files.genesis.exists():
        from chain.cli.init import create_solo  # loads numpy, which a node does not need

        create_solo(config, files)
    if warning := memory_warning(config, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        log.warning("%s", warning)
    genesis = load_genesis(files.genesis)
    keys = KeyRing(files)
    ask_no_more()
    ask_for_short_turns()  # before there are threads, which inherit them
    while uvloop.run(Node(config, files, genesis, keys=keys).run()):
        pass  # the node's seat moved to another of its keys, or nobody takes this one: begin again
