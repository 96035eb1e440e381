"""What the documents say to type works, and what they point to exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from live import assent

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for path in REPOSITORY.glob("**/*.md")
    if not {".venv", ".pytest_cache", "demo-consortium", "node_modules"}
    & set(path.relative_to(REPOSITORY).parts)
)


def console_commands(document: Path) -> list[str]:
    """Return the `$ assent …` lines of a document's console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("assent ")]


@pytest.mark.functional
def test_the_first_steps_of_the_readme_work_in_their_order(tmp_path: Path) -> None:
    commands = console_commands(REPOSITORY / "README.md")
    assert len(commands) >= 8
    folder = str(tmp_path / "consortium")
    try:
        for command in commands:
            words = [
                folder + word.removeprefix("consortium") if re.match(r"consortium(/|$)", word) else word
                for word in shlex.split(command)[1:]
            ]
            more = ["--base-port", "0"] if words[0] == "init" else []
            done = assent(*words, *more, cwd=REPOSITORY)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    finally:
        assent("stop", folder)


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = []
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if (
                not target.startswith(("http:", "https:", "mailto:"))
                and not (document.parent / target).exists()
            ):
                broken.append(f"{document.relative_to(REPOSITORY)}: {target}")
    assert broken == []


def test_the_documents_a_newcomer_looks_for_exist() -> None:
    names = ["README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING"]
    names += ["consensus/README", "contracts/README", "contracts/system/README", "privcompute/README"]
    assert [name for name in names if not (REPOSITORY / f"{name}.md").is_file()] == []
    assert (REPOSITORY / "LICENSE").is_file()


def test_every_command_explains_itself() -> None:
    from click.testing import CliRunner

    from chain.cli.main import COMMANDS, main

    runner = CliRunner()
    for name in COMMANDS:
        shown = runner.invoke(main, [name, "--help"])
        assert shown.exit_code == 0, name
        assert "Usage:" in shown.output
