"""An option of one value that is given twice is refused by every command, before anything is done."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from chain.cli.main import main
from tests.unit.chain.cli.commands import all_commands, required


def single() -> Iterator[tuple[tuple[str, ...], click.Command, click.Option]]:
    """Yield (words, command, option) of every option that takes one value."""
    for words, command in all_commands():
        for item in command.params:
            if isinstance(item, click.Option) and not (item.multiple or item.is_flag):
                yield words, command, item


def test_every_command_refuses_an_option_of_one_value_that_is_given_twice() -> None:
    """`assent start . --org a --org b` started b alone, and said nothing of a."""
    found = list(single())
    assert len(found) > 200
    for words, command, option in found:
        beside = required(command, {})
        if option.required:
            at = beside.index(option.opts[0])
            del beside[at : at + 2]
        twice = [option.opts[0], "1", option.opts[0], "2"]
        told = CliRunner().invoke(main, [*words, *twice, *beside])
        assert (told.exit_code, told.stdout) == (2, "")
        assert f"{option.opts[0]} is given 2 times and takes one value: give it once" in told.stderr, words


@pytest.mark.parametrize("words", [["logs", ".", "--agent", "--node"], ["logs", ".", "--node", "--agent"]])
def test_flags_that_choose_among_the_same_exclude_one_another(words: list[str]) -> None:
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    assert f"{words[2]} and {words[3]} exclude one another: give one of them" in told.stderr


def test_what_is_harmless_twice_and_what_may_be_repeated_is_taken() -> None:
    assert CliRunner().invoke(main, ["doctor", "--help", "--help"]).exit_code == 0
    told = CliRunner().invoke(
        main, ["audit", "trail", "--kind", "A", "--kind", "B", "--json", "--json", "org", "x"]
    )
    assert "times" not in told.output
