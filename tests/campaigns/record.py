"""`docs/campaigns.json`: what the last full run of each campaign found, on which commit.

A line of a document that quotes a campaign ends in a marker, `<!-- campaign:NAME -->`. Every number in such a
line must be one of that campaign's entry: so no quoted figure outlives the run that it came from.
"""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.campaigns.edits import ROOT

BOOK = ROOT / "docs" / "campaigns.json"
PARTS = ROOT / "docs" / "campaigns"
"""What campaigns that take hours have found so far, for a later run to continue; on another machine, too."""
MARKER = re.compile(r"<!-- campaign:([a-z]+) -->\s*$")
SILENT = {".venv", ".pytest_cache", "demo-consortium", "node_modules"}
Figure = int | float | str
Text = Annotated[str, Field(min_length=1, max_length=300)]


class Entry(BaseModel):
    """The last full run of one campaign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """The commit that was checked out."""
    dirty: bool
    """Whether the tree differed from it: then the figures are of no commit, and say little."""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    seeds: Text
    """Such as `0..4999`."""
    size: Text
    """What was run, in words: `252 mutants, 100 seeds each at most`."""
    minutes: Annotated[float, Field(ge=0)]
    """By the clock."""
    figures: Annotated[dict[str, Figure], Field(min_length=1, max_length=40)]
    outcome: Literal["passed", "failed"]
    failures: Annotated[tuple[Text, ...], Field(max_length=400)] = ()
    """What failed, by name, and how to see it again."""


def load(path: Path = BOOK) -> dict[str, Entry]:
    """Read every entry; raise ValidationError for anything that is not one."""
    if not path.exists():
        return {}
    return {name: Entry.model_validate(item) for name, item in json.loads(path.read_text()).items()}


def save(name: str, entry: Entry, path: Path = BOOK) -> None:
    """Put one campaign's entry in the place of its former one."""
    entries = load(path) | {name: entry}
    path.parent.mkdir(exist_ok=True)
    text = {key: entries[key].model_dump(mode="json") for key in sorted(entries)}
    path.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n")


def commit() -> tuple[str, bool]:
    """Return the commit that is checked out, and whether the tree differs from it (but for records)."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    changed = [line[3:] for line in git("status", "--porcelain").splitlines()]
    records = tuple(str(path.relative_to(ROOT)) for path in (BOOK, PARTS))
    return git("rev-parse", "HEAD").strip(), any(not path.startswith(records) for path in changed)


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(UTC).date().isoformat()


def numbers(text: str) -> list[str]:
    """Return the numbers in a text, thousands without their commas; not those inside words such as `V3`."""
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])", text)
    return [item.replace(",", "").rstrip(".") for item in found]


def misquoted(document: str, entries: dict[str, Entry]) -> list[str]:
    """Return what marked lines of a document say that the campaign's entry does not."""
    wrong = []
    for line in document.splitlines():
        marker = MARKER.search(line)
        if marker is None:
            continue
        said, name = line[: marker.start()], marker[1]
        entry = entries.get(name)
        if not numbers(said):
            continue
        if entry is None:
            wrong.append(f"campaign {name}: no entry; quoted in {line.strip()[:80]!r}")
            continue
        known = set(numbers(" ".join([entry.seeds.replace("..", " "), entry.size])))
        known |= {str(value) for value in [*entry.figures.values(), entry.minutes]}
        known |= {value for text in entry.figures.values() for value in numbers(str(text))}
        wrong += [
            f"campaign {name}: {item} is none of its figures" for item in numbers(said) if item not in known
        ]
    return wrong


def documents() -> list[Path]:
    """Return every document that may quote a campaign."""
    return sorted(path for path in ROOT.glob("**/*.md") if not SILENT & set(path.relative_to(ROOT).parts))
