"""The units of systemd in examples/ name commands, options and statuses that exist; systemd takes them."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from chain.cli.main import main
from chain.primitives.errors import Exit

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = sorted((REPOSITORY / "examples" / "systemd").glob("*.service"))


def parsed(unit: Path) -> configparser.ConfigParser:
    reader = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=")
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string(unit.read_text(encoding="utf-8"))
    return reader


def test_there_is_a_unit_for_a_node_and_one_for_an_agent() -> None:
    assert [unit.name for unit in UNITS] == ["assent-agent@.service", "assent-node@.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_exists_as_an_own_user_with_room_for_files(unit: Path) -> None:
    service = parsed(unit)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/.venv/bin/assent")
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    assert words[0] in {name for option in command.params for name in option.opts}
    assert service["User"] not in ("", "root")
    assert int(service["LimitNOFILE"]) >= 1_024
    assert service["EnvironmentFile"].startswith("-"), "no key need be sealed"
    assert service["UMask"] == "0077"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_does_not_start_again_what_somebody_must_look_at_first(unit: Path) -> None:
    prevented = {int(number) for number in parsed(unit)["Service"]["RestartPreventExitStatus"].split()}
    assert prevented == {Exit.DAMAGED, Exit.CONFIG}


def test_logs_are_rotated_by_a_command_that_exists_for_every_organisation_and_process() -> None:
    """The example named one organisation's node alone, and sent a signal to the number in a file."""
    text = (REPOSITORY / "docs" / "operating.md").read_text(encoding="utf-8")
    (stanza,) = re.findall(r"```\n(/srv/assent/\*/node\.log .*?)```", text, re.DOTALL)
    assert (
        stanza.splitlines()[0] == "/srv/assent/*/node.log /srv/assent/*/agent.log /srv/assent/*/access.log {"
    )
    assert "kill" not in stanza
    (line,) = [line.split() for line in stanza.splitlines() if "/bin/assent" in line]
    command = main.get_command(click.Context(main), line[1])
    assert command is not None
    assert line[3] in {name for option in command.params for name in option.opts}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path) -> None:
    named = unit.name.replace("@.", "@bank.")
    text = unit.read_text(encoding="utf-8").replace("/opt/assent/.venv/bin/assent", "/bin/true")
    (tmp_path / named).write_text(text, encoding="utf-8")
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / named)], capture_output=True, text=True, timeout=60
    )
    wrong = [line for line in checked.stderr.splitlines() if str(tmp_path) in line or named in line]
    assert wrong == []
