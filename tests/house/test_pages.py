"""The pages of the house hold: links, headings, blocks of code, commands, files, decisions, versions, hooks.

Commands that change something are run elsewhere: tests/functional/test_documents.py and test_guides.py.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from chain.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=REPOSITORY, capture_output=True, text=True, check=True,
)  # fmt: skip
PAGES = [name for name in LISTED.stdout.split() if (REPOSITORY / name).is_file()]
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
SHOWN_WRONG = {"wrong.py", "wronger.py"}
"""Blocks of the language's page that show what is refused; a test of that page runs them."""
NOT_OF_THE_SITE = {
    ".github/pull_request_template.md",
    ".github/ISSUE_TEMPLATE/fault.md",
    ".github/ISSUE_TEMPLATE/wish.md",
}
PARTS = ("Context", "Decision", "Rejected", "Cost", "Date")


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def headings(page: str) -> set[str]:
    """Return the anchors that a page has where the repository is read."""
    plain = BLOCK.sub("", text_of(page))
    titles = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")) for title in titles)
    return {title.replace(" ", "-") for title in kept}


def blocks() -> Iterator[tuple[str, str, str, str]]:
    """Yield page, language, name and text of each block of code."""
    for page in PAGES:
        for label, text in BLOCK.findall(text_of(page)):
            language, _, name = label.partition(" ")
            yield page, language, name, text


def commands() -> Iterator[tuple[str, str]]:
    """Yield page and command: lines of consoles, and of plain blocks that begin as a command of ours does."""
    for page, language, _, text in blocks():
        for line in text.replace("\\\n", " ").splitlines():
            if language == "console" and line.startswith("$ "):
                yield page, line[2:]
            elif language in ("", "bash") and re.match(r"(assent|scripts/\w+|\.venv/bin/\w+) ", line.strip()):
                yield page, line.strip()


COMMANDS = sorted(set(commands()))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_to_a_heading_of_it(page: str) -> None:
    broken = []
    for target, anchor in LINK.findall(BLOCK.sub("", text_of(page))):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path = (REPOSITORY / page).parent / target if target else REPOSITORY / page
        inside = path.resolve().is_relative_to(REPOSITORY) and path.exists()
        if not inside:
            broken.append(target)
        elif anchor and anchor not in headings(path.resolve().relative_to(REPOSITORY).as_posix()):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_every_block_of_code_is_of_its_language() -> None:
    """Python parses, JSON and TOML are read; contracts are a subset of Python."""
    seen = 0
    for page, language, name, text in blocks():
        if language == "python" and name not in SHOWN_WRONG:
            ast.parse(text, f"{page}:{name}")
        elif language == "json":
            json.loads(text)
        elif language == "toml":
            tomllib.loads(text)
        seen += 1
        known = {"", "python", "json", "toml", "console", "text", "bash", "{toctree}"}
        assert language in known, f"{page}: a block of {language}, which no test reads"
    assert seen > 40


def refuse(words: list[str]) -> str:
    """Return why a command of ours does not exist as it is written; "" when it does."""
    command: click.Command = main
    context = click.Context(main)
    while words and not words[0].startswith("-") and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    unknown = sorted(given - options - {"--help"})
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:40]}" for page, line in COMMANDS])
def test_a_command_of_a_page_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] in ("assent", ".venv/bin/assent"):
        assert refuse(words[1:]) == "", f"{page}: {line}"
    elif words[0].startswith("scripts/"):
        assert (REPOSITORY / words[0]).stat().st_mode & 0o111, f"{page}: {line}"
    paths = [
        word for word in words[1:] if re.match(r"(tests|examples|chain|contracts|docs)/\S+\.(py|md)$", word)
    ]
    assert [path for path in paths if not (REPOSITORY / path).exists()] == [], f"{page}: {line}"


