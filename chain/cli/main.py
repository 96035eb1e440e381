"""The `assent` command: its groups load when they are used, so that every command starts fast."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version
from typing import Any

import click

from chain.client.console import OUTPUT_CLOSED, OutputFailed, speaking
from chain.primitives.files import PRIVATE_UMASK
from chain.primitives.reopening import reopen_log_on_hangup

COMMANDS = {
    "init": "chain.cli.init:init",
    "found": "chain.cli.found:found",
    "start": "chain.cli.consortium:start",
    "status": "chain.cli.status:status",
    "stop": "chain.cli.consortium:stop",
    "doctor": "chain.cli.doctor:doctor",
    "logs": "chain.cli.status:logs",
    "node": "chain.cli.node:node",
    "agent": "privcompute.cli.agent_commands:agent",
    "org": "chain.cli.org:org",
    "validator": "chain.cli.validator:validator",
    "params": "chain.cli.params:params",
    "proposal": "chain.cli.proposal:proposal",
    "key": "chain.cli.key:key",
    "contract": "chain.cli.contract:contract",
    "program": "chain.cli.program:program",
    "dataset": "privcompute.cli.dataset_commands:dataset",
    "grant": "privcompute.cli.grant_commands:grant",
    "job": "privcompute.cli.job_commands:job",
    "audit": "chain.audit.cli:audit",
    "tx": "chain.cli.ledger:tx",
    "call": "chain.cli.ledger:call",
    "block": "chain.cli.ledger:block",
}
"""Command -> where it lives. The privacy-computing commands are an attached extension of the same tool."""
SERVICES = (("node", "run"), ("agent", "run"))
"""What runs until it is told to stop: a hangup reopens its log, and what it writes is for its user alone."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line to its end, whatever the output is and whatever fails."""
        with speaking():
            service = not args and tuple(sys.argv[1:3]) in SERVICES
            if sys.stdout is None and not service:
                raise OutputFailed(OUTPUT_CLOSED)  # before anything is done of which nobody would hear
            if service:
                reopen_log_on_hangup()  # before the seconds in which what serves is loaded
                os.umask(os.umask(PRIVATE_UMASK) | PRIVATE_UMASK)
            return super().main(*args, **kwargs)

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the commands in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: Any = getattr(importlib.import_module(module), attribute)
        return command  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, and see that no option of it, or below it, is given twice."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            _check_once(command, name, ctx, rest)
        return name, command, rest


def _check_once(command: click.Command, name: str | None, above: click.Context, args: list[str]) -> None:
    """Raise UsageError for an option of one value that is given twice: click takes the last unsaid."""
    ctx = command.context_class(command, above, info_name=name, **command.context_settings)
    try:
        _, rest, order = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:
        return  # the command itself says what is wrong
    given: dict[str | None, str] = {}
    for option in order:
        if not isinstance(option, click.Option) or option.multiple:
            continue
        written = option.opts[0]
        if (before := given.setdefault(option.name, written)) != written:
            raise click.UsageError(f"{before} and {written} exclude one another: give one of them", ctx)
        if not option.is_flag and order.count(option) > 1:
            raise click.UsageError(
                f"{written} is given {order.count(option)} times and takes one value: give it once", ctx
            )
    if rest and isinstance(command, click.Group) and (below := command.get_command(ctx, rest[0])):
        _check_once(below, rest[0], ctx, rest[1:])


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=LazyGroup, context_settings=SETTINGS)
@click.version_option(version("assent"), prog_name="assent")
def main() -> None:
    """Assent: a consortium ledger for data-use authorisation, with privacy computing attached.

    Begin with a local trial, `assent init DIR --orgs NAME,NAME,…`, then `assent start DIR`. Companies found a
    chain with one another by `assent found`. Every command explains itself with --help.
    """


if __name__ == "__main__":
    main()
