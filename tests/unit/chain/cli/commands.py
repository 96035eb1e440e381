"""Every command of `assent`, and words that each of them takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from chain.cli.main import main


def all_commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield (words, command) of every command that does something."""
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), main)]
    while waiting:
        words, command = waiting.pop(0)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                waiting.append(((*words, name), found))
        else:
            yield words, command


def takes(command: click.Command, option: str) -> bool:
    """Tell whether a command has an option of that name."""
    return any(option in item.opts for item in command.params)


def required(command: click.Command, values: Mapping[str, str]) -> list[str]:
    """Return the words that a command requires: by parameter name, else what its type allows."""
    words: list[str] = []
    arguments: list[str] = []
    for item in command.params:
        if not item.required:
            continue
        value = values.get(item.name or "", _value(item.type))
        if isinstance(item, click.Argument):
            arguments += [value] * (1 if item.nargs == -1 else item.nargs)
        else:
            words += [item.opts[0], value]
    return [*words, *arguments]


def _value(kind: Any) -> str:
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    if isinstance(kind, click.IntRange | click.FloatRange):
        return str(int(kind.min or 1))
    return "1" if kind in (click.INT, click.FLOAT) else "x"