def test_every_recipe_names_files_that_exist() -> None:
    page = text_of("docs/how-to-add.md")
    recipes = page.split("\n## ")[1:]
    assert len(recipes) == 7
    for recipe in recipes:
        rows = re.findall(r"^\| `([^`]+)` \| .+ \|$", recipe, re.MULTILINE)
        assert len(rows) >= 4, recipe.splitlines()[0]
        assert any(path.startswith("tests/") for path in rows), recipe.splitlines()[0]
    named = re.findall(r"`((?:chain|consensus|contracts|privcompute|tests)/[\w/.]+|\w+\.(?:md|toml))`", page)
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []


def test_the_folders_of_the_architecture_are_those_that_there_are() -> None:
    page = text_of("ARCHITECTURE.md")
    named = set(re.findall(r"^\| `([\w/]+)` \|", page, re.MULTILINE))
    rooms = {path.parent for path in REPOSITORY.glob("chain/*/__init__.py")}
    assert named == {path.relative_to(REPOSITORY).as_posix() for path in rooms} | {
        "consensus", "contracts", "privcompute",
    }  # fmt: skip
    assert len(page.splitlines()) <= 120, "two pages"
    assert len(BLOCK.findall(page)) == 3, "three pictures"


def test_every_decision_says_all_of_its_parts_and_stands_in_the_list_once() -> None:
    pages = [page for page in PAGES if page.startswith("docs/decisions/") and not page.endswith("README.md")]
    listed = re.findall(
        r"^- \[(.+)\]\(([\w-]+\.md)\), (\S+)$", text_of("docs/decisions/README.md"), re.MULTILINE
    )
    told = []
    for page in pages:
        text = text_of(page)
        assert [part for part in PARTS if f"\n**{part}.** " not in text] == [], page
        dates = re.findall(r"^\*\*Date\.\*\* (\d{4}-\d\d-\d\d)\.$", text, re.MULTILINE)
        assert len(dates) == 1, page
        told.append((text.splitlines()[0].removeprefix("# "), Path(page).name, dates[0]))
    assert sorted(listed) == sorted(told)


def test_the_changes_stand_under_the_version_that_is_built_and_their_kinds() -> None:
    page = text_of("CHANGELOG.md")
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    versions = re.findall(r"^## (\d+\.\d+\.\d+), (not released yet|\d{4}-\d\d-\d\d)$", page, re.MULTILINE)
    assert len(versions) == page.count("\n## ")
    assert project["version"].partition(".dev")[0] == versions[0][0]
    assert (".dev" in project["version"]) == (versions[0][1] == "not released yet")
    assert set(re.findall(r"^### (.+)$", page, re.MULTILINE)) == {"Added", "Changed", "Fixed", "Security"}


def test_the_hooks_run_the_tools_of_the_check() -> None:
    check = text_of("scripts/check")
    hooks = re.findall(r"entry: \.venv/bin/([\w-]+)(?: (check|format))?", text_of(".pre-commit-config.yaml"))
    tools = re.findall(r"^\$bin/([\w-]+)(?: (check|format))?", check, re.MULTILINE)
    assert sorted(hooks) == sorted(tools)


def test_the_site_has_every_page() -> None:
    index = text_of("docs/index.md")
    entries = [
        line
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
        for line in block.splitlines()
    ]
    named = {
        (REPOSITORY / "docs" / f"{entry}.md").resolve() for entry in entries if entry and ":" not in entry
    }
    there = {REPOSITORY / page for page in PAGES if page not in NOT_OF_THE_SITE and page != "docs/index.md"}
    assert "decisions/[a-z]*" in entries
    missing = {path for path in there - named if path.parent.name != "decisions"}
    assert missing == set()


def test_the_lock_of_the_generator_is_hashed_and_names_no_registry() -> None:
    for name in (
        "requirements-docs.lock",
        "requirements-fuzz.lock",
        "requirements-opendp.lock",
        "requirements.lock",
    ):
        lines = text_of(name).splitlines()
        packages = [line for line in lines if re.match(r"\w", line)]
        assert packages, name
        assert all(re.match(r"[\w.-]+(\[[\w,]+\])?==\S+ (; .+ )?\\$", line) for line in packages), name
        hashes = [line for line in lines if line.strip().startswith("--hash=sha256:")]
        assert len(hashes) >= len(packages), name
        assert not [line for line in lines if "://" in line or "index-url" in line], name
